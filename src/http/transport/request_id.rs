//! Id of the current request, as a task-local.

tokio::task_local! {
    /// Set around each request, and again around the tracked task of a command.
    pub(in crate::http) static CURRENT: String;
}

/// Returns the id of the current request; empty outside of one.
pub fn current() -> String {
    CURRENT.try_with(Clone::clone).unwrap_or_default()
}
