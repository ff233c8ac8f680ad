//! Rows of a conversation as turns of a prompt.

use std::collections::HashMap;

use aggregates::conversation::{InputAnswer, InputForm, InputQuestion};
use aggregates::ids::{MessageId, ReplyId};
use projections::messages::thread::{Entry, ThreadRow};
use serde_json::Value;
use uuid::Uuid;

use super::delimiters::between;
use super::tokens::Counter;
use crate::ai::{Role, Turn};

/// Most characters of a widget's description.
const WIDGET_CHARS: usize = 2_000;
/// Note at the end of a quote that was cut.
const QUOTE_GOES_ON: &str = " (the quote goes on)";
/// Note at the end of a tool output that was cut.
const OUTPUT_GOES_ON: &str = " (the output goes on)";

/// Returns, for each row, the message that its turn begins with.
pub(super) fn roots(ordered: &[&ThreadRow]) -> HashMap<Uuid, Uuid> {
    let mut of: HashMap<Uuid, Uuid> = HashMap::new();
    // By the reply that a message or an item asked for.
    let mut of_reply: HashMap<Uuid, Uuid> = HashMap::new();
    // By position, for rows without a reply: notes, and quizzes started by hand.
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

/// A row's text in the prompt.
pub(super) struct TurnText {
    /// Turns; empty when the row contributes nothing.
    pub(super) turns: Vec<Turn>,
    /// Whether something was cut.
    pub(super) cut: bool,
}

/// Converts a row into turns; quotes and tool outputs are cut at `most` tokens.
pub(super) fn said(counter: Counter, row: &ThreadRow, most: usize) -> TurnText {
    let mut cut = false;
    let turns = match &row.entry {
        Entry::Message { text: Some(text), composed, .. } => {
            let quoted = composed.as_ref().and_then(|composed| composed.quoted.as_deref());
            let text = match quoted {
                Some(quoted) => {
                    let short = shortened(counter, quoted, most, QUOTE_GOES_ON);
                    cut = short.is_some();
                    format!("{}\n{text}", between("quoted", "", short.as_deref().unwrap_or(quoted)))
                }
                None => text.clone(),
            };
            vec![Turn::message(Role::User, text)]
        }
        Entry::Answer { text: Some(text), .. } => vec![Turn::message(Role::Assistant, text)],
        Entry::ClientToolCall { call_id, name, arguments, output: Some(output) } => {
            let short = shortened(counter, &output.to_string(), most, OUTPUT_GOES_ON);
            cut = short.is_some();
            vec![Turn::ToolCall {
                call_id: call_id.clone(),
                name: name.clone(),
                arguments: arguments.clone(),
                output: short.map_or_else(|| output.clone(), Value::String),
            }]
        }
        Entry::StructuredInput { status, questions, answers } if !questions.is_empty() => {
            let asked = Turn::message(Role::Assistant, asked_text(questions));
            let answered =
                (status != "pending").then(|| Turn::message(Role::User, answered_text(questions, answers)));
            std::iter::once(asked).chain(answered).collect()
        }
        Entry::Widget { widget, .. } => {
            let described: String = widget.to_string().chars().take(WIDGET_CHARS).collect();
            vec![Turn::message(Role::Assistant, between("shown_widget", "", &described))]
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
            vec![Turn::message(Role::Assistant, between("shown_quiz", "", &state))]
        }
        Entry::Note(Some(note)) => vec![Turn::message(Role::User, between("note", "", note))],
        Entry::Message { text: None, .. }
        | Entry::Answer { text: None, .. }
        | Entry::ClientToolCall { output: None, .. }
        | Entry::StructuredInput { .. }
        | Entry::Quiz(None)
        | Entry::Note(None) => Vec::new(),
    };
    TurnText { turns, cut }
}

/// Returns the beginning of a text that has more than `most` tokens, else `None`.
fn shortened(counter: Counter, text: &str, most: usize, goes_on: &str) -> Option<String> {
    if counter.count(text) <= most {
        return None;
    }
    Some(format!("{}{goes_on}", counter.beginning(text, most.saturating_sub(counter.count(goes_on)))))
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
