//! What a use case wants written as one unit: everything in one append, or nothing.

use aggregates::EventSourced;
use futures::future::BoxFuture;
use serde_json::Value;
use uuid::Uuid;

use super::attempt::{AttemptError, BatchAttempt};
use super::cache::StreamName;
use super::charge::ChargePolicy;
use super::command_key::CommandKey;
use super::state_capture::{StateCapture, StateChange};
use super::transactional_write::TransactionalWrite;
use crate::Metadata;

/// Computes a field of the key's result after the commands are decided.
trait ResultField: Fn() -> (&'static str, Option<Value>) + Send + Sync {}

impl<F: Fn() -> (&'static str, Option<Value>) + Send + Sync> ResultField for F {}

/// Commands to aggregates, with everything that has to be written together with their events.
pub struct CommandBatch {
    /// User whose keys encrypt the personal text in the events.
    pub(super) author: Uuid,
    pub(super) metadata: Metadata,
    pub(super) steps: Vec<Box<dyn Step>>,
    pub(super) writes: Vec<TransactionalWrite>,
    pub(super) key: Option<(CommandKey, Value)>,
    result_fields: Vec<Box<dyn ResultField>>,
    pub(super) charge_policy: Option<Box<dyn ChargePolicy>>,
}

impl CommandBatch {
    /// Creates a batch without commands.
    pub fn new(author: Uuid, metadata: Metadata) -> Self {
        Self {
            author,
            metadata,
            steps: Vec::new(),
            writes: Vec::new(),
            key: None,
            result_fields: Vec::new(),
            charge_policy: None,
        }
    }

    /// Adds a command. It is decided on the state after the batch's earlier commands.
    #[must_use]
    pub fn command<A: EventSourced>(mut self, id: impl ToString, command: A::Command) -> Self {
        self.steps.push(Box::new(CommandStep::<A> { id: id.to_string(), command }));
        self
    }

    /// Adds a command and captures the aggregate's state before and after it.
    #[must_use]
    pub fn command_capturing<A: EventSourced>(
        mut self,
        id: impl ToString,
        command: A::Command,
        capture: &StateCapture<A>,
    ) -> Self {
        self.steps.push(Box::new(CapturingStep::<A> {
            id: id.to_string(),
            command,
            capture: capture.clone(),
        }));
        self
    }

    /// Adds a write to the append's transaction. Writes run in order, after the events are inserted.
    #[must_use]
    pub fn with_write(mut self, write: TransactionalWrite) -> Self {
        self.writes.push(write);
        self
    }

    /// Prices the batch with this policy instead of the executor's.
    #[must_use]
    pub fn with_charge_policy(mut self, policy: impl ChargePolicy + 'static) -> Self {
        self.charge_policy = Some(Box::new(policy));
        self
    }

    /// Makes the batch idempotent: a repetition of the key is answered with `result` (ids and status only).
    #[must_use]
    pub fn with_key(mut self, key: Option<CommandKey>, result: Value) -> Self {
        self.key = key.map(|key| (key, result));
        self
    }

    /// Adds the field `name` to the key's result, computed from a captured state after the commands are decided; ids and
    /// status only.
    #[must_use]
    pub fn key_result_with<A>(
        mut self,
        name: &'static str,
        capture: &StateCapture<A>,
        value: impl Fn(&StateChange<A>) -> Value + Send + Sync + 'static,
    ) -> Self
    where
        A: Send + 'static,
    {
        let capture = capture.clone();
        self.result_fields.push(Box::new(move || (name, capture.inspect(&value))));
        self
    }

    /// Returns the key with its complete result; called after the commands are decided.
    pub(super) fn decided_key(&self) -> Option<(CommandKey, Value)> {
        let (key, mut result) = self.key.clone()?;
        if let Some(result) = result.as_object_mut() {
            let fields = self.result_fields.iter().map(|field| field());
            result.extend(fields.filter_map(|(name, value)| Some((name.to_owned(), value?))));
        }
        Some((key, result))
    }
}

/// One command, with its aggregate's type erased.
pub(super) trait Step: Send + Sync {
    /// Returns the stream that the command is decided on.
    fn stream(&self) -> StreamName;
    /// Loads the aggregate into the attempt, if necessary, and decides the command.
    fn decide<'a>(&'a self, attempt: &'a mut BatchAttempt<'_>) -> BoxFuture<'a, Result<(), AttemptError>>;
}

struct CommandStep<A: EventSourced> {
    id: String,
    command: A::Command,
}

impl<A: EventSourced> Step for CommandStep<A> {
    fn stream(&self) -> StreamName {
        (A::TYPE, self.id.clone())
    }

    fn decide<'a>(&'a self, attempt: &'a mut BatchAttempt<'_>) -> BoxFuture<'a, Result<(), AttemptError>> {
        Box::pin(attempt.decide::<A>(&self.id, &self.command))
    }
}

struct CapturingStep<A: EventSourced> {
    id: String,
    command: A::Command,
    capture: StateCapture<A>,
}

impl<A: EventSourced> Step for CapturingStep<A> {
    fn stream(&self) -> StreamName {
        (A::TYPE, self.id.clone())
    }

    fn decide<'a>(&'a self, attempt: &'a mut BatchAttempt<'_>) -> BoxFuture<'a, Result<(), AttemptError>> {
        Box::pin(async move {
            let before = attempt.state::<A>(&self.id).await?;
            attempt.decide::<A>(&self.id, &self.command).await?;
            self.capture.set(before, attempt.state::<A>(&self.id).await?);
            Ok(())
        })
    }
}
