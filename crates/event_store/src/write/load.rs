//! Loads aggregates: a snapshot or cached state, and the events after it.
//!
//! Events are read through postgres-es' repository. Upcasting and decryption are shared with [`LogReader`](crate::LogReader).

use std::time::Duration;

use aggregates::EventSourced;
use cqrs_es::persist::{EventUpcaster, PersistedEventRepository as _, PersistenceError, SerializedEvent};
use postgres_es::PostgresEventRepository;
use sqlx::PgPool;

use super::executor::ExecuteError;
use super::snapshot;
use crate::read::upcast;
use crate::{KeyStore, KeyStoreError, decrypt_all, personal_context};

/// How long loading a stream may take.
const LOAD_TIMEOUT: Duration = Duration::from_millis(3500);

/// Why an aggregate could not be loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error("failed to read the stream's events")]
    Events(#[from] PersistenceError),
    #[error("failed to read the stream's snapshot")]
    Database(#[from] sqlx::Error),
    /// Personal text failed to decrypt; erased text is no error.
    #[error("failed to decrypt personal text")]
    KeyStore(#[from] KeyStoreError),
    /// This version of the program does not know the event.
    #[error("event {event_type} version {event_version} of stream {stream} is unknown")]
    Unknown {
        /// Aggregate type and id.
        stream: String,
        event_type: String,
        event_version: String,
    },
}

/// Loads aggregates.
pub(super) struct Loader {
    repository: PostgresEventRepository,
    pool: PgPool,
    upcasters: Vec<Box<dyn EventUpcaster>>,
}

impl Loader {
    /// Creates a loader over `pool`.
    pub(super) fn new(pool: PgPool) -> Self {
        Self {
            repository: PostgresEventRepository::new(pool.clone()),
            pool,
            upcasters: aggregates::upcasters(),
        }
    }

    /// Loads an aggregate from its snapshot, if any, and the events after it; returns the state and its sequence.
    pub(super) async fn load<A: EventSourced>(
        &self,
        key_store: &KeyStore,
        id: &str,
    ) -> Result<(A, i64), LoadError> {
        let (mut state, sequence) = snapshot::read::<A>(&self.pool, key_store, id).await?.unwrap_or_default();
        let sequence = self.catch_up(key_store, id, &mut state, sequence).await?;
        Ok((state, sequence))
    }

    /// Returns the state that an aggregate had at `sequence`.
    pub(super) async fn load_at<A: EventSourced>(
        &self,
        key_store: &KeyStore,
        id: &str,
        sequence: i64,
    ) -> Result<A, LoadError> {
        let mut state = A::default();
        let events = self.repository.get_events::<A>(id).await?;
        let until = usize::try_from(sequence).unwrap_or_default();
        let events = events.into_iter().filter(|event| event.sequence <= until);
        self.apply(key_store, id, &mut state, events).await?;
        Ok(state)
    }

    /// Applies the events after `sequence` to `state`; returns the sequence of the last event.
    pub(super) async fn catch_up<A: EventSourced>(
        &self,
        key_store: &KeyStore,
        id: &str,
        state: &mut A,
        sequence: i64,
    ) -> Result<i64, LoadError> {
        let from = usize::try_from(sequence).unwrap_or_default();
        let events = if from == 0 {
            self.repository.get_events::<A>(id).await?
        } else {
            self.repository.get_last_events::<A>(id, from).await?
        };
        Ok(self.apply(key_store, id, state, events).await?.unwrap_or(sequence))
    }

    /// Applies stored events to `state`; returns the sequence of the last one, if any.
    async fn apply<A: EventSourced>(
        &self,
        key_store: &KeyStore,
        id: &str,
        state: &mut A,
        events: impl IntoIterator<Item = SerializedEvent>,
    ) -> Result<Option<i64>, LoadError> {
        let mut events: Vec<SerializedEvent> = events.into_iter().collect();
        let mut documents: Vec<_> = events
            .iter_mut()
            .map(|event| {
                let sequence = i64::try_from(event.sequence).unwrap_or(i64::MAX);
                (personal_context(A::TYPE, id, sequence), event.payload.take())
            })
            .collect();
        decrypt_all(key_store, &mut documents).await?;
        let mut last = None;
        for (mut event, (_, payload)) in events.into_iter().zip(documents) {
            event.payload = payload;
            last = Some(i64::try_from(event.sequence).unwrap_or(i64::MAX));
            state.apply(self.decode::<A>(event)?);
        }
        Ok(last)
    }

    fn decode<A: EventSourced>(&self, event: SerializedEvent) -> Result<A::Event, LoadError> {
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
            LoadError::Events(_)
            | LoadError::Database(_)
            | LoadError::KeyStore(KeyStoreError::Database(_)) => Self::Unavailable(error.into()),
            // Unavailable, because other nodes already run the newer version that wrote the event.
            LoadError::Unknown { .. } => Self::Unavailable(error.into()),
            LoadError::KeyStore(_) => Self::Internal(error.into()),
        }
    }
}

/// Fails a load that takes longer than [`LOAD_TIMEOUT`].
pub(super) async fn with_timeout<T>(
    load: impl Future<Output = Result<T, LoadError>>,
) -> Result<T, LoadError> {
    match tokio::time::timeout(LOAD_TIMEOUT, load).await {
        Ok(loaded) => loaded,
        Err(elapsed) => Err(LoadError::Database(sqlx::Error::Io(elapsed.into()))),
    }
}
