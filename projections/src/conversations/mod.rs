//! Read model of the conversations of each user: title, flags, last message.
//!
//! The events of a batch are folded into one change per conversation, so that a busy conversation costs one row
//! update per batch.
//!
//! Counts and excerpts refer to the path of the active branch (`branches`).

mod branches;
pub mod query;

use std::collections::BTreeMap;
use std::sync::Arc;

use aggregates::conversation::{
    ConversationEvent, EventBody, LifecycleEvent, MessageEvent, ReplyEvent, SettingsEvent,
};
use aggregates::ids::ConversationId;
use aggregates::values::Title;
use aggregates::{Event, Personal};
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::runner::{ApplyFuture, Projection};
use event_store::RecordedEvent;

/// Length of the excerpt of the last message, in characters.
const EXCERPT: usize = 200;

/// Writes the tables `conversations` and `conversation_branches`.
#[derive(Debug)]
pub struct Conversations;

impl Projection for Conversations {
    fn name(&self) -> &'static str {
        "conversations"
    }

    fn handles(&self, event: &Event) -> bool {
        let Event::Conversation(event) = event else { return false };
        match &event.body {
            EventBody::Lifecycle(_) | EventBody::Settings(_) | EventBody::Branch(_) => true,
            EventBody::Message(event) => !matches!(event, MessageEvent::FeedbackGiven { .. }),
            EventBody::Reply { event, .. } => matches!(
                event,
                ReplyEvent::ReplyCompleted { .. }
                    | ReplyEvent::ReplyFailed { .. }
                    | ReplyEvent::ReplyCancelled { .. }
            ),
            EventBody::Item(_) => false,
        }
    }

    fn tables(&self) -> &'static [&'static str] {
        &["conversations", "conversation_branches"]
    }

    fn apply<'a>(
        &'a self,
        connection: &'a mut PgConnection,
        events: &'a [Arc<RecordedEvent>],
    ) -> ApplyFuture<'a> {
        Box::pin(async move {
            let mut changes: BTreeMap<ConversationId, Change> = BTreeMap::new();
            for recorded in events {
                match &recorded.event {
                    Event::Conversation(event) => {
                        if let EventBody::Branch(branch_event) = &event.body {
                            // Rare. The rows it saves and restores have to be up to date.
                            write(connection, &std::mem::take(&mut changes)).await?;
                            let conversation = event.conversation_id.uuid();
                            branches::apply(connection, recorded.position, conversation, branch_event)
                                .await?;
                        } else {
                            changes
                                .entry(event.conversation_id)
                                .or_default()
                                .project(recorded.position, event);
                        }
                    }
                    Event::User(_) | Event::Claim(_) | Event::Quiz(_) | Event::File(_) => {}
                }
            }
            write(connection, &changes).await
        })
    }
}

/// Changes of a batch to one conversation. An outer `None` leaves the column unchanged.
#[derive(Debug, Default)]
struct Change {
    started: Option<(Uuid, DateTime<Utc>)>,
    deleted: bool,
    title: Option<Option<String>>,
    pinned: Option<bool>,
    archived: Option<bool>,
    messages: i64,
    last_message: Option<Option<String>>,
    updated_at: Option<DateTime<Utc>>,
    /// Last message read, and the position of the event.
    read: Option<(Uuid, i64)>,
}

impl Change {
    fn project(&mut self, position: i64, event: &ConversationEvent) {
        let &ConversationEvent { owner, at, .. } = event;
        match &event.body {
            EventBody::Lifecycle(LifecycleEvent::ConversationStarted { title }) => {
                self.started = Some((owner.uuid(), at));
                self.title = Some(title.as_ref().and_then(known_title));
                self.updated_at = Some(at);
            }
            EventBody::Lifecycle(LifecycleEvent::ConversationDeleted {}) => self.deleted = true,
            EventBody::Settings(event) => match event {
                SettingsEvent::ConversationRenamed { title } => self.title = Some(known_title(title)),
                SettingsEvent::ConversationPinned {} => self.pinned = Some(true),
                SettingsEvent::ConversationUnpinned {} => self.pinned = Some(false),
                SettingsEvent::ConversationArchived {} => self.archived = Some(true),
                SettingsEvent::ConversationUnarchived {} => self.archived = Some(false),
            },
            EventBody::Message(event) => match event {
                MessageEvent::MessageSent { text, .. } => {
                    self.message(text.as_ref().known().map(|text| text.as_str()), at);
                }
                MessageEvent::ConversationRead { message_id, .. } => {
                    self.read = Some((message_id.uuid(), position));
                }
                MessageEvent::FeedbackGiven { .. } => {}
            },
            EventBody::Reply { event, .. } => match event {
                // The answer has no text: its items are shown instead.
                ReplyEvent::ReplyCompleted { text: Personal::Known(text), items, .. }
                    if text.as_str().is_empty() && !items.is_empty() => {}
                ReplyEvent::ReplyCompleted { text, .. }
                | ReplyEvent::ReplyFailed { text: Some(text), .. }
                | ReplyEvent::ReplyCancelled { text: Some(text), .. } => {
                    self.message(text.as_ref().known().map(|text| text.as_str()), at);
                }
                ReplyEvent::ReplyRequested { .. }
                | ReplyEvent::ReplyBegun { .. }
                | ReplyEvent::ReplyAttemptFailed { .. }
                | ReplyEvent::ReplyFailed { text: None, .. }
                | ReplyEvent::ReplyCancelled { text: None, .. } => {}
            },
            // `branches::apply` handles the branches.
            EventBody::Branch(_) | EventBody::Item(_) => {}
        }
    }

    fn message(&mut self, text: Option<&str>, at: DateTime<Utc>) {
        self.messages += 1;
        self.last_message = Some(text.map(|text| text.chars().take(EXCERPT).collect()));
        self.updated_at = Some(at);
    }
}

fn known_title(title: &Personal<Title>) -> Option<String> {
    title.as_ref().known().map(|title| title.as_str().to_owned())
}

async fn write(
    connection: &mut PgConnection,
    changes: &BTreeMap<ConversationId, Change>,
) -> Result<(), sqlx::Error> {
    let (mut ids, mut owners, mut created) = (Vec::new(), Vec::new(), Vec::new());
    let mut deleted = Vec::new();
    let mut changed = Changed::default();
    for (id, change) in changes {
        if change.deleted {
            deleted.push(id.uuid());
            continue;
        }
        if let Some((owner, at)) = change.started {
            ids.push(id.uuid());
            owners.push(owner);
            created.push(at);
        }
        changed.push(id.uuid(), change);
    }
    if !ids.is_empty() {
        sqlx::query(
            "INSERT INTO conversations
                 (conversation_id, owner, pinned, archived, message_count, created_at, updated_at)
             SELECT c.id, c.owner, false, false, 0, c.at, c.at
             FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS c(id, owner, at)",
        )
        .bind(&ids)
        .bind(&owners)
        .bind(&created)
        .execute(&mut *connection)
        .await?;
    }
    changed.write(connection).await?;
    if !deleted.is_empty() {
        for statement in [
            "DELETE FROM conversations WHERE conversation_id = ANY($1)",
            "DELETE FROM conversation_branches WHERE conversation_id = ANY($1)",
        ] {
            sqlx::query(statement).bind(&deleted).execute(&mut *connection).await?;
        }
    }
    Ok(())
}

/// Changes of a batch by column, for one statement.
#[derive(Debug, Default)]
struct Changed {
    ids: Vec<Uuid>,
    set_title: Vec<bool>,
    titles: Vec<Option<String>>,
    pinned: Vec<Option<bool>>,
    archived: Vec<Option<bool>>,
    messages: Vec<i64>,
    set_last: Vec<bool>,
    last: Vec<Option<String>>,
    updated: Vec<Option<DateTime<Utc>>>,
    read_to: Vec<Option<Uuid>>,
    read_position: Vec<Option<i64>>,
}

impl Changed {
    fn push(&mut self, id: Uuid, change: &Change) {
        self.ids.push(id);
        self.set_title.push(change.title.is_some());
        self.titles.push(change.title.clone().flatten());
        self.pinned.push(change.pinned);
        self.archived.push(change.archived);
        self.messages.push(change.messages);
        self.set_last.push(change.last_message.is_some());
        self.last.push(change.last_message.clone().flatten());
        self.updated.push(change.updated_at);
        self.read_to.push(change.read.map(|(message, _)| message));
        self.read_position.push(change.read.map(|(_, position)| position));
    }

    async fn write(self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if self.ids.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "UPDATE conversations AS c SET
                 title = CASE WHEN n.set_title THEN n.title ELSE c.title END,
                 pinned = coalesce(n.pinned, c.pinned),
                 archived = coalesce(n.archived, c.archived),
                 message_count = c.message_count + n.messages,
                 last_message = CASE WHEN n.set_last THEN n.last ELSE c.last_message END,
                 updated_at = coalesce(n.updated, c.updated_at),
                 read_to = coalesce(n.read_to, c.read_to),
                 read_position = coalesce(n.read_position, c.read_position)
             FROM unnest($1::uuid[], $2::bool[], $3::text[], $4::bool[], $5::bool[], $6::bigint[], $7::bool[],
                         $8::text[], $9::timestamptz[], $10::uuid[], $11::bigint[])
                  AS n(id, set_title, title, pinned, archived, messages, set_last, last, updated, read_to, read_position)
             WHERE c.conversation_id = n.id",
        )
        .bind(self.ids)
        .bind(self.set_title)
        .bind(self.titles)
        .bind(self.pinned)
        .bind(self.archived)
        .bind(self.messages)
        .bind(self.set_last)
        .bind(self.last)
        .bind(self.updated)
        .bind(self.read_to)
        .bind(self.read_position)
        .execute(connection)
        .await?;
        Ok(())
    }
}
