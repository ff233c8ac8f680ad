//! Sample events of one user and one conversation, a minute apart.

use aggregates::conversation::{
    ConversationEvent, Enclosed, FailureReason, FinishReason, ReplyPlan, Timings, Usage,
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

pub(crate) fn started(conversation: ConversationId, titled: Option<&str>, at: i64) -> Event {
    let title = titled.map(title);
    ConversationEvent::ConversationStarted {
        conversation_id: conversation,
        owner: ADA,
        title,
        at: minute(at),
    }
    .into()
}

pub(crate) fn renamed(text: &str, at: i64) -> Event {
    ConversationEvent::ConversationRenamed {
        conversation_id: TALK,
        owner: ADA,
        title: title(text),
        at: minute(at),
    }
    .into()
}

pub(crate) fn deleted(conversation: ConversationId, at: i64) -> Event {
    ConversationEvent::ConversationDeleted { conversation_id: conversation, owner: ADA, at: minute(at) }
        .into()
}

pub(crate) fn sent(conversation: ConversationId, n: u128, text: &str, at: i64) -> Event {
    ConversationEvent::MessageSent {
        conversation_id: conversation,
        message_id: message(n),
        author: ADA,
        text: Personal::Known(MessageText::parse(text).unwrap()),
        enclosed: Enclosed::default(),
        at: minute(at),
    }
    .into()
}

/// Requests the reply to message `n`, with a deadline three minutes later.
pub(crate) fn requested(n: u128, model: Option<&str>, at: i64) -> Event {
    ConversationEvent::ReplyRequested {
        conversation_id: TALK,
        message_id: message(n),
        reply_id: reply(n),
        owner: ADA,
        model: model.map(str::to_owned),
        interactive: false,
        deadline: minute(at + 3),
        at: minute(at),
    }
    .into()
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
    ConversationEvent::ReplyBegun {
        conversation_id: TALK,
        message_id: message(n),
        reply_id: reply(n),
        owner: ADA,
        attempt,
        plan: ReplyPlan { parameters, ..plan() },
        at: minute(at),
    }
    .into()
}

/// Fails an attempt; the next one may begin a minute later.
pub(crate) fn attempt_failed(n: u128, attempt: u32, at: i64) -> Event {
    ConversationEvent::ReplyAttemptFailed {
        conversation_id: TALK,
        message_id: message(n),
        reply_id: reply(n),
        owner: ADA,
        attempt,
        reason: FailureReason::RateLimited,
        not_before: minute(at + 1),
        at: minute(at),
    }
    .into()
}

pub(crate) fn completed(n: u128, attempt: u32, text: &str, at: i64) -> Event {
    ConversationEvent::ReplyCompleted {
        conversation_id: TALK,
        message_id: message(n),
        reply_id: reply(n),
        owner: ADA,
        answer_id: MessageId::answering(reply(n)),
        attempt,
        text: answer(text),
        items: Vec::new(),
        finish: FinishReason::Stop,
        usage: Usage { prompt_tokens: 3, completion_tokens: 5 },
        timings: Timings { first_token_ms: Some(7), total_ms: 70 },
        model: "scripted-1b".to_owned(),
        provider_reply_id: Some("resp-1".to_owned()),
        at: minute(at),
    }
    .into()
}

pub(crate) fn failed(n: u128, text: Option<&str>, at: i64) -> Event {
    ConversationEvent::ReplyFailed {
        conversation_id: TALK,
        message_id: message(n),
        reply_id: reply(n),
        owner: ADA,
        attempt: 1,
        reason: FailureReason::Deadline,
        text: text.map(answer),
        at: minute(at),
    }
    .into()
}

pub(crate) fn cancelled(n: u128, text: Option<&str>, at: i64) -> Event {
    ConversationEvent::ReplyCancelled {
        conversation_id: TALK,
        message_id: message(n),
        reply_id: reply(n),
        owner: ADA,
        attempt: 1,
        text: text.map(answer),
        at: minute(at),
    }
    .into()
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
