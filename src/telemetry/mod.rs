//! Telemetry: logs, metrics, traces.
//!
//! None of them ever contains tokens, keys, passwords, message text, names, addresses or query strings.

pub mod export;
pub mod logs;
pub mod metrics;
pub mod panics;

pub use logs::start_logs;
pub use metrics::start_metrics;
pub use panics::install_panic_hook;
