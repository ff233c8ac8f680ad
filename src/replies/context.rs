//! The context policy: what a provider is sent of a conversation. One pure function; its inputs are the provenance.
//!
//! * Order: the standing instructions, then whole turns, oldest first, the asked message last. A turn is a person's
//!   message with everything that came of it: its answer, calls of tools with their output, questions with what was
//!   answered, widgets, quizzes, notes. An answer stands in the turn of the message it answers, even when another message
//!   was sent in between.
//! * Messages that were sent after the asked one are not sent: they get replies of their own.
//! * Whole turns only, the newest ones that fit `history_turns` and `history_chars`; the turn of what is asked always goes,
//!   whatever its length.
//! * Erased messages, answers of which nothing was kept, and calls that nobody answered are left out. An answer that was
//!   cut short goes as far as it was kept.
//! * What a person, a page or a file says is always in a turn of the user's, never among the instructions; quotes, notes
//!   and files stand between marks that say what they are.

use std::collections::HashMap;

use aggregates::conversation::{InputAnswer, InputForm, InputQuestion};
use aggregates::ids::{MessageId, ReplyId};
use projections::messages::thread::{Entry, ThreadRow};
use serde_json::Value;
use uuid::Uuid;

use super::settings::ReplySettings;
use crate::ai::{Role, Turn};

/// The most characters of a widget that are described.
const WIDGET_CHARS: usize = 2_000;

/// What a provider is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Context {
    /// Standing instructions.
    pub system: String,
    /// The turns, oldest first; the last one is what is asked.
    pub turns: Vec<Turn>,
    /// The messages and items that went in, in that order.
    pub inputs: Vec<MessageId>,
    /// Files that came with messages, by the place of their turn among `turns`.
    pub files: Vec<(usize, Vec<Uuid>)>,
    /// The tool that was chosen with the asked message.
    pub tool_choice: Option<String>,
}

/// Makes the context of the reply to `asked` (a message, or an item that was answered) from what stands in the
/// conversation, in any order. None when what asked is not among it or is erased: there is nothing to answer.
pub fn build(settings: &ReplySettings, asked: Uuid, rows: &[ThreadRow]) -> Option<Context> {
    let mut ordered: Vec<&ThreadRow> = rows.iter().collect();
    ordered.sort_by_key(|row| row.position);
    let roots = roots(&ordered);
    let asker = *ordered.iter().find(|row| row.id == asked)?;
    if is_erased(asker) {
        return None;
    }
    // An item asks when it is answered, which may be long after it was shown.
    let asks_at = asker.answered_at.unwrap_or(asker.position);
    let mut earlier: Vec<&ThreadRow> = ordered
        .iter()
        .filter(|row| is_message(row) && row.position < asks_at && !is_erased(row) && row.id != asked)
        .copied()
        .collect();
    earlier.reverse();
    let turn = |root: Uuid, until: i64| -> Vec<&ThreadRow> {
        let of = |row: &&&ThreadRow| roots.get(&row.id) == Some(&root) && row.id != asked;
        ordered.iter().filter(of).filter(|row| row.position < until).copied().collect()
    };
    // What is asked goes whatever its length; with it goes the turn that it belongs to, while nothing was said since.
    let root = roots.get(&asked).copied();
    let mut last: Vec<&ThreadRow> = match root {
        Some(root) if earlier.first().is_some_and(|newest| newest.id == root) => {
            earlier.remove(0);
            turn(root, asks_at)
        }
        _ => Vec::new(),
    };
    last.push(asker);
    let mut left = settings.history_chars.saturating_sub(size(&last));
    let mut picked: Vec<Vec<&ThreadRow>> = Vec::new();
    for message in earlier.into_iter().take(settings.history_turns) {
        // An answer may have come after what is asked was sent, and before its turn.
        let turn = turn(message.id, i64::MAX);
        let size = size(&turn);
        if size > left {
            break;
        }
        left -= size;
        picked.push(turn);
    }

    let mut context = Context {
        system: settings.system_prompt.clone(),
        turns: Vec::new(),
        inputs: Vec::new(),
        files: Vec::new(),
        tool_choice: None,
    };
    for row in picked.into_iter().rev().flatten().chain(last) {
        context.add(row);
    }
    if let Entry::Message { tool_choice, .. } = &asker.entry {
        context.tool_choice.clone_from(tool_choice);
    }
    Some(context)
}

/// How many rows have to be read so that [`build`] sees every turn it may send.
pub fn rows_needed(settings: &ReplySettings) -> i64 {
    // A turn is two rows as a rule; some more for items, and for messages that wait behind the asked one.
    i64::try_from(settings.history_turns).unwrap_or(1_000) * 2 + 32
}

/// The message that each row goes back to: itself, or the one it came of.
fn roots(ordered: &[&ThreadRow]) -> HashMap<Uuid, Uuid> {
    let mut of: HashMap<Uuid, Uuid> = HashMap::new();
    // By the reply that a message or an item asked for.
    let mut of_reply: HashMap<Uuid, Uuid> = HashMap::new();
    // By place, for what names no reply: notes, and quizzes that were begun by hand.
    let mut latest = None;
    for row in ordered {
        let root = match &row.entry {
            Entry::Message { .. } => {
                of_reply.extend(row.reply_id.map(|reply| (reply, row.id)));
                Some(row.id)
            }
            Entry::Answer { in_reply_to, .. } => in_reply_to.and_then(|asker| of.get(&asker).copied()),
            Entry::ClientToolCall { .. } | Entry::StructuredInput { .. } => {
                let root = row.reply_id.and_then(|reply| of_reply.get(&reply).copied());
                let asks = ReplyId::of(MessageId::new(row.id)).uuid();
                of_reply.extend(root.map(|root| (asks, root)));
                root
            }
            Entry::Widget { .. } => row.reply_id.and_then(|reply| of_reply.get(&reply).copied()),
            Entry::Quiz(_) | Entry::Note(_) => latest,
        };
        if let Some(root) = root {
            of.insert(row.id, root);
            latest = Some(root);
        }
    }
    of
}

impl Context {
    /// Adds what a row says, if it says anything.
    fn add(&mut self, row: &ThreadRow) {
        let before = self.turns.len();
        match &row.entry {
            Entry::Message { text: Some(text), composed, files, .. } => {
                let quoted = composed.as_ref().and_then(|composed| composed.quoted.as_deref());
                let text = match quoted {
                    Some(quoted) => format!("{}\n{text}", between("quoted", "", quoted)),
                    None => text.clone(),
                };
                if !files.is_empty() {
                    self.files.push((self.turns.len(), files.clone()));
                }
                self.turns.push(Turn::said(Role::User, text));
            }
            Entry::Answer { text: Some(text), .. } => self.turns.push(Turn::said(Role::Assistant, text)),
            Entry::ClientToolCall { call_id, name, arguments, output: Some(output) } => {
                self.turns.push(Turn::Called {
                    call_id: call_id.clone(),
                    name: name.clone(),
                    arguments: arguments.clone(),
                    output: output.clone(),
                });
            }
            Entry::StructuredInput { status, questions, answers } if !questions.is_empty() => {
                self.turns.push(Turn::said(Role::Assistant, asked_text(questions)));
                if status != "pending" {
                    self.turns.push(Turn::said(Role::User, answered_text(questions, answers)));
                }
            }
            Entry::Widget { widget, .. } => {
                let described: String = widget.to_string().chars().take(WIDGET_CHARS).collect();
                self.turns.push(Turn::said(Role::Assistant, between("shown_widget", "", &described)));
            }
            Entry::Quiz(Some(quiz)) => {
                let state = format!(
                    "A quiz about {}: question {} of {}, {} right at the first try, {}.",
                    quiz.topic,
                    quiz.index,
                    quiz.total,
                    quiz.score,
                    if quiz.finished { "finished" } else { "under way" }
                );
                self.turns.push(Turn::said(Role::Assistant, between("shown_quiz", "", &state)));
            }
            Entry::Note(Some(note)) => self.turns.push(Turn::said(Role::User, between("note", "", note))),
            Entry::Message { text: None, .. }
            | Entry::Answer { text: None, .. }
            | Entry::ClientToolCall { output: None, .. }
            | Entry::StructuredInput { .. }
            | Entry::Quiz(None)
            | Entry::Note(None) => {}
        }
        if self.turns.len() > before {
            self.inputs.push(MessageId::new(row.id));
        }
    }
}

/// The marks between which content stands that is not the person's own message.
const MARKS: [&str; 6] = ["quoted", "note", "file", "answers", "shown_widget", "shown_quiz"];

/// Content that somebody else is the author of, between marks that it cannot end.
pub(super) fn between(mark: &str, attributes: &str, content: &str) -> String {
    format!("<{mark}{attributes}>\n{}\n</{mark}>", unmarked(content))
}

/// A text in which nothing looks like one of our marks: such a `<` gets a blank behind it.
fn unmarked(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let is_mark = |at: usize| {
        let rest = lower[at + 1..].trim_start_matches('/');
        MARKS.iter().any(|mark| rest.starts_with(mark))
    };
    let mut out = String::with_capacity(text.len());
    for (at, character) in text.char_indices() {
        out.push(character);
        if character == '<' && is_mark(at) {
            out.push(' ');
        }
    }
    out
}

fn asked_text(questions: &[InputQuestion]) -> String {
    let mut text = String::from("I asked:");
    for question in questions {
        text.push_str("\n- ");
        text.push_str(&question.question);
        if let InputForm::Choice { options, .. } = &question.form {
            text.push_str(" (");
            text.push_str(&options.join(", "));
            text.push(')');
        }
    }
    text
}

fn answered_text(questions: &[InputQuestion], answers: &[InputAnswer]) -> String {
    let lines = questions.iter().map(|question| {
        let answer = answers.iter().find(|answer| answer.id == question.id && !answer.skipped);
        let said = answer.map_or_else(|| "(skipped)".to_owned(), |answer| answer.values.join(", "));
        format!("{}: {said}", question.question)
    });
    between("answers", "", &lines.collect::<Vec<_>>().join("\n"))
}

fn is_message(row: &ThreadRow) -> bool {
    matches!(row.entry, Entry::Message { .. })
}

fn is_erased(row: &ThreadRow) -> bool {
    matches!(row.entry, Entry::Message { text: None, .. })
}

/// About how many characters a turn's rows come to.
fn size(rows: &[&ThreadRow]) -> usize {
    let of = |row: &&ThreadRow| match &row.entry {
        Entry::Message { text, composed, .. } => {
            let quoted = composed.as_ref().and_then(|composed| composed.quoted.as_deref());
            text.as_deref().map_or(0, chars) + quoted.map_or(0, chars)
        }
        Entry::Answer { text, .. } | Entry::Note(text) => text.as_deref().map_or(0, chars),
        Entry::ClientToolCall { arguments, output, .. } => {
            written(arguments) + output.as_ref().map_or(0, written)
        }
        Entry::StructuredInput { questions, answers, .. } => {
            chars(&asked_text(questions)) + chars(&answered_text(questions, answers))
        }
        Entry::Widget { widget, .. } => written(widget).min(WIDGET_CHARS),
        Entry::Quiz(_) => 100,
    };
    rows.iter().map(of).sum()
}

fn written(value: &Value) -> usize {
    value.to_string().len()
}

fn chars(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
#[path = "context_tests.rs"]
mod tests;
