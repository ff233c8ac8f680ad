//! What is left of a reply whose attempt panicked, against a real database.

use std::sync::atomic::{AtomicBool, Ordering};

use event_store::{LogReader, MasterKey, Tail, Vault};
use futures::FutureExt as _;
use object_store::memory::InMemory;
use projections::models;
use projections::pending_replies::query;
use projections::progress::Progress;
use serde_json::{Map, Value};
use sqlx::PgPool;

use super::*;
use crate::ai::chain::Link;
use crate::ai::{Catalogue, Chain, CircuitSettings, ModelTable, Pieces, Prompt, Provider};
use crate::bootstrap::database::MIGRATOR;
use crate::clock::Clock;
use crate::files::FileStore;
use crate::live::Hub;
use crate::quizzes::{Bank, Quizzes};
use crate::replies::{ReplySettings, WorkerParts};
use event_store::Executor;

const REPLY: Uuid = Uuid::from_u128(1);

/// A provider that panics as soon as it may be asked.
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

    fn stream(&self, _: Prompt) -> Pieces {
        Box::pin(futures::stream::empty())
    }
}

/// A workers with one place, where every attempt panics.
fn workers(db: &PgPool) -> ReplyWorkerPool {
    let pool = WarmPool::from(db.clone());
    let vault = Arc::new(Vault::new(pool.clone(), MasterKey::new(&[7; 32]).unwrap()));
    let tail = Tail::new(LogReader::new(pool.clone(), Arc::clone(&vault)));
    let tasks = TaskTracker::new();
    let provider = Arc::new(Panics::default());
    let links = vec![Link { provider: Arc::clone(&provider) as Arc<dyn Provider>, key: None }];
    let catalogue = Catalogue::new(ModelTable::parse("[]").unwrap(), [("panics", "own".to_owned())], None);
    let chain = Chain::new(links, catalogue, CircuitSettings::default());
    provider.armed.store(true, Ordering::Relaxed);
    let handler = ReplyHandler::new(WorkerParts {
        pool: pool.clone(),
        executor: Executor::new(pool.clone(), vault, tail, 1 << 20, tasks.clone()),
        progress: Progress::new(models::all().iter().map(|projection| projection.name())),
        hub: Hub::new(),
        chain: Arc::new(chain),
        settings: ReplySettings { concurrency: 1, ..ReplySettings::default() },
        clock: Clock::system(),
        worker: "test".to_owned(),
        quizzes: Quizzes::new(Bank::built_in().unwrap(), 5),
        files: FileStore::over(Arc::new(InMemory::new()), "memory"),
        tasks: tasks.clone(),
    });
    let signals =
        ShutdownSignals { stop_accepting: CancellationToken::new(), abort: CancellationToken::new() };
    ReplyWorkerPool::new(pool, handler, Uuid::from_u128(9), tasks, signals)
}

async fn owed(db: &PgPool) -> Vec<Uuid> {
    query::due(db, 10).await.unwrap().into_iter().map(|row| row.reply_id).collect()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_reply_whose_attempt_panicked_is_brought_again_when_its_lease_has_run_out(db: PgPool) {
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
        assert_eq!(owed(&db).await, [REPLY], "attempt {attempt}");
        let made = workers.begin(row.clone(), workers.try_permit().unwrap()).await.unwrap();
        assert!(made.unwrap().await.unwrap_err().is_panic());
        assert_eq!((workers.running(), workers.free_slots()), (0, 1));
        assert!(workers.slot_released().now_or_never().is_some(), "nobody is woken");
        // Its lease still holds: whoever brings it at once, a message that comes again, leaves it to the queue.
        assert!(owed(&db).await.is_empty());
        assert!(workers.begin(row.clone(), workers.try_permit().unwrap()).await.unwrap().is_none());
        assert!(
            workers.slot_released().now_or_never().is_none(),
            "whoever is woken for nothing comes again for nothing"
        );
        sqlx::query("UPDATE reply_leases SET until = clock_timestamp()").execute(&db).await.unwrap();
    }
    workers.signals().stop_accepting.cancel();
    assert!(workers.keep_leases().now_or_never().is_some(), "the end of the process waits for it");
}
