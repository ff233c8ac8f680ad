//! The path of every branch, compared with a simple model computed from the log.

use std::collections::BTreeMap;

use aggregates::Event;
use aggregates::conversation::{
    BranchEvent, ConversationEvent, EventBody, LifecycleEvent, MessageEvent, ReplyEvent,
};
use aggregates::ids::MessageId;
use projections::messages::branch_queries;
use projections::messages::query::before;
use projections::registry;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sqlx::PgPool;
use uuid::Uuid;

use crate::events::ADA;
use crate::history::history;
use crate::support::Log;

/// Simple model of a conversation, computed from the log: the message ids of every branch.
#[derive(Default)]
struct ReferenceModel {
    rows: Vec<(Uuid, i64, u32)>,
    forks: BTreeMap<u32, (u32, i64)>,
    active: u32,
}

impl ReferenceModel {
    fn read(&mut self, position: i64, event: &ConversationEvent) {
        let (fork, row) = match &event.body {
            EventBody::Message(MessageEvent::MessageSent { message_id, .. }) => {
                (None, Some(message_id.uuid()))
            }
            EventBody::Reply { event: ReplyEvent::ReplyCompleted { answer_id, text, items, .. }, .. } => {
                let silent = text.as_ref().known().is_some_and(|text| text.as_str().is_empty());
                (None, (!silent || items.is_empty()).then(|| answer_id.uuid()))
            }
            EventBody::Reply {
                reply_id,
                event:
                    ReplyEvent::ReplyFailed { text: Some(_), .. }
                    | ReplyEvent::ReplyCancelled { text: Some(_), .. },
                ..
            } => (None, Some(MessageId::answering(*reply_id).uuid())),
            EventBody::Branch(BranchEvent::BranchBegun { branch, parent, fork_position, .. }) => {
                (Some((*branch, *parent, *fork_position)), None)
            }
            EventBody::Branch(BranchEvent::ConversationRewound { message_id, message_position }) => {
                let of = self.rows.iter().find(|(id, ..)| *id == message_id.uuid());
                let next = u32::try_from(self.forks.len()).unwrap() + 1;
                (Some((next, of.map_or(0, |(.., branch)| *branch), *message_position)), None)
            }
            EventBody::Branch(BranchEvent::BranchSwitched { branch }) => {
                self.active = *branch;
                (None, None)
            }
            _ => (None, None),
        };
        if let Some((branch, parent, fork)) = fork {
            self.forks.insert(branch, (parent, fork.min(position - 1)));
            self.active = branch;
        }
        self.rows.extend(row.map(|id| (id, position, self.active)));
    }

    fn path(&self, branch: u32) -> Vec<Uuid> {
        let on = |(_, position, of): &&(Uuid, i64, u32)| {
            let (mut at, mut upto) = (branch, i64::MAX);
            while at != *of {
                let Some((parent, fork)) = self.forks.get(&at) else { return false };
                (at, upto) = (*parent, upto.min(*fork));
            }
            *position <= upto
        };
        self.rows.iter().filter(on).map(|(id, ..)| *id).collect()
    }
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn branch_paths_match_reference_model(pool: PgPool) {
    let log = Log::new(&pool);
    let seed: u64 = rand::rng().random();
    let mut random = StdRng::seed_from_u64(seed);
    let running = log.run(registry::all());
    let mut reference: BTreeMap<Uuid, ReferenceModel> = BTreeMap::new();
    let mut end = 0;
    for _ in 0..20 {
        for events in history(&mut random, 120) {
            let positions = log.append(&events).await;
            for (event, position) in events.iter().zip(&positions) {
                let Event::Conversation(event) = event else { continue };
                let conversation = event.conversation_id.uuid();
                if event.body == EventBody::Lifecycle(LifecycleEvent::ConversationDeleted {}) {
                    reference.remove(&conversation);
                } else {
                    reference.entry(conversation).or_default().read(*position, event);
                }
                end = *position;
            }
        }
    }
    running.reach(end).await;
    running.stop().await;
    let mut branches = 0;
    for (conversation, reference) in &reference {
        let (count, active) = (u32::try_from(reference.forks.len()).unwrap() + 1, reference.active);
        assert!(branch_queries::is_active(&pool, *conversation, active).await.unwrap(), "seed {seed}");
        for branch in 0..count {
            let mut page = branch_queries::page(&pool, ADA.uuid(), (*conversation, branch), i64::MAX, 1_000)
                .await
                .unwrap();
            page.reverse();
            let ids: Vec<Uuid> = page.iter().map(|row| row.message_id).collect();
            assert_eq!(ids, reference.path(branch), "seed {seed}, branch {branch} of {conversation}");
            branches += 1;
        }
        let mut shown = before(&pool, *conversation, i64::MAX, 1_000).await.unwrap();
        shown.reverse();
        let ids: Vec<Uuid> = shown.iter().map(|row| row.message_id).collect();
        assert_eq!(ids, reference.path(active), "seed {seed}");
        let counted: Vec<i64> = branch_queries::branches(&pool, *conversation)
            .await
            .unwrap()
            .iter()
            .map(|row| row.message_count)
            .collect();
        let expected: Vec<i64> = (0..count).map(|branch| reference.path(branch).len() as i64).collect();
        assert_eq!(counted, expected, "seed {seed}");
    }
    assert!(branches > 20, "seed {seed}: only {branches} branches");
}
