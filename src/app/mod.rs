//! The core: every use case, called by all doors.
//!
//! A use case mints ids and time, says who asks, hands an [`CommandBatch`](event_store::CommandBatch) to the executor and answers
//! from what it minted. It knows no wire format; doors know no SQL and no events.
//!
//! [`accounts`]: registration, sign-in, logins · [`profile`]: what people change about their accounts ·
//! [`recovery`]: forgotten passwords · [`administration`]: what others do with accounts · [`audit`]: reading the log ·
//! [`conversations`]: messages, titles, marks, history ·
//! [`threads`]: everything that stands in a conversation · [`turns`]: what is done with it ·
//! [`branches`]: other replies, edited messages, and going from branch to branch ·
//! [`quizzes`]: quizzes, from the first question to the score ·
//! [`files`], [`uploads`]: what people bring · [`models`]: what may be asked for ·
//! [`replies`]: following, awaiting and cancelling a reply, its provenance · [`sockets`]: what open streams and sockets
//! need · [`limits`], [`attempts`], [`seats`]: how often, and how many at a time · [`usage`]: what was used.

pub mod accounts;
pub mod administration;
pub mod attempts;
pub mod audit;
pub mod branches;
pub mod context;
pub mod conversations;
pub mod error;
pub mod files;
pub mod limits;
pub mod models;
pub mod profile;
pub mod quizzes;
pub mod recovery;
pub mod replies;
pub mod seats;
pub mod sockets;
pub mod standing;
pub mod threads;
pub mod turns;
pub mod uploads;
pub mod usage;

use std::sync::Arc;
use std::time::Duration;

use event_store::{CommandKey, CommandOutcome, Executor, FastPool, LogReader, LogTail};
use projections::progress::Progress;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ai::Chain;
use crate::auth::{Credentials, Logins, NameKeys, OpenLogins, Passwords, Tickets, TokenKeys};
use crate::clock::Clock;
use crate::live::{Hub, People, Stored};
use crate::nats::Nats;
use crate::quizzes::Quizzes;
use crate::relay::RelayState;

pub use context::{Actor, RequestContext};
pub use error::{AppError, Kind};

/// How long a query or an answer waits for the read models, at most.
pub const CATCH_UP: Duration = Duration::from_millis(300);

/// The parts that use cases work with.
pub struct Parts {
    /// Reads read models and rows beside the log.
    pub pool: FastPool,
    /// Reads conversations one by one.
    pub single_conversations: projections::conversations::query::Single,
    /// Writes.
    pub executor: Executor,
    /// Reads the log.
    pub reader: LogReader,
    /// The end of the log.
    pub tail: LogTail,
    /// How far the read models are.
    pub progress: Progress,
    /// Replies being written.
    pub hub: Hub,
    /// The connection to NATS, when there is one.
    pub nats: Option<Nats>,
    /// The relay of this process, when it has one.
    pub relay: Option<RelayState>,
    /// Time and ids.
    pub clock: Clock,
    /// Keyed hashes.
    pub names: NameKeys,
    /// Hashing under a cap.
    pub passwords: Passwords,
    /// Stored hashes.
    pub credentials: Credentials,
    /// Refresh-token families.
    pub logins: Logins,
    /// What else accounts need.
    pub accounts: accounts::AccountParts,
    /// Those that have something open here.
    pub open_logins: OpenLogins,
    /// Tickets for sockets.
    pub tickets: Tickets,
    /// How much each person may have open.
    pub seats: seats::Seats,
    /// What their sockets are told.
    pub people: People,
    /// What people bring.
    pub files: uploads::FileParts,
    /// Access tokens.
    pub tokens: TokenKeys,
    /// How often those may try who are not signed in, and how often people may read.
    pub attempts: attempts::Attempts,
    /// How often messages may be sent.
    pub limits: limits::MessageLimits,
    /// Starts quizzes.
    pub quizzes: Quizzes,
    /// The AI providers: which models there are, and who writes down what was said.
    pub chain: Arc<Chain>,
    /// What can be set.
    pub settings: Settings,
    /// Tasks that outlive their request.
    pub tasks: TaskTracker,
    /// The process goes down: nothing new is begun.
    pub stopping: CancellationToken,
}

impl Parts {
    /// Where the live feed looks up what is stored.
    fn stored(&self) -> Stored {
        Stored { pool: self.pool.clone(), progress: self.progress.clone(), tasks: self.tasks.clone() }
    }
}

/// What can be set about use cases.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long an access token is good.
    pub access_lifetime: Duration,
    /// From the request to the end of a reply.
    pub reply_deadline: Duration,
    /// How long a request waits for its reply before it is told to come back.
    pub reply_wait: Duration,
    /// The tools that a person may choose for an answer.
    pub tools: Vec<String>,
    /// Whether conversations get titles by themselves.
    pub titles: bool,
    /// How many tokens a provider is sent at most.
    pub context_tokens: usize,
}

/// The application. Cheap to clone.
#[derive(Clone)]
pub struct App {
    parts: Arc<Parts>,
}

impl App {
    /// The application over these parts.
    pub fn new(parts: Parts) -> Self {
        Self { parts: Arc::new(parts) }
    }

    /// Waits, for a bounded time, until the given read models have reached `position`.
    pub async fn catch_up(&self, models: &[&str], position: Option<i64>) {
        if let Some(position) = position {
            self.parts.progress.wait(models, position, CATCH_UP).await;
        }
    }

    /// Waits, for a bounded time, until every read model has reached `position`.
    pub async fn catch_up_all(&self, position: i64) {
        let names: Vec<&str> = self.parts.progress.all().into_iter().map(|(name, _, _)| name).collect();
        self.parts.progress.wait(&names, position, CATCH_UP).await;
    }

    /// What a command with this key came to before.
    async fn repeated(&self, key: Option<&CommandKey>) -> Result<Option<CommandOutcome>, AppError> {
        match key {
            Some(key) => Ok(self.parts.executor.repeated(key).await?),
            None => Ok(None),
        }
    }

    /// Time and ids.
    pub fn clock(&self) -> &Clock {
        &self.parts.clock
    }

    /// Tasks that outlive their request.
    pub fn tasks(&self) -> &TaskTracker {
        &self.parts.tasks
    }

    /// Becomes cancelled when the process goes down.
    pub fn stopping(&self) -> &CancellationToken {
        &self.parts.stopping
    }

    /// Keyed hash of an operation and its body, for idempotency keys.
    pub fn fingerprint(&self, bytes: &[u8]) -> [u8; 32] {
        self.parts.names.fingerprint(bytes)
    }
}

/// Refuses a number that a client names and that is out of range.
fn in_range(name: &str, value: i64, range: std::ops::RangeInclusive<i64>) -> Result<(), AppError> {
    if range.contains(&value) {
        return Ok(());
    }
    let (lowest, highest) = (range.start(), range.end());
    Err(AppError::new(
        Kind::Invalid,
        "out_of_range",
        format!("{name} must be between {lowest} and {highest}."),
    ))
}
