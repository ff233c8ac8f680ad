//! Loading an aggregate: the cached state, or the snapshot, and the events since.
//!
//! Events come through postgres-es' repository; upcasting and opening are ours, the same as for readers of the log.

use std::time::Duration;

use crate::codec::open_all;
use crate::reader::upcast;
use crate::{Vault, VaultError, personal_context};
use cqrs_es::persist::{EventUpcaster, PersistedEventRepository as _, PersistenceError, SerializedEvent};
use postgres_es::PostgresEventRepository;
use sqlx::PgPool;

use super::executor::ExecuteError;
use super::snapshot;
use super::stored::Stored;

/// How long a stream may take to be loaded.
const LOAD: Duration = Duration::from_millis(3500);

/// Why an aggregate could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The events could not be read.
    #[error("the events could not be read")]
    Events(#[from] PersistenceError),
    /// The snapshot could not be read.
    #[error("the snapshot could not be read")]
    Database(#[from] sqlx::Error),
    /// Personal text could not be opened (which is not the same as erased).
    #[error("personal text could not be opened")]
    Vault(#[from] VaultError),
    /// An event that this version of the program does not know.
    #[error("event {event_type} version {event_version} of stream {stream} is unknown")]
    Unknown {
        /// Aggregate type and id.
        stream: String,
        /// Its type as stored.
        event_type: String,
        /// Its version as stored.
        event_version: String,
    },
}

/// Loads aggregates.
pub struct Loader {
    repository: PostgresEventRepository,
    pool: PgPool,
    upcasters: Vec<Box<dyn EventUpcaster>>,
}

impl Loader {
    /// A loader over `pool`.
    pub fn new(pool: PgPool) -> Self {
        Self {
            repository: PostgresEventRepository::new(pool.clone()),
            pool,
            upcasters: aggregates::upcasters(),
        }
    }

    /// The whole of a stream: its snapshot, when there is one, and what came after.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub async fn cold<A>(&self, vault: &Vault, id: &str) -> Result<(A, i64), LoadError>
    where
        A: Stored,
        A::Command: Clone + Send + Sync + 'static,
    {
        let (mut state, sequence) = snapshot::read::<A>(&self.pool, vault, id).await?.unwrap_or_default();
        let sequence = self.newer(vault, id, &mut state, sequence).await?;
        Ok((state, sequence))
    }

    /// The state that a stream gave at `sequence`.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub async fn at<A>(&self, vault: &Vault, id: &str, sequence: i64) -> Result<A, LoadError>
    where
        A: Stored,
        A::Command: Clone + Send + Sync + 'static,
    {
        let mut state = A::default();
        let events = self.repository.get_events::<A>(id).await?;
        let until = usize::try_from(sequence).unwrap_or_default();
        self.apply(vault, id, &mut state, events.into_iter().filter(|event| event.sequence <= until)).await?;
        Ok(state)
    }

    /// Applies to `state` what the stream got after `sequence`; returns where it stands then.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub async fn newer<A>(
        &self,
        vault: &Vault,
        id: &str,
        state: &mut A,
        sequence: i64,
    ) -> Result<i64, LoadError>
    where
        A: Stored,
        A::Command: Clone + Send + Sync + 'static,
    {
        let from = usize::try_from(sequence).unwrap_or_default();
        let events = if from == 0 {
            self.repository.get_events::<A>(id).await?
        } else {
            self.repository.get_last_events::<A>(id, from).await?
        };
        Ok(self.apply(vault, id, state, events).await?.unwrap_or(sequence))
    }

    /// Applies stored events to `state`; returns the place of the last one.
    async fn apply<A>(
        &self,
        vault: &Vault,
        id: &str,
        state: &mut A,
        events: impl IntoIterator<Item = SerializedEvent>,
    ) -> Result<Option<i64>, LoadError>
    where
        A: Stored,
        A::Command: Clone + Send + Sync + 'static,
    {
        let mut events: Vec<SerializedEvent> = events.into_iter().collect();
        let mut documents: Vec<_> = events
            .iter_mut()
            .map(|event| {
                let sequence = i64::try_from(event.sequence).unwrap_or(i64::MAX);
                (personal_context(A::TYPE, id, sequence), event.payload.take())
            })
            .collect();
        open_all(vault, &mut documents).await?;
        let mut last = None;
        for (mut event, (_, payload)) in events.into_iter().zip(documents) {
            event.payload = payload;
            last = Some(i64::try_from(event.sequence).unwrap_or(i64::MAX));
            state.apply(self.decode::<A>(event)?);
        }
        Ok(last)
    }

    fn decode<A>(&self, event: SerializedEvent) -> Result<A::Event, LoadError>
    where
        A: Stored,
        A::Command: Clone + Send + Sync + 'static,
    {
        let event = upcast(event, &self.upcasters);
        let unknown = || LoadError::Unknown {
            stream: format!("{}/{}", event.aggregate_type, event.aggregate_id),
            event_type: event.event_type.clone(),
            event_version: event.event_version.clone(),
        };
        if !aggregates::known_version(&event.event_type, &event.event_version) {
            return Err(unknown());
        }
        serde_json::from_value(event.payload.clone()).map_err(|_| unknown())
    }
}

impl From<LoadError> for ExecuteError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Events(_) | LoadError::Database(_) | LoadError::Vault(VaultError::Database(_)) => {
                Self::Unavailable(error.into())
            }
            // A newer version is at work beside this one: its nodes can do what this one must not.
            LoadError::Unknown { .. } => Self::Unavailable(error.into()),
            LoadError::Vault(_) => Self::Internal(error.into()),
        }
    }
}

/// Gives a load up when its database does not say anything any more.
pub(super) async fn soon<T>(load: impl Future<Output = Result<T, LoadError>>) -> Result<T, LoadError> {
    match tokio::time::timeout(LOAD, load).await {
        Ok(loaded) => loaded,
        Err(elapsed) => Err(LoadError::Database(sqlx::Error::Io(elapsed.into()))),
    }
}
