//! Upload bodies: a form with the single part `file`, or the bytes themselves. Bodies are streamed; one that is too
//! large is rejected before it is read.

use aggregates::ids::UserId;
use aide::OperationInput;
use aide::generate::GenContext;
use aide::openapi::{Encoding, MediaType, Operation, ReferenceOr, RequestBody, SchemaObject};
use axum::RequestExt as _;
use axum::body::Body;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use futures::StreamExt as _;
use http_body_util::Limited;
use schemars::json_schema;

use crate::app::files::accepted_types;
use crate::app::files::uploads::Upload;
use crate::app::{AppError, RequestContext};
use crate::http::ApiState;
use crate::http::errors::ApiError;
use crate::http::extract::{self, BODY_FAILURES, BODY_TIMEOUT, document_key, media_type, unprocessable};
use crate::http::openapi::failures::add_failures;

/// Maximum size of a form besides the file itself, in bytes.
const MAX_FORM_OVERHEAD_BYTES: u64 = 16 * 1024;
/// Media type of a multipart form.
const MULTIPART: &str = "multipart/form-data";
/// Name of the part that holds the file.
const PART: &str = "file";

/// An upload whose body has not been read yet.
#[derive(Debug)]
pub(super) struct RawUpload {
    parts: Parts,
    body: Body,
    /// Request id, surface and idempotency key. The body is not yet part of the key's fingerprint.
    pub(super) context: RequestContext,
}

impl FromRequest<ApiState> for RawUpload {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let context = extract::context(&parts, &[], state)?;
        Ok(Self { parts, body, context })
    }
}

impl OperationInput for RawUpload {
    fn operation_input(_: &mut GenContext, operation: &mut Operation) {
        let form = json_schema!({
            "type": "object",
            "properties": {"file": {"type": "string", "format": "binary", "description": "The file, with its name and type."}},
            "required": ["file"],
            "additionalProperties": false
        });
        let schema = SchemaObject { json_schema: form, example: None, external_docs: None };
        let types: Vec<&str> = accepted_types().collect();
        let encoding = Encoding {
            content_type: Some(types.join(", ")),
            headers: Default::default(),
            style: None,
            explode: false,
            allow_reserved: false,
            extensions: Default::default(),
        };
        let encoding = [(PART.to_owned(), encoding)].into_iter().collect();
        let media = MediaType { schema: Some(schema), encoding, ..MediaType::default() };
        let content = [(MULTIPART.to_owned(), media)].into_iter().collect();
        let body = RequestBody { content, required: true, ..RequestBody::default() };
        operation.request_body = Some(ReferenceOr::Item(body));
        document_key(operation);
        add_failures(operation, &BODY_FAILURES);
    }
}

/// A received file.
pub(super) struct UploadedFile {
    /// File name, if the body gives one.
    pub(super) name: Option<String>,
    /// Media type, if the body gives one.
    pub(super) declared: Option<String>,
    /// The spooled content.
    pub(super) upload: Upload,
}

impl RawUpload {
    /// Returns the request headers.
    pub(super) fn headers(&self) -> &axum::http::HeaderMap {
        &self.parts.headers
    }

    /// Returns whether the body is a multipart form.
    pub(super) fn is_form(&self) -> bool {
        media_type(&self.parts.headers).as_deref() == Some(MULTIPART)
    }

    /// Starts an upload before any of the body is read.
    pub(super) fn upload(&self, state: &ApiState, owner: UserId) -> Result<Upload, ApiError> {
        let length = self.parts.headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        let beside = if self.is_form() { MAX_FORM_OVERHEAD_BYTES } else { 0 };
        Ok(state.services.files.upload(owner, length.map(|length| length.saturating_sub(beside)))?)
    }

    /// Reads the file from a form or from the plain body.
    pub(super) async fn take(self, state: &ApiState, upload: Upload) -> Result<UploadedFile, ApiError> {
        if self.is_form() {
            Box::pin(self.form(state, upload)).await
        } else {
            self.plain(state, upload).await
        }
    }

    /// Reads the file from a form; rejects any other body.
    pub(super) async fn form(self, state: &ApiState, mut upload: Upload) -> Result<UploadedFile, ApiError> {
        let limit = usize::try_from(state.services.files.max_file_bytes() + MAX_FORM_OVERHEAD_BYTES)
            .unwrap_or(usize::MAX);
        let body = Body::new(Limited::new(self.body, limit));
        let request = Request::from_parts(self.parts, body);
        let mut form: Multipart = request
            .extract()
            .await
            .map_err(|_| unprocessable("Content-Type", "must be multipart/form-data"))?;
        let only = || unprocessable(PART, "must be the one part of the form, with a file name");
        let mut part = with_timeout(state, form.next_field())
            .await?
            .map_err(|error| form_error(state, &error))?
            .ok_or_else(only)?;
        if part.name() != Some(PART) {
            return Err(only());
        }
        let name = part.file_name().ok_or_else(only)?.to_owned();
        let declared = part.content_type().map(str::to_owned);
        while let Some(piece) = piece(state, &mut part).await? {
            upload.push(&piece).await?;
        }
        drop(part);
        let next =
            with_timeout(state, form.next_field()).await?.map_err(|error| form_error(state, &error))?;
        if next.is_some() {
            return Err(only());
        }
        Ok(UploadedFile { name: Some(name), declared, upload })
    }

    async fn plain(self, state: &ApiState, mut upload: Upload) -> Result<UploadedFile, ApiError> {
        let declared = media_type(&self.parts.headers);
        let mut pieces = self.body.into_data_stream();
        while let Some(piece) = with_timeout(state, pieces.next()).await? {
            let piece = piece.map_err(|_| incomplete())?;
            upload.push(&piece).await?;
        }
        Ok(UploadedFile { name: None, declared, upload })
    }
}

async fn piece(state: &ApiState, part: &mut Field<'_>) -> Result<Option<axum::body::Bytes>, ApiError> {
    with_timeout(state, part.chunk()).await?.map_err(|error| form_error(state, &error))
}

/// Waits for more of a body, up to the timeout or until shutdown.
async fn with_timeout<T>(state: &ApiState, more: impl Future<Output = T>) -> Result<T, ApiError> {
    tokio::select! {
        more = tokio::time::timeout(BODY_TIMEOUT, more) => more.map_err(|_| {
            ApiError::http(StatusCode::REQUEST_TIMEOUT, "slow_body", "The body took too long to arrive.")
        }),
        () = state.services.stopping.cancelled() => Err(AppError::shutting_down().into()),
    }
}

fn form_error(state: &ApiState, error: &MultipartError) -> ApiError {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return state.services.files.too_large().into();
    }
    ApiError::http(StatusCode::BAD_REQUEST, "invalid_form", "The form is malformed or ended early.")
}

fn incomplete() -> ApiError {
    ApiError::http(StatusCode::BAD_REQUEST, "incomplete_body", "The body ended early.")
}
