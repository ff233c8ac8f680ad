//! Converts a prompt's turns and tools for the Responses API.

use async_openai::types::responses::{
    EasyInputContent, EasyInputMessage, FunctionCallOutput, FunctionCallOutputItemParam, FunctionTool,
    FunctionToolCall, ImageDetail, InputContent, InputFileContent, InputImageContent, InputItem,
    InputTextContent, Item, MessageType, Role as InputRole, Tool as InputTool, ToolChoiceFunction,
    ToolChoiceParam,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::ai::{Attached, Content, Role, Tool, Turn};

/// Returns a turn as input items: one, or a call with its output.
pub(super) fn items(turn: Turn) -> Vec<InputItem> {
    match turn {
        Turn::Message { role, text, files } => {
            let content = if files.is_empty() {
                EasyInputContent::Text(text)
            } else {
                let said = (!text.is_empty()).then(|| input_text(text));
                EasyInputContent::ContentList(said.into_iter().chain(files.into_iter().map(file)).collect())
            };
            vec![InputItem::EasyMessage(EasyInputMessage {
                r#type: MessageType::Message,
                role: match role {
                    Role::User => InputRole::User,
                    Role::Assistant => InputRole::Assistant,
                },
                content,
                phase: None,
            })]
        }
        Turn::ToolCall { call_id, name, arguments, output } => {
            let call = FunctionToolCall {
                arguments: arguments.to_string(),
                call_id: call_id.clone(),
                name,
                ..FunctionToolCall::default()
            };
            let output = FunctionCallOutputItemParam {
                call_id: Some(call_id),
                output: FunctionCallOutput::Text(output.to_string()),
                id: None,
                status: None,
                name: None,
                namespace: None,
                caller: None,
            };
            vec![InputItem::Item(Item::FunctionCall(call)), InputItem::Item(Item::FunctionCallOutput(output))]
        }
    }
}

fn input_text(text: String) -> InputContent {
    InputContent::InputText(InputTextContent { text, ..InputTextContent::default() })
}

/// Returns a file: its text if it was read as text, otherwise its bytes.
fn file(file: Attached) -> InputContent {
    let Attached { name, mime_type, content } = file;
    match content {
        Content::Text(text) => input_text(text),
        Content::Bytes(bytes) => {
            let data = format!("data:{mime_type};base64,{}", BASE64.encode(&bytes));
            if mime_type.starts_with("image/") {
                InputContent::InputImage(InputImageContent {
                    detail: ImageDetail::Auto,
                    file_id: None,
                    image_url: Some(data),
                    prompt_cache_breakpoint: None,
                })
            } else {
                InputContent::InputFile(InputFileContent {
                    file_data: Some(data),
                    filename: Some(name),
                    ..InputFileContent::default()
                })
            }
        }
    }
}

/// Returns a tool. Not strict: strict mode allows only a subset of the JSON Schema that operators write.
pub(super) fn tool(tool: Tool) -> InputTool {
    InputTool::Function(FunctionTool {
        name: tool.name,
        parameters: Some(tool.parameters),
        strict: Some(false),
        description: Some(tool.description),
        ..FunctionTool::default()
    })
}

/// Forces a tool call.
pub(super) fn tool_choice(name: String) -> ToolChoiceParam {
    ToolChoiceParam::Function(ToolChoiceFunction { name })
}

#[cfg(test)]
mod tests;
