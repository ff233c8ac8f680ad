//! The list of read models: adding one means its folder, its migration and a line here.

use std::sync::Arc;

use crate::conversations::Conversations;
use crate::files::Files;
use crate::messages::Messages;
use crate::pending_replies::PendingReplies;
use crate::replies::Replies;
use crate::runner::Projection;
use crate::usage::Usage;
use crate::users::Users;
use crate::widget_state::WidgetState;

/// Every projection.
pub fn all() -> Vec<Arc<dyn Projection>> {
    vec![
        Arc::new(Users),
        Arc::new(Conversations),
        Arc::new(Messages),
        Arc::new(PendingReplies),
        Arc::new(Replies),
        Arc::new(WidgetState),
        Arc::new(Files),
        Arc::new(Usage),
    ]
}

/// The models that the conversation doors read: what an answer of theirs waits for.
pub const CONVERSATION_MODELS: &[&str] = &["conversations", "messages", "pending_replies", "replies"];

/// The models that show what stands in a conversation, item by item.
pub const THREAD_MODELS: &[&str] = &["conversations", "messages", "replies", "widget_state"];

/// The models that the account doors read.
pub const ACCOUNT_MODELS: &[&str] = &["users"];

/// The models that show a quiz and the conversation that was begun for it.
pub const QUIZ_MODELS: &[&str] = &["conversations", "widget_state"];

/// The models that the doors for files read.
pub const FILE_MODELS: &[&str] = &["files"];
