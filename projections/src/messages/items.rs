//! Projects items: calls of client tools, questions, widgets, quizzes and notes; and the
//! feedback on messages and items.

use aggregates::Event;
use aggregates::conversation::{
    ConversationEvent, EventBody, ItemEvent, MessageContext, MessageEvent, Verdict,
};
use aggregates::ids::MessageId;
use aggregates::quiz::QuizEvent;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use super::branches::BranchChanges;
use event_store::RecordedEvent;

/// Columns of a message's row for what was sent with its text.
#[derive(Default)]
pub(super) struct ContextColumns {
    pub(super) files: Option<Value>,
    pub(super) composed: Option<Value>,
    pub(super) tool_choice: Option<String>,
}

pub(super) fn enclosed(enclosed: &MessageContext) -> ContextColumns {
    let MessageContext { files, composed, tool_choice } = enclosed;
    let composed = composed.as_ref().and_then(|composed| composed.as_ref().known());
    ContextColumns {
        files: (!files.is_empty()).then(|| json!(files)),
        composed: composed.map(|composed| storable(json!(composed))),
        tool_choice: tool_choice.clone(),
    }
}

/// Removes U+0000, which the database cannot store in JSON: an event in the log must not stop the projection.
fn storable(value: Value) -> Value {
    let text = |text: String| if text.contains('\0') { text.replace('\0', "") } else { text };
    match value {
        Value::String(string) => Value::String(text(string)),
        Value::Array(values) => values.into_iter().map(storable).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(key, value)| (text(key), storable(value))).collect()
        }
        plain @ (Value::Null | Value::Bool(_) | Value::Number(_)) => plain,
    }
}

/// A new item.
struct NewItem<'a> {
    item_id: Uuid,
    conversation: Uuid,
    /// `None` means the one stored as active.
    branch: Option<i32>,
    kind: &'static str,
    status: &'static str,
    reply_id: Option<Uuid>,
    content: Value,
    at: &'a DateTime<Utc>,
}

/// Applies an event to the items. Most events change nothing.
pub(super) async fn apply(
    connection: &mut PgConnection,
    recorded: &RecordedEvent,
    branch_changes: &BranchChanges,
) -> Result<(), sqlx::Error> {
    match &recorded.event {
        Event::Conversation(event) => match &event.body {
            EventBody::Item(item) => {
                let branch = branch_changes.branch_of(event.conversation_id.uuid());
                of_conversation(connection, recorded.position, branch, event, item).await
            }
            EventBody::Message(MessageEvent::FeedbackGiven { item_ids, verdict }) => {
                rate(connection, event.conversation_id.uuid(), item_ids, *verdict).await
            }
            EventBody::Message(MessageEvent::MessageSent { .. } | MessageEvent::ConversationRead { .. })
            | EventBody::Lifecycle(_)
            | EventBody::Settings(_)
            | EventBody::Reply { .. }
            | EventBody::Branch(_) => Ok(()),
        },
        Event::Quiz(QuizEvent::QuizStarted { quiz_id, conversation_id, at, .. }) => {
            let item = NewItem {
                item_id: quiz_id.uuid(),
                conversation: conversation_id.uuid(),
                branch: branch_changes.branch_of(conversation_id.uuid()),
                kind: "quiz",
                status: "shown",
                reply_id: None,
                content: json!({}),
                at,
            };
            insert(connection, recorded.position, item).await
        }
        Event::Quiz(
            QuizEvent::QuizChoiceSelected { .. }
            | QuizEvent::QuizChoiceCleared { .. }
            | QuizEvent::QuizAnswerSubmitted { .. }
            | QuizEvent::QuizMovedOn { .. }
            | QuizEvent::QuizFinished { .. },
        )
        | Event::User(_)
        | Event::Claim(_)
        | Event::File(_) => Ok(()),
    }
}

async fn of_conversation(
    connection: &mut PgConnection,
    position: i64,
    branch: Option<i32>,
    ConversationEvent { conversation_id, at, .. }: &ConversationEvent,
    event: &ItemEvent,
) -> Result<(), sqlx::Error> {
    let new = |item_id: Uuid, kind, status, reply_id: Option<Uuid>, content| NewItem {
        item_id,
        conversation: conversation_id.uuid(),
        branch,
        kind,
        status,
        reply_id,
        content,
        at,
    };
    match event {
        ItemEvent::ClientToolCalled { item_id, reply_id, call_id, name, arguments } => {
            let arguments = arguments.as_ref().known();
            let content = json!({"call_id": call_id, "name": name, "arguments": arguments});
            let reply = Some(reply_id.uuid());
            let item = new(item_id.uuid(), "client_tool_call", "pending", reply, content);
            insert(connection, position, item).await
        }
        ItemEvent::InputRequested { item_id, reply_id, questions } => {
            let content = json!({"questions": questions.as_ref().known()});
            let reply = Some(reply_id.uuid());
            let item = new(item_id.uuid(), "structured_input", "pending", reply, content);
            insert(connection, position, item).await
        }
        ItemEvent::WidgetShown { item_id, reply_id, widget, copy_text } => {
            let copy_text = copy_text.as_ref().and_then(|text| text.as_ref().known());
            let content = json!({"widget": widget.as_ref().known(), "copy_text": copy_text});
            let item = new(item_id.uuid(), "widget", "shown", Some(reply_id.uuid()), content);
            insert(connection, position, item).await
        }
        ItemEvent::NoteAdded { item_id, note } => {
            let content = json!({"note": note.as_ref().known()});
            insert(connection, position, new(item_id.uuid(), "note", "shown", None, content)).await
        }
        ItemEvent::ClientToolAnswered { item_id, output } => {
            let more = json!({"output": output.as_ref().known()});
            answer(connection, position, item_id.uuid(), "answered", more).await
        }
        ItemEvent::ClientToolDropped { item_id } => {
            answer(connection, position, item_id.uuid(), "dropped", json!({})).await
        }
        ItemEvent::InputAnswered { item_id, skipped, answers } => {
            let status = if *skipped { "skipped" } else { "answered" };
            let more = json!({"answers": answers.as_ref().known()});
            answer(connection, position, item_id.uuid(), status, more).await
        }
    }
}

/// Writes the rating of messages and items.
async fn rate(
    connection: &mut PgConnection,
    conversation: Uuid,
    item_ids: &[MessageId],
    verdict: Verdict,
) -> Result<(), sqlx::Error> {
    let ids: Vec<Uuid> = item_ids.iter().map(|id| id.uuid()).collect();
    for statement in [
        "UPDATE messages SET feedback = $3 WHERE message_id = ANY($1) AND conversation_id = $2",
        "UPDATE items SET feedback = $3 WHERE item_id = ANY($1) AND conversation_id = $2",
    ] {
        sqlx::query(statement)
            .bind(&ids)
            .bind(conversation)
            .bind(verdict.as_str())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn insert(connection: &mut PgConnection, position: i64, item: NewItem<'_>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO items (item_id, conversation_id, position, kind, status, reply_id, content, created_at, branch)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8,
                 coalesce($9, (SELECT branch FROM branches WHERE conversation_id = $2 AND active), 0))",
    )
    .bind(item.item_id)
    .bind(item.conversation)
    .bind(position)
    .bind(item.kind)
    .bind(item.status)
    .bind(item.reply_id)
    .bind(storable(item.content))
    .bind(item.at)
    .bind(item.branch)
    .execute(connection)
    .await?;
    Ok(())
}

async fn answer(
    connection: &mut PgConnection,
    position: i64,
    item: Uuid,
    status: &str,
    more: Value,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE items SET status = $2, content = content || $3, answered_position = $4 WHERE item_id = $1",
    )
    .bind(item)
    .bind(status)
    .bind(storable(more))
    .bind(position)
    .execute(connection)
    .await?;
    Ok(())
}
