//! Laws of the aggregates, and a check that random commands reach every event and every rejection.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use cqrs_es::{Aggregate, DomainEvent};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::files::file_command;
use super::quizzes::{keeps_its_secrets, questions_in_turn, quiz_command};
use super::strategies::{
    claim_command, conversation_command, life_with_branches, life_with_items, user_command,
};
use crate::claim::{self, Claim, ClaimEvent};
use crate::conversation::{
    self, Conversation, ConversationCommand, ConversationEvent, EventBody, LifecycleEvent,
    MAX_PENDING_REPLIES, ReplyEvent,
};
use crate::file::{self, File, FileEvent};
use crate::ids::ReplyId;
use crate::quiz::{self, Quiz, QuizEvent};
use crate::user::{self, User, UserCommand, UserEvent};
use crate::{Event, Rejection};

type Decide<A> =
    fn(&A, <A as Aggregate>::Command) -> Result<Vec<<A as Aggregate>::Event>, <A as Aggregate>::Error>;

/// Result of a list of commands: the final state, the events and the rejections.
struct Run<A: Aggregate> {
    state: A,
    events: Vec<A::Event>,
    rejections: Vec<A::Error>,
}

fn apply<A: Aggregate>(state: &mut A, events: &[A::Event]) {
    events.iter().cloned().for_each(|event| state.apply(event));
}

fn run<A>(decide: Decide<A>, commands: Vec<A::Command>) -> Run<A>
where
    A: Aggregate,
{
    let mut run = Run { state: A::default(), events: Vec::new(), rejections: Vec::new() };
    for command in commands {
        match decide(&run.state, command) {
            Ok(events) => {
                apply(&mut run.state, &events);
                run.events.extend(events);
            }
            Err(rejection) => run.rejections.push(rejection),
        }
    }
    run
}

/// Effect of repeating an accepted command.
enum Again {
    /// No event.
    Nothing,
    /// The same event again: the state has nothing to compare it with.
    Added,
    /// It is rejected: the item no longer waits.
    Rejected,
}

/// Whatever the commands: the state is that of its events, also halfway from a written state; an accepted command
/// does what `again` says when it is repeated; every event is the same after encoding and decoding.
fn laws<A>(
    decide: Decide<A>,
    commands: Vec<A::Command>,
    again: fn(&A::Command) -> Again,
) -> Result<(), TestCaseError>
where
    A: Aggregate + Clone + PartialEq + Debug,
    A::Command: Clone + Debug,
    A::Error: PartialEq + Debug,
    Event: From<A::Event>,
{
    let mut live = A::default();
    let mut log: Vec<A::Event> = Vec::new();
    for command in commands {
        let before = live.clone();
        let decided = decide(&live, command.clone());
        prop_assert_eq!(&live, &before);
        let Ok(events) = decided else { continue };
        apply(&mut live, &events);

        let repeated = decide(&live, command.clone());
        match again(&command) {
            Again::Nothing => prop_assert_eq!(repeated, Ok(Vec::new()), "{:?}", command),
            Again::Added => prop_assert_eq!(repeated, Ok(events.clone())),
            Again::Rejected => prop_assert!(repeated.is_err(), "{:?}", command),
        }

        let written = serde_json::to_string(&live).unwrap();
        prop_assert_eq!(&serde_json::from_str::<A>(&written).unwrap(), &live);
        let mut resumed: A = serde_json::from_str(&serde_json::to_string(&before).unwrap()).unwrap();
        apply(&mut resumed, &events);
        prop_assert_eq!(&resumed, &live);
        log.extend(events);
    }

    let mut replayed = A::default();
    apply(&mut replayed, &log);
    prop_assert_eq!(&replayed, &live);

    for event in log {
        let written = serde_json::to_string(&event).unwrap();
        prop_assert_eq!(&serde_json::from_str::<A::Event>(&written).unwrap(), &event);
        let payload: serde_json::Value = serde_json::from_str(&written).unwrap();
        prop_assert_eq!(&payload["type"], &serde_json::Value::from(event.event_type()));
        let event = Event::from(event);
        prop_assert_eq!(&Event::decode(A::TYPE, payload).unwrap(), &event);
        prop_assert_eq!(event.aggregate_type(), A::TYPE);
        prop_assert!(crate::known_version(event.event_type(), &event.event_version()));
    }
    Ok(())
}

fn lists<C: Debug>(command: impl Strategy<Value = C>) -> impl Strategy<Value = Vec<C>> {
    prop::collection::vec(command, 0..80)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn user_obeys_laws(commands in lists(user_command())) {
        laws::<User>(user::decide, commands, |command| match command {
            UserCommand::ChangePassword { .. } => Again::Added,
            UserCommand::Register { .. }
            | UserCommand::ChangeEmail { .. }
            | UserCommand::ChangeUsername { .. }
            | UserCommand::GrantRole { .. }
            | UserCommand::Deactivate { .. } => Again::Nothing,
        })?;
    }

    #[test]
    fn claim_obeys_laws(commands in lists(claim_command())) {
        laws::<Claim>(claim::decide, commands, |_| Again::Nothing)?;
    }

    #[test]
    fn conversation_obeys_laws(commands in lists(conversation_command())) {
        laws::<Conversation>(conversation::decide, commands, |command| {
            use ConversationCommand as C;
            if matches!(command, C::Rename { .. } | C::GiveFeedback { .. }) {
                Again::Added
            } else if matches!(command, C::AnswerClientTool { .. } | C::AnswerInput { .. }) {
                Again::Rejected
            } else {
                Again::Nothing
            }
        })?;
    }

    #[test]
    fn quiz_obeys_laws(commands in lists(quiz_command())) {
        laws::<Quiz>(quiz::decide, commands, |_| Again::Nothing)?;
    }

    #[test]
    fn quiz_asks_in_turn_and_counts_each_try(commands in lists(quiz_command())) {
        questions_in_turn(&run::<Quiz>(quiz::decide, commands).events)?;
    }

    #[test]
    fn quiz_never_reveals_an_unfound_answer(commands in lists(quiz_command())) {
        let mut quiz = Quiz::default();
        for command in commands {
            let stale = quiz.is_stale(&command);
            let events = quiz::decide(&quiz, command).unwrap_or_default();
            prop_assert!(!stale || events.is_empty());
            apply(&mut quiz, &events);
            keeps_its_secrets(&quiz)?;
        }
    }

    #[test]
    fn file_obeys_laws(commands in lists(file_command())) {
        laws::<File>(file::decide, commands, |_| Again::Nothing)?;
    }

    #[test]
    fn file_is_stored_once_and_sent_in_one_conversation(
        commands in lists(file_command())
    ) {
        let events = run::<File>(file::decide, commands).events;
        let (mut stored, mut talk) = (0, None);
        for (n, event) in events.iter().enumerate() {
            prop_assert_eq!((event.file_id(), event.owner()), (events[0].file_id(), events[0].owner()));
            match event {
                FileEvent::FileAnnounced { .. } => prop_assert_eq!(n, 0),
                FileEvent::FileStored { .. } => stored += 1,
                FileEvent::FileAttached { conversation_id, .. } => {
                    prop_assert_eq!(stored, 1);
                    prop_assert_eq!(*talk.get_or_insert(*conversation_id), *conversation_id);
                }
                FileEvent::FileDeleted { .. } => prop_assert!(talk.is_none() && n + 1 == events.len()),
            }
            prop_assert!(stored <= 1);
        }
    }

    #[test]
    fn user_registers_first_and_changes_nothing_after_deactivation(commands in lists(user_command())) {
        let events = run::<User>(user::decide, commands).events;
        for (n, event) in events.iter().enumerate() {
            prop_assert_eq!(matches!(event, UserEvent::UserRegistered { .. }), n == 0);
            let ends = matches!(event, UserEvent::UserDeactivated { .. });
            prop_assert!(!ends || n + 1 == events.len());
        }
    }

    #[test]
    fn value_is_taken_and_released_by_the_same_user(commands in lists(claim_command())) {
        let mut holder = None;
        for event in run::<Claim>(claim::decide, commands).events {
            match event {
                ClaimEvent::ClaimTaken { owner, .. } => prop_assert_eq!(holder.replace(owner), None),
                ClaimEvent::ClaimReleased { owner, .. } => prop_assert_eq!(holder.take(), Some(owner)),
            }
        }
    }

    #[test]
    fn every_reply_has_its_turn_and_at_most_one_end(commands in lists(conversation_command())) {
        let run = run::<Conversation>(conversation::decide, commands);
        let pending = replies_in_turn(&run.events)?;
        prop_assert_eq!(run.state.pending_replies().map(|open| open.reply_id).collect::<Vec<_>>(), pending);
    }
}

/// Checks the order of replies from the events alone. Returns the pending replies.
fn replies_in_turn(events: &[ConversationEvent]) -> Result<Vec<ReplyId>, TestCaseError> {
    let mut pending: Vec<ReplyId> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut rounds = BTreeMap::new();
    let mut attempts: BTreeMap<ReplyId, u32> = BTreeMap::new();
    for (n, event) in events.iter().enumerate() {
        let starts = matches!(event.body, EventBody::Lifecycle(LifecycleEvent::ConversationStarted { .. }));
        prop_assert_eq!(starts, n == 0);
        prop_assert_eq!(event.owner, events[0].owner);
        prop_assert_eq!(event.conversation_id, events[0].conversation_id);
        match &event.body {
            EventBody::Lifecycle(LifecycleEvent::ConversationStarted { .. }) => {}
            EventBody::Lifecycle(LifecycleEvent::ConversationDeleted {}) => {
                prop_assert!(pending.is_empty());
                prop_assert_eq!(n + 1, events.len());
            }
            EventBody::Reply { message_id, reply_id, event } => match event {
                ReplyEvent::ReplyRequested { .. } => {
                    let round = rounds.entry(*message_id).or_insert(0);
                    prop_assert_eq!(*reply_id, ReplyId::again(*message_id, *round));
                    *round += 1;
                    prop_assert!(seen.insert(*reply_id));
                    pending.push(*reply_id);
                    prop_assert!(pending.len() <= MAX_PENDING_REPLIES);
                }
                ReplyEvent::ReplyBegun { attempt, .. } => {
                    prop_assert_eq!(pending.first(), Some(reply_id));
                    let last = attempts.insert(*reply_id, *attempt).unwrap_or(0);
                    prop_assert_eq!(*attempt, last + 1);
                }
                ReplyEvent::ReplyAttemptFailed { attempt, .. } => {
                    prop_assert_eq!(pending.first(), Some(reply_id));
                    prop_assert_eq!(attempts.get(reply_id), Some(attempt));
                }
                ReplyEvent::ReplyCompleted { attempt, .. }
                | ReplyEvent::ReplyFailed { attempt, .. }
                | ReplyEvent::ReplyCancelled { attempt, .. } => {
                    prop_assert!(pending.contains(reply_id));
                    prop_assert_eq!(attempts.get(reply_id).copied().unwrap_or(0), *attempt);
                    pending.retain(|other| other != reply_id);
                }
            },
            EventBody::Settings(_) | EventBody::Message(_) | EventBody::Branch(_) | EventBody::Item(_) => {}
        }
    }
    Ok(pending)
}

/// The names of the events and the rejections that many random lists lead to.
fn reached<A>(
    decide: Decide<A>,
    lists: impl Strategy<Value = Vec<A::Command>>,
) -> (BTreeSet<String>, BTreeSet<String>)
where
    A: Aggregate,
    A::Command: Debug,
    Rejection: From<A::Error>,
{
    let mut runner = TestRunner::deterministic();
    let (mut events, mut rejections) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..400 {
        let run = run::<A>(decide, lists.new_tree(&mut runner).unwrap().current());
        events.extend(run.events.iter().map(DomainEvent::event_type));
        let name = |rejection| format!("{:?}", Rejection::from(rejection));
        rejections.extend(
            run.rejections.into_iter().map(name).map(|name| {
                name.split([' ', '{']).next().unwrap_or_default().trim_end_matches(')').to_owned()
            }),
        );
    }
    (events, rejections)
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn listed(types: &[(&str, u32)]) -> BTreeSet<String> {
    types.iter().map(|(name, _)| (*name).to_owned()).collect()
}

#[test]
fn random_commands_reach_every_event_and_rejection() {
    let (events, rejections) = reached::<User>(user::decide, lists(user_command()));
    assert_eq!(events, listed(UserEvent::TYPES));
    assert_eq!(
        rejections,
        set(&["User(AlreadyRegistered", "User(ChangedMeanwhile", "User(Deactivated", "User(NotRegistered"])
    );

    let (events, rejections) = reached::<Claim>(claim::decide, lists(claim_command()));
    assert_eq!(events, listed(ClaimEvent::TYPES));
    assert_eq!(rejections, set(&["Claim(Taken"]));

    let (mut events, mut rejections) =
        reached::<Conversation>(conversation::decide, lists(conversation_command()));
    // Items and branches come late in a conversation's life: lists that begin with some get there.
    for (of_them, more) in [
        reached::<Conversation>(conversation::decide, life_with_items()),
        reached::<Conversation>(conversation::decide, life_with_branches()),
    ] {
        events.extend(of_them);
        rejections.extend(more);
    }
    // No command writes it any more.
    events.insert("conversation_rewound".to_owned());
    assert_eq!(events, listed(ConversationEvent::TYPES));
    assert_eq!(
        rejections,
        set(&[
            "Conversation(AlreadyStarted",
            "Conversation(Deleted",
            "Conversation(MessageIdTaken",
            "Conversation(NotOwner",
            "Conversation(NotPending",
            "Conversation(NotStarted",
            "Conversation(NotYourTurn",
            "Conversation(OtherBranch",
            "Conversation(RepliesPending",
            "Conversation(ReplyEnded",
            "Conversation(StaleAttempt",
            "Conversation(TooManyReplies",
            "Conversation(UnknownBranch",
            "Conversation(UnknownItem",
            "Conversation(UnknownReply",
        ])
    );

    let (events, rejections) = reached::<Quiz>(quiz::decide, lists(quiz_command()));
    assert_eq!(events, listed(QuizEvent::TYPES));
    assert_eq!(
        rejections,
        set(&[
            "Quiz(AlreadyStarted",
            "Quiz(NotOwner",
            "Quiz(NotStarted",
            "Quiz(Questions(CorrectNotAnOption",
            "Quiz(Questions(None",
            "Quiz(Questions(SameId",
            "Quiz(Questions(SameOption",
            "Quiz(Questions(TooFewOptions",
            "Quiz(UnknownChoice",
            "Quiz(UnknownQuestion",
        ])
    );

    let (events, rejections) = reached::<File>(file::decide, lists(file_command()));
    assert_eq!(events, listed(FileEvent::TYPES));
    assert_eq!(
        rejections,
        set(&[
            "File(AlreadyAnnounced",
            "File(AlreadyStored",
            "File(Attached",
            "File(AttachedElsewhere",
            "File(Deleted",
            "File(NotOwner",
            "File(NotStored",
            "File(Unknown",
        ])
    );
}
