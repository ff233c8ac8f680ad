//! One try of an intent: its streams as they were loaded, and what its commands have added to them.

use cqrs_es::DomainEvent as _;
use cqrs_es::event_sink::EventSink;
use serde_json::Value;

use aggregates::Refusal;

use super::cache::StreamName;
use super::executor::Executor;
use super::intent::{Intent, refused};
use super::load::LoadError;
use super::stored::{AnyState, Stored};

/// Why a unit of work stopped.
pub(super) enum UnitError {
    Refused(Refusal),
    Load(LoadError),
    Encode(serde_json::Error),
}

/// One stream within a unit of work.
pub(super) struct Stream {
    pub(super) name: StreamName,
    /// Where it stood when it was loaded.
    pub(super) base: i64,
    /// Whether that was read from the log just now.
    pub(super) fresh: bool,
    pub(super) state: Box<dyn AnyState>,
    pub(super) events: Vec<(String, String, Value)>,
}

/// One try of an intent.
pub(super) struct Unit<'a> {
    pub(super) executor: &'a Executor,
    pub(super) fresh: bool,
    pub(super) streams: Vec<Stream>,
}

impl Unit<'_> {
    /// The place of an aggregate's stream; it is loaded if it is not there yet.
    async fn index<A>(&mut self, id: &str) -> Result<usize, UnitError>
    where
        A: Stored,
        A::Command: Clone + Send + Sync + 'static,
    {
        match self.streams.iter().position(|stream| stream.name.0 == A::TYPE && stream.name.1 == id) {
            Some(index) => Ok(index),
            None => {
                let stream = self.executor.load::<A>(id, self.fresh).await.map_err(UnitError::Load)?;
                self.streams.push(stream);
                Ok(self.streams.len() - 1)
            }
        }
    }

    /// A copy of an aggregate's state as the unit's commands have left it so far.
    pub(super) async fn state<A>(&mut self, id: &str) -> Result<A, UnitError>
    where
        A: Stored,
        A::Command: Clone + Send + Sync + 'static,
    {
        let index = self.index::<A>(id).await?;
        self.streams[index].state.as_any().downcast_ref::<A>().cloned().ok_or_else(|| of_another::<A>(id))
    }

    /// Decides one command, on the state that the unit's earlier commands have left.
    pub(super) async fn decide<A>(&mut self, id: &str, command: &A::Command) -> Result<(), UnitError>
    where
        A: Stored,
        A::Command: Clone + Send + Sync + 'static,
    {
        let index = self.index::<A>(id).await?;
        let stream = &mut self.streams[index];
        let state = stream.state.as_any_mut().downcast_mut::<A>().ok_or_else(|| of_another::<A>(id))?;
        let sink = EventSink::<A>::default();
        state.handle(command.clone(), &(), &sink).await.map_err(refused::<A>)?;
        for event in sink.collect().await {
            let payload = serde_json::to_value(&event).map_err(UnitError::Encode)?;
            stream.events.push((event.event_type(), event.event_version(), payload));
        }
        Ok(())
    }
}

/// A state that is not of the type that its stream says.
fn of_another<A>(id: &str) -> UnitError
where
    A: Stored,
    A::Command: Clone + Send + Sync + 'static,
{
    UnitError::Load(LoadError::Unknown {
        stream: format!("{}/{id}", A::TYPE),
        event_type: "state".to_owned(),
        event_version: "of another aggregate".to_owned(),
    })
}

/// Decides all commands of an intent, in their order.
pub(super) async fn decide_all(intent: &Intent, unit: &mut Unit<'_>) -> Result<(), UnitError> {
    for step in &intent.steps {
        step.decide(unit).await?;
    }
    Ok(())
}
