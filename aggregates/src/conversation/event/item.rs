//! Items besides messages: tool calls, questions to the user, widgets and notes.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::{InputAnswer, InputQuestion};
use super::{EventBody, event_types};
use crate::ids::{MessageId, ReplyId};
use crate::personal::Personal;

/// An item was added or answered.

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ItemEvent {
    /// An answer called a tool of the client.
    ClientToolCalled {
        /// The item.
        item_id: MessageId,
        /// Reply that made the call.
        reply_id: ReplyId,
        /// Id that the model gave the call.
        call_id: String,
        /// Name of the tool.
        name: String,
        /// Arguments of the call.
        arguments: Personal<Value>,
    },
    /// The client returned the output of its tool.
    ClientToolAnswered {
        /// The item.
        item_id: MessageId,
        /// Output of the tool.
        output: Personal<Value>,
    },
    /// A pending call was dropped because another one was answered first.
    ClientToolDropped {
        /// The item.
        item_id: MessageId,
    },
    /// An answer asked the user questions.
    InputRequested {
        /// The item.
        item_id: MessageId,
        /// Reply that asked.
        reply_id: ReplyId,
        /// The questions.
        questions: Personal<Vec<InputQuestion>>,
    },
    /// The user answered the questions or skipped them.
    InputAnswered {
        /// The item.
        item_id: MessageId,
        /// Whether all questions were skipped.
        skipped: bool,
        /// One answer for each question.
        answers: Personal<Vec<InputAnswer>>,
    },
    /// An answer showed a widget.
    WidgetShown {
        /// The item.
        item_id: MessageId,
        /// Reply that the widget belongs to.
        reply_id: ReplyId,
        /// The widget.
        widget: Personal<Value>,
        /// Text for the copy button.
        copy_text: Option<Personal<String>>,
    },
    /// A note for the model was added. Users do not see it.
    NoteAdded {
        /// The item.
        item_id: MessageId,
        /// The note.
        note: Personal<String>,
    },
}

event_types! {
    ItemEvent {
        ClientToolCalled = "client_tool_called", 1;
        ClientToolAnswered = "client_tool_answered", 1;
        ClientToolDropped = "client_tool_dropped", 1;
        InputRequested = "input_requested", 1;
        InputAnswered = "input_answered", 1;
        WidgetShown = "widget_shown", 1;
        NoteAdded = "note_added", 1;
    }
}

impl From<ItemEvent> for EventBody {
    fn from(event: ItemEvent) -> Self {
        Self::Item(event)
    }
}
