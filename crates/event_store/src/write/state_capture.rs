//! Captures the state of an aggregate around a command, for a caller that answers from the state.

use std::sync::Arc;

use parking_lot::Mutex;

/// Captures the aggregate state before and after a command. On a version-conflict retry the last capture wins: it is the
/// one that was committed.
#[derive(Debug)]
pub struct StateCapture<A>(Arc<Mutex<Option<StateChange<A>>>>);

/// The state of an aggregate before and after one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateChange<A> {
    /// State that the command was decided on.
    pub before: A,
    /// State after the command's events.
    pub after: A,
}

impl<A> StateCapture<A> {
    /// Takes the captured states; `None` if the command was not decided, as when an idempotency key was replayed.
    #[must_use]
    pub fn take(&self) -> Option<StateChange<A>> {
        self.0.lock().take()
    }

    /// Reads the captured states and leaves them in place.
    pub(super) fn inspect<T>(&self, read: impl FnOnce(&StateChange<A>) -> T) -> Option<T> {
        self.0.lock().as_ref().map(read)
    }

    pub(super) fn set(&self, before: A, after: A) {
        *self.0.lock() = Some(StateChange { before, after });
    }
}

impl<A> Default for StateCapture<A> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(None)))
    }
}

impl<A> Clone for StateCapture<A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
