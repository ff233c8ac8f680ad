//! The runner: rows and checkpoint together, each event once whoever runs, and a stop at an event that does not fit.

use std::sync::Arc;

use projections::models;
use projections::runner::Projection;
use projections::users::Users;
use sqlx::PgPool;

use crate::events::{ADA, TALK, registered, sent, started};
use crate::probe::{GATE, Probe};
use crate::support::{Append, Log, SOON, rows_of, until};

/// Appends `count` messages one by one; gives all positions of the log.
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
async fn a_batch_that_two_runners_hold_is_applied_once(pool: PgPool) {
    Probe::prepare(&pool).await;
    let log = Log::new(&pool);
    log.append(&[registered(ADA, "ada@example.org", None, 0)]).await;
    log.project(models::all()).await;
    log.project(probe(None)).await;
    let positions = messages(&log, 20).await;
    let end = *positions.last().unwrap();

    // Both runners have read the same batch, and wait for the checkpoints.
    let mut checkpoints = pool.begin().await.unwrap();
    sqlx::query("SELECT * FROM checkpoints FOR UPDATE").execute(&mut *checkpoints).await.unwrap();
    let all = || models::all().into_iter().chain(probe(None)).collect::<Vec<_>>();
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
    assert_eq!(Probe::noted(&pool).await, (1..=end).collect::<Vec<_>>());
    let counted: i64 =
        sqlx::query_scalar("SELECT message_count FROM conversations").fetch_one(&pool).await.unwrap();
    assert_eq!(counted, 20);
    assert_eq!(rows_of(&pool, "messages").await.len(), 20);
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn an_event_that_does_not_fit_stops_its_projection_there_and_no_other(pool: PgPool) {
    let log = Log::new(&pool);
    log.append(&[registered(ADA, "ada@example.org", None, 0), started(TALK, None, 0)]).await;
    let good = *log.append(&[sent(TALK, 1, "one", 1)]).await.last().unwrap();
    // The same message once more: its row cannot be written twice. More events behind it, in the same batch.
    log.append(&[sent(TALK, 1, "one again", 2)]).await;
    let end = *log.append(&[sent(TALK, 2, "two", 3)]).await.last().unwrap();

    let running = log.run(models::all());
    let names: Vec<_> = models::all().iter().map(|projection| projection.name()).collect();
    assert!(running.progress.wait(&names, end, SOON).await, "nobody waits for the stopped one");
    for (name, position, stopped) in running.progress.all() {
        let expected = if name == "messages" { (good, true) } else { (end, false) };
        assert_eq!((position, stopped), expected, "{name}");
    }
    running.stop().await;
    assert_eq!(rows_of(&pool, "messages").await.len(), 1, "all before it, and nothing after it");
    let checkpoint: i64 =
        sqlx::query_scalar("SELECT position FROM checkpoints WHERE projection = 'messages'")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(checkpoint, good);
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn two_runners_that_meet_a_poison_event_apply_what_is_before_it_once(pool: PgPool) {
    Probe::prepare(&pool).await;
    let log = Log::new(&pool);
    let positions = messages(&log, 120).await;
    let poison = positions[100];
    let running = [log.run(probe(Some(poison))), log.run(probe(Some(poison)))];
    for running in running {
        assert!(
            running.progress.wait(&["probe"], poison, SOON).await,
            "it is not waited for when it has stopped"
        );
        assert_eq!(running.progress.all(), [("probe", poison - 1, true)]);
        running.stop().await;
    }
    assert_eq!(Probe::noted(&pool).await, positions[..100]);
    assert_eq!(Probe::checkpoint(&pool).await, poison - 1);

    // Once the projection is mended it goes on from there.
    log.project(probe(None)).await;
    assert_eq!(Probe::noted(&pool).await, positions);
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn an_event_nobody_knows_stops_every_projection_there(pool: PgPool) {
    let log = Log::new(&pool);
    let good = *log.append(&[registered(ADA, "ada@example.org", None, 0)]).await.last().unwrap();
    let running = log.run(models::all());
    running.reach(good).await;
    // The runners are waiting for the tail when it comes.
    let mut unknown = Append::pins(TALK.uuid(), 0, 1);
    unknown.events[0].event_version = "2".to_owned();
    let bad = unknown.run(&pool).await.unwrap().positions[0];
    log.tail.notify_appended();
    let names: Vec<_> = models::all().iter().map(|projection| projection.name()).collect();
    assert!(running.progress.wait(&names, bad, SOON).await);
    for (name, position, stopped) in running.progress.all() {
        assert_eq!((position, stopped), (good, true), "{name}");
    }
    running.stop().await;
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn rows_and_checkpoint_move_together_when_the_session_is_killed(pool: PgPool) {
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
        // Its rows are written, the commit is to come.
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
        assert_eq!((Probe::noted(&pool).await, Probe::checkpoint(&pool).await), (vec![], 0));
        assert!(!killed.contains(&pid), "another session each time");
        killed.push(pid);
    }
    sqlx::query("SELECT pg_advisory_unlock($1)").bind(GATE).execute(&mut *gate).await.unwrap();
    running.reach(end).await;
    assert!(running.progress.all().iter().all(|(_, _, stopped)| !stopped), "a lost session is no poison");
    running.stop().await;
    assert_eq!(Probe::noted(&pool).await, positions);
    assert_eq!(Probe::checkpoint(&pool).await, end);
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn a_model_goes_on_from_its_checkpoint(pool: PgPool) {
    Probe::prepare(&pool).await;
    let log = Log::new(&pool);
    messages(&log, 3).await;
    for n in 10..13 {
        log.project(probe(None)).await;
        log.append(&[sent(TALK, n, "words", 2)]).await;
    }
    log.project(vec![Arc::new(Users)]).await;
    log.project(probe(None)).await;
    assert_eq!(Probe::noted(&pool).await, (1..=7).collect::<Vec<_>>());
}
