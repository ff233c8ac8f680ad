//! What an aggregate was like before and after a command, for a caller that answers from the state itself.

use std::sync::{Arc, Mutex, PoisonError};

/// Looks on while a command is decided. When that happens again, because another writer was faster, the last time counts:
/// it is the one that was written.
pub struct Witness<A>(Arc<Mutex<Option<Seen<A>>>>);

/// A state around one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen<A> {
    /// What the command was decided on.
    pub before: A,
    /// What its events have made of that.
    pub after: A,
}

impl<A> Witness<A> {
    /// What was seen; none when nothing was decided, as when an idempotency key was repeated.
    #[must_use]
    pub fn seen(&self) -> Option<Seen<A>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Something of what was seen, which is there to be seen once more.
    pub(super) fn look<T>(&self, at: impl FnOnce(&Seen<A>) -> T) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(at)
    }

    pub(super) fn saw(&self, before: A, after: A) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Seen { before, after });
    }
}

impl<A> Default for Witness<A> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(None)))
    }
}

impl<A> Clone for Witness<A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
