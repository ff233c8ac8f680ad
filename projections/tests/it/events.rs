//! Sample events of one user and one conversation, a minute apart.

use aggregates::conversation::{
    ConversationEvent, EventBody, FailureReason, FinishReason, LifecycleEvent, MessageContext, MessageEvent,
    ReplyEvent, ReplyPlan, SettingsEvent, Timings, Usage,
};
use aggregates::ids::{ConversationId, MessageId, ReplyId, UserId};
use aggregates::quiz::{Choice, Question};
use aggregates::user::UserEvent;
use aggregates::values::{EmailAddress, MessageText, ReplyText, Title, Username};
use aggregates::{Event, Personal};
use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

pub(crate) const ADA: UserId = UserId::new(Uuid::from_u128(0xADA));
pub(crate) const TALK: ConversationId = ConversationId::new(Uuid::from_u128(0x7A1C));

/// Returns minute `n` of the tests' day.
pub(crate) fn minute(n: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600 + 60 * n, 0).unwrap()
}

pub(crate) fn message(n: u128) -> MessageId {
    MessageId::new(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + n))
}

pub(crate) fn reply(n: u128) -> ReplyId {
    ReplyId::of(message(n))
}

pub(crate) fn registered(user: UserId, email: &str, name: Option<&str>, at: i64) -> Event {
    let email = Personal::Known(EmailAddress::parse(email).unwrap());
    let username = name.map(|name| Personal::Known(Username::parse(name).unwrap()));
    UserEvent::UserRegistered { user_id: user, email, username, at: minute(at) }.into()
}

pub(crate) fn title(text: &str) -> Personal<Title> {
    Personal::Known(Title::parse(text).unwrap())
}

pub(crate) fn answer(text: &str) -> Personal<ReplyText> {
    Personal::Known(ReplyText::parse(text).unwrap())
}

/// An event of Ada's conversation.
pub(crate) fn event(conversation: ConversationId, at: i64, body: impl Into<EventBody>) -> Event {
    ConversationEvent { conversation_id: conversation, owner: ADA, at: minute(at), body: body.into() }.into()
}

/// An event of the reply to message `n`.
fn reply_event(n: u128, at: i64, reply_event: ReplyEvent) -> Event {
    event(TALK, at, EventBody::Reply { message_id: message(n), reply_id: reply(n), event: reply_event })
}

pub(crate) fn started(conversation: ConversationId, titled: Option<&str>, at: i64) -> Event {
    let title = titled.map(title);
    event(conversation, at, LifecycleEvent::ConversationStarted { title })
}

pub(crate) fn renamed(text: &str, at: i64) -> Event {
    event(TALK, at, SettingsEvent::ConversationRenamed { title: title(text) })
}

pub(crate) fn deleted(conversation: ConversationId, at: i64) -> Event {
    event(conversation, at, LifecycleEvent::ConversationDeleted {})
}

pub(crate) fn sent(conversation: ConversationId, n: u128, text: &str, at: i64) -> Event {
    event(
        conversation,
        at,
        MessageEvent::MessageSent {
            message_id: message(n),
            text: Personal::Known(MessageText::parse(text).unwrap()),
            enclosed: MessageContext::default(),
        },
    )
}

/// Requests the reply to message `n`, with a deadline three minutes later.
pub(crate) fn requested(n: u128, model: Option<&str>, at: i64) -> Event {
    reply_event(
        n,
        at,
        ReplyEvent::ReplyRequested {
            model: model.map(str::to_owned),
            interactive: false,
            deadline: minute(at + 3),
        },
    )
}

pub(crate) fn plan() -> ReplyPlan {
    ReplyPlan {
        worker: "w1".to_owned(),
        provider: "scripted".to_owned(),
        model: "scripted-1".to_owned(),
        parameters: json!({"temperature": 0.5}),
        prompt_versions: vec!["chat@1".to_owned()],
        input_message_ids: vec![message(1)],
        file_hashes: Vec::new(),
    }
}

pub(crate) fn begun(n: u128, attempt: u32, at: i64) -> Event {
    begun_with(n, attempt, plan().parameters, at)
}

/// Begins an attempt with these parameters.
pub(crate) fn begun_with(n: u128, attempt: u32, parameters: serde_json::Value, at: i64) -> Event {
    reply_event(n, at, ReplyEvent::ReplyBegun { attempt, plan: ReplyPlan { parameters, ..plan() } })
}

/// Fails an attempt; the next one may begin a minute later.
pub(crate) fn attempt_failed(n: u128, attempt: u32, at: i64) -> Event {
    reply_event(
        n,
        at,
        ReplyEvent::ReplyAttemptFailed {
            attempt,
            reason: FailureReason::RateLimited,
            not_before: minute(at + 1),
        },
    )
}

pub(crate) fn completed(n: u128, attempt: u32, text: &str, at: i64) -> Event {
    reply_event(
        n,
        at,
        ReplyEvent::ReplyCompleted {
            answer_id: MessageId::answering(reply(n)),
            attempt,
            text: answer(text),
            items: Vec::new(),
            finish: FinishReason::Stop,
            usage: Usage { prompt_tokens: 3, completion_tokens: 5 },
            timings: Timings { first_token_ms: Some(7), total_ms: 70 },
            model: "scripted-1b".to_owned(),
            provider_reply_id: Some("resp-1".to_owned()),
        },
    )
}

pub(crate) fn failed(n: u128, text: Option<&str>, at: i64) -> Event {
    reply_event(
        n,
        at,
        ReplyEvent::ReplyFailed { attempt: 1, reason: FailureReason::Deadline, text: text.map(answer) },
    )
}

pub(crate) fn cancelled(n: u128, text: Option<&str>, at: i64) -> Event {
    reply_event(n, at, ReplyEvent::ReplyCancelled { attempt: 1, text: text.map(answer) })
}

/// A question with the correct answer `b`.
pub(crate) fn quiz_question(id: &str) -> Question {
    let option = |value: &str| Choice { value: value.to_owned(), label: value.to_uppercase() };
    Question {
        id: id.to_owned(),
        prompt: format!("What is {id}?"),
        options: ["a", "b"].map(option).to_vec(),
        correct: "b".to_owned(),
        hint: Some("not the first".to_owned()),
        explanation: None,
    }
}
