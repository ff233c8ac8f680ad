//! What a use case wants written as one unit: everything in one append, or nothing.

use aggregates::EventSourced;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use uuid::Uuid;

use super::append::transactional_write;
use super::attempt::{AttemptError, BatchAttempt};
use super::cache::StreamName;
use super::charge::QuotaCharge;
use super::command_key::CommandKey;
use super::state_capture::{StateCapture, StateChange};
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
    pub(super) writes: Vec<Value>,
    pub(super) key: Option<(CommandKey, Value)>,
    result_fields: Vec<Box<dyn ResultField>>,
    pub(super) charge: Option<QuotaCharge>,
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
            charge: None,
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

    /// Adds a write to the append's transaction.
    #[must_use]
    pub fn with_write(mut self, write: TransactionalWrite) -> Self {
        self.writes.push(write.to_json());
        self
    }

    /// Charges what the commands consume to a user's quotas.
    #[must_use]
    pub fn with_charge(mut self, charge: Option<QuotaCharge>) -> Self {
        self.charge = charge;
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

/// Rows that live and die with the events of an append, but must not stand in them.
#[derive(Debug, Clone)]
pub enum TransactionalWrite {
    /// No row but a condition: the user's password is still the one that was proven. Stands before what rests on it.
    CredentialSeen {
        /// Whose.
        user_id: Uuid,
        /// Which one it was.
        epoch: i64,
    },
    /// A user's password hash.
    Credential {
        /// Whose.
        user_id: Uuid,
        /// PHC string.
        hash: String,
    },
    /// A new login: a family of refresh tokens.
    LoginStart {
        /// Its id.
        login_id: Uuid,
        /// Whose.
        user_id: Uuid,
        /// Hash of its first refresh token.
        token_hash: [u8; 32],
        /// How long it may lie unused, in seconds.
        idle_seconds: u64,
        /// How long it may live in all, in seconds.
        total_seconds: u64,
    },
    /// The end of a user's logins.
    LoginsEnd {
        /// Whose.
        user_id: Uuid,
        /// Why, in one word.
        reason: &'static str,
        /// The one that stays.
        except: Option<Uuid>,
    },
    /// The kind of program that a new login was started with. Stands behind its start.
    LoginDevice {
        /// The login.
        login_id: Uuid,
        /// The program, as it names itself.
        device: Option<String>,
    },
    /// The user is an administrator from now on, or not any more; that one is left is a condition.
    Administrator {
        /// Whose.
        user_id: Uuid,
        /// Which.
        is_one: bool,
    },
    /// A token that replaces a password is used up, with all others of the user; that it is good is a condition.
    ResetSpend {
        /// Whose.
        user_id: Uuid,
        /// Hash of the token.
        token_hash: [u8; 32],
    },
    /// Every token that replaces the user's password is worthless from now on.
    ResetsVoid {
        /// Whose.
        user_id: Uuid,
    },
    /// Failed sign-ins of an account do not count any more.
    FailuresForget {
        /// The account.
        account: String,
    },
    /// A mail to be sent.
    Mail {
        /// Its id.
        mail_id: Uuid,
        /// What it is.
        kind: &'static str,
        /// Whom it concerns.
        user_id: Uuid,
        /// Whether it goes to the address that this append replaces.
        to_old_address: bool,
    },
}

impl TransactionalWrite {
    fn to_json(&self) -> Value {
        use base64::Engine as _;
        let base64 = base64::engine::general_purpose::STANDARD;
        let (function, arguments) = match self {
            Self::CredentialSeen { user_id, epoch } => {
                ("credential_check", json!({"user_id": user_id, "epoch": epoch}))
            }
            Self::Credential { user_id, hash } => {
                ("credential_set", json!({"user_id": user_id, "hash": hash}))
            }
            Self::LoginStart { login_id, user_id, token_hash, idle_seconds, total_seconds } => (
                "login_start",
                json!({
                    "login_id": login_id, "user_id": user_id, "token_hash": base64.encode(token_hash),
                    "idle_seconds": idle_seconds, "total_seconds": total_seconds,
                }),
            ),
            Self::LoginsEnd { user_id, reason, except } => {
                ("logins_end", json!({"user_id": user_id, "reason": reason, "except": except}))
            }
            Self::LoginDevice { login_id, device } => {
                ("login_device", json!({"login_id": login_id, "device": device}))
            }
            Self::Administrator { user_id, is_one } => {
                ("administrator_set", json!({"user_id": user_id, "is_administrator": is_one}))
            }
            Self::ResetSpend { user_id, token_hash } => {
                ("password_reset_use", json!({"user_id": user_id, "token_hash": base64.encode(token_hash)}))
            }
            Self::ResetsVoid { user_id } => ("password_resets_revoke", json!({"user_id": user_id})),
            Self::FailuresForget { account } => ("sign_in_failures_reset", json!({"account": account})),
            Self::Mail { mail_id, kind, user_id, to_old_address } => (
                "mail_enqueue",
                json!({
                    "mail_id": mail_id, "kind": kind, "user_id": user_id, "to_old_address": to_old_address,
                }),
            ),
        };
        transactional_write(function, &arguments)
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
