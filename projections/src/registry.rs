//! The list of projections. A new read model needs its folder, its migration and a line here.

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

/// Returns every projection.
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

/// Models behind the conversation endpoints; their responses wait for these.
pub const CONVERSATION_MODELS: &[&str] = &["conversations", "messages", "pending_replies", "replies"];

/// Models behind the item-by-item view of a conversation.
pub const THREAD_MODELS: &[&str] = &["conversations", "messages", "replies", "widget_state"];

/// Models behind the account endpoints.
pub const ACCOUNT_MODELS: &[&str] = &["users"];

/// Models behind a quiz and its conversation.
pub const QUIZ_MODELS: &[&str] = &["conversations", "widget_state"];

/// Models behind the file endpoints.
pub const FILE_MODELS: &[&str] = &["files"];
