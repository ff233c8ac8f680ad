//! Random but valid histories: the events that the domain decides for random commands.

use aggregates::conversation::{
    BranchEvent, Conversation, ConversationCommand as Command, ConversationEvent, FailureReason,
    FinishReason, InputAnswer, InputForm, InputQuestion, MessageContext, MessageRef, PartialText, ReplyItem,
    ReplyOptions, Timings, Usage, Verdict, decide,
};
use aggregates::ids::{ConversationId, MessageId, QuizId, ReplyId};
use aggregates::quiz::{self, Quiz, QuizCommand, QuizEvent};
use aggregates::values::{MessageText, ReplyText};
use aggregates::{Event, Personal};
use cqrs_es::Aggregate as _;
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::json;
use uuid::Uuid;

use crate::events::{ADA, answer, minute, plan, quiz_question, title};

/// Returns random events of one conversation, grouped by append.
pub(crate) fn history(random: &mut StdRng, commands: usize) -> Vec<Vec<Event>> {
    let id = ConversationId::new(Uuid::from_u128(random.random()));
    let mut state = Conversation::default();
    let (mut messages, mut items): (Vec<MessageId>, Vec<MessageId>) = (Vec::new(), Vec::new());
    let mut groups = Vec::new();
    for step in 0..commands {
        let command = if step == 0 {
            let title = random.random_bool(0.5).then(|| title("begun"));
            Command::Start { id, by: ADA, title, at: minute(0) }
        } else {
            any_command(random, &state, &mut messages, &mut items, i64::try_from(step).unwrap())
        };
        // Rejected commands yield no events. Occasionally add a legacy `conversation_rewound`.
        let rewound = messages.last().filter(|message| state.shows(**message) && random.random_ratio(1, 40));
        let events = match rewound {
            Some(_) if state.is_deleted() => continue,
            Some(message_id) => vec![ConversationEvent {
                conversation_id: id,
                owner: ADA,
                at: minute(i64::try_from(step).unwrap()),
                body: BranchEvent::ConversationRewound {
                    message_id: *message_id,
                    message_position: random.random_range(1..2_000),
                }
                .into(),
            }],
            None => match decide(&state, command) {
                Ok(events) => events,
                Err(_) => continue,
            },
        };
        for event in &events {
            state.apply(event.clone());
        }
        if !events.is_empty() {
            groups.push(events.into_iter().map(Event::from).collect());
        }
    }
    groups
}

fn any_command(
    random: &mut StdRng,
    state: &Conversation,
    messages: &mut Vec<MessageId>,
    items: &mut Vec<MessageId>,
    step: i64,
) -> Command {
    let at = minute(step);
    let open = state.next_reply();
    let (reply_id, attempt) = open.map_or_else(
        || (messages.last().map_or(ReplyId::new(Uuid::nil()), |message| ReplyId::of(*message)), 1),
        |open| (open.reply_id, open.attempt),
    );
    let partial = random.random_bool(0.5).then(|| answer("partial text"));
    let (reply, deadline) = (ReplyOptions { model: None, interactive: true }, minute(step + 3));
    let item_id = items.last().copied().unwrap_or(MessageId::new(Uuid::nil()));
    match random.random_range(0..150) {
        100..104 => Command::Regenerate {
            by: ADA,
            place: place(random, messages),
            partial_texts: partial_texts(state, partial),
            reply,
            at,
            deadline,
        },
        136..142 => {
            let place = place(random, messages);
            let message_id = MessageId::new(Uuid::from_u128(random.random::<u128>() >> 8));
            messages.push(message_id);
            let text = Personal::Known(MessageText::parse(&format!("instead at {step}")).unwrap());
            let enclosed = MessageContext::default();
            let partial_texts = partial_texts(state, partial);
            Command::EditMessage {
                by: ADA,
                place,
                message_id,
                text,
                enclosed,
                partial_texts,
                reply,
                at,
                deadline,
            }
        }
        142..150 => Command::SwitchBranch {
            by: ADA,
            branch: random.random_range(0..u32::try_from(state.branches()).unwrap().max(1)),
            at,
        },
        104..114 => {
            let output = Personal::Known(json!({"came to": step}));
            Command::AnswerClientTool { by: ADA, item_id, output, reply, at, deadline }
        }
        114..124 => {
            let answer = InputAnswer { id: "q".to_owned(), values: vec![format!("{step}")], skipped: false };
            let (skipped, answers) = (random.random(), Personal::Known(vec![answer]));
            Command::AnswerInput { by: ADA, item_id, skipped, answers, reply, at, deadline }
        }
        124..130 => {
            let item_id = MessageId::new(Uuid::from_u128(random.random::<u128>() >> 8));
            Command::AddNote { by: ADA, item_id, note: Personal::Known(format!("note at {step}")), at }
        }
        130..136 => {
            let item_ids = messages.last().into_iter().chain(items.last()).copied().collect();
            let verdict = if random.random() { Verdict::Positive } else { Verdict::Negative };
            Command::GiveFeedback { by: ADA, item_ids, verdict, at }
        }
        0..30 => {
            let message_id = MessageId::new(Uuid::from_u128(random.random::<u128>() >> 8));
            messages.push(message_id);
            Command::Send {
                message_id,
                by: ADA,
                text: Personal::Known(MessageText::parse(&format!("message at {step}")).unwrap()),
                enclosed: MessageContext::default(),
                reply: random.random_bool(0.8).then(ReplyOptions::default),
                at,
                deadline: minute(step + 3),
            }
        }
        30..55 => Command::BeginReply { reply_id, attempt: attempt + 1, plan: plan(), at },
        55..65 => Command::RetryReply {
            reply_id,
            attempt,
            reason: FailureReason::Timeout,
            not_before: minute(step + 1),
            at,
        },
        65..80 => Command::RecordReply {
            reply_id,
            attempt,
            text: answer(&format!("answer at {step}")),
            items: reply_items(random, items),
            finish: FinishReason::Stop,
            usage: Usage::default(),
            timings: Timings::default(),
            model: "scripted-1".to_owned(),
            provider_reply_id: None,
            at,
        },
        80..84 => {
            Command::FailReply { reply_id, attempt: None, reason: FailureReason::Internal, text: partial, at }
        }
        84..88 => Command::CancelReply { reply_id, by: ADA, text: partial, note: None, at },
        88..90 => Command::Rename { by: ADA, title: title(&format!("title at {step}")), at },
        90..95 => Command::SetPinned { by: ADA, pinned: random.random(), at },
        95..98 => Command::SetArchived { by: ADA, archived: random.random(), at },
        98 => Command::MarkRead {
            by: ADA,
            message_id: messages.last().copied().unwrap_or(MessageId::new(Uuid::nil())),
            message_position: step,
            at,
        },
        _ => Command::Delete { by: ADA, at },
    }
}

/// Returns the partial text of the pending reply.
fn partial_texts(state: &Conversation, partial: Option<Personal<ReplyText>>) -> Vec<PartialText> {
    let open = state.next_reply().zip(partial);
    open.map(|(open, text)| PartialText { reply_id: open.reply_id, text }).into_iter().collect()
}

/// Returns a reference to a recent message with a random position.
fn place(random: &mut StdRng, messages: &[MessageId]) -> MessageRef {
    let back = random.random_range(0..3);
    let message_id = messages.iter().rev().nth(back).copied().unwrap_or(MessageId::new(Uuid::nil()));
    MessageRef { message_id, position: random.random_range(1..2_000), before: random.random_range(0..9) }
}

/// Returns random items of a reply, often none.
fn reply_items(random: &mut StdRng, items: &mut Vec<MessageId>) -> Vec<ReplyItem> {
    let item_id = MessageId::new(Uuid::from_u128(random.random::<u128>() >> 8));
    let call = |item_id| ReplyItem::ClientToolCall {
        item_id,
        call_id: "call-1".to_owned(),
        name: "look".to_owned(),
        arguments: Personal::Known(json!({"at": "sky"})),
    };
    let item = match random.random_range(0..5) {
        0 if random.random() => {
            let other = MessageId::new(Uuid::from_u128(random.random::<u128>() >> 8));
            items.extend([item_id, other]);
            return vec![call(item_id), call(other)];
        }
        0 => call(item_id),
        1 => {
            let form = InputForm::Freeform { description: None };
            let question = InputQuestion { id: "q".to_owned(), question: "Why?".to_owned(), form };
            ReplyItem::InputRequest { item_id, questions: Personal::Known(vec![question]) }
        }
        2 => ReplyItem::Widget {
            item_id,
            widget: Personal::Known(json!({"type": "Card", "children": []})),
            copy_text: None,
        },
        _ => return Vec::new(),
    };
    items.push(item_id);
    vec![item]
}

/// Returns random events of one quiz in `conversation`, grouped by append.
pub(crate) fn quiz_history(
    random: &mut StdRng,
    conversation: ConversationId,
    commands: usize,
) -> Vec<Vec<Event>> {
    let id = QuizId::new(Uuid::from_u128(random.random()));
    let mut state = Quiz::default();
    let mut groups = Vec::new();
    for step in 0..commands {
        let at = minute(i64::try_from(step).unwrap());
        let command = if step == 0 {
            QuizCommand::Start {
                quiz_id: id,
                conversation_id: conversation,
                by: ADA,
                topic: "letters".to_owned(),
                questions: ["one", "two"].map(quiz_question).to_vec(),
                at,
            }
        } else {
            let question_id = ["one", "two"][random.random_range(0..2)].to_owned();
            let choice = ["a", "b"][random.random_range(0..2)].to_owned();
            match random.random_range(0..5) {
                0 => QuizCommand::Select { by: ADA, question_id, choice, at },
                1 => QuizCommand::Submit { by: ADA, question_id, choice, attempt: None, at },
                2 => QuizCommand::Clear { by: ADA, question_id, at },
                3 => QuizCommand::Next { by: ADA, question_id, at },
                _ => QuizCommand::Finish { by: ADA, question_id, at },
            }
        };
        let events = quiz::decide(&state, command).unwrap();
        for event in &events {
            state.apply(event.clone());
        }
        if !events.is_empty() {
            groups.push(events.into_iter().map(Event::from).collect());
        }
    }
    groups
}

/// Returns the conversation and quiz event types that do not occur.
pub(crate) fn missing_kinds(events: &[Event]) -> Vec<&'static str> {
    let seen: std::collections::BTreeSet<_> = events.iter().map(Event::event_type).collect();
    [ConversationEvent::TYPES, QuizEvent::TYPES]
        .into_iter()
        .flatten()
        .map(|(name, _)| *name)
        .filter(|name| !seen.contains(name))
        .collect()
}
