//! Rebuilds: a replay yields the rows that the runner wrote, without disturbing readers.

use std::sync::Arc;

use aggregates::Event;
use projections::rebuild::{RebuildError, RebuildReport, rebuild};
use projections::registry;
use projections::runner::Projection;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sqlx::PgPool;

use crate::events::{ADA, TALK, registered, sent, started};
use crate::file_history::files;
use crate::history::{history, missing_kinds, quiz_history};
use crate::probe::{GATE, Probe};
use crate::support::{Log, WAIT_TIMEOUT, read_all, rows_of, until};

const HISTORIES: u64 = 16;

async fn rebuilt(log: &Log, projection: &dyn Projection) -> Result<RebuildReport, RebuildError> {
    rebuild(&log.pool.connect_options(), &log.reader, projection, |_, _| {}).await
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn replay_of_any_history_yields_the_live_rows(pool: PgPool) {
    let log = Log::new(&pool);
    let mut random = StdRng::seed_from_u64(31);
    let mut given = Vec::new();
    let running = log.run(registry::all());
    log.append(&[registered(ADA, "ada@example.org", Some("ada"), 0)]).await;
    // Interleaved conversations while the runners follow, so batches of every size occur.
    let (mut lives, mut begun) = (Vec::new(), Vec::new());
    for _ in 0..HISTORIES {
        let talk = history(&mut random, 140);
        let Event::Conversation(first) = &talk[0][0] else { panic!("a conversation begins with its start") };
        // Shorter than the conversation, so either may end first.
        let quiz = quiz_history(&mut random, first.conversation_id, 60);
        begun.push(first.conversation_id);
        lives.extend([talk.into_iter(), quiz.into_iter()]);
    }
    lives.push(files(&mut random, &begun, 120).into_iter());
    let mut end = 0;
    while !lives.is_empty() {
        let index = random.random_range(0..lives.len());
        match lives[index].next() {
            Some(events) => {
                end = *log.append(&events).await.last().unwrap();
                given.extend(events);
            }
            None => drop(lives.remove(index)),
        }
    }
    running.reach(end).await;
    running.stop().await;
    assert_eq!(missing_kinds(&given), [""; 0], "event types missing from the histories");

    for projection in registry::all() {
        let name = projection.name();
        let mut live = Vec::new();
        for table in projection.tables() {
            live.push(rows_of(&pool, table).await);
        }
        assert!(!live[0].is_empty(), "{name} has rows");
        let mut progress = Vec::new();
        let options = pool.connect_options();
        let report =
            rebuild(&options, &log.reader, projection.as_ref(), |at, head| progress.push((at, head)))
                .await
                .unwrap();
        assert!(report.equal, "{name}: {report:?}");
        for (table, live) in projection.tables().iter().zip(&live) {
            assert_eq!(rows_of(&pool, table).await, *live, "{table}");
        }
        assert_eq!(report.before[0].rows, i64::try_from(live[0].len()).unwrap());
        assert_eq!(report.position_after, end);
        // Events that a projection does not handle move its checkpoint later, or not before the process ends.
        assert!(report.position_before <= end);
        assert_eq!(report.events, given.len() as u64 + 1);
        assert_eq!(progress.last(), Some(&(end, end)));
        assert!(progress.is_sorted());

        // Again one event at a time and only the handled ones: neither batching nor skipped events make a difference.
        let mut transaction = pool.begin().await.unwrap();
        for table in projection.tables() {
            sqlx::query(&format!("DELETE FROM {table}")).execute(&mut *transaction).await.unwrap();
        }
        for event in read_all(&log.reader).await {
            if projection.handles(&event.event) {
                projection.apply(&mut transaction, &[event]).await.unwrap();
            }
        }
        for (table, live) in projection.tables().iter().zip(&live) {
            assert_eq!(rows_of(&mut *transaction, table).await, *live, "{table}, in batches of one");
        }
        transaction.rollback().await.unwrap();
    }
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn rebuild_detects_and_repairs_tampered_rows(pool: PgPool) {
    let log = Log::new(&pool);
    log.append(&[started(TALK, Some("a title"), 0), sent(TALK, 1, "words", 1)]).await;
    log.project(registry::all()).await;
    let live = rows_of(&pool, "conversations").await;
    for change in [
        "UPDATE conversations SET title = 'another'",
        "DELETE FROM conversations",
        "INSERT INTO conversations SELECT gen_random_uuid(), owner, title, pinned, archived, message_count,
                last_message, created_at, updated_at, read_to, read_position FROM conversations",
    ] {
        sqlx::query(change).execute(&pool).await.unwrap();
        let report = rebuilt(&log, &projections::conversations::Conversations).await.unwrap();
        assert!(!report.equal, "{change}: {report:?}");
        assert_eq!(rows_of(&pool, "conversations").await, live, "{change}");
    }
    assert!(rebuilt(&log, &projections::conversations::Conversations).await.unwrap().equal);
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn rebuild_removes_erased_text(pool: PgPool) {
    let log = Log::new(&pool);
    log.append(&[started(TALK, Some("a title"), 0), sent(TALK, 1, "words", 1)]).await;
    log.project(registry::all()).await;
    log.erase(ADA.uuid()).await;
    for projection in registry::all() {
        rebuilt(&log, projection.as_ref()).await.unwrap();
    }
    let text: (Option<String>, Option<String>, Option<String>) = sqlx::query_as(
        "SELECT c.title, c.last_message, m.text FROM conversations c JOIN messages m USING (conversation_id)",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(text, (None, None, None));
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn rebuild_keeps_old_rows_visible_and_runners_waiting(pool: PgPool) {
    Probe::prepare(&pool).await;
    let log = Log::new(&pool);
    log.append(&[started(TALK, None, 0), sent(TALK, 1, "one", 1), sent(TALK, 2, "two", 2)]).await;
    log.project(vec![Arc::new(Probe::default())]).await;

    let mut gate = pool.acquire().await.unwrap();
    sqlx::query("SELECT pg_advisory_lock($1)").bind(GATE).execute(&mut *gate).await.unwrap();
    let gated = Probe { gated: true, ..Probe::default() };
    let rebuilding = rebuilt(&log, &gated);
    let watching = async {
        until(&pool, "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)")
            .await;
        assert_eq!(Probe::recorded(&pool).await, [1, 2, 3], "the old rows");
        assert_eq!(Probe::checkpoint(&pool).await, 3);
        // Appended meanwhile; its runner waits for the checkpoint and continues after the rebuild.
        let end = *log.append(&[sent(TALK, 3, "three", 3)]).await.last().unwrap();
        let running = log.run(vec![Arc::new(Probe::default())]);
        until(&pool, "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted)")
            .await;
        sqlx::query("SELECT pg_advisory_unlock($1)").bind(GATE).execute(&mut *gate).await.unwrap();
        (running, end)
    };
    let both = async { tokio::join!(rebuilding, watching) };
    let (report, (running, end)) = tokio::time::timeout(WAIT_TIMEOUT, both).await.expect("no deadlock");
    let report = report.unwrap();
    running.reach(end).await;
    running.stop().await;
    assert!(report.equal);
    assert_eq!(
        (report.position_before, report.position_after, report.events),
        (3, 4, 4),
        "up to the end of the log"
    );
    assert_eq!(Probe::recorded(&pool).await, [1, 2, 3, 4]);
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn failed_rebuild_changes_nothing(pool: PgPool) {
    Probe::prepare(&pool).await;
    let log = Log::new(&pool);
    log.append(&[started(TALK, None, 0), sent(TALK, 1, "one", 1)]).await;
    log.project(vec![Arc::new(Probe::default())]).await;
    let poisoned = Probe { poison: Some(2), ..Probe::default() };
    let failed = rebuilt(&log, &poisoned).await;
    assert!(matches!(failed, Err(RebuildError::Database(_))), "{failed:?}");
    assert_eq!((Probe::recorded(&pool).await, Probe::checkpoint(&pool).await), (vec![1, 2], 2));

    // A checkpoint ahead of the log belongs to another log.
    sqlx::query("UPDATE checkpoints SET position = 99").execute(&pool).await.unwrap();
    let failed = rebuilt(&log, &Probe::default()).await;
    assert!(matches!(failed, Err(RebuildError::OtherLog { position: 99 })), "{failed:?}");
    assert_eq!((Probe::recorded(&pool).await, Probe::checkpoint(&pool).await), (vec![1, 2], 99));
}
