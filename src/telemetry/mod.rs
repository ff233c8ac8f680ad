//! What the program tells of itself: logs, metrics, traces.
//!
//! Never in any of them: tokens, keys, passwords, message text, names, addresses, query strings.

pub mod export;
pub mod logs;
pub mod metrics;
pub mod panics;

pub use logs::start_logs;
pub use metrics::start_metrics;
pub use panics::tell_panics;
