//! Formats of the chat API.

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

/// A refresh token to exchange.
#[derive(Deserialize, JsonSchema)]
pub(super) struct RefreshRequest {
    /// The token from the last response.
    pub(super) refresh_token: String,
}

/// A change of password.
#[derive(Deserialize, JsonSchema)]
pub(super) struct PasswordRequest {
    /// Current password.
    pub(super) current_password: String,
    /// New password; the same rule as for registration.
    #[schemars(transform = new_password)]
    pub(super) new_password: String,
}

/// The password, as proof of identity.
#[derive(Deserialize, JsonSchema)]
pub(super) struct ProofRequest {
    /// Current password.
    pub(super) password: String,
}

/// A new account with its tokens.
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

/// Maximum length of a model's name, in characters. No known model has a longer name.
const MAX_MODEL_CHARS: usize = 200;

/// A message to send.
#[derive(Deserialize, JsonSchema)]
pub(super) struct ChatRequest {
    /// Text: 1 to 32,000 characters, not only white space.
    #[schemars(length(min = 1, max = MessageText::MAX_CHARS), regex(pattern = r"\S"))]
    pub(super) message: String,
    /// Conversation of the message. If absent, a new one starts.
    #[serde(default)]
    #[schemars(extend("format" = "uuid"))]
    pub(super) session_id: Option<String>,
    /// Requested model, one of those at `/api/models`.
    #[serde(default)]
    #[schemars(length(min = 1, max = MAX_MODEL_CHARS))]
    pub(super) model: Option<String>,
}

/// A message and its answer; with 202, the ids to wait for it.
#[derive(Serialize, JsonSchema)]
pub(super) struct ChatAnswer {
    /// `completed`, or `pending`.
    #[schemars(extend("enum" = ["completed", "pending"]))]
    status: &'static str,
    /// Id of the answer, known before the answer exists.
    message_id: Uuid,
    /// Id of the message that was sent.
    user_message_id: Uuid,
    /// Conversation id.
    session_id: Uuid,
    /// Reply id, for provenance and stream.
    reply_id: Uuid,
    /// Text of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    reply: Option<String>,
    /// Model that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageAnswer>,
    /// `stop`, `length` or `content_filter`.
    #[serde(skip_serializing_if = "Option::is_none")]
    finish_reason: Option<String>,
    /// Time at which the answer was complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<DateTime<Utc>>,
}

impl ChatAnswer {
    /// Creates the response for a message whose answer is pending.
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

    /// Creates the response for a message with its answer.
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
    /// Start of the last message or answer.
    last_message: Option<String>,
    message_count: i64,
    pinned: bool,
    archived: bool,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    /// Id of the last message or answer that the user has read.
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

/// Page of the list of conversations.
#[derive(Deserialize, JsonSchema)]
pub(super) struct HistoryQuery {
    /// Page number, from 1.
    #[serde(default = "first_page")]
    #[schemars(range(min = 1, max = MAX_PAGE_NUMBER))]
    pub(super) page: i64,
    /// Page size: 1 to 100.
    #[serde(default = "default_page_size")]
    #[schemars(range(min = 1, max = MAX_PAGE))]
    pub(super) per_page: i64,
    /// Whether to list archived conversations instead of the others.
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

/// Page of a conversation's messages.
#[derive(Deserialize, JsonSchema)]
pub(super) struct MessagesQuery {
    /// Page size: 1 to 100.
    #[serde(default = "default_messages")]
    #[schemars(range(min = 1, max = MAX_PAGE))]
    pub(super) limit: i64,
    /// Cursor: messages before this one. If absent, the newest ones.
    pub(super) before: Option<i64>,
    /// Number of a branch. If absent, the active branch.
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
    /// Cursor of the previous page.
    pub(super) before: Option<i64>,
}

/// One message.
#[derive(Serialize, JsonSchema)]
pub(super) struct MessageItem {
    message_id: Uuid,
    /// `user` or `assistant`.
    #[schemars(extend("enum" = ["user", "assistant"]))]
    role: String,
    /// `complete`, or how the answer ended: `cancelled`, `failed`.
    #[schemars(extend("enum" = ["complete", "cancelled", "failed"]))]
    status: String,
    /// Text; null if it was erased.
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

/// A request to regenerate a reply.
#[derive(Default, Deserialize, JsonSchema)]
pub(super) struct RegenerateRequest {
    /// Requested model, one of those at `/api/models`. If absent, the same model as before.
    #[serde(default)]
    #[schemars(length(min = 1, max = MAX_MODEL_CHARS))]
    pub(super) model: Option<String>,
}

/// An edited message.
#[derive(Deserialize, JsonSchema)]
pub(super) struct EditRequest {
    /// Text: 1 to 32,000 characters. May be empty if files were sent with the message.
    #[schemars(length(max = MessageText::MAX_CHARS))]
    pub(super) message: String,
    /// Requested model, one of those at `/api/models`. If absent, the same model as before.
    #[serde(default)]
    #[schemars(length(min = 1, max = MAX_MODEL_CHARS))]
    pub(super) model: Option<String>,
}

/// A branch of a conversation.
#[derive(Serialize, JsonSchema)]
pub(super) struct BranchItem {
    /// Branch number, from 0.
    branch: u32,
    /// Branch from which this one forked; null for the first.
    parent: Option<u32>,
    /// Last message shared with the parent branch; null if there is none.
    forked_after: Option<Uuid>,
    /// Message that this branch replaces by an edited one; null if only the reply was regenerated.
    replaces: Option<Uuid>,
    /// First message or answer on this branch only; null if there is none yet.
    first_message_id: Option<Uuid>,
    /// Role of that message: `user` or `assistant`.
    first_role: Option<String>,
    /// Reply that this message asked for, or is.
    first_reply_id: Option<Uuid>,
    /// Start of the last message or answer on the branch's path.
    last_message: Option<String>,
    /// Number of messages and answers on the branch's path.
    message_count: i64,
    /// Time at which the branch, or for the first the conversation, started.
    created_at: Option<DateTime<Utc>>,
    /// Whether this is the active branch.
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

/// Branches of a conversation, oldest first.
#[derive(Serialize, JsonSchema)]
pub(super) struct BranchesAnswer {
    pub(super) session_id: Uuid,
    /// Number of the active branch.
    pub(super) active: u32,
    pub(super) items: Vec<BranchItem>,
}

/// A change of a conversation. At least one field is required; fields that are absent or null do not change.
#[derive(Deserialize, JsonSchema)]
#[schemars(transform = names_something)]
pub(super) struct ChangeRequest {
    /// New title: 1 to 200 characters, no control characters.
    #[schemars(length(min = 1, max = Title::MAX_CHARS), regex(pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$"))]
    pub(super) title: Option<String>,
    pub(super) pinned: Option<bool>,
    pub(super) archived: Option<bool>,
}

/// Requires at least one field.
fn names_something(schema: &mut Schema) {
    let named = [("title", "string"), ("pinned", "boolean"), ("archived", "boolean")];
    let ways = named.map(|(name, kind)| json!({"required": [name], "properties": {name: {"type": kind}}}));
    schema.insert("anyOf".to_owned(), json!(ways));
}
