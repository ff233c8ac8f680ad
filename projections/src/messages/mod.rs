//! Read model of the messages, answers and items of each conversation, in the order of the log, and of their
//! branches.
//!
//! One projection for all: a page of a conversation shows them together, and a reader must not see one without the
//! other.

pub mod branch_queries;
mod branches;
mod items;
pub mod query;
pub mod thread;
mod visibility;

pub(crate) use branches::number;

use std::sync::Arc;

use aggregates::conversation::{ConversationEvent, EventBody, LifecycleEvent, MessageEvent, ReplyEvent};
use aggregates::ids::{MessageId, ReplyId};
use aggregates::quiz::QuizEvent;
use aggregates::values::ReplyText;
use aggregates::{Event, Personal};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::runner::{ApplyFuture, Projection};
use event_store::RecordedEvent;

/// Writes the tables `messages`, `items` and `branches`.
#[derive(Debug)]
pub struct Messages;

impl Projection for Messages {
    fn name(&self) -> &'static str {
        "messages"
    }

    fn handles(&self, event: &Event) -> bool {
        match event {
            Event::Conversation(event) => match &event.body {
                EventBody::Message(event) => !matches!(event, MessageEvent::ConversationRead { .. }),
                EventBody::Reply { event, .. } => {
                    !matches!(event, ReplyEvent::ReplyBegun { .. } | ReplyEvent::ReplyAttemptFailed { .. })
                }
                EventBody::Lifecycle(event) => *event == LifecycleEvent::ConversationDeleted {},
                EventBody::Branch(_) | EventBody::Item(_) => true,
                EventBody::Settings(_) => false,
            },
            Event::Quiz(event) => matches!(event, QuizEvent::QuizStarted { .. }),
            Event::User(_) | Event::Claim(_) | Event::File(_) => false,
        }
    }

    fn tables(&self) -> &'static [&'static str] {
        &["messages", "items", "branches", "reply_requests"]
    }

    fn apply<'a>(
        &'a self,
        connection: &'a mut PgConnection,
        events: &'a [Arc<RecordedEvent>],
    ) -> ApplyFuture<'a> {
        Box::pin(async move {
            let mut new = NewRows::default();
            let mut asked = ReplyRequests::default();
            let mut branch_changes = branches::BranchChanges::default();
            let mut deleted = Deleted::default();
            for recorded in events {
                if let Event::Conversation(event) = &recorded.event {
                    if branches::reads_rows(event) {
                        std::mem::take(&mut new).write(connection).await?;
                        std::mem::take(&mut asked).write(connection).await?;
                    }
                    new.branch = branch_changes.branch_of(event.conversation_id.uuid());
                    project(recorded.position, event, &mut new, &mut asked, &mut deleted);
                    branch_changes.apply(connection, recorded.position, event).await?;
                }
                items::apply(connection, recorded, &branch_changes).await?;
            }
            new.write(connection).await?;
            asked.write(connection).await?;
            branch_changes.write(connection).await?;
            deleted.write(connection).await?;
            Ok(())
        })
    }
}

fn project(
    position: i64,
    event: &ConversationEvent,
    new: &mut NewRows,
    asked: &mut ReplyRequests,
    deleted: &mut Deleted,
) {
    let &ConversationEvent { conversation_id, at, .. } = event;
    let conversation = conversation_id.uuid();
    match &event.body {
        EventBody::Message(MessageEvent::MessageSent { message_id, text, enclosed }) => new.push(NewRow {
            message_id: message_id.uuid(),
            conversation,
            position,
            role: "user",
            status: "complete",
            text: text.as_ref().known().map(|text| text.as_str().to_owned()),
            reply_id: None,
            in_reply_to: None,
            model: None,
            enclosed: items::enclosed(enclosed),
            at,
        }),
        EventBody::Reply { message_id, reply_id, event } => {
            let answer = answer(conversation, position, *message_id, *reply_id, at);
            project_reply((*message_id, *reply_id), event, answer, new, asked);
        }
        EventBody::Lifecycle(LifecycleEvent::ConversationDeleted {}) => {
            deleted.conversations.push(conversation);
            deleted.positions.push(position);
        }
        EventBody::Lifecycle(LifecycleEvent::ConversationStarted { .. })
        | EventBody::Settings(_)
        | EventBody::Message(MessageEvent::FeedbackGiven { .. } | MessageEvent::ConversationRead { .. })
        // `BranchChanges` and `items` handle these.
        | EventBody::Branch(_)
        | EventBody::Item(_) => {}
    }
}

/// Projects an event of a reply. `answer` is the row of its answer, without content.
fn project_reply(
    (message_id, reply_id): (MessageId, ReplyId),
    event: &ReplyEvent,
    answer: NewRow,
    new: &mut NewRows,
    asked: &mut ReplyRequests,
) {
    let written = |text: &Personal<ReplyText>| text.as_ref().known().map(|text| text.as_str().to_owned());
    match event {
        ReplyEvent::ReplyRequested { model, .. } => {
            // `BranchChanges` handles repeated requests.
            if !branches::is_again(message_id, reply_id)
                // The message may be of this batch or an earlier one. An item has no message row.
                && !new.set_reply(message_id.uuid(), reply_id.uuid(), model.as_deref())
            {
                asked.push(message_id.uuid(), reply_id.uuid(), model.clone());
            }
        }
        // The answer has no text: its items are shown instead.
        ReplyEvent::ReplyCompleted { text: Personal::Known(text), items, .. }
            if text.as_str().is_empty() && !items.is_empty() => {}
        ReplyEvent::ReplyCompleted { text, model, .. } => {
            new.push(NewRow { text: written(text), model: Some(model.clone()), ..answer });
        }
        ReplyEvent::ReplyFailed { text: Some(text), .. } => {
            new.push(NewRow { status: "failed", text: written(text), ..answer });
        }
        ReplyEvent::ReplyCancelled { text: Some(text), .. } => {
            new.push(NewRow { status: "cancelled", text: written(text), ..answer });
        }
        ReplyEvent::ReplyBegun { .. }
        | ReplyEvent::ReplyAttemptFailed { .. }
        | ReplyEvent::ReplyFailed { text: None, .. }
        | ReplyEvent::ReplyCancelled { text: None, .. } => {}
    }
}

fn answer(
    conversation: Uuid,
    position: i64,
    message_id: MessageId,
    reply_id: ReplyId,
    at: DateTime<Utc>,
) -> NewRow {
    NewRow {
        message_id: MessageId::answering(reply_id).uuid(),
        conversation,
        position,
        role: "assistant",
        status: "complete",
        text: None,
        reply_id: Some(reply_id.uuid()),
        in_reply_to: Some(message_id.uuid()),
        model: None,
        enclosed: items::ContextColumns::default(),
        at,
    }
}

struct NewRow {
    message_id: Uuid,
    conversation: Uuid,
    position: i64,
    role: &'static str,
    status: &'static str,
    text: Option<String>,
    reply_id: Option<Uuid>,
    in_reply_to: Option<Uuid>,
    model: Option<String>,
    enclosed: items::ContextColumns,
    at: DateTime<Utc>,
}

/// Replies requested for messages of earlier batches.
#[derive(Default)]
struct ReplyRequests {
    messages: Vec<Uuid>,
    replies: Vec<Uuid>,
    models: Vec<Option<String>>,
}

impl ReplyRequests {
    fn push(&mut self, message: Uuid, reply: Uuid, model: Option<String>) {
        // A statement changes a row once: the last request wins.
        if let Some(known) = self.messages.iter().position(|known| *known == message) {
            (self.replies[known], self.models[known]) = (reply, model);
            return;
        }
        self.messages.push(message);
        self.replies.push(reply);
        self.models.push(model);
    }

    async fn write(self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if self.messages.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "UPDATE messages AS m SET reply_id = a.reply, requested_model = a.model
             FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS a(message, reply, model)
             WHERE m.message_id = a.message",
        )
        .bind(self.messages)
        .bind(self.replies)
        .bind(self.models)
        .execute(connection)
        .await?;
        Ok(())
    }
}

/// Deleted conversations, with the positions of their deletion events.
#[derive(Default)]
struct Deleted {
    conversations: Vec<Uuid>,
    positions: Vec<i64>,
}

impl Deleted {
    async fn write(self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if self.conversations.is_empty() {
            return Ok(());
        }
        // Two partial indexes cover a conversation's rows, so there is one statement for each. A quiz started concurrently may follow
        // the deletion, in this batch or the next.
        for statement in [
            "DELETE FROM messages AS m USING unnest($1::uuid[], $2::bigint[]) AS d(id, position)
             WHERE m.conversation_id = d.id AND m.position < d.position AND m.is_active",
            "DELETE FROM messages AS m USING unnest($1::uuid[], $2::bigint[]) AS d(id, position)
             WHERE m.conversation_id = d.id AND m.position < d.position AND NOT m.is_active",
            "DELETE FROM items AS i USING unnest($1::uuid[], $2::bigint[]) AS d(id, position)
             WHERE i.conversation_id = d.id AND i.position < d.position AND i.is_active",
            "DELETE FROM items AS i USING unnest($1::uuid[], $2::bigint[]) AS d(id, position)
             WHERE i.conversation_id = d.id AND i.position < d.position AND NOT i.is_active",
        ] {
            sqlx::query(statement)
                .bind(&self.conversations)
                .bind(&self.positions)
                .execute(&mut *connection)
                .await?;
        }
        branches::forget(connection, &self.conversations).await
    }
}

/// New rows of a batch by column, for one statement.
#[derive(Default)]
struct NewRows {
    /// Branch of the next row; `None` means the one stored as active.
    branch: Option<i32>,
    branches: Vec<Option<i32>>,
    message_ids: Vec<Uuid>,
    conversations: Vec<Uuid>,
    positions: Vec<i64>,
    roles: Vec<&'static str>,
    statuses: Vec<&'static str>,
    texts: Vec<Option<String>>,
    reply_ids: Vec<Option<Uuid>>,
    in_reply_to: Vec<Option<Uuid>>,
    models: Vec<Option<String>>,
    times: Vec<DateTime<Utc>>,
    /// As JSON: Postgres arrays of arrays need rows of equal length.
    files: Vec<Option<Value>>,
    composed: Vec<Option<Value>>,
    tool_choices: Vec<Option<String>>,
    requested_models: Vec<Option<String>>,
}

impl NewRows {
    fn push(&mut self, row: NewRow) {
        self.branches.push(self.branch);
        self.message_ids.push(row.message_id);
        self.conversations.push(row.conversation);
        self.positions.push(row.position);
        self.roles.push(row.role);
        self.statuses.push(row.status);
        self.texts.push(row.text);
        self.reply_ids.push(row.reply_id);
        self.in_reply_to.push(row.in_reply_to);
        self.models.push(row.model);
        self.times.push(row.at);
        self.files.push(row.enclosed.files);
        self.composed.push(row.enclosed.composed);
        self.tool_choices.push(row.enclosed.tool_choice);
        self.requested_models.push(None);
    }

    /// Sets the reply that a message of this batch asked for; returns false if the message is not of this batch.
    fn set_reply(&mut self, message: Uuid, reply: Uuid, model: Option<&str>) -> bool {
        match self.message_ids.iter().rposition(|id| *id == message) {
            Some(index) => {
                self.reply_ids[index] = Some(reply);
                self.requested_models[index] = model.map(str::to_owned);
                true
            }
            None => false,
        }
    }

    async fn write(self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if self.message_ids.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "INSERT INTO messages (message_id, conversation_id, position, role, status, text, reply_id, in_reply_to,
                                   model, created_at, files, composed, tool_choice, requested_model, branch)
             SELECT n.message, n.conversation, n.position, n.role, n.status, n.text, n.reply, n.in_reply_to, n.model, n.at, n.files,
                    n.composed, n.tool_choice, n.requested_model, coalesce(n.branch, b.branch, 0)
             FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::text[],
                         $7::uuid[], $8::uuid[], $9::text[], $10::timestamptz[], $11::jsonb[], $12::jsonb[],
                         $13::text[], $14::text[], $15::integer[])
                  AS n(message, conversation, position, role, status, text, reply, in_reply_to, model, at, files, composed,
                       tool_choice, requested_model, branch)
             LEFT JOIN branches AS b ON b.conversation_id = n.conversation AND b.active",
        )
        .bind(self.message_ids)
        .bind(self.conversations)
        .bind(self.positions)
        .bind(self.roles)
        .bind(self.statuses)
        .bind(self.texts)
        .bind(self.reply_ids)
        .bind(self.in_reply_to)
        .bind(self.models)
        .bind(self.times)
        .bind(self.files)
        .bind(self.composed)
        .bind(self.tool_choices)
        .bind(self.requested_models)
        .bind(self.branches)
        .execute(connection)
        .await?;
        Ok(())
    }
}
