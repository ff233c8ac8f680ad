//! What a use case wants done, as one unit: all of it is written in one append, or none.

use crate::Metadata;
use aggregates::Refusal;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use uuid::Uuid;

use super::append::transactional_write;
use super::cache::StreamName;
use super::charge::Charge;
use super::command_key::CommandKey;
use super::stored::Stored;
use super::unit::{Unit, UnitError};
use super::witness::{Seen, Witness};

/// Gives a name and what was decided.
trait Tell: Fn() -> (&'static str, Option<Value>) + Send + Sync {}

impl<F: Fn() -> (&'static str, Option<Value>) + Send + Sync> Tell for F {}

/// Commands to aggregates with everything that has to be written together with their events.
pub struct Intent {
    /// Whose personal text the events hold: it is sealed with this person's keys.
    pub(super) author: Uuid,
    pub(super) metadata: Metadata,
    pub(super) steps: Vec<Box<dyn Step>>,
    pub(super) beside: Vec<Value>,
    pub(super) key: Option<(CommandKey, Value)>,
    /// What a repetition is told besides, known when the commands are decided.
    told: Vec<Box<dyn Tell>>,
    pub(super) charge: Option<Charge>,
}

impl Intent {
    /// An intent without commands yet.
    pub fn new(author: Uuid, metadata: Metadata) -> Self {
        Self {
            author,
            metadata,
            steps: Vec::new(),
            beside: Vec::new(),
            key: None,
            told: Vec::new(),
            charge: None,
        }
    }

    /// Adds a command. Commands to the same aggregate see the events of those before them.
    #[must_use]
    pub fn then<A>(mut self, id: impl ToString, command: A::Command) -> Self
    where
        A: Stored,
        A::Command: Clone + Send + Sync + 'static,
    {
        self.steps.push(Box::new(CommandStep::<A> { id: id.to_string(), command }));
        self
    }

    /// The same for a command whose caller answers from the state: `witness` sees it before and after.
    #[must_use]
    pub fn then_witnessed<A>(mut self, id: impl ToString, command: A::Command, witness: &Witness<A>) -> Self
    where
        A: Stored,
        A::Command: Clone + Send + Sync + 'static,
    {
        self.steps.push(Box::new(WitnessedStep::<A> {
            id: id.to_string(),
            command,
            witness: witness.clone(),
        }));
        self
    }

    /// Adds a row beside the log.
    #[must_use]
    pub fn beside(mut self, row: Beside) -> Self {
        self.beside.push(row.to_json());
        self
    }

    /// Takes from somebody's allowance what the commands cost.
    #[must_use]
    pub fn charged(mut self, charge: Option<Charge>) -> Self {
        self.charge = charge;
        self
    }

    /// Makes the intent idempotent: a repetition of the key is answered with `result` (ids and status only).
    #[must_use]
    pub fn keyed(mut self, key: Option<CommandKey>, result: Value) -> Self {
        self.key = key.map(|key| (key, result));
        self
    }

    /// Has a repetition told under `name` what the command of `witness` came to, as it was decided then; ids and status only.
    #[must_use]
    pub fn telling<A>(
        mut self,
        name: &'static str,
        witness: &Witness<A>,
        tell: impl Fn(&Seen<A>) -> Value + Send + Sync + 'static,
    ) -> Self
    where
        A: Send + 'static,
    {
        let witness = witness.clone();
        self.told.push(Box::new(move || (name, witness.look(&tell))));
        self
    }

    /// The key and what its repetition is answered with, once the commands are decided.
    pub(super) fn decided_key(&self) -> Option<(CommandKey, Value)> {
        let (key, mut result) = self.key.clone()?;
        if let Some(result) = result.as_object_mut() {
            let told = self.told.iter().map(|tell| tell());
            result.extend(told.filter_map(|(name, value)| Some((name.to_owned(), value?))));
        }
        Some((key, result))
    }
}

/// Rows that live and die with the events of an append, but must not stand in them.
#[derive(Debug, Clone)]
pub enum Beside {
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

impl Beside {
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

/// One command, with its aggregate's type forgotten.
pub(super) trait Step: Send + Sync {
    /// The stream it is decided on.
    fn stream(&self) -> StreamName;
    /// Loads the aggregate into the unit, if it is not there yet, and decides.
    fn decide<'a>(&'a self, unit: &'a mut Unit<'_>) -> BoxFuture<'a, Result<(), UnitError>>;
}

struct CommandStep<A: Stored>
where
    A::Command: Clone + Send + Sync + 'static,
{
    id: String,
    command: A::Command,
}

impl<A> Step for CommandStep<A>
where
    A: Stored,
    A::Command: Clone + Send + Sync + 'static,
{
    fn stream(&self) -> StreamName {
        (A::TYPE, self.id.clone())
    }

    fn decide<'a>(&'a self, unit: &'a mut Unit<'_>) -> BoxFuture<'a, Result<(), UnitError>> {
        Box::pin(unit.decide::<A>(&self.id, &self.command))
    }
}

struct WitnessedStep<A: Stored>
where
    A::Command: Clone + Send + Sync + 'static,
{
    id: String,
    command: A::Command,
    witness: Witness<A>,
}

impl<A> Step for WitnessedStep<A>
where
    A: Stored,
    A::Command: Clone + Send + Sync + 'static,
{
    fn stream(&self) -> StreamName {
        (A::TYPE, self.id.clone())
    }

    fn decide<'a>(&'a self, unit: &'a mut Unit<'_>) -> BoxFuture<'a, Result<(), UnitError>> {
        Box::pin(async move {
            let before = unit.state::<A>(&self.id).await?;
            unit.decide::<A>(&self.id, &self.command).await?;
            self.witness.saw(before, unit.state::<A>(&self.id).await?);
            Ok(())
        })
    }
}

/// A refusal of any aggregate, from the aggregate's own error.
pub(super) fn refused<A>(error: A::Error) -> UnitError
where
    A: Stored,
    A::Command: Clone + Send + Sync + 'static,
{
    let refusal: Refusal = A::refusal(error);
    UnitError::Refused(refusal)
}
