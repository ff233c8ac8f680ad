//! Reports panics by place, never by message, which may contain user data.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;

use tokio::task::JoinError;

/// Installs a panic hook that counts and logs panics like other errors.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(report));
}

fn report(panic: &PanicHookInfo<'_>) {
    metrics::counter!("verbatim_panics_total").increment(1);
    // A literal message was written by a programmer; a formatted one may contain user data.
    let message = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("(withheld)");
    let place = panic.location().map(ToString::to_string);
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    tracing::error!(place, message, backtrace, "thread panicked");
}

/// Describes why a task failed, without the panic's message.
pub fn join_error(error: &JoinError) -> anyhow::Error {
    if error.is_panic() {
        anyhow::anyhow!("a task panicked")
    } else {
        anyhow::anyhow!("a task was cancelled")
    }
}

#[cfg(test)]
mod tests;
