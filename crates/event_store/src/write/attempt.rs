//! One attempt at a command batch: its streams as they were loaded, and the events its commands added to them.

use aggregates::{Event, EventSourced, Rejection};
use cqrs_es::DomainEvent as _;
use cqrs_es::event_sink::EventSink;
use serde_json::Value;

use super::any_state::AnyState;
use super::cache::StreamName;
use super::command_batch::CommandBatch;
use super::executor::Executor;
use super::load::LoadError;

/// Why an attempt stopped before its append.
pub(super) enum AttemptError {
    Rejected(Rejection),
    Load(LoadError),
    Encode(serde_json::Error),
}

/// An event that a command produced, not yet encrypted.
pub(super) struct DecidedEvent {
    pub(super) event_type: String,
    pub(super) event_version: String,
    pub(super) payload: Value,
    pub(super) event: Event,
}

/// One stream within an attempt.
pub(super) struct LoadedStream {
    pub(super) name: StreamName,
    /// Sequence of the last event that was loaded.
    pub(super) base: i64,
    /// Whether the log was read for it, as opposed to the cache only.
    pub(super) fresh: bool,
    pub(super) state: Box<dyn AnyState>,
    pub(super) events: Vec<DecidedEvent>,
}

/// One attempt at a command batch.
pub(super) struct BatchAttempt<'a> {
    pub(super) executor: &'a Executor,
    /// Whether cached states are brought up to date from the log.
    pub(super) fresh: bool,
    pub(super) streams: Vec<LoadedStream>,
}

impl BatchAttempt<'_> {
    /// Returns the index of an aggregate's stream, loading it if necessary.
    async fn index<A: EventSourced>(&mut self, id: &str) -> Result<usize, AttemptError> {
        match self.streams.iter().position(|stream| stream.name.0 == A::TYPE && stream.name.1 == id) {
            Some(index) => Ok(index),
            None => {
                let stream = self.executor.load::<A>(id, self.fresh).await.map_err(AttemptError::Load)?;
                self.streams.push(stream);
                Ok(self.streams.len() - 1)
            }
        }
    }

    /// Returns a copy of an aggregate's state after the commands decided so far.
    pub(super) async fn state<A: EventSourced>(&mut self, id: &str) -> Result<A, AttemptError> {
        let index = self.index::<A>(id).await?;
        self.streams[index].state.as_any().downcast_ref::<A>().cloned().ok_or_else(|| wrong_type::<A>(id))
    }

    /// Decides one command on the state after the commands decided so far.
    pub(super) async fn decide<A: EventSourced>(
        &mut self,
        id: &str,
        command: &A::Command,
    ) -> Result<(), AttemptError> {
        let index = self.index::<A>(id).await?;
        let stream = &mut self.streams[index];
        let state = stream.state.as_any_mut().downcast_mut::<A>().ok_or_else(|| wrong_type::<A>(id))?;
        let sink = EventSink::<A>::default();
        state
            .handle(command.clone(), &(), &sink)
            .await
            .map_err(|error| AttemptError::Rejected(error.into()))?;
        for event in sink.collect().await {
            stream.events.push(DecidedEvent {
                event_type: event.event_type(),
                event_version: event.event_version(),
                payload: serde_json::to_value(&event).map_err(AttemptError::Encode)?,
                event: event.into(),
            });
        }
        Ok(())
    }

    /// Decides all commands of a batch, in order.
    pub(super) async fn decide_all(&mut self, batch: &CommandBatch) -> Result<(), AttemptError> {
        for step in &batch.steps {
            step.decide(self).await?;
        }
        Ok(())
    }
}

/// The stream holds the state of another aggregate type.
fn wrong_type<A: EventSourced>(id: &str) -> AttemptError {
    AttemptError::Load(LoadError::Unknown {
        stream: format!("{}/{id}", A::TYPE),
        event_type: "state".to_owned(),
        event_version: "of another aggregate".to_owned(),
    })
}
