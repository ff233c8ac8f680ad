//! What the run starts with: one account, its conversations, and a long one.
//!
//! Written by the program's own executor, in this process, many messages to an append: sealed and checked like any.

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

/// How many commands one append writes.
const TOGETHER: usize = 200;
/// How many conversations each of the other people has.
const EACH: usize = 20;
/// How long the read models may take to come after.
const PATIENCE: Duration = Duration::from_secs(60);

/// The account that everything belongs to.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) user: Uuid,
    /// Its access token.
    pub(crate) token: String,
}

impl Account {
    /// Registers over HTTP.
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

    /// Begins a conversation over HTTP, with a message and its answer.
    pub(crate) async fn conversation(&self, server: SocketAddr) -> anyhow::Result<String> {
        let mut client = Client::connect(server).await?;
        let request = self.request("POST", "/api/chat", r#"{"message": "Hello"}"#);
        let answer: Value = serde_json::from_slice(client.call(&request).await?)?;
        Ok(answer.get("session_id").and_then(Value::as_str).context("no session_id")?.to_owned())
    }

    /// A request of this account's.
    pub(crate) fn request(&self, method: &str, path: &str, body: &str) -> Vec<u8> {
        request(method, path, &self.token, body)
    }
}

/// Makes conversations of one account.
pub(crate) struct Seeder {
    pool: PgPool,
    executor: Executor,
    clock: Clock,
    owner: UserId,
    background: TaskTracker,
}

impl Seeder {
    /// A seeder over `pool`, with the key that the measured program has too.
    pub(crate) fn new(pool: PgPool, master_key: &[u8; 32], owner: Uuid) -> anyhow::Result<Self> {
        let key_store = Arc::new(KeyStore::new(pool.clone(), MasterKey::new(master_key)?));
        let tail = LogTail::new(LogReader::new(pool.clone(), Arc::clone(&key_store)));
        let background = TaskTracker::new();
        let executor = Executor::new(pool.clone(), key_store, tail, 32 * 1024 * 1024, background.clone());
        Ok(Self { pool, executor, clock: Clock::system(), owner: UserId::new(owner), background })
    }

    /// A new conversation with so many messages, none of which asks for a reply.
    pub(crate) async fn conversation(&self, messages: usize) -> anyhow::Result<Uuid> {
        let id = ConversationId::new(self.clock.id());
        let started = ConversationCommand::Start { id, by: self.owner, title: None, at: self.clock.now() };
        self.executor.run(self.batch().command::<Conversation>(id, started)).await?;
        for begin in (0..messages).step_by(TOGETHER) {
            let mut batch = self.batch();
            for number in begin..messages.min(begin + TOGETHER) {
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
                        enclosed: aggregates::conversation::Enclosed::default(),
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

    /// So many conversations of other people, a few to each: the read models are as large as those of a small service,
    /// not so small that the planner reads them whole.
    pub(crate) async fn others(&self, conversations: usize) -> anyhow::Result<()> {
        let mut by = self.owner;
        for begin in (0..conversations).step_by(TOGETHER) {
            let mut batch = self.batch();
            for number in begin..conversations.min(begin + TOGETHER) {
                if number % EACH == 0 {
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

    /// Waits until the measured program's read models show everything, and tells the planner about it.
    pub(crate) async fn finish(self, server: SocketAddr) -> anyhow::Result<()> {
        self.background.close();
        self.background.wait().await;
        let head: i64 = sqlx::query_scalar("SELECT max(position) FROM events").fetch_one(&self.pool).await?;
        let mut client = Client::connect(server).await?;
        let look = request("GET", "/health", "", "");
        let end = Instant::now() + PATIENCE;
        loop {
            let health: Value = serde_json::from_slice(client.call(&look).await?)?;
            let models = health.get("projections").and_then(Value::as_array).context("no read models")?;
            let position = |model: &Value| model.get("position").and_then(Value::as_i64);
            if models.iter().all(|model| position(model).is_some_and(|position| position >= head)) {
                break;
            }
            ensure!(Instant::now() < end, "the read models do not come after: {health}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        sqlx::query("VACUUM ANALYZE").execute(&self.pool).await?;
        Ok(())
    }
}
