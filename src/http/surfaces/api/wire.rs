//! The formats of this door.

use aggregates::values::{MessageText, Title};
use chrono::{DateTime, Utc};
use projections::conversations::query::ConversationRow;
use projections::messages::query::MessageRow;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::history::{MAX_PAGE, MAX_PAGE_NUMBER};
use crate::app::conversations::Sent;
use crate::app::conversations::branches::Branch;
use crate::app::sign_in::SignedIn;
use crate::http::formats::accounts::{TokenAnswer, new_password};
use crate::http::formats::reply::UsageAnswer;
use crate::live::stream::Ended;

/// A refresh token to be exchanged.
#[derive(Deserialize, JsonSchema)]
pub(super) struct RefreshRequest {
    /// The token, as the last answer gave it.
    pub(super) refresh_token: String,
}

/// A new password.
#[derive(Deserialize, JsonSchema)]
pub(super) struct PasswordRequest {
    /// The present one.
    pub(super) current_password: String,
    /// The new one: the rule is that of registration.
    #[schemars(transform = new_password)]
    pub(super) new_password: String,
}

/// The password, as a proof.
#[derive(Deserialize, JsonSchema)]
pub(super) struct ProofRequest {
    /// The present password.
    pub(super) password: String,
}

/// A new account, signed in.
#[derive(Serialize, JsonSchema)]
pub(super) struct RegisterAnswer {
    id: Uuid,
    email: Option<String>,
    username: Option<String>,
    created_at: DateTime<Utc>,
    is_active: bool,
    #[serde(flatten)]
    tokens: TokenAnswer,
}

impl From<SignedIn> for RegisterAnswer {
    fn from(signed_in: SignedIn) -> Self {
        let user = signed_in.user.clone();
        Self {
            id: user.user_id,
            email: user.email,
            username: user.username,
            created_at: user.created_at,
            is_active: user.is_active,
            tokens: signed_in.into(),
        }
    }
}

/// The longest name of a model, in characters: longer ones are in no table of models.
const MAX_MODEL_CHARS: usize = 200;

/// A message to be answered.
#[derive(Deserialize, JsonSchema)]
pub(super) struct ChatRequest {
    /// The text: 1 to 32,000 characters, not only white space.
    #[schemars(length(min = 1, max = MessageText::MAX_CHARS), regex(pattern = r"\S"))]
    pub(super) message: String,
    /// The conversation to go on with; none begins a new one.
    #[serde(default)]
    #[schemars(extend("format" = "uuid"))]
    pub(super) session_id: Option<String>,
    /// The model wished for: one of those at `/api/models`.
    #[serde(default)]
    #[schemars(length(min = 1, max = MAX_MODEL_CHARS))]
    pub(super) model: Option<String>,
}

/// A message and its answer; or, with 202, the ids by which to wait for it.
#[derive(Serialize, JsonSchema)]
pub(super) struct ChatAnswer {
    /// `completed`, or `pending`.
    #[schemars(extend("enum" = ["completed", "pending"]))]
    status: &'static str,
    /// Id of the answer; known before it is there.
    message_id: Uuid,
    /// Id of the message that was sent.
    user_message_id: Uuid,
    /// The conversation.
    session_id: Uuid,
    /// The reply, for its provenance and its stream.
    reply_id: Uuid,
    /// The answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    reply: Option<String>,
    /// The model that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageAnswer>,
    /// `stop`, `length` or `content_filter`.
    #[serde(skip_serializing_if = "Option::is_none")]
    finish_reason: Option<String>,
    /// When the answer was there.
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<DateTime<Utc>>,
}

impl ChatAnswer {
    /// A message whose answer is still to come.
    pub(super) fn pending(sent: &Sent) -> Self {
        Self {
            status: "pending",
            message_id: sent.answer.uuid(),
            user_message_id: sent.message.uuid(),
            session_id: sent.conversation.uuid(),
            reply_id: sent.reply.uuid(),
            reply: None,
            model: None,
            usage: None,
            finish_reason: None,
            created_at: None,
        }
    }

    /// A message and its answer.
    pub(super) fn completed(sent: &Sent, ended: &Ended) -> Self {
        Self {
            status: "completed",
            reply: Some(ended.answer.as_ref().and_then(|answer| answer.text.clone()).unwrap_or_default()),
            model: ended.reply.model.clone(),
            usage: Some(UsageAnswer::of(&ended.reply)),
            finish_reason: ended.reply.finish.clone(),
            created_at: ended.reply.ended_at,
            ..Self::pending(sent)
        }
    }
}

/// A conversation in a list.
#[derive(Serialize, JsonSchema)]
pub(super) struct SessionItem {
    session_id: Uuid,
    title: Option<String>,
    /// The beginning of the last message, answers included.
    last_message: Option<String>,
    message_count: i64,
    pinned: bool,
    archived: bool,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    /// Id of the last message that was read, answers included.
    read_to: Option<Uuid>,
}

impl From<ConversationRow> for SessionItem {
    fn from(row: ConversationRow) -> Self {
        Self {
            session_id: row.conversation_id,
            title: row.title,
            last_message: row.last_message,
            message_count: row.message_count,
            pinned: row.pinned,
            archived: row.archived,
            created_at: row.created_at,
            updated_at: row.updated_at,
            read_to: row.read_to,
        }
    }
}

/// Which page of the conversations.
#[derive(Deserialize, JsonSchema)]
pub(super) struct HistoryQuery {
    /// From 1.
    #[serde(default = "first_page")]
    #[schemars(range(min = 1, max = MAX_PAGE_NUMBER))]
    pub(super) page: i64,
    /// 1 to 100.
    #[serde(default = "default_page_size")]
    #[schemars(range(min = 1, max = MAX_PAGE))]
    pub(super) per_page: i64,
    /// Those in the archive instead of those that are not.
    #[serde(default)]
    pub(super) archived: bool,
}

fn first_page() -> i64 {
    1
}

fn default_page_size() -> i64 {
    20
}

/// A page of conversations: pinned ones first, then the most recent.
#[derive(Serialize, JsonSchema)]
pub(super) struct HistoryPage {
    pub(super) items: Vec<SessionItem>,
    pub(super) page: i64,
    pub(super) per_page: i64,
    pub(super) total: i64,
}

/// Which messages of a conversation.
#[derive(Deserialize, JsonSchema)]
pub(super) struct MessagesQuery {
    /// 1 to 100.
    #[serde(default = "default_messages")]
    #[schemars(range(min = 1, max = MAX_PAGE))]
    pub(super) limit: i64,
    /// Those before this cursor; the newest when none is given.
    pub(super) before: Option<i64>,
    /// Those on the path of this branch; of the active one when none is given.
    #[schemars(range(max = u32::MAX))]
    pub(super) branch: Option<u32>,
}

fn default_messages() -> i64 {
    50
}

/// Messages of a conversation, oldest first.
#[derive(Serialize, JsonSchema)]
pub(super) struct MessagesPage {
    pub(super) session_id: Uuid,
    pub(super) items: Vec<MessageItem>,
    pub(super) has_more: bool,
    /// Cursor of the page before this one.
    pub(super) before: Option<i64>,
}

/// One message.
#[derive(Serialize, JsonSchema)]
pub(super) struct MessageItem {
    message_id: Uuid,
    /// `user` or `assistant`.
    #[schemars(extend("enum" = ["user", "assistant"]))]
    role: String,
    /// `complete`, or what became of the answer: `cancelled`, `failed`.
    #[schemars(extend("enum" = ["complete", "cancelled", "failed"]))]
    status: String,
    /// None when it was erased.
    text: Option<String>,
    reply_id: Option<Uuid>,
    in_reply_to: Option<Uuid>,
    model: Option<String>,
    created_at: DateTime<Utc>,
}

impl From<MessageRow> for MessageItem {
    fn from(row: MessageRow) -> Self {
        Self {
            message_id: row.message_id,
            role: row.role,
            status: row.status,
            text: row.text,
            reply_id: row.reply_id,
            in_reply_to: row.in_reply_to,
            model: row.model,
            created_at: row.created_at,
        }
    }
}

/// Another reply that is wished for.
#[derive(Default, Deserialize, JsonSchema)]
pub(super) struct RegenerateRequest {
    /// The model to ask, one of those that may be named; else the one that was asked before.
    #[serde(default)]
    #[schemars(length(min = 1, max = MAX_MODEL_CHARS))]
    pub(super) model: Option<String>,
}

/// A message in the place of another one.
#[derive(Deserialize, JsonSchema)]
pub(super) struct EditRequest {
    /// The text: 1 to 32,000 characters; may be empty where files were sent with the message.
    #[schemars(length(max = MessageText::MAX_CHARS))]
    pub(super) message: String,
    /// The model to ask, one of those that may be named; else the one that was asked before.
    #[serde(default)]
    #[schemars(length(min = 1, max = MAX_MODEL_CHARS))]
    pub(super) model: Option<String>,
}

/// A branch of a conversation.
#[derive(Serialize, JsonSchema)]
pub(super) struct BranchItem {
    /// Its number; the first is 0.
    branch: u32,
    /// The branch that it forks from; none for the first.
    parent: Option<u32>,
    /// The last message that it shares with that; none when it shares nothing.
    forked_after: Option<Uuid>,
    /// The message that another one takes the place of; none when a message got another reply.
    replaces: Option<Uuid>,
    /// The first message, or answer, of its own; none when it has none yet.
    first_message_id: Option<Uuid>,
    /// Whose that is: `user` or `assistant`.
    first_role: Option<String>,
    /// The reply that it asked for, or is.
    first_reply_id: Option<Uuid>,
    /// The beginning of the last message on its path, answers included.
    last_message: Option<String>,
    /// How many messages and answers are on its path.
    message_count: i64,
    /// When it began; of the first one, when the conversation did.
    created_at: Option<DateTime<Utc>>,
    /// Whether the conversation goes on with it.
    active: bool,
}

impl From<Branch> for BranchItem {
    fn from(row: Branch) -> Self {
        let number = |branch: i32| u32::try_from(branch).unwrap_or_default();
        Self {
            branch: number(row.branch),
            parent: row.parent.map(number),
            forked_after: row.forked_after,
            replaces: row.message_id.filter(|_| row.edited),
            first_message_id: row.first_id,
            first_role: row.first_role,
            first_reply_id: row.first_reply_id,
            last_message: row.last_message,
            message_count: row.message_count,
            created_at: row.created_at,
            active: row.active,
        }
    }
}

/// The branches of a conversation, the oldest first.
#[derive(Serialize, JsonSchema)]
pub(super) struct BranchesAnswer {
    pub(super) session_id: Uuid,
    /// The number of the active one.
    pub(super) active: u32,
    pub(super) items: Vec<BranchItem>,
}

/// A change of a conversation; what is left out, or null, stays. Something has to be named.
#[derive(Deserialize, JsonSchema)]
#[schemars(transform = names_something)]
pub(super) struct ChangeRequest {
    /// New title: 1 to 200 characters, no control characters.
    #[schemars(length(min = 1, max = Title::MAX_CHARS), regex(pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$"))]
    pub(super) title: Option<String>,
    pub(super) pinned: Option<bool>,
    pub(super) archived: Option<bool>,
}

/// A change has to name something.
fn names_something(schema: &mut Schema) {
    let named = [("title", "string"), ("pinned", "boolean"), ("archived", "boolean")];
    let ways = named.map(|(name, kind)| json!({"required": [name], "properties": {name: {"type": kind}}}));
    schema.insert("anyOf".to_owned(), json!(ways));
}
