//! What is told of a panic: where, and never with what. Its message may hold a piece of whatever was worked on.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;

use tokio::task::JoinError;

/// From now on panics are a count and a line in the log, like everything else, instead of text of their own.
pub fn tell_panics() {
    std::panic::set_hook(Box::new(tell));
}

fn tell(panic: &PanicHookInfo<'_>) {
    metrics::counter!("verbatim_panics_total").increment(1);
    // A literal was written by a programmer; anything else was put together when it happened.
    let said = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("(withheld)");
    let place = panic.location().map(ToString::to_string);
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    tracing::error!(place, said, backtrace, "a thread panicked");
}

/// Why a task did not come to its end, without what its panic said.
pub fn broken_off(error: &JoinError) -> anyhow::Error {
    if error.is_panic() {
        anyhow::anyhow!("a task panicked")
    } else {
        anyhow::anyhow!("a task was cancelled")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_panic_said_is_not_told_on() {
        let panicked = tokio::task::spawn_blocking(|| panic!("over {}", "a canary")).await.unwrap_err();
        assert!(panicked.to_string().contains("canary"), "{panicked}");
        assert_eq!(format!("{:#}", broken_off(&panicked)), "a task panicked");
    }
}
