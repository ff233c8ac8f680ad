//! How the system stands: what health and readiness tell.

use std::time::Duration;

use super::App;
use crate::ai::ProviderStanding;
use crate::nats::Nats;

/// How long a look at the database may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// How far one read model is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelStanding {
    /// Its name.
    pub name: &'static str,
    /// Position of the last event in it.
    pub position: i64,
    /// Whether it met an event that it cannot apply.
    pub stopped: bool,
}

/// How the system stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Position of the last settled event; none when the database does not answer.
    pub settled: Option<i64>,
    /// The read models.
    pub models: Vec<ModelStanding>,
    /// Whether the connection to NATS stands; none without NATS.
    pub nats: Option<bool>,
    /// The relay of this process; none when it has none.
    pub relay: Option<RelayStanding>,
    /// The AI providers as this process sees them. They are never a reason to be unhealthy: commands go on without them.
    pub providers: Vec<ProviderStanding>,
}

/// How far this process' relay is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayStanding {
    /// Position up to which it has published; 0 as long as another process' relay works.
    pub position: i64,
    /// Whether it waits for help.
    pub stopped: bool,
}

impl Standing {
    /// Whether everything that this process works with answers, and nothing is stopped.
    pub fn is_healthy(&self) -> bool {
        self.settled.is_some()
            && self.models.iter().all(|model| !model.stopped)
            && self.nats != Some(false)
            && !self.relay.is_some_and(|relay| relay.stopped)
    }
}

impl App {
    /// How the system stands now.
    pub async fn standing(&self) -> Standing {
        let settled = match tokio::time::timeout(PATIENCE, self.parts.reader.last_position()).await {
            Ok(Ok(settled)) => Some(settled),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the database does not answer");
                None
            }
            Err(_) => None,
        };
        let models = self
            .parts
            .progress
            .all()
            .into_iter()
            .map(|(name, position, stopped)| ModelStanding { name, position, stopped })
            .collect();
        let nats = self.parts.nats.as_ref().map(Nats::is_connected);
        let relay = self
            .parts
            .relay
            .as_ref()
            .map(|relay| RelayStanding { position: relay.position(), stopped: relay.is_stopped() });
        Standing { settled, models, nats, relay, providers: self.parts.chain.standing() }
    }

    /// The read models that have not reached `position` yet, or have stepped back.
    pub fn behind(&self, position: i64) -> Vec<&'static str> {
        self.parts.progress.behind(position)
    }
}
