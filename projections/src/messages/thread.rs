//! Queries on the entries of a conversation: messages, answers and items, in one order.

use aggregates::conversation::{Composed, InputAnswer, InputQuestion};
use aggregates::quiz::{Quiz, QuizView};
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgExecutor, Row as _};
use uuid::Uuid;

/// An entry of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct ThreadRow {
    /// Id of the entry.
    pub id: Uuid,
    /// Conversation it belongs to.
    pub conversation_id: Uuid,
    /// Position of its event, which orders the conversation.
    pub position: i64,
    /// Position of the event that answered it, for an answered item.
    pub answered_at: Option<i64>,
    /// Reply that it belongs to, or that a message asked for last.
    pub reply_id: Option<Uuid>,
    /// Rating by its owner: `positive` or `negative`.
    pub feedback: Option<String>,
    /// Time of the event (UTC).
    pub created_at: DateTime<Utc>,
    /// Content of the entry.
    pub entry: Entry,
}

/// Content of an entry. Erased text is `None`.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// A user's message.
    Message {
        /// Its text.
        text: Option<String>,
        /// The message as composed, if it is more than plain text.
        composed: Option<Composed>,
        /// Attached files.
        files: Vec<Uuid>,
        /// Tool chosen in the composer.
        tool_choice: Option<String>,
        /// Requested model.
        model: Option<String>,
    },
    /// An answer.
    Answer {
        /// Its text.
        text: Option<String>,
        /// `complete`; `cancelled` or `failed` for a partial answer.
        status: String,
        /// Message or item that it answers.
        in_reply_to: Option<Uuid>,
    },
    /// A call of a client tool.
    ClientToolCall {
        /// Id that the model gave the call.
        call_id: String,
        /// Name of the tool.
        name: String,
        /// Arguments of the call.
        arguments: Value,
        /// Output; `None` while the call is pending.
        output: Option<Value>,
    },
    /// Questions to the user.
    StructuredInput {
        /// `pending`, `answered` or `skipped`.
        status: String,
        /// The questions.
        questions: Vec<InputQuestion>,
        /// The answers.
        answers: Vec<InputAnswer>,
    },
    /// A widget.
    Widget {
        /// The widget.
        widget: Value,
        /// Text for the copy button.
        copy_text: Option<String>,
    },
    /// A quiz; `None` while its read model lags.
    Quiz(Option<Box<QuizView>>),
    /// A note for the model. Users do not see it.
    Note(Option<String>),
}

impl ThreadRow {
    /// Whether users never see it.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        matches!(self.entry, Entry::Note(_))
    }
}

impl<'r> FromRow<'r, PgRow> for ThreadRow {
    fn from_row(row: &'r PgRow) -> Result<Self, sqlx::Error> {
        let kind: &str = row.try_get("kind")?;
        // Treat unreadable content as erased.
        let content: Option<Value> = row.try_get("content").unwrap_or(None);
        let field = |name: &str| content.as_ref().and_then(|content| content.get(name)).cloned();
        let text = |name: &str| field(name).and_then(|value| value.as_str().map(str::to_owned));
        let entry = match kind {
            "user" => Entry::Message {
                text: row.try_get("text")?,
                composed: parsed(row.try_get("composed").unwrap_or(None)),
                files: parsed(row.try_get("files")?).unwrap_or_default(),
                tool_choice: row.try_get("tool_choice")?,
                model: row.try_get("requested_model")?,
            },
            "assistant" => Entry::Answer {
                text: row.try_get("text")?,
                status: row.try_get("status")?,
                in_reply_to: row.try_get("in_reply_to")?,
            },
            "client_tool_call" => Entry::ClientToolCall {
                call_id: text("call_id").unwrap_or_default(),
                name: text("name").unwrap_or_default(),
                arguments: field("arguments").unwrap_or_default(),
                output: (row.try_get::<&str, _>("status")? == "answered")
                    .then(|| field("output").unwrap_or_default()),
            },
            "structured_input" => Entry::StructuredInput {
                status: row.try_get("status")?,
                questions: parsed(field("questions")).unwrap_or_default(),
                answers: parsed(field("answers")).unwrap_or_default(),
            },
            "widget" => {
                Entry::Widget { widget: field("widget").unwrap_or_default(), copy_text: text("copy_text") }
            }
            "quiz" => {
                let quiz: Option<Quiz> = parsed(row.try_get("state")?);
                Entry::Quiz(quiz.and_then(|quiz| quiz.view()).map(Box::new))
            }
            _ => Entry::Note(text("note")),
        };
        Ok(Self {
            id: row.try_get("id")?,
            conversation_id: row.try_get("conversation_id")?,
            position: row.try_get("position")?,
            answered_at: row.try_get("answered_position")?,
            reply_id: row.try_get("reply_id")?,
            feedback: row.try_get("feedback")?,
            created_at: row.try_get("created_at")?,
            entry,
        })
    }
}

/// Parses a column that a projection has written; an unknown shape counts as erased.
fn parsed<T: DeserializeOwned>(value: Option<Value>) -> Option<T> {
    value.and_then(|value| serde_json::from_value(value).ok())
}

/// Columns of messages and items, so that both are rows of one kind.
macro_rules! thread {
    ($messages:literal, $items:literal, $after:literal) => {
        concat!(
            "SELECT t.*, w.state FROM (
                 (SELECT message_id AS id, conversation_id, position, role AS kind, status, text, reply_id, in_reply_to,
                         files, composed, tool_choice, requested_model, NULL::jsonb AS content, feedback, created_at,
                         NULL::bigint AS answered_position
                  FROM messages WHERE is_active AND ",
            $messages,
            ") UNION ALL
                 (SELECT item_id, conversation_id, position, kind, status, NULL, reply_id, NULL, NULL, NULL, NULL, NULL,
                         content, feedback, created_at, answered_position
                  FROM items WHERE is_active AND status <> 'dropped' AND ",
            $items,
            ")) AS t LEFT JOIN widget_state AS w ON t.kind = 'quiz' AND w.quiz_id = t.id ",
            $after
        )
    };
}

/// Order of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Oldest first.
    Ascending,
    /// Newest first.
    Descending,
}

const ASCENDING: &str = thread!(
    "conversation_id = $1 AND position > $2 ORDER BY position LIMIT $3",
    "kind <> 'note' AND conversation_id = $1 AND position > $2 ORDER BY position LIMIT $3",
    "ORDER BY t.position LIMIT $3"
);
const DESCENDING: &str = thread!(
    "conversation_id = $1 AND position < $2 ORDER BY position DESC LIMIT $3",
    "kind <> 'note' AND conversation_id = $1 AND position < $2 ORDER BY position DESC LIMIT $3",
    "ORDER BY t.position DESC LIMIT $3"
);

/// Returns at most `limit` visible entries of a conversation after the position `from` in that order; without `from`, from its
/// start or end. The caller has checked the owner.
///
/// # Errors
/// Fails if the database does.
pub async fn page(
    pool: impl PgExecutor<'_>,
    conversation: Uuid,
    order: Order,
    from: Option<i64>,
    limit: i64,
) -> Result<Vec<ThreadRow>, sqlx::Error> {
    let (statement, from) = match order {
        Order::Ascending => (ASCENDING, from.unwrap_or(0)),
        Order::Descending => (DESCENDING, from.unwrap_or(i64::MAX)),
    };
    sqlx::query_as(statement).bind(conversation).bind(from).bind(limit).fetch_all(pool).await
}

/// Returns at most `limit` of the newest messages and answers of a conversation, and as many of the newest items, including
/// hidden ones, newest first: the input of the context policy.
///
/// # Errors
/// Fails if the database does.
pub async fn newest(
    pool: impl PgExecutor<'_>,
    conversation: Uuid,
    limit: i64,
) -> Result<Vec<ThreadRow>, sqlx::Error> {
    sqlx::query_as(thread!(
        "conversation_id = $1 ORDER BY position DESC LIMIT $2",
        "conversation_id = $1 ORDER BY position DESC LIMIT $2",
        "ORDER BY t.position DESC"
    ))
    .bind(conversation)
    .bind(limit)
    .fetch_all(pool)
    .await
}

/// Returns the entries with these ids in the order of the conversation, including hidden ones.
///
/// # Errors
/// Fails if the database does.
pub async fn by_ids(
    pool: impl PgExecutor<'_>,
    conversation: Uuid,
    ids: &[Uuid],
) -> Result<Vec<ThreadRow>, sqlx::Error> {
    sqlx::query_as(thread!(
        "conversation_id = $1 AND message_id = ANY($2)",
        "conversation_id = $1 AND item_id = ANY($2)",
        "ORDER BY t.position"
    ))
    .bind(conversation)
    .bind(ids)
    .fetch_all(pool)
    .await
}

/// Returns the position of a message or item, visible or not, as a cursor; `None` if the conversation has none with
/// that id.
///
/// # Errors
/// Fails if the database does.
pub async fn position_of(
    pool: impl PgExecutor<'_>,
    conversation: Uuid,
    id: Uuid,
) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT position FROM messages WHERE message_id = $2 AND conversation_id = $1
         UNION ALL SELECT position FROM items WHERE item_id = $2 AND conversation_id = $1",
    )
    .bind(conversation)
    .bind(id)
    .fetch_optional(pool)
    .await
}
