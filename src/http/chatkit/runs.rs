//! Requests that are answered with a stream: what is asked for is recorded first, and refused before anything is sent.

use aggregates::ids::{ConversationId, FileId};
use axum::response::Response;

use super::actions::{self, Outcome};
use super::attachment::parse_id;
use super::endpoint::Asking;
use super::items::{self, Shown, composed, item_id};
use super::queries::thread_id;
use super::stream::{self, Run};
use super::wire::request::{
    AddClientToolOutput, AddStructuredInput, AddUserMessage, CreateThread, CustomAction, RetryAfterItem,
    SubmissionStatus, UserMessageInput,
};
use super::wire::{ErrorCode, IdKind, NoticeLevel, StreamEvent, Thread, ThreadItem};
use crate::app::conversations::{NewMessage, Sent};
use crate::app::seats::Opened;
use crate::app::threads::{Answers, Enclosed, InputAnswer, WantedReply};
use crate::app::{AppError, Kind};
use crate::http::error::ApiError;

/// What is told to somebody whose card was out of date.
const STALE: &str = "This question was answered elsewhere meanwhile. Here is where the quiz stands now.";

pub(super) async fn create(asking: Asking, params: CreateThread) -> Result<Response, ApiError> {
    let presence = asking.doors.app.open(asking.actor, Opened::Stream)?;
    let sent = send(&asking, None, params.input).await?;
    let thread = thread(&asking, &sent).await?;
    let untitled = Thread { title: None, ..thread };
    let mut opening = vec![StreamEvent::ThreadCreated { thread: Box::new(untitled) }];
    opening.extend(said(&asking, &sent).await?);
    Ok(stream::respond(Run::new(asking, presence, sent, false, opening)))
}

pub(super) async fn add_message(asking: Asking, params: AddUserMessage) -> Result<Response, ApiError> {
    let presence = asking.doors.app.open(asking.actor, Opened::Stream)?;
    let thread = thread_id(&params.thread_id)?;
    let named = is_named(&asking, thread).await?;
    let sent = send(&asking, Some(thread), params.input).await?;
    let opening = said(&asking, &sent).await?;
    Ok(stream::respond(Run::new(asking, presence, sent, named, opening)))
}

pub(super) async fn add_tool_output(
    asking: Asking,
    params: AddClientToolOutput,
) -> Result<Response, ApiError> {
    let presence = asking.doors.app.open(asking.actor, Opened::Stream)?;
    let thread = thread_id(&params.thread_id)?;
    let named = is_named(&asking, thread).await?;
    let app = &asking.doors.app;
    let sent = app
        .answer_client_tool(&asking.context, asking.actor, thread, params.result, interactive(None))
        .await?;
    Ok(stream::respond(Run::new(asking, presence, sent, named, Vec::new())))
}

pub(super) async fn add_structured_input(
    asking: Asking,
    params: AddStructuredInput,
) -> Result<Response, ApiError> {
    let presence = asking.doors.app.open(asking.actor, Opened::Stream)?;
    let thread = thread_id(&params.thread_id)?;
    let named = is_named(&asking, thread).await?;
    let item = item_id(&params.item_id).ok_or_else(AppError::not_found)?;
    let answers = params.input.answers.into_iter();
    let answers = Answers {
        skipped: params.input.status == SubmissionStatus::Skipped,
        answers: answers
            .map(|(id, answer)| InputAnswer { id, values: answer.values, skipped: answer.skipped })
            .collect(),
    };
    let app = &asking.doors.app;
    let sent =
        app.answer_input(&asking.context, asking.actor, thread, item, answers, interactive(None)).await?;
    let answered = item_of(&asking, thread, item).await?;
    let mut run = Run::new(asking, presence, sent, named, Vec::new());
    run.push(answered.map(StreamEvent::replaced));
    Ok(stream::respond(run))
}

pub(super) async fn retry(asking: Asking, params: RetryAfterItem) -> Result<Response, ApiError> {
    let presence = asking.doors.app.open(asking.actor, Opened::Stream)?;
    let thread = thread_id(&params.thread_id)?;
    let named = is_named(&asking, thread).await?;
    let item = item_id(&params.item_id).ok_or_else(AppError::not_found)?;
    let app = &asking.doors.app;
    let sent = app.ask_again(&asking.context, asking.actor, thread, item, interactive(None)).await?;
    Ok(stream::respond(Run::new(asking, presence, sent, named, Vec::new())))
}

pub(super) async fn custom_action(asking: Asking, params: CustomAction) -> Result<Response, ApiError> {
    let thread = thread_id(&params.thread_id)?;
    Ok(match actions::act(&asking, thread, params).await? {
        Outcome::NoWidget => {
            let error = StreamEvent::Error { code: ErrorCode::Stream, message: None, allow_retry: false };
            stream::whole(&[error], None)
        }
        Outcome::Nothing => stream::whole(&[StreamEvent::options(true)], None),
        Outcome::Changed { item, updates, stale, position } => {
            let notice = stale.then(|| StreamEvent::Notice {
                level: NoticeLevel::Info,
                message: STALE.to_owned(),
                title: None,
            });
            let updates = updates.into_iter().map(|update| StreamEvent::updated(item.id.as_str(), update));
            let events: Vec<StreamEvent> =
                [StreamEvent::options(true)].into_iter().chain(notice).chain(updates).collect();
            stream::whole(&events, position)
        }
    })
}

fn interactive(model: Option<String>) -> WantedReply {
    WantedReply { model, interactive: true }
}

async fn send(
    asking: &Asking,
    thread: Option<ConversationId>,
    input: UserMessageInput,
) -> Result<Sent, AppError> {
    let UserMessageInput { content, attachments, inference_options, quoted_text } = input;
    let files = attachments
        .iter()
        .map(|id| parse_id(id).ok_or_else(AppError::not_found))
        .collect::<Result<Vec<FileId>, _>>()?;
    if files.iter().enumerate().any(|(n, file)| files[..n].contains(file)) {
        return Err(AppError::new(Kind::Invalid, "file_twice", "The same file is named twice."));
    }
    let (text, composed) = composed(content, quoted_text);
    let message = NewMessage {
        text,
        enclosed: Enclosed {
            files,
            composed: composed.map(Into::into),
            tool_choice: inference_options.tool_choice.map(|choice| choice.id),
        },
        reply: interactive(inference_options.model),
    };
    asking.doors.app.send(&asking.context, asking.actor, thread, message).await
}

/// Whether the thread has a title already.
async fn is_named(asking: &Asking, thread: ConversationId) -> Result<bool, AppError> {
    Ok(asking.doors.app.conversation(asking.actor, thread).await?.title.is_some())
}

/// The thread that a message stands in. It may be so new that the models do not show it yet.
async fn thread(asking: &Asking, sent: &Sent) -> Result<Thread, AppError> {
    match asking.doors.app.conversation(asking.actor, sent.conversation).await {
        Ok(row) => Ok(items::thread(&row)),
        Err(error) if error.kind == Kind::NotFound => {
            let id = IdKind::Thread.write(sent.conversation.uuid());
            Ok(Thread::new(id, asking.doors.app.clock().now().into()))
        }
        Err(error) => Err(error),
    }
}

/// What a person's message looks like once it is kept. Nothing when the models hang behind: the front end shows it anyhow.
async fn said(asking: &Asking, sent: &Sent) -> Result<Vec<StreamEvent>, AppError> {
    let item = item_of(asking, sent.conversation, sent.message).await?;
    Ok(item.map(StreamEvent::done).into_iter().collect())
}

async fn item_of(
    asking: &Asking,
    conversation: ConversationId,
    item: aggregates::ids::MessageId,
) -> Result<Option<ThreadItem>, AppError> {
    let Asking { doors, actor, base, .. } = asking;
    match doors.app.item(*actor, conversation, item).await {
        Ok(row) => Ok(Shown::of(doors, base, *actor, std::slice::from_ref(&row)).await?.item(&row)),
        Err(error) if error.kind == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
