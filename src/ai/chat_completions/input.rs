//! A prompt's turns and tools in the words of Chat Completions.

use async_openai::types::chat::{
    ChatCompletionMessageToolCall, ChatCompletionMessageToolCalls, ChatCompletionNamedToolChoice,
    ChatCompletionRequestAssistantMessage, ChatCompletionRequestAssistantMessageContent,
    ChatCompletionRequestMessage, ChatCompletionRequestMessageContentPartFile,
    ChatCompletionRequestMessageContentPartImage, ChatCompletionRequestMessageContentPartText,
    ChatCompletionRequestSystemMessage, ChatCompletionRequestSystemMessageContent,
    ChatCompletionRequestToolMessage, ChatCompletionRequestToolMessageContent,
    ChatCompletionRequestUserMessage, ChatCompletionRequestUserMessageContent,
    ChatCompletionRequestUserMessageContentPart as Part, ChatCompletionTool, ChatCompletionToolChoiceOption,
    ChatCompletionTools, FileObject, FunctionCall, FunctionName, FunctionObject, ImageUrl,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::ai::{Attached, Content, Role, Tool, Turn};

/// What is said in the place of a document, where there is no way to send one.
const NO_DOCUMENT: &str = "(A document came with this message; it cannot be sent to this model.)";

/// Instructions and turns as messages. `documents`: whether PDFs can be sent.
pub(super) fn messages(
    system: String,
    turns: Vec<Turn>,
    documents: bool,
) -> Vec<ChatCompletionRequestMessage> {
    let system = Some(system).filter(|system| !system.is_empty()).map(|system| {
        ChatCompletionRequestMessage::System(ChatCompletionRequestSystemMessage {
            content: ChatCompletionRequestSystemMessageContent::Text(system),
            name: None,
        })
    });
    system.into_iter().chain(turns.into_iter().flat_map(|turn| of_turn(turn, documents))).collect()
}

/// A turn: one message, or a call with its output.
fn of_turn(turn: Turn, documents: bool) -> Vec<ChatCompletionRequestMessage> {
    match turn {
        Turn::Message { role: Role::User, text, files } => {
            let content = if files.is_empty() {
                ChatCompletionRequestUserMessageContent::Text(text)
            } else {
                let said = (!text.is_empty()).then(|| text_part(text));
                let files = files.into_iter().map(|file| part(file, documents));
                ChatCompletionRequestUserMessageContent::Array(said.into_iter().chain(files).collect())
            };
            vec![ChatCompletionRequestMessage::User(ChatCompletionRequestUserMessage { content, name: None })]
        }
        // Nobody but a person brings files.
        Turn::Message { role: Role::Assistant, text, files: _ } => {
            let content = Some(ChatCompletionRequestAssistantMessageContent::Text(text));
            vec![ChatCompletionRequestMessage::Assistant(ChatCompletionRequestAssistantMessage {
                content,
                ..ChatCompletionRequestAssistantMessage::default()
            })]
        }
        Turn::ToolCall { call_id, name, arguments, output } => {
            let function = FunctionCall { name, arguments: arguments.to_string() };
            let call = ChatCompletionMessageToolCall { id: call_id.clone(), function };
            vec![
                ChatCompletionRequestMessage::Assistant(ChatCompletionRequestAssistantMessage {
                    tool_calls: Some(vec![ChatCompletionMessageToolCalls::Function(call)]),
                    ..ChatCompletionRequestAssistantMessage::default()
                }),
                ChatCompletionRequestMessage::Tool(ChatCompletionRequestToolMessage {
                    content: ChatCompletionRequestToolMessageContent::Text(output.to_string()),
                    tool_call_id: call_id,
                }),
            ]
        }
    }
}

fn text_part(text: String) -> Part {
    Part::Text(ChatCompletionRequestMessageContentPartText { text, prompt_cache_breakpoint: None })
}

/// A file: its text where it has been read as text, else its bytes for the model to read.
fn part(file: Attached, documents: bool) -> Part {
    let Attached { name, mime_type, content } = file;
    let data = |bytes: &[u8]| format!("data:{mime_type};base64,{}", BASE64.encode(bytes));
    match content {
        Content::Text(text) => text_part(text),
        Content::Bytes(bytes) if mime_type.starts_with("image/") => {
            Part::ImageUrl(ChatCompletionRequestMessageContentPartImage {
                image_url: ImageUrl { url: data(&bytes), detail: None },
                prompt_cache_breakpoint: None,
            })
        }
        Content::Bytes(bytes) if documents => Part::File(ChatCompletionRequestMessageContentPartFile {
            file: FileObject { file_data: Some(data(&bytes)), file_id: None, filename: Some(name) },
            prompt_cache_breakpoint: None,
        }),
        Content::Bytes(_) => text_part(NO_DOCUMENT.to_owned()),
    }
}

/// A tool.
pub(super) fn tool(tool: Tool) -> ChatCompletionTools {
    let Tool { name, description, parameters } = tool;
    let function =
        FunctionObject { name, description: Some(description), parameters: Some(parameters), strict: None };
    ChatCompletionTools::Function(ChatCompletionTool { function })
}

/// The tool that has to be called.
pub(super) fn tool_choice(name: String) -> ChatCompletionToolChoiceOption {
    ChatCompletionToolChoiceOption::Function(ChatCompletionNamedToolChoice {
        function: FunctionName { name },
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;

    fn written(turns: Vec<Turn>, documents: bool) -> Value {
        serde_json::to_value(messages(String::new(), turns, documents)).unwrap()
    }

    #[test]
    fn instructions_come_first_and_plain_text_is_one_plain_message() {
        let turns = vec![Turn::message(Role::User, "Hi"), Turn::message(Role::Assistant, "Hello")];
        let written = serde_json::to_value(messages("Be brief.".to_owned(), turns, true)).unwrap();
        let expected = json!([
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello"},
        ]);
        assert_eq!(written, expected);
    }

    #[test]
    fn files_come_as_text_image_and_document_after_what_was_said() {
        let file = |name: &str, mime_type: &str, content| Attached {
            name: name.to_owned(),
            mime_type: mime_type.to_owned(),
            content,
        };
        let turn = Turn::Message {
            role: Role::User,
            text: "Look".to_owned(),
            files: vec![
                file("a.txt", "text/plain", Content::Text("<file>".to_owned())),
                file("b.png", "image/png", Content::Bytes(Arc::from(*b"png"))),
                file("c.pdf", "application/pdf", Content::Bytes(Arc::from(*b"pdf"))),
            ],
        };
        let got = written(vec![turn.clone()], true);
        let expected = json!([
            {"type": "text", "text": "Look"},
            {"type": "text", "text": "<file>"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,cG5n"}},
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,cGRm", "filename": "c.pdf"}},
        ]);
        assert_eq!(got[0]["content"], expected);
        let got = written(vec![turn], false);
        assert_eq!(got[0]["content"][3], json!({"type": "text", "text": NO_DOCUMENT}));
    }

    #[test]
    fn a_call_is_followed_by_its_output() {
        let got = written(
            vec![Turn::ToolCall {
                call_id: "call-1".to_owned(),
                name: "look".to_owned(),
                arguments: json!({"at": "sky"}),
                output: json!({"stars": 3}),
            }],
            true,
        );
        let expected = json!([
            {"role": "assistant", "tool_calls": [
                {"type": "function", "id": "call-1", "function": {"name": "look", "arguments": "{\"at\":\"sky\"}"}},
            ]},
            {"role": "tool", "content": "{\"stars\":3}", "tool_call_id": "call-1"},
        ]);
        assert_eq!(got, expected);
    }

    #[test]
    fn tools_and_the_chosen_one_are_functions() {
        let given = Tool {
            name: "look".to_owned(),
            description: "Looks".to_owned(),
            parameters: json!({"type": "object"}),
        };
        let expected = json!({"type": "function", "function":
            {"name": "look", "description": "Looks", "parameters": {"type": "object"}}});
        assert_eq!(serde_json::to_value(tool(given)).unwrap(), expected);
        let expected = json!({"type": "function", "function": {"name": "look"}});
        assert_eq!(serde_json::to_value(tool_choice("look".to_owned())).unwrap(), expected);
    }
}
