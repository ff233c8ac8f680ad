//! Branches against a reader of the log who knows only what the events say: rows in order, each on the branch that was active
//! when it came, and for each branch where it forks.

use std::collections::BTreeMap;

use chrono::DateTime;
use cqrs_es::Aggregate as _;
use proptest::prelude::*;
use uuid::Uuid;

use crate::conversation::{
    BranchEvent, Conversation, ConversationCommand as Command, ConversationError, ConversationEvent as Event,
    EventBody, FinishReason, ItemEvent, MessageContext, MessageEvent, MessageRef, PartialText, ReplyEvent,
    ReplyItem, ReplyOptions, ReplyPlan, Timings, Usage, decide,
};
use crate::ids::{ConversationId, MessageId, ReplyId, UserId};
use crate::personal::Personal;
use crate::values::{MessageText, ReplyText};

/// A step, with indices into what exists.
#[derive(Debug, Clone)]
enum Step {
    Send,
    /// The next reply completes with this many tool calls.
    Answer(u8),
    /// The next reply is cancelled, without or with partial text.
    Stop(bool),
    /// With or without partial text.
    Again(prop::sample::Index, bool),
    Edit(prop::sample::Index, bool),
    Switch(prop::sample::Index),
    /// Answers the newest pending call.
    Tool,
    Note,
}

fn step() -> impl Strategy<Value = Step> {
    use prop::sample::Index;
    prop_oneof![
        5 => Just(Step::Send),
        8 => (0_u8..3).prop_map(Step::Answer),
        2 => any::<bool>().prop_map(Step::Stop),
        3 => any::<(Index, bool)>().prop_map(|(choice, said)| Step::Again(choice, said)),
        3 => any::<(Index, bool)>().prop_map(|(choice, said)| Step::Edit(choice, said)),
        4 => any::<Index>().prop_map(Step::Switch),
        2 => Just(Step::Tool),
        1 => Just(Step::Note),
    ]
}

/// An entry of a branch.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    id: MessageId,
    position: i64,
    branch: u32,
    /// Whether it is a message or an answer.
    message: bool,
    /// Whether it is a user message.
    persons: bool,
    /// Message or item that it answers or belongs to.
    of: Option<MessageId>,
}

/// Reference model, built from the events alone.
#[derive(Default)]
struct Reader {
    rows: Vec<Row>,
    /// Parent and position of the fork, by branch.
    forks: BTreeMap<u32, (u32, i64)>,
    active: u32,
    position: i64,
    askers: BTreeMap<ReplyId, MessageId>,
}

impl Reader {
    fn row(&mut self, id: MessageId, message: bool, persons: bool, of: Option<MessageId>) {
        let (position, branch) = (self.position, self.active);
        self.rows.push(Row { id, position, branch, message, persons, of });
    }

    fn read(&mut self, event: &Event) -> Result<(), TestCaseError> {
        self.position += 7;
        match &event.body {
            EventBody::Message(MessageEvent::MessageSent { message_id, .. }) => {
                self.row(*message_id, true, true, None);
            }
            EventBody::Reply { message_id, reply_id, event } => match event {
                ReplyEvent::ReplyRequested { .. } => {
                    self.askers.insert(*reply_id, *message_id);
                }
                ReplyEvent::ReplyCompleted { answer_id, .. } => {
                    self.row(*answer_id, true, false, self.askers.get(reply_id).copied());
                }
                ReplyEvent::ReplyCancelled { text: Some(_), .. } => {
                    let of = self.askers.get(reply_id).copied();
                    self.row(MessageId::answering(*reply_id), true, false, of);
                }
                ReplyEvent::ReplyBegun { .. }
                | ReplyEvent::ReplyAttemptFailed { .. }
                | ReplyEvent::ReplyFailed { .. }
                | ReplyEvent::ReplyCancelled { text: None, .. } => {}
            },
            EventBody::Item(event) => match event {
                ItemEvent::ClientToolCalled { item_id, reply_id, .. } => {
                    self.row(*item_id, false, false, self.askers.get(reply_id).copied());
                }
                ItemEvent::NoteAdded { item_id, .. } => self.row(*item_id, false, false, None),
                ItemEvent::ClientToolAnswered { .. }
                | ItemEvent::ClientToolDropped { .. }
                | ItemEvent::InputRequested { .. }
                | ItemEvent::InputAnswered { .. }
                | ItemEvent::WidgetShown { .. } => {}
            },
            EventBody::Branch(BranchEvent::BranchBegun {
                branch,
                parent,
                fork_position,
                messages,
                message_id,
                edited,
            }) => {
                let before = self.path(self.active);
                prop_assert_eq!(*branch as usize, self.forks.len() + 1, "numbers without a gap");
                self.forks.insert(*branch, (*parent, *fork_position));
                self.active = *branch;
                // It shares the entries before the message, and the message unless that is replaced.
                let kept = self.path(*branch);
                let at = before.iter().position(|row| row.id == *message_id);
                let at = at.expect("it forks at a message of the active path");
                let shared = if *edited { &before[..at] } else { &before[..=at] };
                prop_assert_eq!(kept.as_slice(), shared);
                let counted = kept.iter().filter(|row| row.message).count();
                prop_assert_eq!(*messages as usize, counted);
            }
            EventBody::Branch(BranchEvent::BranchSwitched { branch }) => self.active = *branch,
            EventBody::Branch(BranchEvent::ConversationRewound { .. })
            | EventBody::Message(
                MessageEvent::FeedbackGiven { .. } | MessageEvent::ConversationRead { .. },
            )
            | EventBody::Lifecycle(_)
            | EventBody::Settings(_) => {}
        }
        Ok(())
    }

    /// Entries on the path of a branch.
    fn path(&self, branch: u32) -> Vec<Row> {
        let on = |row: &&Row| {
            let (mut at, mut upto) = (branch, i64::MAX);
            loop {
                if row.branch == at {
                    return row.position <= upto;
                }
                let Some((parent, fork)) = self.forks.get(&at) else { return false };
                upto = upto.min(*fork);
                at = *parent;
            }
        };
        self.rows.iter().filter(on).cloned().collect()
    }

    fn branches(&self) -> u32 {
        u32::try_from(self.forks.len()).unwrap() + 1
    }
}

/// A conversation and its reader.
struct Life {
    state: Conversation,
    reader: Reader,
    ids: u128,
}

fn me() -> UserId {
    UserId::new(Uuid::from_u128(1))
}

fn text() -> Personal<MessageText> {
    Personal::Known(MessageText::parse("hello").unwrap())
}

fn answer() -> Personal<ReplyText> {
    Personal::Known(ReplyText::parse("hi").unwrap())
}

impl Life {
    fn new() -> Self {
        let mut life = Self { state: Conversation::default(), reader: Reader::default(), ids: 0 };
        let id = ConversationId::new(Uuid::from_u128(7));
        let at = DateTime::from_timestamp(0, 0).unwrap();
        life.run(Command::Start { id, by: me(), title: None, at }).unwrap().unwrap();
        life
    }

    fn id(&mut self) -> MessageId {
        self.ids += 1;
        MessageId::new(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + self.ids))
    }

    fn run(&mut self, command: Command) -> Result<Result<Vec<Event>, ConversationError>, TestCaseError> {
        let decided = decide(&self.state, command);
        if let Ok(events) = &decided {
            for event in events {
                self.state.apply(event.clone());
                self.reader.read(event)?;
            }
        }
        Ok(decided)
    }

    /// A user message on the active path, with its place.
    fn place(&self, choice: &prop::sample::Index) -> Option<MessageRef> {
        let path = self.reader.path(self.reader.active);
        let persons: Vec<usize> = (0..path.len()).filter(|n| path[*n].persons).collect();
        let at = *persons.get(choice.index(persons.len().max(1)))?;
        let before = path[..at].iter().filter(|row| row.message).count();
        let before = u32::try_from(before).unwrap();
        Some(MessageRef { message_id: path[at].id, position: path[at].position, before })
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let (by, at) = (me(), DateTime::from_timestamp(0, 0).unwrap());
        let (deadline, reply) = (at, ReplyOptions::default());
        let open = self.state.next_reply().map(|open| (open.reply_id, open.attempt));
        let partial_texts = |said: bool| -> Vec<PartialText> {
            let open = open.filter(|_| said);
            open.map(|(reply_id, _)| PartialText { reply_id, text: answer() }).into_iter().collect()
        };
        let command = match step {
            Step::Send => Command::Send {
                message_id: self.id(),
                by,
                text: text(),
                enclosed: MessageContext::default(),
                reply: Some(reply),
                at,
                deadline,
            },
            Step::Answer(calls) => {
                let Some((reply_id, attempt)) = open else { return Ok(()) };
                let plan = ReplyPlan {
                    worker: "w".to_owned(),
                    provider: String::new(),
                    model: String::new(),
                    parameters: serde_json::Value::Null,
                    prompt_versions: Vec::new(),
                    input_message_ids: Vec::new(),
                    file_hashes: Vec::new(),
                };
                self.run(Command::BeginReply { reply_id, attempt: attempt + 1, plan, at })?.unwrap();
                let call = |item_id| ReplyItem::ClientToolCall {
                    item_id,
                    call_id: "c".to_owned(),
                    name: "look".to_owned(),
                    arguments: Personal::Erased,
                };
                Command::RecordReply {
                    reply_id,
                    attempt: attempt + 1,
                    text: answer(),
                    items: (0..*calls).map(|_| call(self.id())).collect(),
                    finish: FinishReason::Stop,
                    usage: Usage::default(),
                    timings: Timings::default(),
                    model: String::new(),
                    provider_reply_id: None,
                    at,
                }
            }
            Step::Stop(kept) => {
                let Some((reply_id, _)) = open else { return Ok(()) };
                Command::CancelReply { reply_id, by, text: kept.then(answer), note: None, at }
            }
            Step::Again(choice, said) => {
                let Some(place) = self.place(choice) else { return Ok(()) };
                let partial_texts = partial_texts(*said);
                Command::Regenerate { by, place, partial_texts, reply, at, deadline }
            }
            Step::Edit(choice, said) => {
                let Some(place) = self.place(choice) else { return Ok(()) };
                let (message_id, text, enclosed) = (self.id(), text(), MessageContext::default());
                let partial_texts = partial_texts(*said);
                Command::EditMessage {
                    by,
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
            Step::Switch(choice) => {
                let branch = u32::try_from(choice.index(self.reader.branches() as usize)).unwrap();
                let pending = self.state.pending_replies().count() > 0;
                let decided = self.run(Command::SwitchBranch { by, branch, at })?;
                let rejected = pending && branch != self.reader.active;
                prop_assert_eq!(decided.is_err(), rejected, "{:?}", decided);
                return Ok(());
            }
            Step::Tool => {
                let path = self.reader.path(self.reader.active);
                let Some(item) = path.iter().rev().find(|row| !row.message) else { return Ok(()) };
                let (item_id, output) = (item.id, Personal::Erased);
                // It may be a note, or have been answered or dropped: then nothing happens.
                let command = Command::AnswerClientTool { by, item_id, output, reply, at, deadline };
                let decided = self.run(command)?;
                prop_assert!(!matches!(decided, Err(ConversationError::OtherBranch)), "{:?}", decided);
                return Ok(());
            }
            Step::Note => Command::AddNote { by, item_id: self.id(), note: Personal::Erased, at },
        };
        let decided = self.run(command)?;
        let full = matches!(decided, Err(ConversationError::TooManyReplies { .. }));
        prop_assert!(decided.is_ok() || full, "{:?}: {:?}", step, decided);
        Ok(())
    }
}

/// Every path, by its branch.
fn paths(reader: &Reader) -> Vec<Vec<Row>> {
    (0..reader.branches()).map(|branch| reader.path(branch)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_command_removes_entries_from_a_branch(steps in prop::collection::vec(step(), 0..70)) {
        let mut life = Life::new();
        for step in &steps {
            let before = paths(&life.reader);
            let (active, rows) = (life.reader.active as usize, life.reader.rows.len());
            life.step(step)?;
            let after = paths(&life.reader);

            // Every branch keeps its entries in order; only the active one grows, at its end.
            for (branch, old) in before.iter().enumerate() {
                prop_assert!(after[branch].starts_with(old), "{:?}", step);
                let grew = after[branch].len() > old.len();
                prop_assert!(!grew || branch == active || branch == life.reader.active as usize, "{:?}", step);
            }
            // Every row came once, and is on the path of its own branch, and on no path of a branch that forked before it.
            prop_assert!(life.reader.rows.len() >= rows);
            for row in &life.reader.rows {
                prop_assert!(after[row.branch as usize].contains(row));
                for (branch, path) in after.iter().enumerate().filter(|(_, path)| path.contains(row)) {
                    let from = life.reader.forks.get(&u32::try_from(branch).unwrap());
                    prop_assert!(branch == row.branch as usize || from.is_some_and(|(_, fork)| row.position <= *fork));
                    prop_assert_eq!(path.iter().filter(|other| other.id == row.id).count(), 1);
                }
            }
            // The conversation shows what its reader finds on the active path.
            prop_assert_eq!(life.state.active_branch(), life.reader.active);
            prop_assert_eq!(life.state.branches(), life.reader.branches() as usize);
            let path = &after[life.reader.active as usize];
            for row in life.reader.rows.iter().filter(|row| row.persons || !row.message) {
                prop_assert_eq!(life.state.shows(row.id), path.contains(row), "{:?}", row);
            }
            // No hole: an answer and a call stand behind what they came of.
            for path in &after {
                for (at, row) in path.iter().enumerate() {
                    let Some(of) = row.of else { continue };
                    prop_assert!(path[..at].iter().any(|other| other.id == of), "{:?} without {:?}", row, of);
                }
            }
            // Pending replies were requested on the active path.
            for open in life.state.pending_replies() {
                prop_assert!(life.state.shows(open.message_id));
            }
        }
    }

    #[test]
    fn switching_branches_and_back_shows_the_same(
        steps in prop::collection::vec(step(), 0..50), choice in any::<prop::sample::Index>(),
    ) {
        let mut life = Life::new();
        for step in &steps {
            life.step(step)?;
        }
        while life.state.next_reply().is_some() {
            life.step(&Step::Answer(0))?;
        }
        let (here, before) = (life.reader.active, life.state.clone());
        let path = life.reader.path(here);
        let there = u32::try_from(choice.index(life.reader.branches() as usize)).unwrap();
        let at = DateTime::from_timestamp(0, 0).unwrap();
        for branch in [there, here] {
            life.run(Command::SwitchBranch { by: me(), branch, at })?.unwrap();
        }
        prop_assert_eq!(life.reader.path(life.reader.active), path);
        prop_assert_eq!(life.state, before);
    }
}
