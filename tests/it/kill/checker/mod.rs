//! Compares what the drivers were told with what is there. Pure: the same history and evidence give the same answer.
//!
//! * [`commands`]: what was acknowledged is kept, what was refused left nothing, each command took effect once;
//! * [`log`]: the log's order, one end per reply, read models as the log says, a clean end.
//!
//! One defect that such a harness is usually shown to catch is missing here: switching the event-sourcing crate's own
//! snapshot store on, which applies events twice. Nothing in the program calls that store (snapshots are rows of our
//! own), so there is no switch to plant it behind.

mod commands;
mod log;
#[cfg(test)]
mod tests;

use super::evidence::Evidence;
use super::history::{Operation, Read};

/// What was promised and not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promise {
    /// What was acknowledged is in the log.
    Kept,
    /// All of a command or nothing, once, however often it is repeated with its key.
    Once,
    /// Streams without holes, positions that rise.
    Ordered,
    /// Exactly one end per reply, attempts that rise.
    OneEnd,
    /// Read models are what the log says.
    Models,
    /// People read what they wrote.
    ReadsWrites,
    /// No failure but "try again later" while somebody serves, and no hanging.
    Answers,
    /// Nothing is left over: no open transaction, no panic, no work undone.
    CleanEnd,
    /// A process that is started again serves again, soon.
    Recovers,
    /// Other systems are told of each public event once, in order.
    Relayed,
    /// A token is good only as long as its login, and conversations are their owner's only.
    Doors,
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) promise: Promise,
    pub(crate) what: String,
}

/// A list of violations in the making.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<Violation>);

impl Findings {
    /// Notes a violation, unless `good`.
    pub(crate) fn expect(&mut self, good: bool, promise: Promise, what: impl FnOnce() -> String) {
        if !good {
            self.0.push(Violation { promise, what: what() });
        }
    }

    /// What was noted.
    pub(crate) fn done(self) -> Vec<Violation> {
        self.0
    }
}

/// Everything that is wrong.
pub(crate) fn check(operations: &[Operation], reads: &[Read], evidence: &Evidence) -> Vec<Violation> {
    let mut findings = Findings::default();
    commands::check(operations, reads, evidence, &mut findings);
    log::check(evidence, &mut findings);
    findings.done()
}
