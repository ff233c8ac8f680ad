//! The context policy: what a provider receives of a conversation. One pure function, [`Policy::build`]; its inputs are the
//! provenance, and its [`Report`] is part of the reply's plan.
//!
//! * Order: the system prompt, then whole turns, oldest first, the asked message last. A turn is a user's message with
//!   everything that followed from it: its answer, tool calls with their output, questions with their answers, widgets,
//!   quizzes, notes. An answer belongs to the turn of its message, even when another message was sent in between.
//! * Messages sent after the asked one are left out: they get replies of their own. Rows of other branches are not loaded.
//! * **The budget** is `context_tokens`, and never more than the model's context window minus the longest answer. The policy
//!   counts the system prompt, tools, turns and files with [`tokens::Counter`], plus a few tokens of framing per turn.
//!   The system prompt and the tools come first, then the asked message, whole, then its files, then earlier turns with
//!   their files, newest first, until one does not fit: whole turns only, without gaps, and at most `history_turns`.
//!   Only a message that was itself too long to be answered is skipped.
//! * **A user's message is never cut.** When the asked message does not fit beside the system prompt and the tools, there is
//!   no prompt ([`ContextError::TooLong`]): an answer to half a question would look like an answer to the whole.
//! * Outputs of tools, and quotes, are cut at a quarter of the budget each, with a note that they continue.
//! * **Files** have a share of the budget, `files_percent`; the newest turns' files come first. A text is cut with a note
//!   that it continues, or only named. Images count by tiles, documents by size ([`tokens`]); both have a byte limit too.
//! * Erased messages, answers without kept text, and unanswered tool calls are left out. An interrupted answer is included
//!   as far as its text was kept.
//! * Text of a user, a page or a file is always in a turn of the user or a tool, never in the system prompt; quotes, notes
//!   and files are between `delimiters` that they cannot close.

mod delimiters;
mod files;
mod history;
mod report;
pub mod tokens;

use std::collections::HashMap;

use aggregates::ids::MessageId;
use projections::messages::thread::{Entry, ThreadRow};
use uuid::Uuid;

pub use self::report::Report;
use self::tokens::Counter;
use super::settings::ReplySettings;
use crate::ai::{Content, Tool, Turn};
use crate::files::FileContent;

/// Version of the policy and of the prompt's format; part of the provenance.
pub const VERSION: &str = "context-3";
/// Tokens of framing: per prompt, and per turn, call, output, tool and system prompt.
const PROMPT_TOKENS: usize = 3;
const FRAME_TOKENS: usize = 4;

/// The context of one reply.
#[derive(Debug, Clone, PartialEq)]
pub struct Context {
    /// System prompt.
    pub system: String,
    /// Turns, oldest first; the last one holds the asked message.
    pub turns: Vec<Turn>,
    /// Ids of the included messages and items, in order.
    pub inputs: Vec<MessageId>,
    /// Images and documents whose bytes are not loaded yet.
    pub unread: Vec<Unread>,
    /// SHA-256 hashes of the included files.
    pub file_hashes: Vec<String>,
    /// Tool that the user chose with the asked message.
    pub tool_choice: Option<String>,
    /// Token counts, and what was left out.
    pub report: Report,
}

/// A file whose bytes belong into a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    turn: usize,
    place: usize,
    /// The file.
    pub file: FileContent,
}

/// Why there is no context.
#[derive(Debug, Clone, PartialEq)]
pub enum ContextError {
    /// The asked message is missing or erased.
    Nothing,
    /// The asked message does not fit.
    TooLong(Box<Report>),
}

/// Inputs of the policy.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ContextInputs {
    /// Rows of the conversation, in any order.
    pub rows: Vec<ThreadRow>,
    /// Whether older turns exist that were not loaded.
    pub goes_on: bool,
    /// Files attached to the messages.
    pub files: HashMap<Uuid, FileContent>,
}

/// The policy for one model.
#[derive(Debug, Clone, Copy)]
pub struct Policy<'a> {
    settings: &'a ReplySettings,
    counter: Counter,
    tools: &'a [Tool],
    budget: usize,
}

/// Budget that is left while a context is built.
struct Left {
    tokens: usize,
    file_tokens: usize,
    file_bytes: u64,
}

/// Rows of one turn in the form in which they are sent.
#[derive(Default)]
struct Part {
    turns: Vec<Turn>,
    inputs: Vec<MessageId>,
    unread: Vec<Unread>,
    hashes: Vec<String>,
}

impl<'a> Policy<'a> {
    /// Creates the policy for a model with this counter and these available tools.
    #[must_use]
    pub fn new(settings: &'a ReplySettings, counter: Counter, model: &str, tools: &'a [Tool]) -> Self {
        let answer = usize::try_from(settings.max_output_tokens).unwrap_or(usize::MAX);
        let window = tokens::window(model).map_or(usize::MAX, |window| window.saturating_sub(answer));
        Self { settings, counter, tools, budget: settings.context_tokens.min(window) }
    }

    /// Limits the budget to a context window that the operator configured.
    #[must_use]
    pub fn within(self, window: Option<u32>) -> Self {
        let answer = usize::try_from(self.settings.max_output_tokens).unwrap_or(usize::MAX);
        let window = window.and_then(|window| usize::try_from(window).ok());
        let budget = window.map_or(self.budget, |window| self.budget.min(window.saturating_sub(answer)));
        Self { budget, ..self }
    }

    /// Builds the context of the reply to `asked`: a message, or an answered item.
    ///
    /// # Errors
    /// The asked message is missing, erased, or does not fit.
    pub fn build(&self, asked: Uuid, inputs: &ContextInputs) -> Result<Context, ContextError> {
        let mut ordered: Vec<&ThreadRow> = inputs.rows.iter().collect();
        ordered.sort_by_key(|row| row.position);
        let asker = *ordered.iter().find(|row| row.id == asked).ok_or(ContextError::Nothing)?;
        if is_erased(asker) {
            return Err(ContextError::Nothing);
        }
        let roots = history::roots(&ordered);
        // An item asks for a reply when it is answered, which may be long after it was shown.
        let asks_at = asker.answered_at.unwrap_or(asker.position);
        let earlier: Vec<&ThreadRow> = ordered
            .iter()
            .filter(|row| is_message(row) && row.position < asks_at && row.id != asked)
            .copied()
            .collect();
        let mut report = Report::new(self.counter, self.budget, inputs.goes_on);
        report.left_out.erased = earlier.iter().filter(|row| is_erased(row)).count();
        let mut earlier: Vec<&ThreadRow> = earlier.into_iter().rev().filter(|row| !is_erased(row)).collect();
        let turn = |root: Uuid, until: i64| -> Vec<&ThreadRow> {
            let of = |row: &&&ThreadRow| roots.get(&row.id) == Some(&root) && row.id != asked;
            ordered.iter().filter(of).filter(|row| row.position < until).copied().collect()
        };

        let mut left = self.begin(&mut report);
        let last = left.as_mut().and_then(|left| self.part(&[asker], inputs, left, &mut report));
        let (Some(mut left), Some(last)) = (left, last) else {
            return Err(ContextError::TooLong(Box::new(report)));
        };
        let mut parts = vec![last];
        let mut full = false;
        // The asked item's turn is included, as long as no later message followed.
        let root = roots.get(&asked).copied();
        if root == Some(asked) {
            report.turns.push(MessageId::new(asked));
        } else if let Some(root) = root.filter(|root| earlier.first().is_some_and(|row| row.id == *root)) {
            earlier.remove(0);
            full = !self.add(root, &turn(root, asks_at), inputs, &mut left, &mut parts, &mut report);
        }
        let limit = self.settings.history_turns;
        report.left_out.over_limit = earlier.len().saturating_sub(limit);
        for message in earlier.into_iter().take(limit) {
            // An earlier answer may have arrived after the asked message was sent.
            let rows = turn(message.id, i64::MAX);
            if full {
                report.left_out.over_budget += 1;
            } else {
                let fits = self.add(message.id, &rows, inputs, &mut left, &mut parts, &mut report);
                full = !fits && !self.was_refused(&rows, inputs);
            }
        }
        report.turns.reverse();

        let mut context = Context {
            system: self.settings.system_prompt.clone(),
            turns: Vec::new(),
            inputs: Vec::new(),
            unread: Vec::new(),
            file_hashes: Vec::new(),
            tool_choice: None,
            report,
        };
        parts.into_iter().rev().for_each(|part| context.add(part));
        if let Entry::Message { tool_choice, .. } = &asker.entry {
            context.tool_choice.clone_from(tool_choice);
        }
        Ok(context)
    }

    /// Subtracts the system prompt and the tools from the budget; `None` when they exceed it.
    fn begin(&self, report: &mut Report) -> Option<Left> {
        let system = &self.settings.system_prompt;
        let mut fixed = PROMPT_TOKENS;
        if !system.is_empty() {
            fixed += FRAME_TOKENS + self.counter.count(system);
        }
        report.tokens.system = fixed;
        let declared = |tool: &Tool| {
            let texts = [&tool.name, &tool.description, &tool.parameters.to_string()];
            FRAME_TOKENS + texts.into_iter().map(|text| self.counter.count(text)).sum::<usize>()
        };
        report.tokens.tools = self.tools.iter().map(declared).sum();
        Some(Left {
            tokens: self.budget.checked_sub(fixed + report.tokens.tools)?,
            file_tokens: self.share(),
            file_bytes: self.settings.files_bytes,
        })
    }

    /// Returns the share of the budget that files may take.
    fn share(&self) -> usize {
        self.budget * self.settings.files_percent / 100
    }

    /// Adds an earlier turn if it fits.
    fn add(
        &self,
        root: Uuid,
        rows: &[&ThreadRow],
        inputs: &ContextInputs,
        left: &mut Left,
        parts: &mut Vec<Part>,
        report: &mut Report,
    ) -> bool {
        let part = self.part(rows, inputs, left, report);
        let fits = part.is_some();
        if let Some(part) = part {
            parts.push(part);
            report.turns.push(MessageId::new(root));
        } else {
            report.left_out.over_budget += 1;
        }
        fits
    }

    /// Returns whether an earlier turn was itself too long to be answered; it is skipped.
    fn was_refused(&self, rows: &[&ThreadRow], inputs: &ContextInputs) -> bool {
        let answered = rows.iter().any(|row| matches!(row.entry, Entry::Answer { text: Some(_), .. }));
        let mut report = Report::new(self.counter, self.budget, false);
        let mut fits = || {
            let mut left = self.begin(&mut report)?;
            self.part(rows, inputs, &mut left, &mut report)
        };
        !answered && fits().is_none()
    }

    /// Converts rows and their files, subtracting them from the budget; `None` when they do not fit.
    fn part(
        &self,
        rows: &[&ThreadRow],
        inputs: &ContextInputs,
        left: &mut Left,
        report: &mut Report,
    ) -> Option<Part> {
        let mut part = Part::default();
        let mut cut = 0;
        let mut wanted: Vec<(usize, &FileContent, files::PlacedFile)> = Vec::new();
        for row in rows {
            let said = history::said(self.counter, row, self.budget / 4);
            if said.turns.is_empty() {
                continue;
            }
            if let Entry::Message { files, .. } = &row.entry {
                let found = files.iter().filter_map(|file| inputs.files.get(file));
                wanted.extend(found.map(|file| (part.turns.len(), file, files::named(self.counter, file))));
            }
            cut += usize::from(said.cut);
            part.turns.extend(said.turns);
            part.inputs.push(MessageId::new(row.id));
        }
        let said: usize = part.turns.iter().map(|turn| self.tokens(turn)).sum();
        let named: usize = wanted.iter().map(|(_, _, named)| named.tokens).sum();
        left.tokens = left.tokens.checked_sub(said + named)?;
        report.tokens.turns += said;
        report.cut += cut;
        for (turn, file, named) in wanted {
            // The name was counted already; the content may take the name's place.
            let room = files::MemoryBudget {
                tokens: left.file_tokens.min(left.tokens.saturating_add(named.tokens)),
                bytes: left.file_bytes,
                share: self.share(),
            };
            let before = named.tokens;
            let placed = files::placed(self.counter, file, room).unwrap_or(named);
            left.tokens = (left.tokens + before).saturating_sub(placed.tokens);
            left.file_tokens = left.file_tokens.saturating_sub(placed.tokens);
            report.tokens.files += placed.tokens;
            report.files.count(placed.way);
            if placed.way != files::Inclusion::Named {
                part.hashes.push(file.sha256.clone());
            }
            if let Some(Turn::Message { files, .. }) = part.turns.get_mut(turn) {
                if placed.unread {
                    left.file_bytes = left.file_bytes.saturating_sub(file.size);
                    part.unread.push(Unread { turn, place: files.len(), file: file.clone() });
                }
                files.push(placed.attached);
            }
        }
        Some(part)
    }

    /// Returns the tokens of a turn without its files.
    fn tokens(&self, turn: &Turn) -> usize {
        let count = |text: &str| self.counter.count(text);
        match turn {
            Turn::Message { text, .. } => FRAME_TOKENS + count(text),
            Turn::ToolCall { call_id, name, arguments, output } => {
                let texts = [call_id, name, &arguments.to_string(), &output.to_string()];
                2 * FRAME_TOKENS + texts.into_iter().map(|text| count(text)).sum::<usize>()
            }
        }
    }
}

impl Context {
    fn add(&mut self, part: Part) {
        let before = self.turns.len();
        self.turns.extend(part.turns);
        self.inputs.extend(part.inputs);
        self.file_hashes.extend(part.hashes);
        self.unread
            .extend(part.unread.into_iter().map(|unread| Unread { turn: unread.turn + before, ..unread }));
    }

    /// Puts the bytes of a file into its turn; a note instead when they are gone.
    pub fn fill(&mut self, unread: &Unread, bytes: Option<&[u8]>) {
        let Some(Turn::Message { files, .. }) = self.turns.get_mut(unread.turn) else { return };
        let Some(attached) = files.get_mut(unread.place) else { return };
        attached.content = match bytes {
            Some(bytes) => Content::Bytes(bytes.into()),
            None => files::gone(&unread.file),
        };
    }
}

/// Returns how many messages and answers must be loaded so that the policy sees every turn it may send.
#[must_use]
pub fn rows_needed(settings: &ReplySettings) -> i64 {
    // A turn usually has two rows; some more for items, and for messages that wait behind the asked one.
    i64::try_from(settings.history_turns).unwrap_or(1_000) * 2 + 32
}

fn is_message(row: &ThreadRow) -> bool {
    matches!(row.entry, Entry::Message { .. })
}

fn is_erased(row: &ThreadRow) -> bool {
    matches!(row.entry, Entry::Message { text: None, .. })
}

#[cfg(test)]
mod tests;
