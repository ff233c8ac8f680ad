//! Time and ids as inputs: the only place that reads the system's clock and makes ids.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, SubsecRound as _, Utc};
use uuid::Uuid;

/// Source of time and ids. Cheap to clone; tests can fix and advance the time.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    /// Microseconds since the epoch, if the time is fixed; `None` follows the system.
    fixed: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// Follows the system's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// Stays at `now` until it is advanced.
    pub fn fixed(now: DateTime<Utc>) -> Self {
        Self { fixed: Some(Arc::new(AtomicI64::new(now.timestamp_micros()))) }
    }

    /// Returns the current time in whole microseconds, the precision of the database.
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

    /// Advances a fixed clock; has no effect on the system's.
    pub fn advance(&self, by: chrono::Duration) {
        if let Some(micros) = &self.fixed {
            micros.fetch_add(by.num_microseconds().unwrap_or_default(), Ordering::Relaxed);
        }
    }

    /// Makes an id: a UUID v7, so that ids sort roughly by time.
    pub fn id(&self) -> Uuid {
        #[expect(clippy::disallowed_methods, reason = "this is the source of ids")]
        Uuid::now_v7()
    }
}
