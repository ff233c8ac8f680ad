//! Requests that are answered with a stream. The command is recorded, or rejected, before anything is sent.

use aggregates::ids::{ConversationId, FileId};
use axum::response::Response;
use projections::messages::thread::{Entry, ThreadRow};

use super::actions::{self, Outcome};
use super::attachment::parse_id;
use super::endpoint::Caller;
use super::items::{self, Shown, composed, item_id};
use super::queries::thread_id;
use super::stream::{self, Run};
use super::wire::request::{
    AddClientToolOutput, AddStructuredInput, AddUserMessage, CreateThread, CustomAction, RetryAfterItem,
    SubmissionStatus, UserMessageInput,
};
use super::wire::{
    ErrorCode, IdKind, ItemKind, NoticeLevel, StreamEvent, StructuredStatus, Thread, ThreadItem,
};
use crate::app::connection_limits::ConnectionKind;
use crate::app::conversations::branches::RegenerateTarget;
use crate::app::conversations::interactions::Answers;
use crate::app::conversations::items::{InputAnswer, MessageContext, ReplyOptions};
use crate::app::conversations::{NewMessage, Sent};
use crate::app::{AppError, Kind};
use crate::http::errors::ApiError;

/// Notice for a client whose card is outdated.
const STALE_CARD: &str =
    "This question was already answered elsewhere. Here is the current state of the quiz.";

pub(super) async fn create(caller: Caller, params: CreateThread) -> Result<Response, ApiError> {
    let connection = caller.state.services.connections.open(caller.actor, ConnectionKind::Stream)?;
    let (sent, message) = send(&caller, None, params.input).await?;
    let thread = thread(&caller, &sent).await?;
    let untitled = Thread { title: None, ..thread };
    let mut opening = vec![StreamEvent::ThreadCreated { thread: Box::new(untitled) }];
    opening.extend(message_event(&caller, &sent, message).await?);
    Ok(stream::respond(Run::new(caller, connection, sent, false, opening)))
}

pub(super) async fn add_message(caller: Caller, params: AddUserMessage) -> Result<Response, ApiError> {
    let connection = caller.state.services.connections.open(caller.actor, ConnectionKind::Stream)?;
    let thread = thread_id(&params.thread_id)?;
    let has_title = has_title(&caller, thread).await?;
    let (sent, message) = send(&caller, Some(thread), params.input).await?;
    let opening = message_event(&caller, &sent, message).await?.into_iter().collect();
    Ok(stream::respond(Run::new(caller, connection, sent, has_title, opening)))
}

pub(super) async fn add_tool_output(
    caller: Caller,
    params: AddClientToolOutput,
) -> Result<Response, ApiError> {
    let connection = caller.state.services.connections.open(caller.actor, ConnectionKind::Stream)?;
    let thread = thread_id(&params.thread_id)?;
    let has_title = has_title(&caller, thread).await?;
    let services = &caller.state.services;
    let sent = services
        .conversations
        .answer_client_tool(&caller.context, caller.actor, thread, params.result, interactive(None))
        .await?;
    Ok(stream::respond(Run::new(caller, connection, sent, has_title, Vec::new())))
}

pub(super) async fn add_structured_input(
    caller: Caller,
    params: AddStructuredInput,
) -> Result<Response, ApiError> {
    let connection = caller.state.services.connections.open(caller.actor, ConnectionKind::Stream)?;
    let thread = thread_id(&params.thread_id)?;
    let has_title = has_title(&caller, thread).await?;
    let item = item_id(&params.item_id).ok_or_else(AppError::not_found)?;
    let answers = params.input.answers.into_iter();
    let answers = Answers {
        skipped: params.input.status == SubmissionStatus::Skipped,
        answers: answers
            .map(|(id, answer)| InputAnswer { id, values: answer.values, skipped: answer.skipped })
            .collect(),
    };
    let services = &caller.state.services;
    let sent = services
        .conversations
        .answer_input(&caller.context, caller.actor, thread, item, answers, interactive(None))
        .await?;
    services.conversations.wait_for_items(sent.position).await;
    let answered = item_of(&caller, thread, item).await?;
    // While the read models lag, the item looks unchanged: nothing to send.
    let answered = answered.filter(|item| !is_pending(item));
    let mut run = Run::new(caller, connection, sent, has_title, Vec::new());
    run.push(answered.map(StreamEvent::replaced));
    Ok(stream::respond(run))
}

pub(super) async fn retry(caller: Caller, params: RetryAfterItem) -> Result<Response, ApiError> {
    let connection = caller.state.services.connections.open(caller.actor, ConnectionKind::Stream)?;
    let thread = thread_id(&params.thread_id)?;
    let has_title = has_title(&caller, thread).await?;
    let item = item_id(&params.item_id).ok_or_else(AppError::not_found)?;
    let services = &caller.state.services;
    let sent = services
        .conversations
        .regenerate(&caller.context, caller.actor, thread, RegenerateTarget::Message(item), interactive(None))
        .await?;
    Ok(stream::respond(Run::new(caller, connection, sent, has_title, Vec::new())))
}

pub(super) async fn custom_action(caller: Caller, params: CustomAction) -> Result<Response, ApiError> {
    let thread = thread_id(&params.thread_id)?;
    Ok(match actions::act(&caller, thread, params).await? {
        Outcome::NoWidget => {
            let error = StreamEvent::Error { code: ErrorCode::Stream, message: None, allow_retry: false };
            stream::complete_response(&[error], None)
        }
        Outcome::Nothing => stream::complete_response(&[StreamEvent::options(true)], None),
        Outcome::Changed { item, updates, stale, position } => {
            let notice = stale.then(|| StreamEvent::Notice {
                level: NoticeLevel::Info,
                message: STALE_CARD.to_owned(),
                title: None,
            });
            let updates = updates.into_iter().map(|update| StreamEvent::updated(item.id.as_str(), update));
            let events: Vec<StreamEvent> =
                [StreamEvent::options(true)].into_iter().chain(notice).chain(updates).collect();
            stream::complete_response(&events, position)
        }
    })
}

fn interactive(model: Option<String>) -> ReplyOptions {
    ReplyOptions { model, interactive: true }
}

/// Sends a message. Returns the outcome and the message as it was sent.
async fn send(
    caller: &Caller,
    thread: Option<ConversationId>,
    input: UserMessageInput,
) -> Result<(Sent, Entry), AppError> {
    let UserMessageInput { content, attachments, inference_options, quoted_text } = input;
    let files = attachments
        .iter()
        .map(|id| parse_id(id).ok_or_else(AppError::not_found))
        .collect::<Result<Vec<FileId>, _>>()?;
    if files.iter().enumerate().any(|(n, file)| files[..n].contains(file)) {
        return Err(AppError::new(Kind::Invalid, "duplicate_file", "The same file is listed twice."));
    }
    let (text, composed) = composed(content, quoted_text);
    let tool_choice = inference_options.tool_choice.map(|choice| choice.id);
    let model = inference_options.model;
    let entry = Entry::Message {
        text: Some(text.clone()),
        composed: composed.clone(),
        files: files.iter().map(|file| file.uuid()).collect(),
        tool_choice: tool_choice.clone(),
        model: model.clone(),
    };
    let enclosed = MessageContext { files, composed: composed.map(Into::into), tool_choice };
    let message = NewMessage { text, enclosed, reply: interactive(model) };
    let sent =
        caller.state.services.conversations.send(&caller.context, caller.actor, thread, message).await?;
    Ok((sent, entry))
}

fn is_pending(item: &ThreadItem) -> bool {
    matches!(item.kind, ItemKind::StructuredInput { status: StructuredStatus::Pending, .. })
}

/// Returns whether the thread already has a title.
async fn has_title(caller: &Caller, thread: ConversationId) -> Result<bool, AppError> {
    Ok(caller.state.services.conversations.conversation(caller.actor, thread).await?.title.is_some())
}

/// Returns the thread of a message. It may be too new for the read models.
async fn thread(caller: &Caller, sent: &Sent) -> Result<Thread, AppError> {
    match caller.state.services.conversations.conversation(caller.actor, sent.conversation).await {
        Ok(row) => Ok(items::thread(&row)),
        Err(error) if error.kind == Kind::NotFound => {
            let id = IdKind::Thread.write(sent.conversation.uuid());
            Ok(Thread::new(id, caller.state.services.core.clock.now().into()))
        }
        Err(error) => Err(error),
    }
}

/// Returns the event that shows the user's message: from the read models or, while they lag, as it was sent.
async fn message_event(
    caller: &Caller,
    sent: &Sent,
    message: Entry,
) -> Result<Option<StreamEvent>, AppError> {
    let item = item_of(caller, sent.conversation, sent.message).await?;
    // A message of an earlier request may have been deleted or be on another branch by now.
    if item.is_some() || sent.replayed {
        return Ok(item.map(StreamEvent::done));
    }
    let Caller { state, actor, base, .. } = caller;
    let row = ThreadRow {
        id: sent.message.uuid(),
        conversation_id: sent.conversation.uuid(),
        position: sent.position.unwrap_or_default(),
        answered_at: None,
        reply_id: Some(sent.reply.uuid()),
        feedback: None,
        created_at: state.services.core.clock.now(),
        entry: message,
    };
    let shown = Shown::of(state, base, *actor, std::slice::from_ref(&row)).await?;
    Ok(shown.item(&row).map(StreamEvent::done))
}

async fn item_of(
    caller: &Caller,
    conversation: ConversationId,
    item: aggregates::ids::MessageId,
) -> Result<Option<ThreadItem>, AppError> {
    let Caller { state, actor, base, .. } = caller;
    match state.services.conversations.item(*actor, conversation, item).await {
        Ok(row) => Ok(Shown::of(state, base, *actor, std::slice::from_ref(&row)).await?.item(&row)),
        Err(error) if error.kind == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
