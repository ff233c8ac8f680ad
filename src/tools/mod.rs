//! Tools: what a model can do in an answer besides writing text.
//!
//! A tool is one folder or file with a type that implements [`ReplyTool`]; [`Tools::new`] lists the built-in ones. The reply
//! worker offers the definitions to the provider, passes each call to its tool, and records the items that the calls
//! produce in the append of the answer. A tool can also answer a message directly, without a provider
//! ([`ReplyTool::direct_answer`]).
//!
//! * [`ask_user`]: asks the user questions.
//! * [`page_tools`]: functions of the page, declared in `CLIENT_TOOLS_FILE`.
//! * [`quiz`]: multiple-choice quizzes, with their question bank and widget.
//! * [`show_widget`]: shows a ChatKit widget.
//!
//! A model's call is trusted no more than a client's request: an invalid call produces nothing.

pub mod ask_user;
pub mod page_tools;
pub mod quiz;
pub mod show_widget;

use std::sync::Arc;

use aggregates::conversation::ReplyItem;
use aggregates::ids::{ConversationId, MessageId, UserId};
use chrono::{DateTime, Utc};
use event_store::CommandBatch;
use serde_json::Value;

use crate::ai::{Tool, ToolCall};
use ask_user::AskUser;
use page_tools::PageTool;
use quiz::Quizzes;
use show_widget::ShowWidget;

/// Deepest nesting of a call's arguments.
const MAX_DEPTH: usize = 64;
/// Most characters of a call's id.
const MAX_CALL_ID: usize = 200;

/// Extends the command batch that records an answer.
pub type BatchExtension = Arc<dyn Fn(CommandBatch) -> CommandBatch + Send + Sync>;

/// The circumstances of a tool call.
#[derive(Debug, Clone, Copy)]
pub struct CallContext {
    /// Id of the item that the call produces.
    pub item_id: MessageId,
    /// Conversation of the answer.
    pub conversation: ConversationId,
    /// User who asked.
    pub user: UserId,
    /// Time of the call.
    pub at: DateTime<Utc>,
}

/// What a tool call produces.
pub struct ToolOutput {
    /// Item of the conversation.
    pub item: ReplyItem,
    /// Commands to other aggregates, appended together with the answer.
    pub commands: Option<BatchExtension>,
}

/// Result of a tool call.
pub enum CallOutcome {
    /// The call produced an item.
    Produced(Box<ToolOutput>),
    /// The call was valid and produced nothing.
    Nothing,
    /// The tool is unknown, or its arguments are invalid.
    Rejected,
}

impl CallOutcome {
    fn produced(item: ReplyItem) -> Self {
        Self::Produced(Box::new(ToolOutput { item, commands: None }))
    }
}

/// An answer that a tool gives without a provider.
#[derive(Debug, Clone, PartialEq)]
pub struct DirectAnswer {
    /// Model name in the provenance.
    pub model: &'static str,
    /// Text of the answer.
    pub text: String,
    /// Calls whose items belong to the answer.
    pub calls: Vec<ToolCall>,
}

/// A tool that models can call.
pub trait ReplyTool: Send + Sync {
    /// Returns name, description and parameters, as sent to the provider.
    fn definition(&self) -> Tool;

    /// Handles a call. Its nesting and the length of its id have been checked.
    fn call(&self, call: ToolCall, context: &CallContext) -> CallOutcome;

    /// Name of a group of tools of which one answer contains at most one item; the first call wins.
    fn exclusive_group(&self) -> Option<&'static str> {
        None
    }

    /// Returns the answer to a message that this tool answers by itself.
    fn direct_answer(&self, _message: &str) -> Option<DirectAnswer> {
        None
    }
}

/// The available tools. Cheap to clone.
#[derive(Clone)]
pub struct Tools {
    tools: Arc<Vec<Box<dyn ReplyTool>>>,
}

impl Tools {
    /// Lists the built-in tools and those of the pages. A page's tool with the name of a built-in one is ignored.
    pub fn new(quizzes: Quizzes, page_tools: Vec<Tool>) -> Self {
        let mut tools: Vec<Box<dyn ReplyTool>> =
            vec![Box::new(AskUser), Box::new(ShowWidget), Box::new(quizzes)];
        let names: Vec<String> = tools.iter().map(|tool| tool.definition().name).collect();
        for definition in page_tools.into_iter().filter(|tool| !names.contains(&tool.name)) {
            tools.push(Box::new(PageTool { definition }));
        }
        Self { tools: Arc::new(tools) }
    }

    /// Returns the definitions of all tools.
    pub fn definitions(&self) -> Vec<Tool> {
        self.tools.iter().map(|tool| tool.definition()).collect()
    }

    /// Returns the answer of the first tool that answers the message directly.
    pub fn direct_answer(&self, message: &str) -> Option<DirectAnswer> {
        self.tools.iter().find_map(|tool| tool.direct_answer(message))
    }

    /// Handles the calls of one answer, in their order; returns what they produce, and how many were rejected. `context`
    /// returns a new context for each call.
    pub fn call_all(
        &self,
        calls: Vec<ToolCall>,
        context: impl Fn() -> CallContext,
    ) -> (Vec<ToolOutput>, usize) {
        let (mut outputs, mut used_groups, mut rejected) = (Vec::new(), Vec::new(), 0);
        for call in calls {
            let (outcome, group) = self.call(call, &context());
            match outcome {
                CallOutcome::Produced(output) => match group {
                    Some(group) if used_groups.contains(&group) => {}
                    group => {
                        used_groups.extend(group);
                        outputs.push(*output);
                    }
                },
                CallOutcome::Nothing => {}
                CallOutcome::Rejected => rejected += 1,
            }
        }
        (outputs, rejected)
    }

    /// Handles one call; returns its outcome and the tool's exclusive group.
    fn call(&self, call: ToolCall, context: &CallContext) -> (CallOutcome, Option<&'static str>) {
        let tool = self.tools.iter().find(|tool| tool.definition().name == call.name);
        match tool {
            Some(tool)
                if depth(&call.arguments) <= MAX_DEPTH && call.call_id.chars().count() <= MAX_CALL_ID =>
            {
                (tool.call(call, context), tool.exclusive_group())
            }
            _ => (CallOutcome::Rejected, None),
        }
    }
}

/// Returns the nesting depth of a value; a scalar has 1.
fn depth(value: &Value) -> usize {
    1 + match value {
        Value::Array(values) => values.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => fields.values().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

#[cfg(test)]
mod tests;
