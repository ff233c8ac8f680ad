//! Random commands, from pools so small that they often meet, and with a bias towards what can be accepted: a list
//! of commands should get far into the life of an aggregate instead of being rejected.

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::items::{answers, enclosed, item, json_value, note, reply_items};
use crate::claim::ClaimCommand;
use crate::conversation::{
    ConversationCommand, FailureReason, FinishReason, MessageContext, MessageRef, PartialText, ReplyOptions,
    ReplyPlan, Timings, Usage, Verdict,
};
use crate::ids::{ConversationId, MessageId, ReplyId, UserId};
use crate::personal::Personal;
use crate::user::{Role, UserCommand};
use crate::values::{EmailAddress, MessageText, ReplyText, Title, Username};

pub(super) fn at() -> impl Strategy<Value = DateTime<Utc>> {
    (0_i64..4_000_000_000, 0_u32..1_000_000_000)
        .prop_map(|(second, nano)| DateTime::from_timestamp(second, nano).unwrap())
}

pub(super) fn user() -> impl Strategy<Value = UserId> {
    prop_oneof![9 => Just(1_u128), 1 => Just(2)].prop_map(|n| UserId::new(Uuid::from_u128(n)))
}

pub(super) fn message() -> impl Strategy<Value = MessageId> {
    let minted = 0x0190_0000_0000_7000_8000_0000_0000_0000;
    (0_u128..14).prop_map(move |n| MessageId::new(Uuid::from_u128(minted + n)))
}

/// Rather the replies to the first messages, as those stand first in the queue.
fn reply() -> impl Strategy<Value = ReplyId> {
    let minted = 0x0190_0000_0000_7000_8000_0000_0000_0000;
    prop_oneof![5 => 0_u128..3, 1 => 0_u128..15]
        .prop_map(move |n| ReplyId::of(MessageId::new(Uuid::from_u128(minted + n))))
}

fn place() -> impl Strategy<Value = MessageRef> {
    (message(), 1_i64..99, 0_u32..9).prop_map(|(message_id, position, before)| MessageRef {
        message_id,
        position,
        before,
    })
}

fn attempt() -> impl Strategy<Value = u32> {
    prop_oneof![6 => Just(1_u32), 3 => Just(2), 1 => 0_u32..5]
}

pub(super) fn personal<T: std::fmt::Debug>(
    text: impl Strategy<Value = T>,
) -> impl Strategy<Value = Personal<T>> {
    prop::option::weighted(0.9, text).prop_map(|text| text.map_or(Personal::Erased, Personal::Known))
}

fn title() -> impl Strategy<Value = Personal<Title>> {
    personal("\\PC{1,20}".prop_filter_map("not a title", |text| Title::parse(&text).ok()))
}

fn message_text() -> impl Strategy<Value = Personal<MessageText>> {
    personal(any::<String>().prop_filter_map("not a message", |text| MessageText::parse(&text).ok()))
}

fn reply_text() -> impl Strategy<Value = Personal<ReplyText>> {
    personal(any::<String>().prop_filter_map("not a reply", |text| ReplyText::parse(&text).ok()))
}

fn partial_texts() -> impl Strategy<Value = Vec<PartialText>> {
    let one = (reply(), reply_text()).prop_map(|(reply_id, text)| PartialText { reply_id, text });
    prop::collection::vec(one, 0..3)
}

fn reason() -> impl Strategy<Value = FailureReason> {
    prop::sample::select(FailureReason::ALL)
}

fn plan() -> impl Strategy<Value = ReplyPlan> {
    (
        prop::sample::select(&["one", "two"][..]),
        prop::sample::select(&["scripted", "openai"][..]),
        0_i32..200,
        prop::collection::vec("[a-z]{1,8}@[0-9]", 0..3),
        prop::collection::vec(message(), 0..4),
        prop::collection::vec("[0-9a-f]{64}", 0..2),
    )
        .prop_map(|(worker, provider, temperature, prompt_versions, input_message_ids, file_hashes)| ReplyPlan {
            worker: worker.to_owned(),
            provider: provider.to_owned(),
            model: "a-model".to_owned(),
            parameters: json!({ "temperature": f64::from(temperature) / 100.0, "limit": 512, "stop": [null, "x"] }),
            prompt_versions,
            input_message_ids,
            file_hashes,
        })
}

/// Any command of a user.
pub(super) fn user_command() -> impl Strategy<Value = UserCommand> {
    let email = || {
        personal(
            prop::sample::select(&["ada@example.org", "eve@example.org"][..])
                .prop_map(|text| EmailAddress::parse(text).unwrap()),
        )
    };
    let name = || {
        personal(prop::sample::select(&["ada", "eve"][..]).prop_map(|text| Username::parse(text).unwrap()))
    };
    prop_oneof![
        4 => (user(), email(), prop::option::of(name()), at())
            .prop_map(|(user_id, email, username, at)| UserCommand::Register { user_id, email, username, at }),
        4 => at().prop_map(|at| UserCommand::ChangePassword { at }),
        4 => (email(), email(), at()).prop_map(|(from, to, at)| UserCommand::ChangeEmail { from, to, at }),
        4 => (prop::option::of(name()), name(), at())
            .prop_map(|(from, to, at)| UserCommand::ChangeUsername { from, to, at }),
        4 => (prop::sample::select(Role::ALL), prop::option::of(user()), at())
            .prop_map(|(role, by, at)| UserCommand::GrantRole { role, by, at }),
        1 => at().prop_map(|at| UserCommand::Deactivate { at }),
    ]
}

/// Any command of a claim.
pub(super) fn claim_command() -> impl Strategy<Value = ClaimCommand> {
    let owner = || (1_u128..4).prop_map(|n| UserId::new(Uuid::from_u128(n)));
    prop_oneof![
        (owner(), at()).prop_map(|(owner, at)| ClaimCommand::Take { owner, at }),
        (owner(), at()).prop_map(|(owner, at)| ClaimCommand::Release { owner, at }),
    ]
}

/// Any command of a conversation.
pub(super) fn conversation_command() -> impl Strategy<Value = ConversationCommand> {
    use ConversationCommand as C;
    let id =
        prop_oneof![9 => Just(7_u128), 1 => Just(8)].prop_map(|n| ConversationId::new(Uuid::from_u128(n)));
    let wanted = || {
        (prop::option::of("[a-z]{1,6}"), any::<bool>())
            .prop_map(|(model, interactive)| ReplyOptions { model, interactive })
    };
    let finish = prop::sample::select(FinishReason::ALL);
    let usage = any::<(u32, u32)>()
        .prop_map(|(prompt_tokens, completion_tokens)| Usage { prompt_tokens, completion_tokens });
    let timings = any::<(Option<u64>, u64)>()
        .prop_map(|(first_token_ms, total_ms)| Timings { first_token_ms, total_ms });
    prop_oneof![
        3 => (id, user(), prop::option::of(title()), at())
            .prop_map(|(id, by, title, at)| C::Start { id, by, title, at }),
        2 => (user(), title(), at()).prop_map(|(by, title, at)| C::Rename { by, title, at }),
        2 => (user(), any::<bool>(), at()).prop_map(|(by, pinned, at)| C::SetPinned { by, pinned, at }),
        2 => (user(), any::<bool>(), at()).prop_map(|(by, archived, at)| C::SetArchived { by, archived, at }),
        2 => (user(), message(), 1_i64..9, at()).prop_map(
            |(by, message_id, message_position, at)| C::MarkRead { by, message_id, message_position, at }
        ),
        1 => (user(), at()).prop_map(|(by, at)| C::Delete { by, at }),
        16 => (message(), user(), message_text(), enclosed(), prop::option::weighted(0.9, wanted()), at(), at()).prop_map(
            |(message_id, by, text, enclosed, reply, at, deadline)| C::Send { message_id, by, text, enclosed, reply, at, deadline }
        ),
        14 => (reply(), attempt(), plan(), at())
            .prop_map(|(reply_id, attempt, plan, at)| C::BeginReply { reply_id, attempt, plan, at }),
        5 => (reply(), attempt(), reason(), at(), at()).prop_map(
            |(reply_id, attempt, reason, not_before, at)| C::RetryReply { reply_id, attempt, reason, not_before, at }
        ),
        12 => (reply(), attempt(), reply_text(), reply_items(), finish, usage, timings, prop::option::of("[a-z]{4}"), at()).prop_map(
            |(reply_id, attempt, text, items, finish, usage, timings, provider_reply_id, at)| C::RecordReply {
                reply_id,
                attempt,
                text,
                items,
                finish,
                usage,
                timings,
                model: "that-answered".to_owned(),
                provider_reply_id,
                at,
            }
        ),
        2 => (reply(), prop::option::of(attempt()), reason(), prop::option::of(reply_text()), at()).prop_map(
            |(reply_id, attempt, reason, text, at)| C::FailReply { reply_id, attempt, reason, text, at }
        ),
        2 => (reply(), user(), prop::option::of(reply_text()), prop::option::of((note(), personal("[a-z]{1,9}"))), at())
            .prop_map(|(reply_id, by, text, note, at)| C::CancelReply { reply_id, by, text, note, at }),
        2 => (user(), place(), partial_texts(), wanted(), at(), at()).prop_map(
            |(by, place, partial_texts, reply, at, deadline)| C::Regenerate { by, place, partial_texts, reply, at, deadline }
        ),
        2 => (user(), place(), message(), message_text(), enclosed(), partial_texts(), wanted(), at(), at()).prop_map(
            |(by, place, message_id, text, enclosed, partial_texts, reply, at, deadline)| C::EditMessage {
                by, place, message_id, text, enclosed, partial_texts, reply, at, deadline
            }
        ),
        3 => (user(), 0_u32..4, at()).prop_map(|(by, branch, at)| C::SwitchBranch { by, branch, at }),
        12 => (user(), item(), json_value(), wanted(), at(), at()).prop_map(
            |(by, item_id, output, reply, at, deadline)| C::AnswerClientTool { by, item_id, output, reply, at, deadline }
        ),
        12 => (user(), item(), any::<bool>(), answers(), wanted(), at(), at()).prop_map(
            |(by, item_id, skipped, answers, reply, at, deadline)| C::AnswerInput {
                by, item_id, skipped, answers, reply, at, deadline
            }
        ),
        1 => (user(), note(), personal("[a-z]{1,9}"), at())
            .prop_map(|(by, item_id, note, at)| C::AddNote { by, item_id, note, at }),
        1 => (user(), prop::collection::vec(message(), 0..3), prop::sample::select(&[Verdict::Positive, Verdict::Negative][..]), at())
            .prop_map(|(by, item_ids, verdict, at)| C::GiveFeedback { by, item_ids, verdict, at }),
        1 => (title(), at()).prop_map(|(title, at)| C::SuggestTitle { title, at }),
    ]
}

/// Commands for a conversation whose first answer has items.
pub(super) fn life_with_items() -> impl Strategy<Value = Vec<ConversationCommand>> {
    use ConversationCommand as C;
    let begun = (plan(), reply_text(), reply_items(), at()).prop_map(|(plan, text, items, at)| {
        let by = UserId::new(Uuid::from_u128(1));
        let message_id = MessageId::new(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000));
        let reply_id = ReplyId::of(message_id);
        vec![
            C::Start { id: ConversationId::new(Uuid::from_u128(7)), by, title: None, at },
            C::Send {
                message_id,
                by,
                text: Personal::Erased,
                enclosed: MessageContext::default(),
                reply: Some(ReplyOptions::default()),
                at,
                deadline: at,
            },
            C::BeginReply { reply_id, attempt: 1, plan, at },
            C::RecordReply {
                reply_id,
                attempt: 1,
                text,
                items,
                finish: FinishReason::Stop,
                usage: Usage::default(),
                timings: Timings::default(),
                model: "that-answered".to_owned(),
                provider_reply_id: None,
                at,
            },
        ]
    });
    (begun, prop::collection::vec(conversation_command(), 0..80)).prop_map(|(mut begun, more)| {
        begun.extend(more);
        begun
    })
}

/// Commands for a conversation with two branches and no pending reply.
pub(super) fn life_with_branches() -> impl Strategy<Value = Vec<ConversationCommand>> {
    use ConversationCommand as C;
    let begun = at().prop_map(|at| {
        let by = UserId::new(Uuid::from_u128(1));
        let message =
            |n: u128| MessageId::new(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + n));
        vec![
            C::Start { id: ConversationId::new(Uuid::from_u128(7)), by, title: None, at },
            C::Send {
                message_id: message(0),
                by,
                text: Personal::Erased,
                enclosed: MessageContext::default(),
                reply: None,
                at,
                deadline: at,
            },
            C::EditMessage {
                by,
                place: MessageRef { message_id: message(0), position: 2, before: 0 },
                message_id: message(1),
                text: Personal::Erased,
                enclosed: MessageContext::default(),
                partial_texts: Vec::new(),
                reply: ReplyOptions::default(),
                at,
                deadline: at,
            },
            C::CancelReply { reply_id: ReplyId::of(message(1)), by, text: None, note: None, at },
        ]
    });
    (begun, prop::collection::vec(conversation_command(), 0..30)).prop_map(|(mut begun, more)| {
        begun.extend(more);
        begun
    })
}
