//! Tools of the page: the model calls them, the page runs them and sends the output.

use aggregates::Personal;
use aggregates::conversation::ReplyItem;

use super::{CallContext, CallOutcome, ReplyTool};
use crate::ai::{Tool, ToolCall};

/// A function of the page, declared in `CLIENT_TOOLS_FILE`.
pub struct PageTool {
    /// The declaration, as sent to the provider.
    pub definition: Tool,
}

impl ReplyTool for PageTool {
    fn definition(&self) -> Tool {
        self.definition.clone()
    }

    fn call(&self, call: ToolCall, context: &CallContext) -> CallOutcome {
        let ToolCall { call_id, name, arguments } = call;
        if !arguments.is_object() {
            return CallOutcome::Rejected;
        }
        let arguments = Personal::Known(arguments);
        CallOutcome::produced(ReplyItem::ClientToolCall {
            item_id: context.item_id,
            call_id,
            name,
            arguments,
        })
    }

    /// The page runs one tool at a time.
    fn exclusive_group(&self) -> Option<&'static str> {
        Some("page_tools")
    }
}
