//! Converts a prompt's turns and tools for Chat Completions.

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

/// Text in place of a document, for services without documents.
const NO_DOCUMENT: &str = "(A document is attached to this message; it cannot be sent to this model.)";

/// Returns instructions and turns as messages. `documents`: whether PDFs can be sent.
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

/// Returns a turn: one message, or a call with its output.
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
        // Only users attach files.
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

/// Returns a file: its text if it was read as text, otherwise its bytes.
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

/// Returns a tool.
pub(super) fn tool(tool: Tool) -> ChatCompletionTools {
    let Tool { name, description, parameters } = tool;
    let function =
        FunctionObject { name, description: Some(description), parameters: Some(parameters), strict: None };
    ChatCompletionTools::Function(ChatCompletionTool { function })
}

/// Forces a tool call.
pub(super) fn tool_choice(name: String) -> ChatCompletionToolChoiceOption {
    ChatCompletionToolChoiceOption::Function(ChatCompletionNamedToolChoice {
        function: FunctionName { name },
    })
}

#[cfg(test)]
mod tests;
