//! A panicked attempt, against a real database.

use std::sync::atomic::{AtomicBool, Ordering};

use event_store::{Executor, KeyStore, LogReader, LogTail, MasterKey};
use futures::FutureExt as _;
use object_store::memory::InMemory;
use projections::pending_replies::query;
use projections::progress::ProjectionProgress;
use projections::registry;
use serde_json::{Map, Value};
use sqlx::PgPool;

use super::*;
use crate::ai::chain::ChainEntry;
use crate::ai::{Catalogue, Chain, CircuitSettings, ModelTable, Prompt, Provider, StreamEvents};
use crate::clock::Clock;
use crate::files::FileStore;
use crate::live::LiveReplies;
use crate::replies::{ReplySettings, WorkerParts};
use crate::schema::MIGRATOR;
use crate::tools::Tools;
use crate::tools::quiz::{QuestionBank, Quizzes};

const REPLY: Uuid = Uuid::from_u128(1);

/// A provider that panics when it is called.
#[derive(Default)]
struct Panics {
    armed: AtomicBool,
}

impl Provider for Panics {
    fn name(&self) -> &'static str {
        assert!(!self.armed.load(Ordering::Relaxed), "it is asked");
        "panics"
    }

    fn model(&self) -> &'static str {
        "own"
    }

    fn describe(&self) -> String {
        "panics".to_owned()
    }

    fn parameters(&self, _: &Prompt) -> Map<String, Value> {
        Map::new()
    }

    fn stream(&self, _: Prompt) -> StreamEvents {
        Box::pin(futures::stream::empty())
    }
}

/// A pool with one slot, where every attempt panics.
fn workers(db: &PgPool) -> ReplyWorkerPool {
    let pool = FastPool::from(db.clone());
    let key_store = Arc::new(KeyStore::new(pool.clone(), MasterKey::new(&[7; 32]).unwrap()));
    let tail = LogTail::new(LogReader::new(pool.clone(), Arc::clone(&key_store)));
    let tasks = TaskTracker::new();
    let provider = Arc::new(Panics::default());
    let links = vec![ChainEntry { provider: Arc::clone(&provider) as Arc<dyn Provider>, key: None }];
    let catalogue = Catalogue::new(ModelTable::parse("[]").unwrap(), [("panics", "own".to_owned())], None);
    let chain = Chain::new(links, catalogue, CircuitSettings::default());
    provider.armed.store(true, Ordering::Relaxed);
    let handler = ReplyHandler::new(WorkerParts {
        pool: pool.clone(),
        executor: Executor::new(pool.clone(), key_store, tail, 1 << 20, tasks.clone()),
        progress: ProjectionProgress::new(registry::all().iter().map(|projection| projection.name())),
        live_replies: LiveReplies::new(),
        chain: Arc::new(chain),
        settings: ReplySettings { concurrency: 1, ..ReplySettings::default() },
        clock: Clock::system(),
        worker: "test".to_owned(),
        tools: Tools::new(Quizzes::new(QuestionBank::built_in().unwrap(), 5), Vec::new()),
        files: FileStore::over(Arc::new(InMemory::new()), "memory"),
        tasks: tasks.clone(),
    });
    let signals =
        ShutdownSignals { stop_accepting: CancellationToken::new(), abort: CancellationToken::new() };
    ReplyWorkerPool::new(pool, handler, Uuid::from_u128(9), tasks, signals)
}

async fn pending(db: &PgPool) -> Vec<Uuid> {
    query::due(db, 10).await.unwrap().into_iter().map(|row| row.reply_id).collect()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn panicked_attempt_is_retried_when_its_lease_expires(db: PgPool) {
    sqlx::query(
        "INSERT INTO pending_replies (reply_id, conversation_id, owner, message_id, position, requested_at, deadline, attempt)
         VALUES ($1, $1, $1, $1, 1, now(), now() + interval '180 seconds', 0)",
    )
    .bind(REPLY)
    .execute(&db)
    .await
    .unwrap();
    let workers = workers(&db);
    let row = query::by_id(&db, REPLY).await.unwrap().unwrap();
    for attempt in 1..=2 {
        assert_eq!(pending(&db).await, [REPLY], "attempt {attempt}");
        let made = workers.begin(row.clone(), workers.try_permit().unwrap()).await.unwrap();
        assert!(made.unwrap().await.unwrap_err().is_panic());
        assert_eq!((workers.running(), workers.free_slots()), (0, 1));
        assert!(workers.slot_released().now_or_never().is_some(), "no waiter is woken");
        // The lease is still valid: a redelivered message leaves the reply to the queue.
        assert!(pending(&db).await.is_empty());
        assert!(workers.begin(row.clone(), workers.try_permit().unwrap()).await.unwrap().is_none());
        assert!(workers.slot_released().now_or_never().is_none(), "a waiter is woken twice");
        sqlx::query("UPDATE reply_leases SET until = clock_timestamp()").execute(&db).await.unwrap();
    }
    workers.signals().stop_accepting.cancel();
    assert!(workers.keep_leases().now_or_never().is_some(), "the end of the process waits for it");
}
