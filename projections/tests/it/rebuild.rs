//! Rebuilding: a replay gives the rows that the runner made, and nobody is disturbed by it.

use std::sync::Arc;

use aggregates::Event;
use projections::models;
use projections::rebuild::{RebuildError, RebuildReport, rebuild};
use projections::runner::Projection;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sqlx::PgPool;

use crate::events::{ADA, TALK, registered, sent, started};
use crate::file_history::files;
use crate::history::{history, missing_kinds, quiz_history};
use crate::probe::{GATE, Probe};
use crate::support::{Log, SOON, read_all, rows_of, until};

const HISTORIES: u64 = 16;

async fn rebuilt(log: &Log, projection: &dyn Projection) -> Result<RebuildReport, RebuildError> {
    rebuild(&log.pool.connect_options(), &log.reader, projection, |_, _| {}).await
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn a_replay_of_any_history_gives_the_rows_that_were_there(pool: PgPool) {
    let log = Log::new(&pool);
    let mut random = StdRng::seed_from_u64(31);
    let mut given = Vec::new();
    let running = log.run(models::all());
    log.append(&[registered(ADA, "ada@example.org", Some("ada"), 0)]).await;
    // Several conversations interleaved, while the runners follow: batches of every size.
    let (mut lives, mut begun) = (Vec::new(), Vec::new());
    for _ in 0..HISTORIES {
        let talk = history(&mut random, 140);
        let Event::Conversation(first) = &talk[0][0] else { panic!("a conversation begins with its start") };
        // Shorter than its conversation, which so may end before it or after it.
        let quiz = quiz_history(&mut random, first.conversation_id(), 60);
        begun.push(first.conversation_id());
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
    assert_eq!(missing_kinds(&given), [""; 0], "the histories are worth nothing");

    for projection in models::all() {
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
        assert_eq!(report.stands, end);
        // Events that do not concern a model move its checkpoint later, or not at all before the process ends.
        assert!(report.stood <= end);
        assert_eq!(report.events, given.len() as u64 + 1);
        assert_eq!(progress.last(), Some(&(end, end)));
        assert!(progress.is_sorted());

        // The same again, one event at a time and only those that concern it: neither how events fall into batches nor
        // what is passed over makes a difference.
        let mut transaction = pool.begin().await.unwrap();
        for table in projection.tables() {
            sqlx::query(&format!("DELETE FROM {table}")).execute(&mut *transaction).await.unwrap();
        }
        for event in read_all(&log.reader).await {
            if projection.concerns(&event.event) {
                projection.apply(&mut transaction, &[event]).await.unwrap();
            }
        }
        for (table, live) in projection.tables().iter().zip(&live) {
            assert_eq!(rows_of(&mut *transaction, table).await, *live, "{table}, one by one");
        }
        transaction.rollback().await.unwrap();
    }
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn a_model_that_was_tampered_with_is_noticed_and_mended(pool: PgPool) {
    let log = Log::new(&pool);
    log.append(&[started(TALK, Some("a title"), 0), sent(TALK, 1, "words", 1)]).await;
    log.project(models::all()).await;
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
async fn a_rebuild_takes_erased_text_out_of_the_models(pool: PgPool) {
    let log = Log::new(&pool);
    log.append(&[started(TALK, Some("a title"), 0), sent(TALK, 1, "words", 1)]).await;
    log.project(models::all()).await;
    log.erase(ADA.uuid()).await;
    for projection in models::all() {
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
async fn readers_see_the_old_rows_and_runners_wait_until_the_rebuild_is_done(pool: PgPool) {
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
        assert_eq!(Probe::noted(&pool).await, [1, 2, 3], "the old rows");
        assert_eq!(Probe::checkpoint(&pool).await, 3);
        // Written meanwhile, for a runner that has to wait for the checkpoint, and then goes on behind the rebuild.
        let end = *log.append(&[sent(TALK, 3, "three", 3)]).await.last().unwrap();
        let running = log.run(vec![Arc::new(Probe::default())]);
        until(&pool, "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted)")
            .await;
        sqlx::query("SELECT pg_advisory_unlock($1)").bind(GATE).execute(&mut *gate).await.unwrap();
        (running, end)
    };
    let both = async { tokio::join!(rebuilding, watching) };
    let (report, (running, end)) = tokio::time::timeout(SOON, both).await.expect("nobody is locked out");
    let report = report.unwrap();
    running.reach(end).await;
    running.stop().await;
    assert!(report.equal);
    assert_eq!((report.stood, report.stands, report.events), (3, 4, 4), "on to the settled end");
    assert_eq!(Probe::noted(&pool).await, [1, 2, 3, 4]);
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn a_rebuild_that_fails_leaves_everything_as_it_was(pool: PgPool) {
    Probe::prepare(&pool).await;
    let log = Log::new(&pool);
    log.append(&[started(TALK, None, 0), sent(TALK, 1, "one", 1)]).await;
    log.project(vec![Arc::new(Probe::default())]).await;
    let poisoned = Probe { poison: Some(2), ..Probe::default() };
    let failed = rebuilt(&log, &poisoned).await;
    assert!(matches!(failed, Err(RebuildError::Database(_))), "{failed:?}");
    assert_eq!((Probe::noted(&pool).await, Probe::checkpoint(&pool).await), (vec![1, 2], 2));

    // A model that is ahead of the log belongs to another one.
    sqlx::query("UPDATE checkpoints SET position = 99").execute(&pool).await.unwrap();
    let failed = rebuilt(&log, &Probe::default()).await;
    assert!(matches!(failed, Err(RebuildError::OtherLog { stood: 99 })), "{failed:?}");
    assert_eq!((Probe::noted(&pool).await, Probe::checkpoint(&pool).await), (vec![1, 2], 99));
}
