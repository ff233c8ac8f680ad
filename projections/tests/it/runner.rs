//! The projection runner: commits rows and checkpoint together, applies each event once, stops at an event that fails.

use std::sync::Arc;

use projections::registry;
use projections::runner::Projection;
use projections::users::Users;
use sqlx::PgPool;

use crate::events::{ADA, TALK, registered, sent, started};
use crate::probe::{GATE, Probe};
use crate::support::{Append, Log, WAIT_TIMEOUT, rows_of, until};

/// Appends `count` messages one by one; returns all positions of the log.
async fn messages(log: &Log, count: u128) -> Vec<i64> {
    let mut positions = log.append(&[started(TALK, None, 0)]).await;
    for n in 0..count {
        positions.extend(log.append(&[sent(TALK, n, "words", 1)]).await);
    }
    positions
}

fn probe(poison: Option<i64>) -> Vec<Arc<dyn Projection>> {
    vec![Arc::new(Probe { poison, ..Probe::default() })]
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn batch_read_by_two_runners_is_applied_once(pool: PgPool) {
    Probe::prepare(&pool).await;
    let log = Log::new(&pool);
    log.append(&[registered(ADA, "ada@example.org", None, 0)]).await;
    log.project(registry::all()).await;
    log.project(probe(None)).await;
    let positions = messages(&log, 20).await;
    let end = *positions.last().unwrap();

    // Both runners have read the same batch and wait for the checkpoints.
    let mut checkpoints = pool.begin().await.unwrap();
    sqlx::query("SELECT * FROM checkpoints FOR UPDATE").execute(&mut *checkpoints).await.unwrap();
    let all = || registry::all().into_iter().chain(probe(None)).collect::<Vec<_>>();
    let (one, other) = (log.run(all()), log.run(all()));
    let waiting = 2 * all().len();
    until(
        &pool,
        &format!(
            "SELECT count(*) = {waiting} FROM pg_stat_activity
             WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ),
    )
    .await;
    checkpoints.rollback().await.unwrap();
    for running in [one, other] {
        running.reach(end).await;
        running.stop().await;
    }
    assert_eq!(Probe::recorded(&pool).await, (1..=end).collect::<Vec<_>>());
    let counted: i64 =
        sqlx::query_scalar("SELECT message_count FROM conversations").fetch_one(&pool).await.unwrap();
    assert_eq!(counted, 20);
    assert_eq!(rows_of(&pool, "messages").await.len(), 20);
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn failing_event_stops_only_its_projection(pool: PgPool) {
    let log = Log::new(&pool);
    log.append(&[registered(ADA, "ada@example.org", None, 0), started(TALK, None, 0)]).await;
    let good = *log.append(&[sent(TALK, 1, "one", 1)]).await.last().unwrap();
    // The same message again: its row violates the primary key. More events follow in the same batch.
    log.append(&[sent(TALK, 1, "one again", 2)]).await;
    let end = *log.append(&[sent(TALK, 2, "two", 3)]).await.last().unwrap();

    let running = log.run(registry::all());
    let names: Vec<_> = registry::all().iter().map(|projection| projection.name()).collect();
    assert!(running.progress.wait(&names, end, WAIT_TIMEOUT).await, "the wait skips the stopped projection");
    for (name, position, stopped) in running.progress.all() {
        let expected = if name == "messages" { (good, true) } else { (end, false) };
        assert_eq!((position, stopped), expected, "{name}");
    }
    running.stop().await;
    assert_eq!(rows_of(&pool, "messages").await.len(), 1, "rows before the event and none after it");
    let checkpoint: i64 =
        sqlx::query_scalar("SELECT position FROM checkpoints WHERE projection = 'messages'")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(checkpoint, good);
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn two_runners_apply_events_before_poison_event_once(pool: PgPool) {
    Probe::prepare(&pool).await;
    let log = Log::new(&pool);
    let positions = messages(&log, 120).await;
    let poison = positions[100];
    let running = [log.run(probe(Some(poison))), log.run(probe(Some(poison)))];
    for running in running {
        assert!(
            running.progress.wait(&["probe"], poison, WAIT_TIMEOUT).await,
            "the wait skips a stopped projection"
        );
        assert_eq!(running.progress.all(), [("probe", poison - 1, true)]);
        running.stop().await;
    }
    assert_eq!(Probe::recorded(&pool).await, positions[..100]);
    assert_eq!(Probe::checkpoint(&pool).await, poison - 1);

    // The repaired projection continues from there.
    log.project(probe(None)).await;
    assert_eq!(Probe::recorded(&pool).await, positions);
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn unknown_event_version_stops_every_projection(pool: PgPool) {
    let log = Log::new(&pool);
    let good = *log.append(&[registered(ADA, "ada@example.org", None, 0)]).await.last().unwrap();
    let running = log.run(registry::all());
    running.reach(good).await;
    // The event arrives while the runners wait for the tail.
    let mut unknown = Append::pins(TALK.uuid(), 0, 1);
    unknown.events[0].event_version = "2".to_owned();
    let bad = unknown.run(&pool).await.unwrap().positions[0];
    log.tail.notify_appended();
    let names: Vec<_> = registry::all().iter().map(|projection| projection.name()).collect();
    assert!(running.progress.wait(&names, bad, WAIT_TIMEOUT).await);
    for (name, position, stopped) in running.progress.all() {
        assert_eq!((position, stopped), (good, true), "{name}");
    }
    running.stop().await;
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn killed_session_rolls_back_rows_and_checkpoint(pool: PgPool) {
    Probe::prepare(&pool).await;
    let log = Log::new(&pool);
    let positions = messages(&log, 30).await;
    let end = *positions.last().unwrap();
    let mut gate = pool.acquire().await.unwrap();
    sqlx::query("SELECT pg_advisory_lock($1)").bind(GATE).execute(&mut *gate).await.unwrap();

    let gated: Arc<dyn Projection> = Arc::new(Probe { gated: true, ..Probe::default() });
    let running = log.run(vec![gated]);
    let mut killed = Vec::new();
    for _ in 0..3 {
        // The rows are written but not committed.
        until(
            &pool,
            "SELECT EXISTS (SELECT FROM pg_stat_activity
                            WHERE datname = current_database() AND wait_event = 'advisory')",
        )
        .await;
        let pid: i32 = sqlx::query_scalar(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'",
        )
        .fetch_one(&pool)
        .await
        .unwrap();
        sqlx::query("SELECT pg_terminate_backend($1, 20000)").bind(pid).execute(&pool).await.unwrap();
        assert_eq!((Probe::recorded(&pool).await, Probe::checkpoint(&pool).await), (vec![], 0));
        assert!(!killed.contains(&pid), "a new session each time");
        killed.push(pid);
    }
    sqlx::query("SELECT pg_advisory_unlock($1)").bind(GATE).execute(&mut *gate).await.unwrap();
    running.reach(end).await;
    assert!(
        running.progress.all().iter().all(|(_, _, stopped)| !stopped),
        "a lost session does not stop the projection"
    );
    running.stop().await;
    assert_eq!(Probe::recorded(&pool).await, positions);
    assert_eq!(Probe::checkpoint(&pool).await, end);
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn projection_resumes_from_its_checkpoint(pool: PgPool) {
    Probe::prepare(&pool).await;
    let log = Log::new(&pool);
    messages(&log, 3).await;
    for n in 10..13 {
        log.project(probe(None)).await;
        log.append(&[sent(TALK, n, "words", 2)]).await;
    }
    log.project(vec![Arc::new(Users)]).await;
    log.project(probe(None)).await;
    assert_eq!(Probe::recorded(&pool).await, (1..=7).collect::<Vec<_>>());
}
