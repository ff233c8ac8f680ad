//! OpenAPI links: which operations can use a value of a response, for readers and for tools that follow them.

use aide::openapi::{Link, LinkOperation, Operation, ReferenceOr, StatusCode};
use serde_json::json;

/// Source operation and status, target operation and parameter, and the place of the value in the response body.
type LinkRule = (&'static str, u16, &'static str, &'static str, &'static str);

const LINKS: [LinkRule; 20] = [
    ("chat", 200, "messages", "path.id", "/session_id"),
    ("chat", 200, "change_conversation", "path.id", "/session_id"),
    ("chat", 200, "delete_conversation", "path.id", "/session_id"),
    ("chat", 200, "reply", "path.id", "/reply_id"),
    ("chat", 200, "cancel_reply", "path.id", "/reply_id"),
    ("chat", 200, "resume_stream", "path.id", "/reply_id"),
    ("chat", 202, "reply", "path.id", "/reply_id"),
    ("chat", 202, "cancel_reply", "path.id", "/reply_id"),
    ("chat", 202, "resume_stream", "path.id", "/reply_id"),
    ("reply", 200, "messages", "path.id", "/session_id"),
    ("reply", 200, "cancel_reply", "path.id", "/reply_id"),
    ("start_quiz", 201, "quiz", "path.id", "/quiz_id"),
    ("start_quiz", 201, "act_on_quiz", "path.id", "/quiz_id"),
    ("start_quiz", 201, "messages", "path.id", "/session_id"),
    ("quiz", 200, "act_on_quiz", "path.id", "/quiz_id"),
    ("store_file", 200, "file", "path.id", "/id"),
    ("store_file", 200, "delete_file", "path.id", "/id"),
    ("store_file", 200, "file_preview", "path.id", "/id"),
    ("fill_file", 200, "file", "path.id", "/id"),
    ("put_file", 200, "file", "path.id", "/id"),
];

/// Adds the links of an operation's responses.
pub(super) fn add(operation: &mut Operation) {
    let Some(name) = operation.operation_id.as_deref() else { return };
    let Some(responses) = &mut operation.responses else { return };
    for (from, status, to, parameter, place) in LINKS {
        if from != name {
            continue;
        }
        if let Some(ReferenceOr::Item(response)) = responses.responses.get_mut(&StatusCode::Code(status)) {
            let value = json!(format!("$response.body#{place}"));
            let link = Link {
                description: None,
                operation: LinkOperation::OperationId(to.to_owned()),
                request_body: None,
                parameters: [(parameter.to_owned(), value)].into_iter().collect(),
                server: None,
                extensions: Default::default(),
            };
            response.links.insert(to.to_owned(), ReferenceOr::Item(link));
        }
    }
}
