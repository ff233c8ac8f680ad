//! Error responses in the OpenAPI description.
//!
//! Each part of a route declares the statuses it can fail with: extractors with [`add_failures`], routes with
//! [`may_fail_with`], and [`complete`] adds those of the middleware. There is no `default` response: a test fails on
//! any status that is not declared.

use aide::openapi::{
    Header, HeaderStyle, MediaType, Operation, Parameter, ParameterSchemaOrContent, ReferenceOr, Response,
    SchemaObject, StatusCode as Status,
};
use aide::transform::TransformOperation;
use axum::http::StatusCode;
use schemars::{Schema, json_schema};

use crate::http::extract::header_parameter;
use crate::http::transport::rate_limits;

/// Error statuses and their general meaning.
const FAILURES: [(u16, &str); 14] = [
    (400, "The request breaks a rule."),
    (401, "The token is missing, invalid or expired, or its login has ended; or the credentials are wrong."),
    (403, "Not permitted."),
    (404, "Not found, or not yours."),
    (408, "The body took too long to arrive."),
    (409, "Conflicts with the current state."),
    (413, "Larger than the limit."),
    (415, "The file type is not accepted, or the content does not match it."),
    (
        422,
        "Malformed: invalid JSON, a missing or mistyped field, or another content type; or the `Idempotency-Key` was \
           used for another request.",
    ),
    (426, "This is a WebSocket: the request must ask for an upgrade."),
    (429, "A rate limit or quota is exceeded."),
    (500, "Server error; or the failure of a reply that the request waited for."),
    (503, "Temporarily unavailable; retry after `Retry-After`."),
    (507, "The storage is full."),
];

/// Declares statuses that an operation can fail with. Extractors and [`ApiError`](crate::http::errors::ApiError) call
/// this.
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

/// Declares statuses that a route can fail with: `op.with(may_fail_with(&[404, 409]))`.
pub(in crate::http) fn may_fail_with(
    statuses: &'static [u16],
) -> impl FnOnce(TransformOperation<'_>) -> TransformOperation<'_> {
    move |mut operation| {
        add_failures(operation.inner_mut(), statuses);
        operation
    }
}

/// Returns the name of an error response among the description's components.
fn name(status: u16) -> String {
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    reason.unwrap_or("Failure").split([' ', '-']).collect()
}

/// Returns every error response as a component.
pub(super) fn components() -> impl Iterator<Item = (String, ReferenceOr<Response>)> {
    FAILURES.iter().map(|(status, description)| {
        let body = json_schema!({"$ref": "#/components/schemas/ErrorBody"});
        let media = MediaType { schema: Some(object(body)), ..MediaType::default() };
        let headers = match status {
            401 => vec![("WWW-Authenticate", text("`Bearer`.", true))],
            429 | 503 => vec![("Retry-After", number("Seconds after which a retry makes sense.", true))],
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

/// Adds what the middleware does to an operation.
pub(super) fn complete(path: &str, method: &str, operation: &mut Operation) {
    add_failures(operation, &[500, 503]);
    let is_query = method == "get";
    if is_query {
        let description =
            "A position from an earlier response: this query waits, 300 ms at most, until it includes it.";
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

/// Returns whether a route described this response as an [`ErrorBody`](crate::http::errors::ErrorBody) itself.
fn is_failure(response: &Response) -> bool {
    let schema = response.content.get("application/json").and_then(|media| media.schema.as_ref());
    let reference = schema.and_then(|schema| schema.json_schema.get("$ref"));
    reference.and_then(|reference| reference.as_str()).is_some_and(|name| name.ends_with("/ErrorBody"))
}

/// Returns whether the operation writes events; those operations take an `Idempotency-Key`.
fn is_command(operation: &Operation) -> bool {
    let named = |parameter: &ReferenceOr<Parameter>| match parameter {
        ReferenceOr::Item(Parameter::Header { parameter_data, .. }) => {
            parameter_data.name == crate::http::extract::IDEMPOTENCY_KEY
        }
        _ => false,
    };
    operation.parameters.iter().any(named)
}

/// Adds the `Verbatim-Position` header to the responses of a command.
fn document_position(operation: &mut Operation) {
    let Some(responses) = &mut operation.responses else { return };
    for (status, response) in &mut responses.responses {
        if let (Status::Code(200..300), ReferenceOr::Item(response)) = (status, response) {
            let header = number("The log position of the command.", false);
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
