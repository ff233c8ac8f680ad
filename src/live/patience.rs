//! How long a client that follows is kept while the database does not answer.
//!
//! A busy or restarting database is back in seconds: whoever is cut for it comes back with hundreds of others and makes it
//! busier. So looks that fail are repeated, for a while.

use std::time::Duration;

use tokio::time::Instant;

/// How long looks may be in vain before the client is told to come again.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Since when looks have been in vain.
#[derive(Debug, Default)]
pub(super) struct Patience {
    since: Option<Instant>,
}

impl Patience {
    /// A look was in vain; whether that has gone on for longer than [`PATIENCE`].
    pub(super) fn is_over(&mut self) -> bool {
        self.since.get_or_insert_with(Instant::now).elapsed() > PATIENCE
    }

    /// A look was answered.
    pub(super) fn restore(&mut self) {
        self.since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_ends_when_looks_are_in_vain_for_too_long_and_comes_back_with_an_answer() {
        let mut patience = Patience::default();
        for _ in 0..2 {
            assert!(!patience.is_over());
            tokio::time::advance(PATIENCE).await;
            assert!(!patience.is_over());
            tokio::time::advance(Duration::from_millis(1)).await;
            assert!(patience.is_over());
            patience.restore();
        }
    }
}
