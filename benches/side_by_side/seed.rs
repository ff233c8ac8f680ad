//! Initial data: one account, its conversations, and conversations of other users.
//!
//! Written by the program's executor in this process, many messages per append, encrypted and validated as usual.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aggregates::Personal;
use aggregates::conversation::{Conversation, ConversationCommand};
use aggregates::ids::{ConversationId, MessageId, UserId};
use aggregates::values::MessageText;
use anyhow::{Context as _, ensure};
use event_store::{CommandBatch, Executor, KeyStore, LogReader, LogTail, MasterKey, Metadata};
use serde_json::Value;
use sqlx::PgPool;
use tokio_util::task::TaskTracker;
use uuid::Uuid;
use verbatim::clock::Clock;

use super::http::{Client, request};

/// Number of commands per append.
const COMMANDS_PER_APPEND: usize = 200;
/// Number of conversations of each other user.
const CONVERSATIONS_PER_USER: usize = 20;
/// Maximum time until the read models catch up.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A registered account.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) user: Uuid,
    /// Access token.
    pub(crate) token: String,
}

impl Account {
    /// Registers an account over HTTP.
    pub(crate) async fn register(server: SocketAddr, email: &str) -> anyhow::Result<Self> {
        let body = format!(r#"{{"email": "{email}", "password": "correct horse battery staple 1"}}"#);
        let mut client = Client::connect(server).await?;
        let answer: Value =
            serde_json::from_slice(client.call(&request("POST", "/api/auth/register", "", &body)).await?)?;
        let text = |name: &str| {
            answer.get(name).and_then(Value::as_str).with_context(|| format!("no {name} in the answer"))
        };
        Ok(Self { user: text("id")?.parse()?, token: text("access_token")?.to_owned() })
    }

    /// Starts a conversation over HTTP with a message and its reply.
    pub(crate) async fn conversation(&self, server: SocketAddr) -> anyhow::Result<String> {
        let mut client = Client::connect(server).await?;
        let request = self.request("POST", "/api/chat", r#"{"message": "Hello"}"#);
        let answer: Value = serde_json::from_slice(client.call(&request).await?)?;
        Ok(answer.get("session_id").and_then(Value::as_str).context("no session_id")?.to_owned())
    }

    /// Encodes a request of this account.
    pub(crate) fn request(&self, method: &str, path: &str, body: &str) -> Vec<u8> {
        request(method, path, &self.token, body)
    }
}

/// Creates conversations of one account.
pub(crate) struct Seeder {
    pool: PgPool,
    executor: Executor,
    clock: Clock,
    owner: UserId,
    background: TaskTracker,
}

impl Seeder {
    /// Creates a seeder with the master key of the measured program.
    pub(crate) fn new(pool: PgPool, master_key: &[u8; 32], owner: Uuid) -> anyhow::Result<Self> {
        let key_store = Arc::new(KeyStore::new(pool.clone(), MasterKey::new(master_key)?));
        let tail = LogTail::new(LogReader::new(pool.clone(), Arc::clone(&key_store)));
        let background = TaskTracker::new();
        let executor = Executor::new(pool.clone(), key_store, tail, 32 * 1024 * 1024, background.clone());
        Ok(Self { pool, executor, clock: Clock::system(), owner: UserId::new(owner), background })
    }

    /// Creates a conversation with this many messages and no replies.
    pub(crate) async fn conversation(&self, messages: usize) -> anyhow::Result<Uuid> {
        let id = ConversationId::new(self.clock.id());
        let started = ConversationCommand::Start { id, by: self.owner, title: None, at: self.clock.now() };
        self.executor.run(self.batch().command::<Conversation>(id, started)).await?;
        for begin in (0..messages).step_by(COMMANDS_PER_APPEND) {
            let mut batch = self.batch();
            for number in begin..messages.min(begin + COMMANDS_PER_APPEND) {
                let now = self.clock.now();
                let text = format!(
                    "Message {number}: what was said here is about as long as people write when they chat."
                );
                batch = batch.command::<Conversation>(
                    id,
                    ConversationCommand::Send {
                        message_id: MessageId::new(self.clock.id()),
                        by: self.owner,
                        text: Personal::Known(MessageText::parse(&text)?),
                        enclosed: aggregates::conversation::MessageContext::default(),
                        reply: None,
                        at: now,
                        deadline: now,
                    },
                );
            }
            self.executor.run(batch).await?;
        }
        Ok(id.uuid())
    }

    /// Creates conversations of other users, so that the read models are as large as those of a small service and the
    /// planner does not choose sequential scans.
    pub(crate) async fn others(&self, conversations: usize) -> anyhow::Result<()> {
        let mut by = self.owner;
        for begin in (0..conversations).step_by(COMMANDS_PER_APPEND) {
            let mut batch = self.batch();
            for number in begin..conversations.min(begin + COMMANDS_PER_APPEND) {
                if number % CONVERSATIONS_PER_USER == 0 {
                    by = UserId::new(self.clock.id());
                }
                let id = ConversationId::new(self.clock.id());
                let started = ConversationCommand::Start { id, by, title: None, at: self.clock.now() };
                batch = batch.command::<Conversation>(id, started);
            }
            self.executor.run(batch).await?;
        }
        Ok(())
    }

    fn batch(&self) -> CommandBatch {
        CommandBatch::new(
            self.owner.uuid(),
            Metadata {
                surface: "seed".to_owned(),
                occurred_at: Some(self.clock.now()),
                ..Metadata::default()
            },
        )
    }

    /// Waits until the measured program's read models have caught up, then updates the planner's statistics.
    pub(crate) async fn finish(self, server: SocketAddr) -> anyhow::Result<()> {
        self.background.close();
        self.background.wait().await;
        let head: i64 = sqlx::query_scalar("SELECT max(position) FROM events").fetch_one(&self.pool).await?;
        let mut client = Client::connect(server).await?;
        let probe = request("GET", "/health", "", "");
        let end = Instant::now() + TIMEOUT;
        loop {
            let health: Value = serde_json::from_slice(client.call(&probe).await?)?;
            let models = health.get("projections").and_then(Value::as_array).context("no read models")?;
            let position = |model: &Value| model.get("position").and_then(Value::as_i64);
            if models.iter().all(|model| position(model).is_some_and(|position| position >= head)) {
                break;
            }
            ensure!(Instant::now() < end, "the read models did not catch up in time: {health}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        sqlx::query("VACUUM ANALYZE").execute(&self.pool).await?;
        Ok(())
    }
}
