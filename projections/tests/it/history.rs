//! Random but valid histories: what the domain decides on a list of random commands.

use aggregates::conversation::{
    Conversation, ConversationCommand as Command, ConversationEvent, FailureReason, FinishReason, Timings,
    Usage, WantedReply, decide,
};
use aggregates::file::{self, File, FileCommand};
use aggregates::ids::{ConversationId, FileId, MessageId, ReplyId};
use aggregates::values::{FileName, MessageText};
use aggregates::{Event, Personal};
use cqrs_es::Aggregate as _;
use rand::Rng;
use rand::rngs::StdRng;
use uuid::Uuid;

use crate::events::{ADA, answer, minute, plan, title};

/// The events of one conversation's life, in groups that belong into one append each.
pub(crate) fn history(random: &mut StdRng, commands: usize) -> Vec<Vec<Event>> {
    let id = ConversationId::new(Uuid::from_u128(random.random()));
    let mut state = Conversation::default();
    let mut messages: Vec<MessageId> = Vec::new();
    let mut groups = Vec::new();
    for step in 0..commands {
        let command = if step == 0 {
            let title = random.random_bool(0.5).then(|| title("begun"));
            Command::Start { id, by: ADA, title, at: minute(0) }
        } else {
            any_command(random, &state, &mut messages, i64::try_from(step).unwrap())
        };
        // What the domain refuses is no event.
        let Ok(events) = decide(&state, command) else { continue };
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
    step: i64,
) -> Command {
    let at = minute(step);
    let open = state.open_reply();
    let (reply_id, attempt) = open.map_or_else(
        || (messages.last().map_or(ReplyId::new(Uuid::nil()), |message| ReplyId::of(*message)), 1),
        |open| (open.reply_id, open.attempt),
    );
    let partial = random.random_bool(0.5).then(|| answer("as far as it came"));
    match random.random_range(0..100) {
        0..30 => {
            let message_id = MessageId::new(Uuid::from_u128(random.random::<u128>() >> 8));
            messages.push(message_id);
            Command::Send {
                message_id,
                by: ADA,
                text: Personal::Known(MessageText::parse(&format!("message at {step}")).unwrap()),
                reply: random.random_bool(0.8).then(WantedReply::default),
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
        84..88 => Command::CancelReply { reply_id, by: ADA, text: partial, at },
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

/// The events of some files' lives, in groups that belong into one append each; some are sent in the conversations.
pub(crate) fn files(
    random: &mut StdRng,
    conversations: &[ConversationId],
    commands: usize,
) -> Vec<Vec<Event>> {
    let ids: Vec<FileId> = (0..6).map(|_| FileId::new(Uuid::from_u128(random.random()))).collect();
    let mut states = vec![File::default(); ids.len()];
    let mut groups = Vec::new();
    for step in 0..commands {
        let which = random.random_range(0..ids.len());
        let (id, at) = (ids[which], minute(i64::try_from(step).unwrap()));
        let name = Personal::Known(FileName::of(&format!("file {step}.txt")).unwrap());
        let (mime_type, size) = ("text/plain".to_owned(), 9);
        let command = match random.random_range(0..10) {
            0..3 => FileCommand::Announce { id, by: ADA, name, mime_type, size, at },
            3..6 => {
                let sha256 = "ab".repeat(32);
                FileCommand::Store { id, by: ADA, name, mime_type, size, sha256, image: None, at }
            }
            6..9 => FileCommand::Attach {
                by: ADA,
                conversation_id: conversations[which % conversations.len()],
                message_id: MessageId::new(Uuid::from_u128(random.random::<u128>() >> 8)),
                at,
            },
            _ => FileCommand::Delete { by: ADA, at },
        };
        let Ok(events) = file::decide(&states[which], command) else { continue };
        for event in &events {
            states[which].apply(event.clone());
        }
        if !events.is_empty() {
            groups.push(events.into_iter().map(Event::from).collect());
        }
    }
    groups
}

/// Whether every kind of conversation event is among them.
pub(crate) fn missing_kinds(events: &[Event]) -> Vec<&'static str> {
    let seen: std::collections::BTreeSet<_> = events.iter().map(Event::event_type).collect();
    ConversationEvent::TYPES.iter().map(|(name, _)| *name).filter(|name| !seen.contains(name)).collect()
}
