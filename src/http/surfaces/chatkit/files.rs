//! `/files`: upload in one step or through a signed link, download, preview, delete.

use aggregates::ids::FileId;
use aide::axum::ApiRouter;
use aide::axum::routing::{get_with, post_with, put_with};
use aide::openapi::{MediaType, ReferenceOr, SchemaObject};
use aide::transform::TransformOperation;
use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, http};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use projections::files::query::FileRow;
use schemars::{JsonSchema, json_schema};
use serde::Deserialize;

use super::attachment::{Base, attachment, parse_id};
use super::body::{RawUpload, UploadedFile};
use super::wire::{Attachment, IdKind};
use crate::app::AppError;
use crate::auth::signed_urls::Signature;
use crate::http::ApiState;
use crate::http::errors::ApiError;
use crate::http::extract::auth::SignedIn;
use crate::http::extract::{EmptyCommand, Query, document_id, unprocessable};
use crate::http::openapi::failures::may_fail_with;
use crate::http::transport::middleware::POSITION;

const TAG: &str = "files";
/// Sandboxes a file that is opened by its URL: no scripts, no requests.
const SANDBOX: HeaderValue = HeaderValue::from_static("sandbox; default-src 'none'; frame-ancestors 'none'");
/// Forbids browsers and proxies to keep copies of users' files.
const PRIVATE: HeaderValue = HeaderValue::from_static("private, no-store");
/// Characters besides letters and digits that need no encoding in a file name in a header.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Returns the routes of files.
pub(super) fn routes() -> ApiRouter<ApiState> {
    ApiRouter::new()
        .api_route(
            "/files",
            post_with(store, |op| {
                op.id("store_file")
                    .tag(TAG)
                    .summary("Upload a file in one step")
                    .description(
                        "A form with one part, `file`, with its name and type. Accepts PNG, JPEG, GIF and WebP images, PDF, and text \
                         (plain, Markdown, CSV, JSON); name, type and content must agree.",
                    )
                    .with(may_fail_with(&[415, 429, 507]))
                    .response::<200, Json<Attachment>>()
            }),
        )
        .api_route(
            "/files/{id}/content",
            post_with(fill, |op| filling(op.id("fill_file")))
                .merge(put_with(fill, |op| filling(op.id("put_file")))),
        )
        .api_route(
            "/files/{id}",
            get_with(download, |op| {
                binary(op.id("file").tag(TAG).summary("Download a file"), "*/*")
                    .response_with::<304, (), _>(|response| response.description("Not modified: the client has this ETag."))
            })
            .merge(aide::axum::routing::delete_with(delete, |op| {
                op.id("delete_file")
                    .tag(TAG)
                    .summary("Delete a file that was not sent")
                    .with(may_fail_with(&[409]))
                    .response_with::<204, (), _>(|response| response.description("Deleted."))
            })),
        )
        .api_route(
            "/files/{id}/preview",
            get_with(preview, |op| {
                let op = op.id("file_preview").tag(TAG).summary("Get the preview of an image through its signed link");
                binary(op, "image/*").with(may_fail_with(&[403]))
            }),
        )
}

fn filling(mut op: TransformOperation<'_>) -> TransformOperation<'_> {
    if let Some(ReferenceOr::Item(body)) = &mut op.inner_mut().request_body {
        let bytes = json_schema!({"type": "string", "format": "binary"});
        let schema = SchemaObject { json_schema: bytes, example: None, external_docs: None };
        let media = MediaType { schema: Some(schema), ..MediaType::default() };
        body.content.insert("application/octet-stream".to_owned(), media);
    }
    op.tag(TAG)
        .summary("Upload the content of an announced file")
        .description(
            "The URL comes with the announcement and is valid for ten minutes. The body is the content, with its own type \
             or as `application/octet-stream`, or a form with one part, `file`. Uploading the same content again has no effect.",
        )
        .with(may_fail_with(&[403, 409, 415, 429, 507]))
        .response::<200, Json<Attachment>>()
}

fn binary<'t>(op: TransformOperation<'t>, media: &str) -> TransformOperation<'t> {
    op.response_with::<200, (), _>(|response| {
        let mut response = response.description("The content.");
        response.inner().content.insert(media.to_owned(), MediaType::default());
        response
    })
}

/// Query parameters of a signed link.
#[derive(Debug, Deserialize, JsonSchema)]
struct LinkQuery {
    /// Expiry, in seconds since the epoch.
    expires: i64,
    /// Signature of the link.
    #[schemars(length(min = 1, max = 256))]
    signature: String,
}

impl From<LinkQuery> for Signature {
    fn from(query: LinkQuery) -> Self {
        Self { expires: query.expires, signature: query.signature }
    }
}

/// File id in a path, in either form. An unparsable id is treated like an unknown one.
#[derive(Debug, Clone, Copy)]
struct PathFile(FileId);

impl FromRequestParts<ApiState> for PathFile {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        let id = axum::extract::Path::<String>::from_request_parts(parts, state).await.ok();
        let id = id.and_then(|axum::extract::Path(id)| parse_id(&id)).ok_or_else(AppError::not_found)?;
        Ok(Self(id))
    }
}

impl aide::OperationInput for PathFile {
    fn operation_input(_: &mut aide::generate::GenContext, operation: &mut aide::openapi::Operation) {
        let mut schema = json_schema!({"type": "string"});
        IdKind::Attachment.describe(&mut schema);
        document_id(operation, "Id of the file, `atc_` and 32 digits, or the UUID in it.", schema);
    }
}

async fn store(
    State(state): State<ApiState>,
    SignedIn(actor): SignedIn,
    request: RawUpload,
) -> Result<Response, ApiError> {
    let context = request.context.clone();
    let base = Base::of(&state, request.headers());
    let upload = request.upload(&state, actor.user)?;
    state.services.files.may_store(&context, &upload).await?;
    let UploadedFile { name, declared, upload } = Box::pin(request.form(&state, upload)).await?;
    let name = name.ok_or_else(|| unprocessable("file", "has no name"))?;
    let stored = state.services.files.store_file(&context, actor, &name, declared.as_deref(), upload);
    let (file, position) = Box::pin(stored).await?;
    Ok(shown(&state, &base, &file, position))
}

async fn fill(
    State(state): State<ApiState>,
    PathFile(id): PathFile,
    Query(link): Query<LinkQuery>,
    request: RawUpload,
) -> Result<Response, ApiError> {
    let context = request.context.clone();
    let base = Base::of(&state, request.headers());
    let file = state.services.files.announced_file(id, &link.into()).await?;
    state.services.rate_limits.count_command_of(file.owner.into())?;
    let upload = request.upload(&state, file.owner.into())?;
    let UploadedFile { declared, upload, .. } = Box::pin(request.take(&state, upload)).await?;
    let filled = state.services.files.fill_file(&context, &file, declared.as_deref(), upload);
    let (file, position) = Box::pin(filled).await?;
    Ok(shown(&state, &base, &file, position))
}

async fn download(
    State(state): State<ApiState>,
    SignedIn(actor): SignedIn,
    PathFile(id): PathFile,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let file = state.services.files.file(actor, id).await?;
    let sha256 = file.sha256.as_deref().filter(|_| file.is_stored()).ok_or_else(AppError::not_found)?;
    let tag = format!("\"{sha256}\"");
    let mut answer = if is_known(&headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut answer = Response::new(Body::from_stream(state.services.files.file_bytes(&file).await?));
        let put = answer.headers_mut();
        put.insert(header::CONTENT_TYPE, value(&file.mime_type)?);
        put.insert(header::CONTENT_LENGTH, HeaderValue::from(file.size));
        put.insert(header::CONTENT_DISPOSITION, value(&disposition(file.name.as_deref().unwrap_or("file")))?);
        answer
    };
    let put = answer.headers_mut();
    put.insert(header::ETAG, value(&tag)?);
    put.insert(header::CACHE_CONTROL, PRIVATE);
    put.insert(header::CONTENT_SECURITY_POLICY, SANDBOX);
    Ok(answer)
}

async fn preview(
    State(state): State<ApiState>,
    PathFile(id): PathFile,
    Query(link): Query<LinkQuery>,
) -> Result<Response, ApiError> {
    let preview = state.services.files.file_preview(id, &link.into()).await?;
    let mut answer = preview.image.into_response();
    let put = answer.headers_mut();
    put.insert(header::CONTENT_TYPE, HeaderValue::from_static(preview.mime_type));
    put.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("inline"));
    put.insert(header::CACHE_CONTROL, PRIVATE);
    put.insert(header::CONTENT_SECURITY_POLICY, SANDBOX);
    // Pages of other origins may show the preview to those who have the link.
    put.insert(
        http::HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("cross-origin"),
    );
    Ok(answer)
}

async fn delete(
    State(state): State<ApiState>,
    SignedIn(actor): SignedIn,
    PathFile(id): PathFile,
    command: EmptyCommand,
) -> Result<Response, ApiError> {
    let position = state.services.files.delete_file(&command.context, actor, id).await?;
    Ok(with_position(StatusCode::NO_CONTENT.into_response(), position))
}

/// Responds with a file as an attachment.
fn shown(state: &ApiState, base: &Base, file: &FileRow, position: Option<i64>) -> Response {
    with_position(Json(attachment(state, base, file)).into_response(), position)
}

fn with_position(mut response: Response, position: Option<i64>) -> Response {
    if let Some(position) = position {
        response.headers_mut().insert(POSITION, HeaderValue::from(position));
    }
    response
}

fn value(text: &str) -> Result<HeaderValue, AppError> {
    HeaderValue::from_str(text).map_err(AppError::internal)
}

/// Returns whether the client has the content already.
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let lists = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|list| list.to_str().ok());
    let mut tags = lists.flat_map(|list| list.split(',')).map(str::trim);
    tags.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

/// Returns a `Content-Disposition` that saves the file under its name, with an ASCII fallback for clients that do not
/// read the encoded form.
fn disposition(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-._ ()".contains(c) { c } else { '_' };
    let fallback: String = name.chars().map(plain).collect();
    format!("attachment; filename=\"{fallback}\"; filename*=UTF-8''{}", utf8_percent_encode(name, NAME))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn file_names_are_encoded_in_the_header() {
        assert_eq!(
            disposition("tide table (1).png"),
            "attachment; filename=\"tide table (1).png\"; filename*=UTF-8''tide%20table%20%281%29.png"
        );
        assert_eq!(
            disposition("Größe\";x=\".pdf"),
            "attachment; filename=\"Gr__e__x__.pdf\"; filename*=UTF-8''Gr%C3%B6%C3%9Fe%22%3Bx%3D%22.pdf"
        );
    }

    #[test]
    fn matching_etag_is_recognized() {
        let asked = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::IF_NONE_MATCH, HeaderValue::from_static(value));
            }
            is_known(&headers, "\"ab\"")
        };
        for known in [&["\"ab\""][..], &["W/\"ab\""], &["*"], &["\"x\", \"ab\""], &["\"x\"", "\"ab\""]] {
            assert!(asked(known), "{known:?}");
        }
        for other in [&[][..], &["ab"], &["\"abc\""], &["\"x\""]] {
            assert!(!asked(other), "{other:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_file_name_gives_a_valid_header(name in any::<String>()) {
            let disposition = disposition(&name);
            prop_assert!(HeaderValue::from_str(&disposition).is_ok());
            prop_assert_eq!(disposition.matches('"').count(), 2);
            prop_assert_eq!(disposition.matches(';').count(), 2);
        }
    }
}
