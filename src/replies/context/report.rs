//! What the policy counted and what it left out, as it stands in the plan of a reply. Ids and numbers only.

use aggregates::ids::MessageId;
use serde::Serialize;
use serde_json::{Value, json};

use super::VERSION;
use super::files::Inclusion;
use super::tokens::Counter;

/// The account of one context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The policy's version.
    pub policy: &'static str,
    /// The vocabulary that tokens were counted with.
    pub vocabulary: &'static str,
    /// What its counts were multiplied with, in percent.
    pub factor: usize,
    /// How many tokens might be sent.
    pub budget: usize,
    /// How many are.
    pub tokens: Tokens,
    /// The messages that the turns sent begin with, oldest first.
    pub turns: Vec<MessageId>,
    /// Turns that are not sent.
    pub left_out: LeftOut,
    /// Files.
    pub files: Files,
    /// Quotes and outputs of tools that were cut.
    pub cut: usize,
}

/// Tokens by what they are of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tokens {
    /// Instructions, and what stands around a prompt.
    pub system: usize,
    /// Tools that may be called.
    pub tools: usize,
    /// What was said.
    pub turns: usize,
    /// Files.
    pub files: usize,
}

/// How many turns are not sent, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// There was no room.
    pub over_budget: usize,
    /// More turns than may be sent, however short.
    pub over_limit: usize,
    /// Their message was erased.
    pub erased: usize,
    /// Whether there are older ones, which nobody looked at or counted.
    pub older: bool,
}

/// How many files went in which way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Files {
    /// Whole.
    pub whole: usize,
    /// Their beginning.
    pub cut: usize,
    /// Only by their name.
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

    /// How many tokens are sent.
    #[must_use]
    pub const fn total(&self) -> usize {
        let Tokens { system, tools, turns, files } = self.tokens;
        system + tools + turns + files
    }

    /// As it stands in the plan.
    #[must_use]
    pub fn value(&self) -> Value {
        let mut value = json!(self);
        value["tokens"]["all"] = self.total().into();
        value
    }
}
