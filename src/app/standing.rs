//! How the system stands: what health and readiness tell.

use std::time::Duration;

use super::App;

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
}

impl Standing {
    /// Whether the database answers and no read model is stopped.
    pub fn is_healthy(&self) -> bool {
        self.settled.is_some() && self.models.iter().all(|model| !model.stopped)
    }
}

impl App {
    /// How the system stands now.
    pub async fn standing(&self) -> Standing {
        let settled = match tokio::time::timeout(PATIENCE, self.parts.reader.last_settled()).await {
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
        Standing { settled, models }
    }

    /// The read models that have not reached `position` yet, or have stepped back.
    pub fn behind(&self, position: i64) -> Vec<&'static str> {
        self.parts.progress.behind(position)
    }
}
