//! Requests that are answered with one document.

use aggregates::ids::ConversationId;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use projections::messages::thread;
use serde_json::json;

use super::actions::{self, Outcome};
use super::attachment::{attachment, parse_id};
use super::endpoint::Caller;
use super::items::{self, Shown, item_id};
use super::wire::request::{
    CreateAttachment, CustomAction, DEFAULT_PAGE, DeleteAttachment, DeleteThread, Feedback, FeedbackKind,
    GetThread, ListItems, ListThreads, Order, Transcribe, UpdateThread,
};
use super::wire::{IdKind, Page, ThreadItem, Transcription, UpdatedItem};
use crate::app::conversations::Change;
use crate::app::conversations::items::Verdict;
use crate::app::{AppError, Kind};
use crate::http::errors::ApiError;
use crate::http::formats::answer::Answer;

/// Accepted media types of recordings.
const RECORDINGS: [&str; 6] =
    ["audio/webm", "audio/mp4", "audio/ogg", "audio/mpeg", "audio/wav", "audio/x-wav"];

/// Parses a thread id. An unparsable id is treated like an unknown thread.
///
/// # Errors
/// `NotFound`.
pub(super) fn thread_id(id: &str) -> Result<ConversationId, AppError> {
    IdKind::Thread.read(id).map(ConversationId::new).ok_or_else(AppError::not_found)
}

pub(super) async fn get_thread(caller: Caller, params: GetThread) -> Result<Response, ApiError> {
    let id = thread_id(&params.thread_id)?;
    let row = caller.state.services.conversations.conversation(caller.actor, id).await?;
    let mut thread = items::thread(&row);
    thread.items = page(&caller, id, Order::Asc, None, DEFAULT_PAGE).await?;
    Ok(Answer::ok(thread).into_response())
}

pub(super) async fn list_threads(caller: Caller, params: ListThreads) -> Result<Response, ApiError> {
    let after = params.after.as_deref().map(thread_id).transpose()?;
    let limit = params.limit.get();
    let newest_first = params.order == Order::Desc;
    let rows = caller
        .state
        .services
        .conversations
        .conversations_by_creation(caller.actor, newest_first, after, one_more(limit))
        .await?;
    let threads = rows.iter().map(items::thread).collect();
    Ok(Answer::ok(Page::cut(threads, limit, |thread| thread.id.clone())).into_response())
}

pub(super) async fn update_thread(caller: Caller, params: UpdateThread) -> Result<Response, ApiError> {
    let id = thread_id(&params.thread_id)?;
    let change = Change { title: Some(params.title), may_be_empty: true, ..Change::default() };
    let (row, position) = caller
        .state
        .services
        .conversations
        .change_conversation(&caller.context, caller.actor, id, change)
        .await?;
    Ok(Answer::ok(items::thread(&row)).with_position(position).into_response())
}

pub(super) async fn delete_thread(caller: Caller, params: DeleteThread) -> Result<Response, ApiError> {
    let id = thread_id(&params.thread_id)?;
    let position =
        caller.state.services.conversations.delete_conversation(&caller.context, caller.actor, id).await?;
    Ok(Answer::ok(json!({})).with_position(position).into_response())
}

pub(super) async fn list_items(caller: Caller, params: ListItems) -> Result<Response, ApiError> {
    let id = thread_id(&params.thread_id)?;
    let page = page(&caller, id, params.order, params.after.as_deref(), params.limit.get()).await?;
    Ok(Answer::ok(page).into_response())
}

pub(super) async fn feedback(caller: Caller, params: Feedback) -> Result<Response, ApiError> {
    let id = thread_id(&params.thread_id)?;
    let items = params
        .item_ids
        .iter()
        .map(|id| item_id(id).ok_or_else(AppError::not_found))
        .collect::<Result<Vec<_>, _>>()?;
    let verdict = match params.kind {
        FeedbackKind::Positive => Verdict::Positive,
        FeedbackKind::Negative => Verdict::Negative,
    };
    let services = &caller.state.services;
    let position =
        services.conversations.give_feedback(&caller.context, caller.actor, id, &items, verdict).await?;
    Ok(Answer::ok(json!({})).with_position(position).into_response())
}

pub(super) async fn create_attachment(
    caller: Caller,
    params: CreateAttachment,
) -> Result<Response, ApiError> {
    let CreateAttachment { name, size, mime_type } = params;
    let services = &caller.state.services;
    let (file, position) =
        services.files.announce_file(&caller.context, caller.actor, &name, Some(&mime_type), size).await?;
    let attachment = attachment(&caller.state, &caller.base, &file);
    Ok(Answer::ok(attachment).with_position(position).into_response())
}

pub(super) async fn delete_attachment(
    caller: Caller,
    params: DeleteAttachment,
) -> Result<Response, ApiError> {
    let id = parse_id(&params.attachment_id).ok_or_else(AppError::not_found)?;
    let position = caller.state.services.files.delete_file(&caller.context, caller.actor, id).await?;
    Ok(Answer::ok(json!({})).with_position(position).into_response())
}

pub(super) async fn transcribe(caller: Caller, params: Transcribe) -> Result<Response, ApiError> {
    let invalid = |detail: &str| AppError::new(Kind::Invalid, "invalid_recording", detail);
    let mime_type = params.mime_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if !RECORDINGS.contains(&mime_type.as_str()) {
        return Err(invalid("This type of recording is not accepted.").into());
    }
    // Some clients break lines or omit the padding.
    let packed: String = params.audio_base64.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let audio = GeneralPurpose::new(&alphabet::STANDARD, lenient)
        .decode(packed)
        .map_err(|_| invalid("The recording is not valid base64."))?;
    if audio.is_empty() {
        return Err(invalid("The recording is empty.").into());
    }
    let text = caller.state.services.conversations.transcribe(caller.actor, audio, mime_type).await?;
    Ok(Answer::ok(Transcription { text }).into_response())
}

pub(super) async fn sync_custom_action(caller: Caller, params: CustomAction) -> Result<Response, ApiError> {
    let thread = thread_id(&params.thread_id)?;
    let (updated_item, position) = match actions::act(&caller, thread, params).await? {
        Outcome::Changed { item, position, .. } => (Some(item), position),
        Outcome::Nothing | Outcome::NoWidget => (None, None),
    };
    Ok(Answer::ok(UpdatedItem { updated_item }).with_position(position).into_response())
}

/// Returns a page of a conversation's visible items.
async fn page(
    caller: &Caller,
    conversation: ConversationId,
    order: Order,
    after: Option<&str>,
    limit: usize,
) -> Result<Page<ThreadItem>, AppError> {
    let Caller { state, actor, base, .. } = caller;
    let after = after.map(|id| item_id(id).ok_or_else(AppError::not_found)).transpose()?;
    let order = match order {
        Order::Asc => thread::Order::Ascending,
        Order::Desc => thread::Order::Descending,
    };
    let rows =
        state.services.conversations.thread(*actor, conversation, order, after, one_more(limit)).await?;
    let shown = Shown::of(state, base, *actor, &rows).await?;
    let rows = Page::cut(rows, limit, items::id_of);
    let data = rows.data.iter().filter_map(|row| shown.item(row)).collect();
    Ok(Page { data, has_more: rows.has_more, after: rows.after })
}

fn one_more(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX - 1) + 1
}
