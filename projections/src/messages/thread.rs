//! Queries on all that stands in a conversation: messages, answers and items, in one order.

use aggregates::conversation::{Composed, InputAnswer, InputQuestion};
use aggregates::quiz::{Quiz, QuizView};
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgExecutor, Row as _};
use uuid::Uuid;

/// One thing that stands in a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct ThreadRow {
    /// Its id.
    pub id: Uuid,
    /// The conversation it stands in.
    pub conversation_id: Uuid,
    /// Position of the event that made it: the order of a conversation.
    pub position: i64,
    /// Position of the event that answered it, for an item that waited.
    pub answered_at: Option<i64>,
    /// The answer that brought it, or that a message asked for last.
    pub reply_id: Option<Uuid>,
    /// What its owner thinks of it: `positive`, `negative`.
    pub feedback: Option<String>,
    /// When.
    pub created_at: DateTime<Utc>,
    /// What it is.
    pub entry: Entry,
}

/// What stands in a conversation. Text that was erased is none.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// A person's message.
    Message {
        /// Its text.
        text: Option<String>,
        /// The message as it was composed, when it is more than its text.
        composed: Option<Composed>,
        /// Files sent along.
        files: Vec<Uuid>,
        /// The tool chosen in the composer.
        tool_choice: Option<String>,
        /// The model wished for.
        model: Option<String>,
    },
    /// An answer.
    Answer {
        /// Its text.
        text: Option<String>,
        /// `complete`, or for one that was not finished `cancelled` or `failed`.
        status: String,
        /// The message or item it answers.
        in_reply_to: Option<Uuid>,
    },
    /// A call of a tool of the page's.
    ClientToolCall {
        /// The model's name for it.
        call_id: String,
        /// The tool.
        name: String,
        /// What it is called with.
        arguments: Value,
        /// What it came to; none as long as it is pending.
        output: Option<Value>,
    },
    /// Questions to the person.
    StructuredInput {
        /// `pending`, `answered` or `skipped`.
        status: String,
        /// What is asked.
        questions: Vec<InputQuestion>,
        /// What was answered.
        answers: Vec<InputAnswer>,
    },
    /// A widget.
    Widget {
        /// The widget.
        widget: Value,
        /// What the copy button gives.
        copy_text: Option<String>,
    },
    /// A quiz; none for a moment, while the model of its state lags behind.
    Quiz(Option<Box<QuizView>>),
    /// A note for the model, which nobody is shown.
    Note(Option<String>),
}

impl ThreadRow {
    /// Whether it is never shown.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        matches!(self.entry, Entry::Note(_))
    }
}

impl<'r> FromRow<'r, PgRow> for ThreadRow {
    fn from_row(row: &'r PgRow) -> Result<Self, sqlx::Error> {
        let kind: &str = row.try_get("kind")?;
        // What cannot be read is as good as erased.
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

/// A column of a shape that our own events have written; a shape that is not known is as good as erased.
fn parsed<T: DeserializeOwned>(value: Option<Value>) -> Option<T> {
    value.and_then(|value| serde_json::from_value(value).ok())
}

/// What is read of a message and of an item, so that both are rows of one kind.
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

/// Which way a page goes.
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

/// At most `limit` things that are shown of a conversation, beyond the position of `from` in that order; from its
/// beginning or end without. The caller knows whose the conversation is.
///
/// # Errors
/// Those of the database.
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

/// At most `limit` of the newest messages and answers of a conversation, and as many of the newest items, hidden ones too,
/// newest first: what a provider may be told.
///
/// # Errors
/// Those of the database.
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

/// Those of a conversation that have these ids, in the order of the conversation; hidden ones too.
///
/// # Errors
/// Those of the database.
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

/// Position of a message or item of a conversation, shown or left behind: the cursor of a page. None when it has none with
/// that id.
///
/// # Errors
/// Those of the database.
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
