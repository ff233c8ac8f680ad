//! The report of a context: what the policy counted and left out, recorded in the reply's plan. Ids and numbers only.

use aggregates::ids::MessageId;
use serde::Serialize;
use serde_json::{Value, json};

use super::VERSION;
use super::files::Inclusion;
use super::tokens::Counter;

/// Report of one context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Version of the policy.
    pub policy: &'static str,
    /// Vocabulary that counted the tokens.
    pub vocabulary: &'static str,
    /// Factor on the counts, in percent.
    pub factor: usize,
    /// Token budget.
    pub budget: usize,
    /// Tokens sent.
    pub tokens: Tokens,
    /// Ids of the messages whose turns are sent, oldest first.
    pub turns: Vec<MessageId>,
    /// Turns that are left out.
    pub left_out: LeftOut,
    /// Files by how they are included.
    pub files: Files,
    /// Number of quotes and tool outputs that were cut.
    pub cut: usize,
}

/// Tokens by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tokens {
    /// System prompt, and framing of the prompt.
    pub system: usize,
    /// Available tools.
    pub tools: usize,
    /// Turns.
    pub turns: usize,
    /// Files.
    pub files: usize,
}

/// Turns left out, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// They did not fit.
    pub over_budget: usize,
    /// They exceed `history_turns`.
    pub over_limit: usize,
    /// Their message is erased.
    pub erased: usize,
    /// Whether older turns exist that were not loaded or counted.
    pub older: bool,
}

/// Number of files by how they are included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Files {
    /// Included whole.
    pub whole: usize,
    /// Cut.
    pub cut: usize,
    /// Only named.
    pub named: usize,
}

impl Files {
    pub(super) fn count(&mut self, way: Inclusion) {
        match way {
            Inclusion::Whole => self.whole += 1,
            Inclusion::Cut => self.cut += 1,
            Inclusion::Named => self.named += 1,
        }
    }
}

impl Report {
    pub(super) fn new(counter: Counter, budget: usize, older: bool) -> Self {
        Self {
            policy: VERSION,
            vocabulary: counter.vocabulary(),
            factor: counter.factor(),
            budget,
            tokens: Tokens::default(),
            turns: Vec::new(),
            left_out: LeftOut { older, ..LeftOut::default() },
            files: Files::default(),
            cut: 0,
        }
    }

    /// Returns the tokens that are sent.
    #[must_use]
    pub const fn total(&self) -> usize {
        let Tokens { system, tools, turns, files } = self.tokens;
        system + tools + turns + files
    }

    /// Returns the report as recorded in the plan.
    #[must_use]
    pub fn value(&self) -> Value {
        let mut value = json!(self);
        value["tokens"]["all"] = self.total().into();
        value
    }
}
