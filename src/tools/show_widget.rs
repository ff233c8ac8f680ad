//! `show_widget`: shows a ChatKit widget that the model composed.

use aggregates::Personal;
use aggregates::conversation::ReplyItem;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{CallContext, CallOutcome, ReplyTool};
use crate::ai::{Tool, ToolCall};
use crate::widgets;

/// The tool.
pub struct ShowWidget;

#[derive(Deserialize)]
struct Arguments {
    widget: Value,
    #[serde(default)]
    copy_text: Option<String>,
}

impl ReplyTool for ShowWidget {
    fn definition(&self) -> Tool {
        Tool {
            name: "show_widget".to_owned(),
            description:
                "Show the person a ChatKit widget, given as JSON with a Card, ListView or Basic root."
                    .to_owned(),
            parameters: json!({
                "type": "object", "required": ["widget"],
                "properties": {"widget": {"type": "object"}, "copy_text": {"type": "string"}},
            }),
        }
    }

    fn call(&self, call: ToolCall, context: &CallContext) -> CallOutcome {
        let Ok(Arguments { widget, copy_text }) = serde_json::from_value(call.arguments) else {
            return CallOutcome::Rejected;
        };
        match widgets::validate(&widget) {
            Ok(widget) => CallOutcome::produced(ReplyItem::Widget {
                item_id: context.item_id,
                widget: Personal::Known(widget.into_value()),
                copy_text: copy_text.map(Personal::Known),
            }),
            Err(_) => CallOutcome::Rejected,
        }
    }
}
