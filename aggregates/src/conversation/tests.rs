//! Given, when, then: every command of a conversation, allowed and rejected.
//!
//! The makers here are shared by the files below, one for each part of a conversation's life.

mod attempts;
mod branches;
mod endings;
mod items;
mod sending;
mod settings;
mod state;

use chrono::{DateTime, Utc};
use cqrs_es::test::{AggregateTestExecutor, TestFramework};
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::ids::{ConversationId, MessageId, ReplyId, UserId};
use crate::personal::Personal;
use crate::values::{MessageText, ReplyText, Title};

use ConversationCommand as Command;
use ConversationError as Error;
use ConversationEvent as Event;

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_750_000_000 + second, 0).unwrap()
}

fn ada() -> UserId {
    UserId::new(Uuid::from_u128(1))
}

fn eve() -> UserId {
    UserId::new(Uuid::from_u128(2))
}

fn talk() -> ConversationId {
    ConversationId::new(Uuid::from_u128(3))
}

/// The `n`th message.
fn message(n: u128) -> MessageId {
    MessageId::new(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + n))
}

/// The reply to the `n`th message.
fn reply(n: u128) -> ReplyId {
    ReplyId::of(message(n))
}

fn title(text: &str) -> Personal<Title> {
    Personal::Known(Title::parse(text).unwrap())
}

fn text(text: &str) -> Personal<MessageText> {
    Personal::Known(MessageText::parse(text).unwrap())
}

fn answer(text: &str) -> Personal<ReplyText> {
    Personal::Known(ReplyText::parse(text).unwrap())
}

fn plan(worker: &str) -> ReplyPlan {
    ReplyPlan {
        worker: worker.to_owned(),
        provider: "scripted".to_owned(),
        model: "scripted-1".to_owned(),
        parameters: json!({ "temperature": 0.5 }),
        prompt_versions: vec!["system@1".to_owned()],
        input_message_ids: vec![message(1)],
        file_hashes: vec![],
    }
}

fn given(events: Vec<Event>) -> AggregateTestExecutor<Conversation> {
    TestFramework::with(()).given(events)
}

// Events.

fn event(second: i64, body: impl Into<EventBody>) -> Event {
    Event { conversation_id: talk(), owner: ada(), at: at(second), body: body.into() }
}

/// An event of the first reply to the `n`th message.
fn reply_event(n: u128, second: i64, event: ReplyEvent) -> Event {
    reply_event_of(message(n), reply(n), second, event)
}

fn reply_event_of(message_id: MessageId, reply_id: ReplyId, second: i64, reply: ReplyEvent) -> Event {
    event(second, EventBody::Reply { message_id, reply_id, event: reply })
}

fn started() -> Event {
    event(0, LifecycleEvent::ConversationStarted { title: None })
}

fn deleted() -> Event {
    event(90, LifecycleEvent::ConversationDeleted {})
}

fn sent(n: u128) -> Event {
    event(
        1,
        MessageEvent::MessageSent {
            message_id: message(n),
            text: text("hello"),
            enclosed: MessageContext::default(),
        },
    )
}

fn requested(n: u128) -> Event {
    reply_event(n, 1, ReplyEvent::ReplyRequested { model: None, interactive: false, deadline: at(180) })
}

fn begun(n: u128, attempt: u32, worker: &str) -> Event {
    reply_event(n, 2, ReplyEvent::ReplyBegun { attempt, plan: plan(worker) })
}

fn attempt_failed(n: u128, attempt: u32) -> Event {
    reply_event(
        n,
        3,
        ReplyEvent::ReplyAttemptFailed { attempt, reason: FailureReason::RateLimited, not_before: at(60) },
    )
}

fn completed(n: u128, attempt: u32) -> Event {
    completed_with(n, attempt, vec![])
}

fn completed_with(n: u128, attempt: u32, items: Vec<MessageId>) -> Event {
    reply_event(
        n,
        4,
        ReplyEvent::ReplyCompleted {
            answer_id: MessageId::answering(reply(n)),
            attempt,
            text: answer("hi"),
            items,
            finish: FinishReason::Stop,
            usage: Usage { prompt_tokens: 5, completion_tokens: 2 },
            timings: Timings { first_token_ms: Some(10), total_ms: 20 },
            model: "scripted-1b".to_owned(),
            provider_reply_id: Some("r-1".to_owned()),
        },
    )
}

fn failed(n: u128, attempt: u32) -> Event {
    reply_event(n, 5, ReplyEvent::ReplyFailed { attempt, reason: FailureReason::Deadline, text: None })
}

fn cancelled(n: u128, attempt: u32) -> Event {
    reply_event(n, 6, ReplyEvent::ReplyCancelled { attempt, text: None })
}

/// A conversation with one message that asked for a reply, and then `more`.
fn asked(more: impl IntoIterator<Item = Event>) -> Vec<Event> {
    [started(), sent(1), requested(1)].into_iter().chain(more).collect()
}

fn item(n: u128) -> MessageId {
    message(100 + n)
}

fn called(n: u128) -> Event {
    event(
        4,
        ItemEvent::ClientToolCalled {
            item_id: item(n),
            reply_id: reply(1),
            call_id: "call-1".to_owned(),
            name: "look".to_owned(),
            arguments: Personal::Known(json!({"at": "sky"})),
        },
    )
}

fn questions() -> Personal<Vec<InputQuestion>> {
    Personal::Known(vec![InputQuestion {
        id: "q".to_owned(),
        question: "Which?".to_owned(),
        form: InputForm::Choice { options: vec!["a".to_owned(), "b".to_owned()], multiple: false },
    }])
}

fn input_requested(n: u128) -> Event {
    event(4, ItemEvent::InputRequested { item_id: item(n), reply_id: reply(1), questions: questions() })
}

/// A reply asked for by an interactive asker.
fn asked_by(asker: MessageId, reply_id: ReplyId, second: i64, deadline: i64) -> Event {
    reply_event_of(
        asker,
        reply_id,
        second,
        ReplyEvent::ReplyRequested { model: None, interactive: true, deadline: at(deadline) },
    )
}

fn answered() -> Vec<Event> {
    asked([begun(1, 1, "w"), completed(1, 1)])
}

fn tool_waiting() -> Vec<Event> {
    asked([begun(1, 1, "w"), completed_with(1, 1, vec![item(1)]), called(1)])
}

// Commands.

fn start(by: UserId) -> Command {
    Command::Start { id: talk(), by, title: None, at: at(0) }
}

fn send(n: u128) -> Command {
    Command::Send {
        message_id: message(n),
        by: ada(),
        text: text("hello"),
        enclosed: MessageContext::default(),
        reply: Some(ReplyOptions::default()),
        at: at(1),
        deadline: at(180),
    }
}

fn send_only(n: u128) -> Command {
    Command::Send {
        message_id: message(n),
        by: ada(),
        text: text("hello"),
        enclosed: MessageContext::default(),
        reply: None,
        at: at(1),
        deadline: at(180),
    }
}

fn begin(n: u128, attempt: u32, worker: &str) -> Command {
    Command::BeginReply { reply_id: reply(n), attempt, plan: plan(worker), at: at(2) }
}

fn retry(n: u128, attempt: u32) -> Command {
    Command::RetryReply {
        reply_id: reply(n),
        attempt,
        reason: FailureReason::RateLimited,
        not_before: at(60),
        at: at(3),
    }
}

fn record(n: u128, attempt: u32) -> Command {
    record_with(n, attempt, vec![])
}

fn record_with(n: u128, attempt: u32, items: Vec<ReplyItem>) -> Command {
    Command::RecordReply {
        reply_id: reply(n),
        attempt,
        text: answer("hi"),
        items,
        finish: FinishReason::Stop,
        usage: Usage { prompt_tokens: 5, completion_tokens: 2 },
        timings: Timings { first_token_ms: Some(10), total_ms: 20 },
        model: "scripted-1b".to_owned(),
        provider_reply_id: Some("r-1".to_owned()),
        at: at(4),
    }
}

fn fail(n: u128, attempt: Option<u32>) -> Command {
    Command::FailReply { reply_id: reply(n), attempt, reason: FailureReason::Deadline, text: None, at: at(5) }
}

fn cancel(n: u128, by: UserId) -> Command {
    Command::CancelReply { reply_id: reply(n), by, text: None, note: None, at: at(6) }
}

fn delete(by: UserId) -> Command {
    Command::Delete { by, at: at(90) }
}

fn rename(by: UserId) -> Command {
    Command::Rename { by, title: title("Garden"), at: at(7) }
}

fn pin(by: UserId, pinned: bool) -> Command {
    Command::SetPinned { by, pinned, at: at(8) }
}

fn archive(by: UserId, archived: bool) -> Command {
    Command::SetArchived { by, archived, at: at(9) }
}

fn mark_read(by: UserId, n: u128, position: i64) -> Command {
    Command::MarkRead { by, message_id: message(n), message_position: position, at: at(10) }
}

fn wanted() -> ReplyOptions {
    ReplyOptions { model: None, interactive: true }
}

/// The `n`th message, at position ten times `n`, with `before` messages and answers before it.
fn place(n: u128, before: u32) -> MessageRef {
    MessageRef { message_id: message(n), position: i64::try_from(n).unwrap() * 10, before }
}

fn regenerate(by: UserId, n: u128) -> Command {
    regenerate_at(by, n, 0)
}

fn regenerate_at(by: UserId, n: u128, before: u32) -> Command {
    regenerate_with(by, n, before, Vec::new())
}

fn regenerate_with(by: UserId, n: u128, before: u32, partial_texts: Vec<PartialText>) -> Command {
    let place = place(n, before);
    Command::Regenerate { by, place, partial_texts, reply: wanted(), at: at(20), deadline: at(200) }
}

/// What has come of a reply that is being written.
fn partial_texts(reply_id: ReplyId) -> PartialText {
    PartialText { reply_id, text: answer("so f") }
}

/// The `n`th message becomes the `new`th.
fn edit(by: UserId, n: u128, before: u32, new: u128) -> Command {
    edit_with(by, n, before, new, Vec::new())
}

fn edit_with(by: UserId, n: u128, before: u32, new: u128, partial_texts: Vec<PartialText>) -> Command {
    Command::EditMessage {
        by,
        place: place(n, before),
        message_id: message(new),
        text: text("hello"),
        enclosed: MessageContext::default(),
        partial_texts,
        reply: wanted(),
        at: at(20),
        deadline: at(200),
    }
}

fn switch(by: UserId, branch: u32) -> Command {
    Command::SwitchBranch { by, branch, at: at(30) }
}

fn tool_output(by: UserId, n: u128) -> Command {
    let output = Personal::Known(json!({"celsius": 3}));
    Command::AnswerClientTool {
        by,
        item_id: message(n),
        output,
        reply: wanted(),
        at: at(21),
        deadline: at(201),
    }
}

fn input_answer(by: UserId, n: u128) -> Command {
    let answers =
        Personal::Known(vec![InputAnswer { id: "q".into(), values: vec!["a".into()], skipped: false }]);
    Command::AnswerInput {
        by,
        item_id: message(n),
        skipped: false,
        answers,
        reply: wanted(),
        at: at(22),
        deadline: at(202),
    }
}

fn note(by: UserId, n: u128) -> Command {
    Command::AddNote { by, item_id: message(n), note: Personal::Known("stopped".to_owned()), at: at(23) }
}

fn feedback(by: UserId, n: u128) -> Command {
    Command::GiveFeedback { by, item_ids: vec![message(n)], verdict: Verdict::Positive, at: at(24) }
}

/// Every command that concerns a started conversation.
fn all_but_start(by: UserId) -> Vec<Command> {
    let mut commands = owners(by);
    commands.extend([begin(1, 1, "w"), retry(1, 1), record(1, 1), fail(1, None)]);
    commands
}

/// Every command that only the owner may give.
fn owners(by: UserId) -> Vec<Command> {
    let send = Command::Send {
        message_id: message(1),
        by,
        text: text("hello"),
        enclosed: MessageContext::default(),
        reply: Some(ReplyOptions::default()),
        at: at(1),
        deadline: at(180),
    };
    vec![
        rename(by),
        pin(by, true),
        pin(by, false),
        archive(by, true),
        archive(by, false),
        mark_read(by, 1, 1),
        delete(by),
        send,
        cancel(1, by),
        regenerate(by, 1),
        edit(by, 1, 0, 2),
        switch(by, 0),
        tool_output(by, 1),
        input_answer(by, 1),
        note(by, 1),
        feedback(by, 1),
    ]
}
