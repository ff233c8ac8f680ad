//! Injected faults: seeded bugs that the test suite must catch.
//!
//! Only test builds (feature `fault-injection`) can inject one, for the life of the process. Without the feature
//! [`is_injected`] is the constant `false`, so the compiler removes every injected fault. Each crate defines the faults of
//! its own code; the program lists all of them and injects one by name.

#[cfg(feature = "fault-injection")]
use std::sync::OnceLock;

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
pub struct Fault(&'static str);

impl Fault {
    /// Defines a fault.
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// Returns the name by which the fault is injected.
    pub const fn name(self) -> &'static str {
        self.0
    }
}

/// The log is read up to the highest visible position, without waiting for open appends.
pub const NAIVE_READER: Fault = Fault::new("naive-reader");
/// Idempotency keys are kept in memory only.
pub const KEY_IN_MEMORY: Fault = Fault::new("key-in-memory");
/// A command is acknowledged before its events are appended.
pub const EARLY_ANSWER: Fault = Fault::new("early-answer");

#[cfg(feature = "fault-injection")]
static INJECTED: OnceLock<Fault> = OnceLock::new();

/// Injects a fault for the life of the process; the first one wins.
#[cfg(feature = "fault-injection")]
pub fn inject(fault: Fault) {
    INJECTED.get_or_init(|| fault);
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
