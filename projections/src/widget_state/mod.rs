//! Read model of the state of every quiz, so that its card can be shown at any time.
//!
//! The aggregate itself applies the events, so there is one interpretation of them. A batch is folded into one write per
//! quiz: its state is read once and written once.

pub mod query;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aggregates::Event;
use aggregates::conversation::{ConversationEvent, EventBody, LifecycleEvent};
use aggregates::ids::{ConversationId, QuizId};
use aggregates::quiz::{Quiz, QuizEvent};
use cqrs_es::Aggregate as _;
use sqlx::types::Json;
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use crate::runner::{ApplyFuture, Projection};
use event_store::RecordedEvent;

/// Writes the table `widget_state`.
#[derive(Debug)]
pub struct WidgetState;

impl Projection for WidgetState {
    fn name(&self) -> &'static str {
        "widget_state"
    }

    fn handles(&self, event: &Event) -> bool {
        match event {
            Event::Quiz(_) => true,
            Event::Conversation(event) => {
                matches!(event.body, EventBody::Lifecycle(LifecycleEvent::ConversationDeleted {}))
            }
            Event::User(_) | Event::Claim(_) | Event::File(_) => false,
        }
    }

    fn tables(&self) -> &'static [&'static str] {
        &["widget_state", "widget_state_deleted"]
    }

    fn apply<'a>(
        &'a self,
        connection: &'a mut PgConnection,
        events: &'a [Arc<RecordedEvent>],
    ) -> ApplyFuture<'a> {
        Box::pin(async move {
            let mut changes = Changes::load(connection, events).await?;
            for recorded in events {
                match &recorded.event {
                    Event::Quiz(event) => changes.quiz(recorded.position, event),
                    Event::Conversation(event) => changes.conversation(event),
                    Event::User(_) | Event::Claim(_) | Event::File(_) => {}
                }
            }
            changes.write(connection).await
        })
    }
}

/// A quiz with the positions of its start and of its last event.
struct Entry {
    quiz: Quiz,
    conversation: ConversationId,
    owner: Uuid,
    started: i64,
    position: i64,
}

/// Changes of a batch.
#[derive(Default)]
struct Changes {
    /// The quizzes that the batch changes.
    entries: BTreeMap<QuizId, Entry>,
    /// Conversations that were deleted earlier or in this batch.
    deleted: BTreeSet<ConversationId>,
    /// Conversations deleted in this batch.
    newly_deleted: BTreeSet<ConversationId>,
}

impl Changes {
    async fn load(connection: &mut PgConnection, events: &[Arc<RecordedEvent>]) -> Result<Self, sqlx::Error> {
        let (mut quizzes, mut begun_in) = (BTreeSet::new(), BTreeSet::new());
        for recorded in events {
            if let Event::Quiz(event) = &recorded.event {
                if matches!(event, QuizEvent::QuizStarted { .. }) {
                    begun_in.insert(event.conversation_id().uuid());
                }
                quizzes.insert(event.quiz_id().uuid());
            }
        }
        let mut changes = Self::default();
        if !quizzes.is_empty() {
            let rows = sqlx::query(
                "SELECT quiz_id, conversation_id, owner, started, position, state
                 FROM widget_state WHERE quiz_id = ANY($1)",
            )
            .bind(Vec::from_iter(quizzes))
            .fetch_all(&mut *connection)
            .await?;
            for row in rows {
                let Json(quiz) = row.try_get("state")?;
                let entry = Entry {
                    quiz,
                    conversation: ConversationId::new(row.try_get("conversation_id")?),
                    owner: row.try_get("owner")?,
                    started: row.try_get("started")?,
                    position: row.try_get("position")?,
                };
                changes.entries.insert(QuizId::new(row.try_get("quiz_id")?), entry);
            }
        }
        if !begun_in.is_empty() {
            let deleted: Vec<Uuid> = sqlx::query_scalar(
                "SELECT conversation_id FROM widget_state_deleted WHERE conversation_id = ANY($1)",
            )
            .bind(Vec::from_iter(begun_in))
            .fetch_all(connection)
            .await?;
            changes.deleted.extend(deleted.into_iter().map(ConversationId::new));
        }
        Ok(changes)
    }

    fn quiz(&mut self, position: i64, event: &QuizEvent) {
        if let QuizEvent::QuizStarted { quiz_id, conversation_id, owner, .. } = event {
            if self.deleted.contains(conversation_id) {
                return;
            }
            let mut quiz = Quiz::default();
            quiz.apply(event.clone());
            let (conversation, owner) = (*conversation_id, owner.uuid());
            self.entries.insert(*quiz_id, Entry { quiz, conversation, owner, started: position, position });
            return;
        }
        // Without a row, the conversation was deleted.
        if let Some(entry) = self.entries.get_mut(&event.quiz_id()) {
            entry.quiz.apply(event.clone());
            entry.position = position;
        }
    }

    fn conversation(&mut self, event: &ConversationEvent) {
        if event.body == EventBody::Lifecycle(LifecycleEvent::ConversationDeleted {}) {
            self.entries.retain(|_, entry| entry.conversation != event.conversation_id);
            self.deleted.insert(event.conversation_id);
            self.newly_deleted.insert(event.conversation_id);
        }
    }

    async fn write(self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if !self.entries.is_empty() {
            let (mut ids, mut conversations, mut owners) = (Vec::new(), Vec::new(), Vec::new());
            let (mut states, mut started, mut positions) = (Vec::new(), Vec::new(), Vec::new());
            for (id, entry) in self.entries {
                ids.push(id.uuid());
                conversations.push(entry.conversation.uuid());
                owners.push(entry.owner);
                states.push(Json(entry.quiz));
                started.push(entry.started);
                positions.push(entry.position);
            }
            sqlx::query(
                "INSERT INTO widget_state (quiz_id, conversation_id, owner, state, started, position)
                 SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::jsonb[], $5::bigint[], $6::bigint[])
                 ON CONFLICT (quiz_id) DO UPDATE SET state = excluded.state, position = excluded.position",
            )
            .bind(ids)
            .bind(conversations)
            .bind(owners)
            .bind(states)
            .bind(started)
            .bind(positions)
            .execute(&mut *connection)
            .await?;
        }
        if !self.newly_deleted.is_empty() {
            let deleted: Vec<Uuid> = self.newly_deleted.into_iter().map(ConversationId::uuid).collect();
            sqlx::query("DELETE FROM widget_state WHERE conversation_id = ANY($1)")
                .bind(&deleted)
                .execute(&mut *connection)
                .await?;
            sqlx::query("INSERT INTO widget_state_deleted SELECT unnest($1::uuid[]) ON CONFLICT DO NOTHING")
                .bind(&deleted)
                .execute(connection)
                .await?;
        }
        Ok(())
    }
}
