//! Shared helpers: the migrations, a log to append to, and runners that can be awaited.

use std::sync::Arc;
use std::time::Duration;

use aggregates::Event;
use event_store::{
    Encryptor, KeyStore, LogReader, LogTail, MasterKey, RecordedEvent, has_personal, personal_context,
};
use projections::progress::ProjectionProgress;
use projections::runner::{self, Projection};
use serde_json::{Value, json};
use sqlx::migrate::Migrator;
use sqlx::{PgExecutor, PgPool};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(crate) static MIGRATOR: Migrator = sqlx::migrate!("../migrations");

/// Time after which a wait fails the test.
pub(crate) const WAIT_TIMEOUT: Duration = Duration::from_secs(20);
/// The master key of the tests.
pub(crate) const MASTER: [u8; 32] = [7; 32];

/// One call of the database's `append`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Append {
    pub(crate) key: Option<(&'static str, &'static str, Vec<u8>, Value)>,
    pub(crate) checks: Vec<(String, String, i64)>,
    pub(crate) events: Vec<NewEvent>,
    pub(crate) side_writes: Vec<Value>,
    pub(crate) metadata: Option<Value>,
}

#[derive(Debug, Clone)]
pub(crate) struct NewEvent {
    pub(crate) aggregate_type: String,
    pub(crate) aggregate_id: String,
    pub(crate) sequence: i64,
    pub(crate) event_type: String,
    pub(crate) event_version: String,
    pub(crate) payload: Value,
}

#[derive(Debug, PartialEq, sqlx::FromRow)]
pub(crate) struct Appended {
    pub(crate) replayed: bool,
    pub(crate) stored_fingerprint: Option<Vec<u8>>,
    pub(crate) stored_result: Option<Value>,
    pub(crate) positions: Vec<i64>,
}

impl Append {
    /// Builds an append of `count` valid events to a conversation at this version.
    pub(crate) fn pins(conversation: Uuid, version: i64, count: i64) -> Self {
        Self::default().and_pins(conversation, version, count)
    }

    /// Adds `count` events of another conversation.
    pub(crate) fn and_pins(mut self, conversation: Uuid, version: i64, count: i64) -> Self {
        self.checks.push(("conversation".to_owned(), conversation.to_string(), version));
        for sequence in version + 1..=version + count {
            self.events.push(NewEvent {
                aggregate_type: "conversation".to_owned(),
                aggregate_id: conversation.to_string(),
                sequence,
                event_type: "conversation_pinned".to_owned(),
                event_version: "1".to_owned(),
                payload: json!({
                    "type": "conversation_pinned", "conversation_id": conversation, "owner": Uuid::nil(),
                    "at": "2026-01-01T00:00:00Z",
                }),
            });
        }
        self
    }

    pub(crate) fn keyed(
        mut self,
        owner: &'static str,
        key: &'static str,
        print: &[u8],
        result: Value,
    ) -> Self {
        self.key = Some((owner, key, print.to_vec(), result));
        self
    }

    pub(crate) async fn run(&self, executor: impl PgExecutor<'_>) -> Result<Appended, sqlx::Error> {
        let column = |pick: fn(&NewEvent) -> String| self.events.iter().map(pick).collect::<Vec<_>>();
        sqlx::query_as(
            "SELECT * FROM append($1, $2, $3, $4::text::json, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        )
        .bind(self.key.as_ref().map(|key| key.0))
        .bind(self.key.as_ref().map(|key| key.1))
        .bind(self.key.as_ref().map(|key| key.2.clone()))
        .bind(self.key.as_ref().map(|key| key.3.to_string()))
        .bind(self.checks.iter().map(|check| check.0.clone()).collect::<Vec<_>>())
        .bind(self.checks.iter().map(|check| check.1.clone()).collect::<Vec<_>>())
        .bind(self.checks.iter().map(|check| check.2).collect::<Vec<_>>())
        .bind(column(|event| event.aggregate_type.clone()))
        .bind(column(|event| event.aggregate_id.clone()))
        .bind(self.events.iter().map(|event| event.sequence).collect::<Vec<_>>())
        .bind(column(|event| event.event_type.clone()))
        .bind(column(|event| event.event_version.clone()))
        .bind(column(|event| event.payload.to_string()))
        .bind(self.metadata.as_ref().map_or_else(|| "{}".to_owned(), Value::to_string))
        .bind((!self.side_writes.is_empty()).then(|| Value::Array(self.side_writes.clone())))
        .fetch_one(executor)
        .await
    }
}

/// A log with its reader and tail.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    pub(crate) pool: PgPool,
    pub(crate) key_store: Arc<KeyStore>,
    pub(crate) reader: LogReader,
    pub(crate) tail: LogTail,
}

impl Log {
    pub(crate) fn new(pool: &PgPool) -> Self {
        let key_store = Arc::new(key_store(pool, &MASTER));
        let reader = LogReader::new(pool.clone(), Arc::clone(&key_store));
        Self { pool: pool.clone(), key_store, tail: LogTail::new(reader.clone()), reader }
    }

    /// Appends events of any streams in one append, encrypted like the write side does; returns their positions.
    pub(crate) async fn append(&self, events: &[Event]) -> Vec<i64> {
        self.append_with(events, None).await
    }

    /// Like [`Log::append`] with metadata; `None` stores empty metadata.
    pub(crate) async fn append_with(&self, events: &[Event], metadata: Option<Value>) -> Vec<i64> {
        let mut append = Append { metadata, ..Append::default() };
        let mut encryptions = Vec::new();
        for event in events {
            let (name, author) = stream(event);
            let id = name.to_string();
            let version = match append.checks.iter().position(|check| check.1 == id) {
                Some(_) => append
                    .events
                    .iter()
                    .filter(|event| event.aggregate_id == id)
                    .map(|e| e.sequence)
                    .max()
                    .unwrap(),
                None => {
                    let version: i64 = sqlx::query_scalar(
                        "SELECT coalesce(max(sequence), 0) FROM events WHERE aggregate_type = $1 AND aggregate_id = $2",
                    )
                    .bind(event.aggregate_type())
                    .bind(&id)
                    .fetch_one(&self.pool)
                    .await
                    .unwrap();
                    append.checks.push((event.aggregate_type().to_owned(), id.clone(), version));
                    version
                }
            };
            let mut payload = serde_json::to_value(event).unwrap();
            if has_personal(&payload) {
                let known = encryptions.iter().position(|(of, _)| *of == id);
                let index = match known {
                    Some(index) => index,
                    None => {
                        let first = encryptions.first().map(|(_, encryption)| encryption);
                        let encryption = self
                            .key_store
                            .encryption_context(author, event.aggregate_type(), &id, first)
                            .await
                            .unwrap();
                        append
                            .side_writes
                            .extend(encryption.new_keys.iter().map(|row| row.to_write().to_json()));
                        encryptions.push((id.clone(), encryption));
                        encryptions.len() - 1
                    }
                };
                let context = personal_context(event.aggregate_type(), &id, version + 1);
                Encryptor(&encryptions[index].1).encrypt(&mut payload, &context).unwrap();
            }
            append.events.push(NewEvent {
                aggregate_type: event.aggregate_type().to_owned(),
                aggregate_id: id,
                sequence: version + 1,
                event_type: event.event_type().to_owned(),
                event_version: event.event_version(),
                payload,
            });
        }
        let positions = append.run(&self.pool).await.unwrap().positions;
        for (_, encryption) in &encryptions {
            self.key_store.remember(encryption);
        }
        self.tail.notify_appended();
        positions
    }

    /// Deletes a user's keys, also from memory; the user's text is erased from now on.
    pub(crate) async fn erase(&self, user: Uuid) {
        for table in ["data_keys", "user_keys"] {
            let done = sqlx::query(&format!("DELETE FROM {table} WHERE user_id = $1"))
                .bind(user)
                .execute(&self.pool)
                .await
                .unwrap();
            assert!(done.rows_affected() > 0, "the user has no keys");
        }
        self.key_store.forget(user);
    }

    /// Starts a runner for each of `projections`, and the tail that feeds them.
    pub(crate) fn run(&self, projections: Vec<Arc<dyn Projection>>) -> Running {
        let progress = ProjectionProgress::new(projections.iter().map(|projection| projection.name()));
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(self.tail.clone().run(stop.clone()));
        for projection in projections {
            let options = (*self.pool.connect_options()).clone();
            tasks.spawn(runner::run(projection, self.tail.clone(), options, progress.clone(), stop.clone()));
        }
        Running { progress, stop, tasks }
    }

    /// Runs `projections` until each has applied the whole log.
    pub(crate) async fn project(&self, projections: Vec<Arc<dyn Projection>>) {
        let end = self.reader.last_position().await.unwrap();
        let running = self.run(projections);
        running.reach(end).await;
        running.stop().await;
    }
}

/// Running projection runners.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) progress: ProjectionProgress,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Running {
    /// Waits until every projection has reached `position`.
    pub(crate) async fn reach(&self, position: i64) {
        let names: Vec<_> = self.progress.all().into_iter().map(|(name, _, _)| name).collect();
        assert!(
            self.progress.wait(&names, position, WAIT_TIMEOUT).await,
            "{:?} did not reach {position}",
            self.progress.all()
        );
        let short: Vec<_> = self.progress.all().into_iter().filter(|(_, at, _)| *at < position).collect();
        assert!(short.is_empty(), "stopped before {position}: {short:?}");
    }

    /// Stops the runners and waits for them.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }
}

/// Waits until the boolean query `condition` returns true.
pub(crate) async fn until(pool: &PgPool, condition: &str) {
    let waited = tokio::time::timeout(WAIT_TIMEOUT, async {
        loop {
            let holds: bool = sqlx::query_scalar(condition).fetch_one(pool).await.unwrap();
            if holds {
                return;
            }
        }
    });
    assert!(waited.await.is_ok(), "timed out waiting for: {condition}");
}

pub(crate) fn key_store(pool: &PgPool, master: &[u8; 32]) -> KeyStore {
    KeyStore::new(pool.clone(), MasterKey::new(master).unwrap())
}

/// Returns all events of the log.
pub(crate) async fn read_all(reader: &LogReader) -> Vec<Arc<RecordedEvent>> {
    let mut all: Vec<Arc<RecordedEvent>> = Vec::new();
    loop {
        let more = reader.read_after(all.last().map_or(0, |event| event.position), 500).await.unwrap();
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

/// Returns the SQLSTATE of a failed statement.
pub(crate) fn code<T: std::fmt::Debug>(outcome: Result<T, sqlx::Error>) -> String {
    outcome.unwrap_err().as_database_error().unwrap().code().unwrap().into_owned()
}

/// Returns the rows of a table as sorted text, to compare tables.
pub(crate) async fn rows_of(executor: impl PgExecutor<'_>, table: &str) -> Vec<String> {
    sqlx::query_scalar(&format!("SELECT t::text FROM {table} t ORDER BY 1"))
        .fetch_all(executor)
        .await
        .unwrap()
}

fn stream(event: &Event) -> (Uuid, Uuid) {
    match event {
        Event::User(event) => {
            let user = match event {
                aggregates::user::UserEvent::UserRegistered { user_id, .. }
                | aggregates::user::UserEvent::PasswordChanged { user_id, .. }
                | aggregates::user::UserEvent::EmailChanged { user_id, .. }
                | aggregates::user::UserEvent::UsernameChanged { user_id, .. }
                | aggregates::user::UserEvent::RoleGranted { user_id, .. }
                | aggregates::user::UserEvent::UserDeactivated { user_id, .. } => user_id.uuid(),
            };
            (user, user)
        }
        // The events of a claim do not contain its stream id; the tests have one claim.
        Event::Claim(_) => (Uuid::from_u128(0xC1A1), Uuid::nil()),
        Event::Conversation(event) => (event.conversation_id.uuid(), event.owner.uuid()),
        Event::Quiz(event) => (event.quiz_id().uuid(), event.owner().uuid()),
        Event::File(event) => (event.file_id().uuid(), event.owner().uuid()),
    }
}
