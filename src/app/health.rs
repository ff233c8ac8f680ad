//! How the system stands: what health and readiness tell.

use std::sync::Arc;
use std::time::Duration;

use event_store::LogReader;
use projections::progress::Progress;

use crate::ai::{Chain, ProviderStanding};
use crate::nats::Nats;
use crate::relay::RelayState;

/// How long a look at the database may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// How far one read model is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelHealth {
    /// Its name.
    pub name: &'static str,
    /// Position of the last event in it.
    pub position: i64,
    /// Whether it met an event that it cannot apply.
    pub stopped: bool,
}

/// How the system stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Position of the last settled event; none when the database does not answer.
    pub settled: Option<i64>,
    /// The read models.
    pub models: Vec<ModelHealth>,
    /// Whether the connection to NATS stands; none without NATS.
    pub nats: Option<bool>,
    /// The relay of this process; none when it has none.
    pub relay: Option<RelayHealth>,
    /// The AI providers as this process sees them. They are never a reason to be unhealthy: commands go on without them.
    pub providers: Vec<ProviderStanding>,
}

/// How far this process' relay is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayHealth {
    /// Position up to which it has published; 0 as long as another process' relay works.
    pub position: i64,
    /// Whether it waits for help.
    pub stopped: bool,
}

impl Health {
    /// Whether everything that this process works with answers, and nothing is stopped.
    pub fn is_healthy(&self) -> bool {
        self.settled.is_some()
            && self.models.iter().all(|model| !model.stopped)
            && self.nats != Some(false)
            && !self.relay.is_some_and(|relay| relay.stopped)
    }
}

/// Health and readiness of this process.
pub struct HealthService {
    /// Reads the log.
    pub reader: LogReader,
    /// Position of each read model.
    pub progress: Progress,
    /// The connection to NATS, when there is one.
    pub nats: Option<Nats>,
    /// The relay of this process, when it has one.
    pub relay: Option<RelayState>,
    /// The AI providers.
    pub chain: Arc<Chain>,
}

impl HealthService {
    /// How the system stands now.
    pub async fn check(&self) -> Health {
        let settled = match tokio::time::timeout(PATIENCE, self.reader.last_position()).await {
            Ok(Ok(settled)) => Some(settled),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the database does not answer");
                None
            }
            Err(_) => None,
        };
        let models = self
            .progress
            .all()
            .into_iter()
            .map(|(name, position, stopped)| ModelHealth { name, position, stopped })
            .collect();
        let nats = self.nats.as_ref().map(Nats::is_connected);
        let relay = self
            .relay
            .as_ref()
            .map(|relay| RelayHealth { position: relay.position(), stopped: relay.is_stopped() });
        Health { settled, models, nats, relay, providers: self.chain.standing() }
    }

    /// The read models that have not reached `position` yet, or have stepped back.
    pub fn behind(&self, position: i64) -> Vec<&'static str> {
        self.progress.behind(position)
    }
}
