//! A prompt's turns and tools in the words of the Responses API.

use async_openai::types::responses::{
    EasyInputContent, EasyInputMessage, FunctionCallOutput, FunctionCallOutputItemParam, FunctionTool,
    FunctionToolCall, ImageDetail, InputContent, InputFileContent, InputImageContent, InputItem,
    InputTextContent, Item, MessageType, Role as InputRole, Tool as InputTool, ToolChoiceFunction,
    ToolChoiceParam,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::ai::{Attached, Content, Role, Tool, Turn};

/// A turn as input items: one, or a call with its output.
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

/// A file: its text where it has been read as text, else its bytes for the model to read.
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

/// A tool. Not strict: that would demand a narrower kind of JSON Schema than the one operators write.
pub(super) fn tool(tool: Tool) -> InputTool {
    InputTool::Function(FunctionTool {
        name: tool.name,
        parameters: Some(tool.parameters),
        strict: Some(false),
        description: Some(tool.description),
        ..FunctionTool::default()
    })
}

/// The tool that has to be called.
pub(super) fn tool_choice(name: String) -> ToolChoiceParam {
    ToolChoiceParam::Function(ToolChoiceFunction { name })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;

    fn written(turn: Turn) -> Value {
        serde_json::to_value(items(turn)).unwrap()
    }

    #[test]
    fn plain_text_is_one_plain_message() {
        let written = written(Turn::message(Role::Assistant, "Hello"));
        assert_eq!((&written[0]["role"], &written[0]["content"]), (&json!("assistant"), &json!("Hello")));
    }

    #[test]
    fn files_come_as_text_image_and_document_after_what_was_said() {
        let file = |name: &str, mime_type: &str, content| Attached {
            name: name.to_owned(),
            mime_type: mime_type.to_owned(),
            content,
        };
        let written = written(Turn::Message {
            role: Role::User,
            text: "Look".to_owned(),
            files: vec![
                file("a.txt", "text/plain", Content::Text("<file>".to_owned())),
                file("b.png", "image/png", Content::Bytes(Arc::from(*b"png"))),
                file("c.pdf", "application/pdf", Content::Bytes(Arc::from(*b"pdf"))),
            ],
        });
        let content = &written[0]["content"];
        assert_eq!(content[0], json!({"type": "input_text", "text": "Look"}));
        assert_eq!(content[1], json!({"type": "input_text", "text": "<file>"}));
        assert_eq!(content[2]["image_url"], "data:image/png;base64,cG5n");
        assert_eq!(
            (&content[3]["file_data"], &content[3]["filename"]),
            (&json!("data:application/pdf;base64,cGRm"), &json!("c.pdf"))
        );
    }

    #[test]
    fn a_call_is_followed_by_its_output() {
        let written = written(Turn::ToolCall {
            call_id: "call-1".to_owned(),
            name: "look".to_owned(),
            arguments: json!({"at": "sky"}),
            output: json!({"stars": 3}),
        });
        assert_eq!(
            (&written[0]["type"], &written[0]["arguments"]),
            (&json!("function_call"), &json!("{\"at\":\"sky\"}"))
        );
        assert_eq!(
            (&written[1]["call_id"], &written[1]["output"]),
            (&json!("call-1"), &json!("{\"stars\":3}"))
        );
    }
}
