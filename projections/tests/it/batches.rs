//! The rows of read models do not depend on batch boundaries.

use std::sync::Arc;

use aggregates::Event;
use aggregates::conversation::{BranchEvent, EventBody, LifecycleEvent};
use aggregates::ids::ConversationId;
use event_store::RecordedEvent;
use projections::registry;
use projections::runner::{MAX_BATCH, Projection};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sqlx::PgPool;

use crate::events::{TALK, deleted, event, sent, started};
use crate::history::{history, quiz_history};
use crate::support::{Log, read_all, rows_of};

/// Appends random conversations with many switches between branches.
async fn append_with_branch_switches(log: &Log, random: &mut StdRng) {
    let mut lives = Vec::new();
    for _ in 0..10 {
        let talk = history(random, 160);
        let Event::Conversation(first) = &talk[0][0] else { panic!("a conversation begins with its start") };
        let id = first.conversation_id;
        // The quiz may outlast its conversation.
        lives.push((id, quiz_history(random, id, 40).into_iter(), 0));
        lives.push((id, talk.into_iter(), 1));
    }
    let mut open: Vec<ConversationId> = lives.iter().map(|(id, ..)| *id).collect();
    while !lives.is_empty() {
        let index = random.random_range(0..lives.len());
        let (id, life, branches) = &mut lives[index];
        let id = *id;
        let Some(events) = life.next() else {
            drop(lives.remove(index));
            continue;
        };
        log.append(&events).await;
        for event in &events {
            let Event::Conversation(event) = event else { continue };
            match &event.body {
                EventBody::Branch(
                    BranchEvent::BranchBegun { .. } | BranchEvent::ConversationRewound { .. },
                ) => *branches += 1,
                EventBody::Lifecycle(LifecycleEvent::ConversationDeleted {}) => {
                    open.retain(|known| *known != id);
                }
                _ => {}
            }
        }
        while *branches > 1 && open.contains(&id) && random.random_ratio(2, 3) {
            let branch = random.random_range(0..*branches);
            let switched = event(id, 1_000, BranchEvent::BranchSwitched { branch });
            log.append(&[switched]).await;
        }
    }
}

/// Applies the log to an empty read model in batches of these lengths; returns the rows of its tables.
async fn rows_after(
    pool: &PgPool,
    projection: &dyn Projection,
    log: &[Arc<RecordedEvent>],
    mut length: impl FnMut() -> usize,
) -> Vec<Vec<String>> {
    let mut transaction = pool.begin().await.unwrap();
    let mut rest = log;
    while !rest.is_empty() {
        let (batch, after) = rest.split_at(length().min(rest.len()));
        projection.apply(&mut transaction, batch).await.unwrap();
        rest = after;
    }
    let mut rows = Vec::new();
    for table in projection.tables() {
        rows.push(rows_of(&mut *transaction, table).await);
    }
    transaction.rollback().await.unwrap();
    rows
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn events_after_deletion_are_independent_of_batches(pool: PgPool) {
    let log = Log::new(&pool);
    let mut random = StdRng::seed_from_u64(1);
    // A quiz that was started while its conversation was deleted.
    log.append(&[started(TALK, None, 0), sent(TALK, 1, "Hello", 0)]).await;
    log.append(&[deleted(TALK, 1)]).await;
    log.append(&quiz_history(&mut random, TALK, 1)[0]).await;
    let events = read_all(&log.reader).await;
    for projection in registry::all() {
        let whole = rows_after(&pool, projection.as_ref(), &events, || MAX_BATCH).await;
        let single = rows_after(&pool, projection.as_ref(), &events, || 1).await;
        assert_eq!(single, whole, "{}", projection.name());
    }
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn rows_are_independent_of_batch_boundaries(pool: PgPool) {
    let log = Log::new(&pool);
    let seed: u64 = rand::rng().random();
    let mut random = StdRng::seed_from_u64(seed);
    append_with_branch_switches(&log, &mut random).await;
    let events = read_all(&log.reader).await;
    let switches = events.iter().filter(|event| event.event.event_type() == "branch_switched").count();
    assert!(switches > 100, "seed {seed}: only {switches} branch switches");
    for projection in registry::all() {
        let name = projection.name();
        let whole = rows_after(&pool, projection.as_ref(), &events, || MAX_BATCH).await;
        let single = rows_after(&pool, projection.as_ref(), &events, || 1).await;
        assert_eq!(single, whole, "seed {seed}: {name}, in batches of one");
        for max in [3, 12, 60, 300] {
            let any = rows_after(&pool, projection.as_ref(), &events, || random.random_range(1..=max)).await;
            assert_eq!(any, whole, "seed {seed}: {name}, up to {max} at once");
        }
    }
}
