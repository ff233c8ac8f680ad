//! The last step of an attempt: encrypts, charges and appends the events, then updates caches and snapshots.

use std::sync::Arc;

use aggregates::Event;
use tokio::time::Instant;
use traces::spans;
use uuid::Uuid;

use super::any_state::AnyState;
use super::append::{AppendError, AppendOutcome, AppendRequest, ExpectedVersion, NewEvent};
use super::attempt::LoadedStream;
use super::cache::StreamName;
use super::charge::ChargePolicy;
use super::command_batch::CommandBatch;
use super::executor::{AttemptOutcome, CommandOutcome, ExecuteError, Executor};
use super::load::LoadError;
use super::snapshot::{self, SNAPSHOT_INTERVAL};
use crate::{EncryptionContext, Encryptor, KeyRow, has_personal, personal_context};

/// Encryption contexts of the streams whose events contain personal text, with the stream's index.
type Encryptions = Vec<(usize, EncryptionContext)>;

impl Executor {
    /// Appends the events that the commands of `batch` added to `streams`.
    pub(super) async fn commit(
        &self,
        batch: &CommandBatch,
        mut streams: Vec<LoadedStream>,
    ) -> Result<AttemptOutcome, ExecuteError> {
        let mut writes = batch.writes.clone();
        let policy: Option<&dyn ChargePolicy> =
            batch.charge_policy.as_deref().or(self.charge_policy.as_deref());
        let charge = match policy {
            Some(policy) => policy.price(&decided(&streams)).map_err(ExecuteError::ChargeRejected)?,
            None => None,
        };
        let (events, encryptions) = self.encrypt(batch.author, &mut streams).await?;
        for (_, encryption) in &encryptions {
            writes.extend(encryption.new_keys.iter().map(KeyRow::to_write));
        }
        if events.is_empty() && writes.is_empty() && batch.key.is_none() {
            return Ok(AttemptOutcome::Done(CommandOutcome::default()));
        }
        let expected_versions = streams
            .iter()
            .map(|stream| ExpectedVersion {
                aggregate_type: stream.name.0,
                aggregate_id: stream.name.1.clone(),
                sequence: stream.base,
            })
            .collect();
        let metadata =
            serde_json::to_string(&batch.metadata).map_err(|error| ExecuteError::Internal(error.into()))?;
        let request =
            AppendRequest { key: batch.decided_key(), expected_versions, events, metadata, writes, charge };
        #[cfg(feature = "fault-injection")]
        if batch.metadata.surface == "api"
            && batch.writes.is_empty()
            && crate::fault_injection::is_injected(crate::fault_injection::EARLY_ANSWER)
        {
            self.background.spawn(super::injected_faults::append_later(self.pool.pool().clone(), request));
            return Ok(AttemptOutcome::Done(CommandOutcome::default()));
        }
        let request = Arc::new(request);
        let (span, started) = (spans::append(request.events.len()), Instant::now());
        let written = span.run(self.writer.write(Arc::clone(&request))).await;
        metrics::histogram!("verbatim_append_seconds").record(started.elapsed().as_secs_f64());
        drop(span);
        match written {
            Ok(AppendOutcome::Appended { positions, remaining }) => {
                if batch.metadata.surface == "api" {
                    crate::crash_point!("appended");
                }
                if let (Some(policy), Some(charge)) = (policy, &request.charge) {
                    policy.committed(charge);
                }
                self.committed(streams, &request.events, encryptions);
                Ok(AttemptOutcome::Done(CommandOutcome {
                    position: positions.last().copied(),
                    replayed: None,
                    remaining,
                }))
            }
            Ok(AppendOutcome::Replayed(stored)) => Ok(AttemptOutcome::Replayed(stored)),
            Err(AppendError::Conflict) => Ok(AttemptOutcome::Conflict),
            Err(AppendError::ChargeRejected(rejection)) => {
                if let (Some(policy), Some(charge)) = (policy, &request.charge) {
                    policy.rejected(charge, &rejection);
                }
                Err(ExecuteError::ChargeRejected(rejection))
            }
            Err(AppendError::ConditionFailed { code }) => Err(ExecuteError::ConditionFailed { code }),
            Err(error @ AppendError::Unavailable(_)) => Err(ExecuteError::Unavailable(error.into())),
            Err(error @ AppendError::Rejected(_)) => Err(ExecuteError::Internal(error.into())),
        }
    }

    /// Takes the events out of `streams`, encrypts their personal text and serialises them.
    async fn encrypt(
        &self,
        author: Uuid,
        streams: &mut [LoadedStream],
    ) -> Result<(Vec<NewEvent>, Encryptions), ExecuteError> {
        let mut encryptions = Encryptions::new();
        let mut events = Vec::new();
        for (index, stream) in streams.iter_mut().enumerate() {
            if stream.events.iter().any(|event| has_personal(&event.payload)) {
                let known = encryptions.first().map(|(_, encryption)| encryption);
                let (aggregate_type, id) = (stream.name.0, &stream.name.1);
                let encryption = self
                    .key_store
                    .encryption_context(author, aggregate_type, id, known)
                    .await
                    .map_err(LoadError::from)?;
                encryptions.push((index, encryption));
            }
            let encryption =
                encryptions.iter().find(|(of, _)| *of == index).map(|(_, encryption)| encryption);
            let mut sequence = stream.base;
            for mut event in stream.events.drain(..) {
                sequence += 1;
                if let Some(encryption) = encryption {
                    let context = personal_context(stream.name.0, &stream.name.1, sequence);
                    Encryptor(encryption).encrypt(&mut event.payload, &context).map_err(LoadError::from)?;
                }
                events.push(NewEvent {
                    aggregate_type: stream.name.0,
                    aggregate_id: stream.name.1.clone(),
                    sequence,
                    event_type: event.event_type,
                    event_version: event.event_version,
                    payload: event.payload.to_string(),
                });
            }
        }
        Ok((events, encryptions))
    }

    /// Follows up a commit: notifies readers, caches keys and states, and writes due snapshots.
    fn committed(&self, streams: Vec<LoadedStream>, events: &[NewEvent], encryptions: Encryptions) {
        if !events.is_empty() {
            self.tail.notify_appended();
        }
        metrics::counter!("verbatim_events_appended_total").increment(events.len() as u64);
        for (_, encryption) in &encryptions {
            self.key_store.remember(encryption);
        }
        for (index, stream) in streams.into_iter().enumerate() {
            let LoadedStream { name, base, state, .. } = stream;
            let added = events
                .iter()
                .filter(|event| event.aggregate_type == name.0 && event.aggregate_id == name.1)
                .count();
            let sequence = base + i64::try_from(added).unwrap_or_default();
            if sequence / SNAPSHOT_INTERVAL > base / SNAPSHOT_INTERVAL {
                let encryption =
                    encryptions.iter().find(|(of, _)| *of == index).map(|(_, encryption)| encryption.clone());
                self.write_snapshot(name.clone(), state.boxed_clone(), sequence, encryption);
            }
            if sequence > 0 {
                self.cache.put(name, state, sequence);
            }
        }
    }

    fn write_snapshot(
        &self,
        name: StreamName,
        state: Box<dyn AnyState>,
        sequence: i64,
        encryption: Option<EncryptionContext>,
    ) {
        let pool = self.pool.clone();
        self.background.spawn(async move {
            let written = match state.to_json() {
                Ok(state) => snapshot::write(pool.pool(), &name, state, sequence, encryption.as_ref()).await,
                Err(error) => {
                    tracing::error!(%error, aggregate_type = name.0, "failed to serialise snapshot");
                    return;
                }
            };
            if let Err(error) = written {
                tracing::warn!(%error, aggregate_type = name.0, "failed to write snapshot; the next one replaces it");
            }
        });
    }
}

/// The events that the commands produced.
fn decided(streams: &[LoadedStream]) -> Vec<&Event> {
    streams.iter().flat_map(|stream| stream.events.iter().map(|event| &event.event)).collect()
}
