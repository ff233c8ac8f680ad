//! The id of the request that is being handled, for everything on its way.

tokio::task_local! {
    /// Set around each request, and again around the tracked task of a command.
    pub(in crate::http) static CURRENT: String;
}

/// Id of the request that is being handled; empty outside of one.
pub fn current() -> String {
    CURRENT.try_with(Clone::clone).unwrap_or_default()
}
