//! Compares the drivers' history with the final state. Pure: the same history and evidence give the same result.
//!
//! * [`commands`]: acknowledged commands are durable, rejected ones had no effect, each command took effect once;
//! * [`log`]: the log's order, one final event per reply, read models equal to the log, a clean shutdown.
//!
//! One usual fault is missing: enabling the event-sourcing crate's own snapshot store, which applies events twice. The
//! program never calls that store (it has its own snapshot rows), so the fault cannot be injected.

mod commands;
mod log;
#[cfg(test)]
mod tests;

use super::evidence::Evidence;
use super::history::{Operation, Read};

/// Guarantee of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guarantee {
    /// Acknowledged commands are in the log.
    Durable,
    /// A command takes effect fully and once, however often it is repeated with its key.
    Once,
    /// Streams have no gaps, and positions increase.
    Ordered,
    /// A reply has exactly one final event, and attempt numbers increase.
    OneFinalEvent,
    /// Read models equal a replay of the log.
    Models,
    /// Users read their own writes.
    ReadYourWrites,
    /// While a process serves, requests fail only with "try again later" and never hang.
    Available,
    /// No open transaction, no panic and no unfinished work is left.
    CleanEnd,
    /// A restarted process is ready in time.
    Recovers,
    /// NATS has each public event once and in order.
    Relayed,
    /// A token ends with its login, and only its owner can access a conversation.
    AccessControl,
}

/// A violated guarantee.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) guarantee: Guarantee,
    pub(crate) what: String,
}

/// Collects violations.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<Violation>);

impl Findings {
    /// Records a violation unless `good`.
    pub(crate) fn expect(&mut self, good: bool, guarantee: Guarantee, what: impl FnOnce() -> String) {
        if !good {
            self.0.push(Violation { guarantee, what: what() });
        }
    }

    /// Returns the violations.
    pub(crate) fn done(self) -> Vec<Violation> {
        self.0
    }
}

/// Returns all violations.
pub(crate) fn check(operations: &[Operation], reads: &[Read], evidence: &Evidence) -> Vec<Violation> {
    let mut findings = Findings::default();
    commands::check(operations, reads, evidence, &mut findings);
    log::check(evidence, &mut findings);
    findings.done()
}
