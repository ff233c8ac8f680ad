//! Time and ids as inputs: the one place where the system's clock and randomness are read.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, SubsecRound as _, Utc};
use uuid::Uuid;

/// What time it is. Cheap to clone; tests turn it by hand.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    /// Microseconds since the epoch, when time stands still; none follows the system.
    fixed: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands at `now` until it is moved.
    pub fn fixed(now: DateTime<Utc>) -> Self {
        Self { fixed: Some(Arc::new(AtomicI64::new(now.timestamp_micros()))) }
    }

    /// Now, in whole microseconds: what the database keeps.
    pub fn now(&self) -> DateTime<Utc> {
        match &self.fixed {
            Some(micros) => {
                DateTime::from_timestamp_micros(micros.load(Ordering::Relaxed)).unwrap_or_default()
            }
            None => {
                #[expect(clippy::disallowed_methods, reason = "this is the clock")]
                let now = Utc::now();
                now.trunc_subsecs(6)
            }
        }
    }

    /// Moves a fixed clock on; a system clock ignores it.
    pub fn advance(&self, by: chrono::Duration) {
        if let Some(micros) = &self.fixed {
            micros.fetch_add(by.num_microseconds().unwrap_or_default(), Ordering::Relaxed);
        }
    }

    /// A new id: UUID v7, so that ids sort about as they were made.
    pub fn id(&self) -> Uuid {
        #[expect(clippy::disallowed_methods, reason = "this is the source of ids")]
        Uuid::now_v7()
    }
}
