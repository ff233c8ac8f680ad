//! Health and readiness.

use std::sync::Arc;
use std::time::Duration;

use event_store::LogReader;
use projections::progress::ProjectionProgress;

use crate::ai::{Chain, ProviderStanding};
use crate::nats::Nats;
use crate::relay::RelayState;

/// Timeout of the database check.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(2);

/// Health of one read model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelHealth {
    /// Name of the read model.
    pub name: &'static str,
    /// Position of the last applied event.
    pub position: i64,
    /// Whether it stopped at an event that it cannot apply.
    pub stopped: bool,
}

/// Health of the system, as this process sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Position of the last settled event; `None` if the database does not respond.
    pub settled: Option<i64>,
    /// Health of each read model.
    pub models: Vec<ModelHealth>,
    /// Whether NATS is connected; `None` without NATS.
    pub nats: Option<bool>,
    /// The relay of this process, when it has one.
    pub relay: Option<RelayHealth>,
    /// The AI providers. They never make the system unhealthy: commands work without them.
    pub providers: Vec<ProviderStanding>,
}

/// Health of this process's relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayHealth {
    /// Position up to which it has published; 0 while another process's relay is active.
    pub position: i64,
    /// Whether it stopped and needs the operator.
    pub stopped: bool,
}

impl Health {
    /// Returns whether all required parts respond and nothing has stopped.
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
    pub progress: ProjectionProgress,
    /// The connection to NATS, when there is one.
    pub nats: Option<Nats>,
    /// The relay of this process, when it has one.
    pub relay: Option<RelayState>,
    /// The AI providers.
    pub chain: Arc<Chain>,
}

impl HealthService {
    /// Checks the system.
    pub async fn check(&self) -> Health {
        let settled = match tokio::time::timeout(DATABASE_TIMEOUT, self.reader.last_position()).await {
            Ok(Ok(settled)) => Some(settled),
            Ok(Err(error)) => {
                tracing::warn!(%error, "database health check failed");
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

    /// Returns the read models behind `position`.
    pub fn behind(&self, position: i64) -> Vec<&'static str> {
        self.progress.lagging(position)
    }
}
