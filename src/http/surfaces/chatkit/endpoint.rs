//! `POST /chatkit`: parses the request and dispatches it to a handler that responds with a document (`queries`) or a
//! stream (`runs`). Every rejection happens before a stream starts.

use aide::OperationInput;
use aide::axum::ApiRouter;
use aide::axum::routing::post_with;
use aide::generate::GenContext;
use aide::openapi::Operation;
use axum::Json;
use axum::extract::{FromRequest, Request, State};
use axum::response::Response;
use schemars::JsonSchema;

use super::attachment::Base;
use super::wire::{Attachment, ChatKitRequest, Page, Thread, ThreadItem, Transcription};
use super::{queries, runs};
use crate::app::{Actor, RequestContext};
use crate::http::ApiState;
use crate::http::errors::ApiError;
use crate::http::extract::auth::BearerToken;
use crate::http::extract::{BODY_FAILURES, body_too_large, context, document_key, read_up_to};
use crate::http::openapi::failures::{add_failures, may_fail_with};
use crate::http::transport::middleware::wait_for_position;

/// Maximum body of a request with a recording, in bytes. Other requests keep the usual limit.
pub const MAX_RECORDING_BODY: usize = 8 * 1024 * 1024;

/// Returns the route.
pub(super) fn routes() -> ApiRouter<ApiState> {
    ApiRouter::new().api_route(
        "/chatkit",
        post_with(chatkit, |op| {
            op.id("chatkit")
                .tag("chatkit")
                .with(may_fail_with(&[404, 409, 415, 429]))
                .summary("Handle a request of a ChatKit front end")
                .description(
                    "The `type` selects the request. `threads.create`, `threads.add_user_message`, \
                     `threads.add_client_tool_output`, `threads.add_structured_input`, `threads.retry_after_item` and \
                     `threads.custom_action` are answered with a stream of events, each one `data:` line of JSON; all \
                     others with one JSON document. Disconnecting from a stream cancels the answer; the text that was sent is stored.",
                )
                .response_with::<200, Json<Document>, _>(|response| {
                    let mut response = response.description("A document, or a stream of events.");
                    let stream = aide::openapi::MediaType::default();
                    response.inner().content.insert("text/event-stream".to_owned(), stream);
                    response
                })
        }),
    )
}

/// Documents that requests are answered with.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used: each answer is written where it is made")]
enum Document {
    /// `threads.get_by_id`, `threads.update`.
    Thread(Box<Thread>),
    /// `threads.list`.
    Threads(Page<Thread>),
    /// `items.list`.
    Items(Page<ThreadItem>),
    /// `attachments.create`.
    Attachment(Attachment),
    /// `input.transcribe`.
    Transcription(Transcription),
    /// `threads.sync_custom_action`, if an item changed.
    Updated {
        /// The changed item.
        updated_item: Box<ThreadItem>,
    },
    /// All other requests.
    #[schemars(extend("maxProperties" = 0))]
    Nothing {},
}

/// The caller of a request and its context.
pub(super) struct Caller {
    pub(super) state: ApiState,
    pub(super) actor: Actor,
    pub(super) context: RequestContext,
    pub(super) base: Base,
}

/// A parsed request.
struct Call {
    context: RequestContext,
    base: Base,
    request: ChatKitRequest,
}

impl FromRequest<ApiState> for Call {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let usual = state.settings.max_body_bytes;
        let bytes = read_up_to(&parts, body, usual.max(MAX_RECORDING_BODY)).await?;
        // Ignore the content type: clients differ, and there is only one kind of body.
        let request = ChatKitRequest::parse(&bytes)?;
        if bytes.len() > usual && !matches!(request, ChatKitRequest::Transcribe(_)) {
            return Err(body_too_large(usual));
        }
        // Queries wait for the position they name; this protocol sends them as POST.
        if is_query(&request) {
            wait_for_position(state, &parts.headers).await?;
        }
        let base = Base::of(state, &parts.headers);
        Ok(Self { context: context(&parts, &bytes, state)?, base, request })
    }
}

impl OperationInput for Call {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        Json::<ChatKitRequest>::operation_input(ctx, operation);
        document_key(operation);
        add_failures(operation, &BODY_FAILURES);
    }
}

/// Returns whether the request only reads.
const fn is_query(request: &ChatKitRequest) -> bool {
    matches!(
        request,
        ChatKitRequest::GetThread(_) | ChatKitRequest::ListThreads(_) | ChatKitRequest::ListItems(_)
    )
}

async fn chatkit(
    State(state): State<ApiState>,
    BearerToken(authenticated): BearerToken,
    call: Call,
) -> Result<Response, ApiError> {
    let Call { context, base, request } = call;
    let actor = authenticated.actor;
    if is_query(&request) {
        state.services.rate_limits.count_read(actor)?;
    } else {
        state.services.rate_limits.count_command(actor)?;
    }
    let caller = Caller { state, actor, context, base };
    tracing::debug!(chatkit.request = request.name(), "request");
    match request {
        ChatKitRequest::CreateThread(params) => runs::create(caller, params).await,
        ChatKitRequest::AddUserMessage(params) => runs::add_message(caller, params).await,
        ChatKitRequest::AddClientToolOutput(params) => runs::add_tool_output(caller, params).await,
        ChatKitRequest::AddStructuredInput(params) => runs::add_structured_input(caller, params).await,
        ChatKitRequest::RetryAfterItem(params) => runs::retry(caller, params).await,
        ChatKitRequest::CustomAction(params) => runs::custom_action(caller, params).await,
        ChatKitRequest::SyncCustomAction(params) => queries::sync_custom_action(caller, params).await,
        ChatKitRequest::GetThread(params) => queries::get_thread(caller, params).await,
        ChatKitRequest::ListThreads(params) => queries::list_threads(caller, params).await,
        ChatKitRequest::UpdateThread(params) => queries::update_thread(caller, params).await,
        ChatKitRequest::DeleteThread(params) => queries::delete_thread(caller, params).await,
        ChatKitRequest::ListItems(params) => queries::list_items(caller, params).await,
        ChatKitRequest::Feedback(params) => queries::feedback(caller, params).await,
        ChatKitRequest::CreateAttachment(params) => queries::create_attachment(caller, params).await,
        ChatKitRequest::DeleteAttachment(params) => queries::delete_attachment(caller, params).await,
        ChatKitRequest::Transcribe(params) => queries::transcribe(caller, params).await,
    }
}
