//! The last step of an intent: what its commands have led to is sealed, charged and appended.

use std::sync::Arc;

use crate::codec::has_personal;
use crate::{Sealer, Sealing, personal_context};
use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

use super::append::{AppendError, Appended, Appending, Check, NewEvent};
use super::cache::StreamName;
use super::charge::Charged;
use super::executor::{ExecuteError, Executor, Outcome, Try};
use super::intent::Intent;
use super::load::LoadError;
use super::snapshot;
use super::stored::AnyState;
use super::unit::Stream;
use traces::spans;

impl Executor {
    /// Writes what the commands of `intent` have led to.
    pub(super) async fn commit(&self, intent: &Intent, streams: Vec<Stream>) -> Result<Try, ExecuteError> {
        let mut sealings: Vec<(usize, Sealing)> = Vec::new();
        let mut events = Vec::new();
        let mut beside = intent.beside.clone();
        let mut streams = streams;
        let charge = Charged::of(intent.charge.as_ref().filter(|_| self.charging), decided(&streams));
        let user = charge.as_ref().map(|charge| charge.user);
        let ends = charge.as_ref().is_some_and(Charged::ends);
        if let Some(overdrawn) = charge.as_ref().and_then(|charge| self.refusals.of_replies(charge)) {
            return Err(ExecuteError::Overdrawn(overdrawn));
        }
        for (index, stream) in streams.iter_mut().enumerate() {
            if stream.events.iter().any(|(_, _, payload)| has_personal(payload)) {
                let known = sealings.first().map(|(_, sealing)| sealing);
                let sealing = self.sealing(intent.author, &stream.name, known).await?;
                beside.extend(sealing.minted.iter().map(crate::KeyRow::to_json));
                sealings.push((index, sealing));
            }
            let sealing = sealings.iter().find(|(of, _)| *of == index).map(|(_, sealing)| sealing);
            let mut sequence = stream.base;
            for (event_type, event_version, mut payload) in stream.events.drain(..) {
                sequence += 1;
                if let Some(sealing) = sealing {
                    let context = personal_context(stream.name.0, &stream.name.1, sequence);
                    Sealer(sealing).seal(&mut payload, &context).map_err(LoadError::from)?;
                }
                events.push(NewEvent {
                    aggregate_type: stream.name.0,
                    aggregate_id: stream.name.1.clone(),
                    sequence,
                    event_type,
                    event_version,
                    payload: payload.to_string(),
                });
            }
        }
        if events.is_empty() && beside.is_empty() && intent.key.is_none() {
            return Ok(Try::Done(Outcome::default()));
        }
        let checks: Vec<Check> = streams
            .iter()
            .map(|stream| Check {
                aggregate_type: stream.name.0,
                aggregate_id: stream.name.1.clone(),
                sequence: stream.base,
            })
            .collect();
        let metadata =
            serde_json::to_string(&intent.metadata).map_err(|error| ExecuteError::Internal(error.into()))?;
        let appending = Appending { key: intent.decided_key(), checks, events, metadata, beside, charge };
        #[cfg(feature = "fault-injection")]
        if intent.metadata.surface == "api"
            && intent.beside.is_empty()
            && crate::fault_injection::is_injected(crate::fault_injection::Fault::EarlyAnswer)
        {
            self.background.spawn(super::injected_faults::append_later(self.pool.pool().clone(), appending));
            return Ok(Try::Done(Outcome::default()));
        }
        let appending = Arc::new(appending);
        let (span, began) = (spans::append(appending.events.len()), Instant::now());
        let written = span.around(self.writer.write(Arc::clone(&appending))).await;
        metrics::histogram!("verbatim_append_seconds").record(began.elapsed().as_secs_f64());
        drop(span);
        match written {
            Ok(Appended::Recorded { positions, left }) => {
                if intent.metadata.surface == "api" {
                    crate::crash_point!("appended");
                }
                if let Some(user) = user.filter(|_| ends) {
                    self.refusals.ended(user);
                }
                self.committed(streams, &appending.events, sealings);
                Ok(Try::Done(Outcome { position: positions.last().copied(), replayed: None, left }))
            }
            Ok(Appended::Replayed(stored)) => Ok(Try::Replayed(stored)),
            Err(AppendError::Conflict) => Ok(Try::Conflict),
            Err(AppendError::CredentialChanged) => Err(ExecuteError::CredentialChanged),
            Err(AppendError::Overdrawn(overdrawn)) => {
                if let Some(user) = user {
                    self.refusals.remember(user, &overdrawn);
                }
                Err(ExecuteError::Overdrawn(overdrawn))
            }
            Err(AppendError::Condition(condition)) => Err(ExecuteError::Condition(condition)),
            Err(error @ AppendError::Unavailable(_)) => Err(ExecuteError::Unavailable(error.into())),
            Err(error @ AppendError::Rejected(_)) => Err(ExecuteError::Internal(error.into())),
        }
    }

    async fn sealing(
        &self,
        author: Uuid,
        name: &StreamName,
        known: Option<&Sealing>,
    ) -> Result<Sealing, ExecuteError> {
        Ok(self.vault.sealing(author, name.0, &name.1, known).await.map_err(LoadError::from)?)
    }

    /// What follows a commit: wake readers, remember keys and states, write snapshots that are due.
    fn committed(&self, streams: Vec<Stream>, events: &[NewEvent], sealings: Vec<(usize, Sealing)>) {
        if !events.is_empty() {
            self.tail.wake();
        }
        metrics::counter!("verbatim_events_appended_total").increment(events.len() as u64);
        for (_, sealing) in &sealings {
            self.vault.keep(sealing);
        }
        for (index, stream) in streams.into_iter().enumerate() {
            let Stream { name, base, state, .. } = stream;
            let added = events
                .iter()
                .filter(|event| event.aggregate_type == name.0 && event.aggregate_id == name.1)
                .count();
            let stands = base + i64::try_from(added).unwrap_or_default();
            if stands / snapshot::EVERY > base / snapshot::EVERY {
                let sealing =
                    sealings.iter().find(|(of, _)| *of == index).map(|(_, sealing)| sealing.clone());
                self.write_snapshot(name.clone(), state.copy(), stands, sealing);
            }
            if stands > 0 {
                self.cache.put(name, state, stands);
            }
        }
    }

    fn write_snapshot(
        &self,
        name: StreamName,
        state: Box<dyn AnyState>,
        stands: i64,
        sealing: Option<Sealing>,
    ) {
        let pool = self.pool.clone();
        self.background.spawn(async move {
            let written = match state.to_json() {
                Ok(state) => snapshot::write(pool.pool(), &name, state, stands, sealing.as_ref()).await,
                Err(error) => {
                    tracing::error!(%error, aggregate_type = name.0, "a state cannot be written as a snapshot");
                    return;
                }
            };
            if let Err(error) = written {
                tracing::warn!(%error, aggregate_type = name.0, "a snapshot was not written; the next one will be");
            }
        });
    }
}

/// The events that a unit's commands have led to.
fn decided(streams: &[Stream]) -> impl Iterator<Item = (&str, &Value)> {
    streams.iter().flat_map(|stream| {
        stream.events.iter().map(|(event_type, _, payload)| (event_type.as_str(), payload))
    })
}
