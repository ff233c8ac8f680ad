//! Injected faults: seeded bugs that the suite must catch.
//!
//! Only test builds (feature `fault-injection`) can inject one, by name and for the life of the process. Without the
//! feature [`is_injected`] is the constant `false`, so the compiler removes every injected fault.

#[cfg(feature = "fault-injection")]
use std::sync::OnceLock;

#[cfg(feature = "fault-injection")]
use crate::crash_points;

/// Passes the crash point of this name: aborts the process when it is armed. Expands to nothing without the feature
/// `fault-injection` of the calling crate.
#[macro_export]
macro_rules! crash_point {
    ($name:literal) => {
        #[cfg(feature = "fault-injection")]
        $crate::crash_points::pass($name);
    };
}

/// A fault that can be injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Access tokens are accepted without a check of their login.
    NoLoginCheck,
    /// The log is read up to the highest visible position, without waiting for appends in flight.
    NaiveReader,
    /// Any user can read any conversation.
    NoOwnerCheck,
    /// Idempotency keys are ignored.
    NoCommandKey,
    /// Idempotency keys are kept in memory only.
    KeyInMemory,
    /// A command is acknowledged before its events are appended.
    EarlyAnswer,
    /// A projection's checkpoint commits in a transaction of its own, before its rows.
    CheckpointApart,
    /// A handler panics over a message that ends with [`PANIC_SUFFIX`].
    Panic,
}

/// Ending of the messages that the injected panic reacts to.
pub const PANIC_SUFFIX: &str = "and then it breaks";

#[cfg(feature = "fault-injection")]
static INJECTED: OnceLock<Fault> = OnceLock::new();

/// Injects a fault for the life of the process; the first one wins. `crash-at:POINT:N` injects no fault but a crash: when
/// the process passes one of the [`crash_points`] for the N-th time.
///
/// # Errors
/// The name is unknown.
#[cfg(feature = "fault-injection")]
pub fn inject(name: &str) -> Result<(), String> {
    if let Some((point, nth)) = name.strip_prefix("crash-at:").and_then(|rest| rest.split_once(':')) {
        let armed = nth.parse().is_ok_and(|nth| crash_points::arm(point, nth));
        return if armed { Ok(()) } else { Err(format!("there is no crash point {point}:{nth}")) };
    }
    let fault = match name {
        "no-login-check" => Fault::NoLoginCheck,
        "naive-reader" => Fault::NaiveReader,
        "no-owner-check" => Fault::NoOwnerCheck,
        "no-command-key" => Fault::NoCommandKey,
        "key-in-memory" => Fault::KeyInMemory,
        "early-answer" => Fault::EarlyAnswer,
        "checkpoint-apart" => Fault::CheckpointApart,
        "panic" => Fault::Panic,
        other => return Err(format!("there is no fault called {other}")),
    };
    INJECTED.get_or_init(|| fault);
    Ok(())
}

/// Returns whether this fault is injected.
#[cfg(feature = "fault-injection")]
pub fn is_injected(fault: Fault) -> bool {
    INJECTED.get() == Some(&fault)
}

/// Returns `false`: this build cannot inject faults.
#[cfg(not(feature = "fault-injection"))]
#[inline]
pub const fn is_injected(_: Fault) -> bool {
    false
}

/// Panics over a message that ends with [`PANIC_SUFFIX`], when [`Fault::Panic`] is injected.
#[expect(clippy::panic, reason = "the panic is the injected fault")]
pub fn panic_over(text: &str) {
    if is_injected(Fault::Panic) && text.ends_with(PANIC_SUFFIX) {
        panic!("an injected panic over {text:?}");
    }
}
