//! Subscriptions: every event once and in order, for late and slow subscribers too.

use std::sync::Arc;

use event_store::{LogError, LogReader, LogTail, Subscription};
use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::{Append, Log, WAIT_TIMEOUT};

const STREAM: Uuid = Uuid::from_u128(1);
/// More batches than the tail buffers for a slow subscriber.
const MORE_THAN_BUFFERED: i64 = 300;

/// A running log tail.
struct RunningTail {
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl RunningTail {
    fn start(log: &Log) -> Self {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(log.tail.clone().run(stop.clone()));
        Self { stop, tasks }
    }

    async fn stop(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }
}

/// Appends event `n`, which gets position `n`.
async fn append(log: &Log, n: i64) {
    let appended = Append::pins(STREAM, n - 1, 1).run(&log.pool).await.unwrap();
    assert_eq!(appended.positions, [n]);
    log.tail.notify_appended();
}

/// Returns the positions that `subscription` yields up to `end`.
async fn until(subscription: &mut Subscription, end: i64) -> Vec<i64> {
    let mut got = Vec::new();
    while got.last().is_none_or(|last| *last < end) {
        let next = tokio::time::timeout(WAIT_TIMEOUT, subscription.next(50)).await;
        let events = next.unwrap_or_else(|_| panic!("timed out after {got:?}")).unwrap();
        assert!(!events.is_empty());
        got.extend(events.iter().map(|event| event.position));
        assert_eq!(subscription.position(), *got.last().unwrap());
    }
    got
}

fn all(from: i64, to: i64) -> Vec<i64> {
    (from..=to).collect()
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn late_subscriber_gets_past_then_live_events(pool: PgPool) {
    let log = Log::new(&pool);
    let tailing = RunningTail::start(&log);
    for n in 1..=120 {
        append(&log, n).await;
    }
    let (mut whole, mut rest) = (log.tail.subscribe(0), log.tail.subscribe(100));
    assert_eq!(until(&mut whole, 120).await, all(1, 120));
    for n in 121..=140 {
        append(&log, n).await;
    }
    assert_eq!(until(&mut whole, 140).await, all(121, 140));
    assert_eq!(until(&mut rest, 140).await, all(101, 140));
    rest.seek(138);
    assert_eq!(until(&mut rest, 140).await, all(139, 140));
    tailing.stop().await;
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn lagging_subscriber_misses_nothing(pool: PgPool) {
    let log = Log::new(&pool);
    let tailing = RunningTail::start(&log);
    let (mut quick, mut slow) = (log.tail.subscribe(0), log.tail.subscribe(0));
    append(&log, 1).await;
    assert_eq!(until(&mut quick, 1).await, [1]);
    assert_eq!(until(&mut slow, 1).await, [1]);
    // Both have caught up and depend on the tail.
    catch_up(&pool, &mut quick).await;
    catch_up(&pool, &mut slow).await;
    // The quick subscriber gets each event before the next is appended, so each arrives in a separate batch.
    for n in 2..=MORE_THAN_BUFFERED {
        append(&log, n).await;
        assert_eq!(until(&mut quick, n).await, [n]);
    }
    assert_eq!(until(&mut slow, MORE_THAN_BUFFERED).await, all(2, MORE_THAN_BUFFERED));
    append(&log, MORE_THAN_BUFFERED + 1).await;
    assert_eq!(until(&mut slow, MORE_THAN_BUFFERED + 1).await, [MORE_THAN_BUFFERED + 1]);
    tailing.stop().await;
}

/// Lets `subscription` reach the end of the log, so that it waits for the tail.
async fn catch_up(pool: &PgPool, subscription: &mut Subscription) {
    let waited = tokio::time::timeout(WAIT_TIMEOUT, async {
        while !subscription.has_caught_up() {
            tokio::select! {
                got = subscription.next(50) => panic!("unexpected events: {got:?}"),
                () = round_trips(pool) => {}
            }
        }
    });
    waited.await.unwrap();
}

/// Takes a little longer than a read of the log.
async fn round_trips(pool: &PgPool) {
    for _ in 0..20 {
        crate::support::until(pool, "SELECT true").await;
    }
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn events_before_tail_start_reach_waiting_subscriber(pool: PgPool) {
    let log = Log::new(&pool);
    let mut subscription = log.tail.subscribe(0);
    catch_up(&pool, &mut subscription).await;
    append(&log, 1).await;
    let tailing = RunningTail::start(&log);
    assert_eq!(until(&mut subscription, 1).await, [1]);
    tailing.stop().await;
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn restarted_tail_leaves_no_gap(pool: PgPool) {
    let log = Log::new(&pool);
    let mut subscription = log.tail.subscribe(0);
    let mut last_read = 0;
    for round in 0..3 {
        let tailing = RunningTail::start(&log);
        for n in 1..=5 {
            append(&log, round * 10 + n).await;
        }
        assert_eq!(until(&mut subscription, round * 10 + 5).await, all(last_read + 1, round * 10 + 5));
        last_read = round * 10 + 5;
        tailing.stop().await;
        // No tail runs during these appends.
        for n in 6..=10 {
            append(&log, round * 10 + n).await;
        }
        let mut late = log.tail.subscribe(0);
        assert_eq!(until(&mut late, round * 10 + 10).await, all(1, round * 10 + 10));
    }
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn regressed_floor_withholds_no_event_forever(pool: PgPool) {
    let log = Log::new(&pool);
    let tailing = RunningTail::start(&log);
    let mut quick = log.tail.subscribe(0);
    append(&log, 1).await;
    assert_eq!(until(&mut quick, 1).await, [1]);
    // From here on `quick` gets its events from the tail, which has therefore read them before it is stopped.
    catch_up(&pool, &mut quick).await;
    // Only a gap makes readers check the floor.
    sqlx::query("SELECT nextval('events_position_seq')").execute(&pool).await.unwrap();
    Append::pins(STREAM, 1, 2).run(&pool).await.unwrap();
    log.tail.notify_appended();
    assert_eq!(until(&mut quick, 4).await, [3, 4]);
    tailing.stop().await;
    // An append that read the sequence long ago takes its lock only now.
    let mut slow = pool.begin().await.unwrap();
    sqlx::query("SELECT pg_advisory_xact_lock_shared((append_lock_tag() << 48) | 1)")
        .execute(&mut *slow)
        .await
        .unwrap();
    let mut subscription = log.tail.subscribe(0);
    assert_eq!(until(&mut subscription, 1).await, [1]);
    let held_back = async {
        loop {
            {
                let mut waiting = std::pin::pin!(subscription.next(50));
                tokio::select! {
                    got = &mut waiting => panic!("the events are not held back: {got:?}"),
                    () = round_trips(&pool) => {}
                }
            }
            if !subscription.has_caught_up() {
                break;
            }
        }
    };
    tokio::time::timeout(WAIT_TIMEOUT, held_back).await.expect("the subscription knows of more events");
    slow.rollback().await.unwrap();
    // No event is appended, so the tail sends no batch.
    assert_eq!(until(&mut subscription, 4).await, [3, 4]);
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn unknown_event_stops_subscription_exactly_there(pool: PgPool) {
    let log = Log::new(&pool);
    let mut subscription = log.tail.subscribe(0);
    let tailing = RunningTail::start(&log);
    append(&log, 1).await;
    assert_eq!(until(&mut subscription, 1).await, [1]);
    let mut unknown = Append::pins(STREAM, 1, 3);
    unknown.events[1].event_type = "conversation_melted".to_owned();
    unknown.run(&pool).await.unwrap();
    log.tail.notify_appended();
    assert_eq!(until(&mut subscription, 2).await, [2]);
    for _ in 0..2 {
        let error = tokio::time::timeout(WAIT_TIMEOUT, subscription.next(50)).await.unwrap().unwrap_err();
        assert!(
            matches!(&error, LogError::Undecodable { position: 3, event_type, .. } if event_type == "conversation_melted")
        );
        assert_eq!(subscription.position(), 2);
        subscription.seek(2);
    }
    tailing.stop().await;
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn unknown_event_stops_waiting_subscriber(pool: PgPool) {
    let log = Log::new(&pool);
    let tailing = RunningTail::start(&log);
    append(&log, 1).await;
    let mut subscription = log.tail.subscribe(0);
    assert_eq!(until(&mut subscription, 1).await, [1]);
    catch_up(&pool, &mut subscription).await;
    let mut unknown = Append::pins(STREAM, 1, 1);
    unknown.events[0].event_version = "2".to_owned();
    unknown.run(&pool).await.unwrap();
    log.tail.notify_appended();
    let met = tokio::time::timeout(WAIT_TIMEOUT, subscription.next(50)).await.unwrap();
    assert!(matches!(met, Err(LogError::Undecodable { position: 2, .. })), "{met:?}");
    tailing.stop().await;
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn tail_continues_after_lost_connections(pool: PgPool) {
    let log = Log::new(&pool);
    let own = PgPool::connect_with((*pool.connect_options()).clone()).await.unwrap();
    let reader = LogReader::new(own.clone(), Arc::clone(&log.key_store));
    let apart = Log { tail: LogTail::new(reader.clone()), reader, ..log.clone() };
    let mut subscription = apart.tail.subscribe(0);
    let tailing = RunningTail::start(&apart);
    append(&apart, 1).await;
    assert_eq!(until(&mut subscription, 1).await, [1]);
    for n in 2..=10 {
        sqlx::query(
            "SELECT pg_terminate_backend(pid, 20000) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%FROM events WHERE position%'",
        )
        .execute(&pool)
        .await
        .unwrap();
        append(&apart, n).await;
        assert_eq!(until(&mut subscription, n).await, [n]);
    }
    tailing.stop().await;
    own.close().await;
}
