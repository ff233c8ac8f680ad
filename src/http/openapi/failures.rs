//! Failures in the API's description.
//!
//! Each part of a route names the statuses that it may refuse with, in one line: extractors with [`add_failures`] where they
//! describe themselves, routes with [`may_fail_with`] for what their use case may say. What the layers around all routes add,
//! [`complete`] adds. Nothing hides behind a `default`: an answer whose status is not named is a fault that a test finds.

use aide::openapi::{
    Header, HeaderStyle, MediaType, Operation, Parameter, ParameterSchemaOrContent, ReferenceOr, Response,
    SchemaObject, StatusCode as Status,
};
use aide::transform::TransformOperation;
use axum::http::StatusCode;
use schemars::{Schema, json_schema};

use crate::http::extract::header_parameter;
use crate::http::transport::rate_limits;

/// Statuses of failures, and what each means anywhere.
const FAILURES: [(u16, &str); 14] = [
    (400, "A rule is broken by what was sent."),
    (
        401,
        "The token is missing, forged or has run out, or its login has ended; or the credentials are wrong.",
    ),
    (403, "Not permitted."),
    (404, "Not there, or not yours."),
    (408, "The body took too long to arrive."),
    (409, "It contradicts what is there."),
    (413, "Larger than is allowed."),
    (415, "A type of file that is not taken, or a file that is not what it is said to be."),
    (
        422,
        "Malformed: malformed, a field missing or of the wrong type, another content type; or the `Idempotency-Key` \
           was used for another request.",
    ),
    (426, "This is a WebSocket: the request has to ask for an upgrade."),
    (429, "Too often, or too much at once."),
    (500, "A fault of ours; or, where a reply is waited for, its failure."),
    (503, "Not now: busy, going down, or a part does not answer. Worth trying again."),
    (507, "There is no room for it."),
];

/// Names statuses of failures that an operation may be answered with. Called by what describes itself: extractors and
/// [`ApiError`](crate::http::errors::ApiError).
pub(in crate::http) fn add_failures(operation: &mut Operation, statuses: &[u16]) {
    let responses = &mut operation.responses.get_or_insert_default().responses;
    for status in statuses {
        responses.entry(Status::Code(*status)).or_insert_with(|| reference(*status));
    }
}

fn reference(status: u16) -> ReferenceOr<Response> {
    let reference = format!("#/components/responses/{}", name(status));
    ReferenceOr::Reference { reference, summary: None, description: None }
}

/// The same for a route: `op.with(may_fail_with(&[404, 409]))`.
pub(in crate::http) fn may_fail_with(
    statuses: &'static [u16],
) -> impl FnOnce(TransformOperation<'_>) -> TransformOperation<'_> {
    move |mut operation| {
        add_failures(operation.inner_mut(), statuses);
        operation
    }
}

/// The name of a failure among the description's components.
fn name(status: u16) -> String {
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    reason.unwrap_or("Failure").split([' ', '-']).collect()
}

/// Every failure as a component, to be referred to.
pub(super) fn components() -> impl Iterator<Item = (String, ReferenceOr<Response>)> {
    FAILURES.iter().map(|(status, description)| {
        let body = json_schema!({"$ref": "#/components/schemas/ErrorBody"});
        let media = MediaType { schema: Some(object(body)), ..MediaType::default() };
        let headers = match status {
            401 => vec![("WWW-Authenticate", text("`Bearer`.", true))],
            429 | 503 => vec![("Retry-After", number("Seconds after which it is worth trying again.", true))],
            _ => Vec::new(),
        };
        let response = Response {
            description: (*description).to_owned(),
            headers: headers.into_iter().map(|(name, header)| (name.to_owned(), header)).collect(),
            content: [("application/json".to_owned(), media)].into_iter().collect(),
            ..Response::default()
        };
        (name(*status), ReferenceOr::Item(response))
    })
}

/// Adds what the layers around every route do to one operation.
pub(super) fn complete(path: &str, method: &str, operation: &mut Operation) {
    add_failures(operation, &[500, 503]);
    let is_query = method == "get";
    if is_query {
        let description =
            "A position that an earlier answer gave: this one waits, 300 ms at most, until it can show it.";
        let schema = json_schema!({"type": "integer", "format": "int64", "minimum": 0});
        operation.parameters.push(header_parameter("Verbatim-Position", description, schema));
        add_failures(operation, &[400]);
    }
    if rate_limits::is_throttled(path) || !operation.security.is_empty() {
        add_failures(operation, &[429]);
    }
    if is_command(operation) {
        document_position(operation);
    }
    if let Some(responses) = &mut operation.responses {
        for (status, response) in &mut responses.responses {
            if let (Status::Code(status), ReferenceOr::Item(failure)) = (status, &response)
                && is_failure(failure)
            {
                *response = reference(*status);
            }
        }
        responses.responses.sort_keys();
    }
}

/// Whether it is described as a failure of ours, spelled out by a route.
fn is_failure(response: &Response) -> bool {
    let schema = response.content.get("application/json").and_then(|media| media.schema.as_ref());
    let reference = schema.and_then(|schema| schema.json_schema.get("$ref"));
    reference.and_then(|reference| reference.as_str()).is_some_and(|name| name.ends_with("/ErrorBody"))
}

/// Whether it writes events: those operations take an `Idempotency-Key`.
fn is_command(operation: &Operation) -> bool {
    let named = |parameter: &ReferenceOr<Parameter>| match parameter {
        ReferenceOr::Item(Parameter::Header { parameter_data, .. }) => {
            parameter_data.name == crate::http::extract::IDEMPOTENCY_KEY
        }
        _ => false,
    };
    operation.parameters.iter().any(named)
}

/// Answers to commands tell the position of what they did.
fn document_position(operation: &mut Operation) {
    let Some(responses) = &mut operation.responses else { return };
    for (status, response) in &mut responses.responses {
        if let (Status::Code(200..300), ReferenceOr::Item(response)) = (status, response) {
            let header = number("The place in the log of what was done.", false);
            response.headers.entry("Verbatim-Position".to_owned()).or_insert(header);
        }
    }
}

fn object(schema: Schema) -> SchemaObject {
    SchemaObject { json_schema: schema, example: None, external_docs: None }
}

fn text(description: &str, required: bool) -> ReferenceOr<Header> {
    header(description, required, json_schema!({"type": "string"}))
}

fn number(description: &str, required: bool) -> ReferenceOr<Header> {
    header(description, required, json_schema!({"type": "integer", "minimum": 0}))
}

fn header(description: &str, required: bool, schema: Schema) -> ReferenceOr<Header> {
    ReferenceOr::Item(Header {
        description: Some(description.to_owned()),
        style: HeaderStyle::Simple,
        required,
        deprecated: None,
        format: ParameterSchemaOrContent::Schema(object(schema)),
        example: None,
        examples: Default::default(),
        extensions: Default::default(),
    })
}
