//! The high-water mark ("floor"): readers never skip an event, in whichever order concurrent appends commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use event_store::{LogReader, RecordedEvent};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Acquire as _, Connection, PgConnection, PgPool};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::support::{Append, MASTER, code, key_store, until};

const WRITERS: u64 = 10;
const READERS: u64 = 4;
/// How long the writers write, in seconds, unless `FLOOR_SECONDS` is set.
const DEFAULT_SECONDS: u64 = 20;

fn env_number(name: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "only this function of the tests reads the environment")]
    let value = std::env::var(name);
    value.ok().map(|text| text.parse().unwrap())
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn readers_never_skip_an_event(_pool: PgPoolOptions, options: PgConnectOptions) {
    let seed = env_number("FLOOR_SEED").unwrap_or_else(rand::random);
    let end = Instant::now() + Duration::from_secs(env_number("FLOOR_SECONDS").unwrap_or(DEFAULT_SECONDS));
    let mut written = JoinSet::new();
    for writer in 0..WRITERS {
        written.spawn(write(options.clone(), StdRng::seed_from_u64(seed.wrapping_add(writer)), end));
    }

    let pool = PgPoolOptions::new().max_connections(8).connect_with(options.clone()).await.unwrap();
    let reader = LogReader::new(pool.clone(), Arc::new(key_store(&pool, &MASTER)));
    let done = Arc::new(AtomicBool::new(false));
    let (mut settled, mut naive) = (JoinSet::new(), JoinSet::<Vec<i64>>::new());
    for number in 0..READERS {
        let random = StdRng::seed_from_u64(seed.wrapping_add(100 + number));
        settled.spawn(read(reader.clone(), random, Arc::clone(&done)));
    }
    #[cfg(feature = "fault-injection")]
    naive.spawn(read(reader.clone().naive(), StdRng::seed_from_u64(seed), Arc::clone(&done)));

    let mut acknowledged = Vec::new();
    let mut rolled_back = 0;
    while let Some(outcome) = written.join_next().await {
        let outcome = outcome.unwrap();
        acknowledged.extend(outcome.acknowledged);
        rolled_back += outcome.rolled_back;
    }
    done.store(true, Ordering::SeqCst);

    let table: Vec<i64> =
        sqlx::query_scalar("SELECT position FROM events ORDER BY position").fetch_all(&pool).await.unwrap();
    acknowledged.sort_unstable();
    assert_eq!(acknowledged, table, "the acknowledged positions differ from the table");
    assert!(
        table.len() > 1_000 && rolled_back > 100,
        "too few events ({}) or rollbacks ({rolled_back})",
        table.len()
    );
    while let Some(order) = settled.join_next().await {
        let order = order.unwrap();
        let missed = table.iter().filter(|position| order.binary_search(position).is_err()).count();
        assert_eq!(missed, 0, "missed with seed {seed}");
        assert_eq!(order, table, "duplicated or out of order with seed {seed}");
    }
    let mut lost = Vec::new();
    while let Some(order) = naive.join_next().await {
        lost.push(table.len() - order.unwrap().len());
    }
    #[expect(clippy::print_stdout, reason = "prints the seed to repeat the run")]
    {
        println!(
            "seed {seed}: {} events, {rolled_back} appends rolled back; {READERS} readers missed none, a naive one missed {lost:?}",
            table.len()
        );
    }
    assert!(
        lost.iter().all(|lost| *lost > 0),
        "the naive reader missed no event: the load is too light for the test"
    );
    assert_eq!(lost.is_empty(), cfg!(not(feature = "fault-injection")));
    pool.close().await;
}

#[derive(Default)]
struct Written {
    acknowledged: Vec<i64>,
    rolled_back: u64,
}

async fn write(options: PgConnectOptions, mut random: StdRng, end: Instant) -> Written {
    let mut connection = PgConnection::connect_with(&options).await.unwrap();
    let mut written = Written::default();
    while Instant::now() < end {
        let shape: u32 = random.random_range(0..100);
        if shape < 35 {
            // Like the program: one autocommitted statement.
            written
                .acknowledged
                .extend(random_append(&mut random).run(&mut connection).await.unwrap().positions);
            continue;
        }
        let mut transaction = Connection::begin(&mut connection).await.unwrap();
        let mut drawn = Vec::new();
        if shape >= 75 {
            let mut savepoint = transaction.begin().await.unwrap();
            random_append(&mut random).run(&mut *savepoint).await.unwrap();
            pause(&mut savepoint, &mut random).await;
            savepoint.rollback().await.unwrap();
            written.rolled_back += 1;
        }
        drawn.extend(random_append(&mut random).run(&mut *transaction).await.unwrap().positions);
        pause(&mut transaction, &mut random).await;
        if shape >= 60 {
            drawn.extend(random_append(&mut random).run(&mut *transaction).await.unwrap().positions);
            pause(&mut transaction, &mut random).await;
        }
        // 15 of the 65 percent that get here.
        if random.random_bool(15.0 / 65.0) {
            transaction.rollback().await.unwrap();
            written.rolled_back += 1;
        } else {
            transaction.commit().await.unwrap();
            written.acknowledged.extend(drawn);
        }
    }
    connection.close().await.unwrap();
    written
}

/// One to three events of a new stream.
fn random_append(random: &mut StdRng) -> Append {
    Append::pins(Uuid::from_u128(random.random()), 0, random.random_range(1..=3))
}

async fn pause(connection: &mut PgConnection, random: &mut StdRng) {
    let seconds = if random.random_bool(0.5) { 0.0 } else { random.random_range(0.0..0.03) };
    sqlx::query("SELECT pg_sleep($1)").bind(seconds).execute(connection).await.unwrap();
}

/// Reads until the writers are done and all events are read; returns the positions in reading order.
async fn read(reader: LogReader, mut random: StdRng, done: Arc<AtomicBool>) -> Vec<i64> {
    let mut order: Vec<i64> = Vec::new();
    loop {
        let writers_done = done.load(Ordering::SeqCst);
        let after = order.last().copied().unwrap_or(0);
        let events: Vec<Arc<RecordedEvent>> =
            reader.read_after(after, random.random_range(1..50)).await.unwrap();
        if events.is_empty() {
            if writers_done {
                return order;
            }
            // Like the log tail between two polls.
            tokio::time::sleep(Duration::from_millis(random.random_range(0..5))).await;
        }
        order.extend(events.iter().map(|event| event.position));
    }
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn floor_stays_below_open_append(pool: PgPool) {
    let reader = LogReader::new(pool.clone(), Arc::new(key_store(&pool, &MASTER)));
    let stream = Uuid::from_u128(1);
    Append::pins(stream, 0, 1).run(&pool).await.unwrap(); // 1
    let mut open = pool.begin().await.unwrap();
    let mut savepoint = open.begin().await.unwrap();
    Append::pins(stream, 1, 1).run(&mut *savepoint).await.unwrap(); // 2, rolled back
    savepoint.rollback().await.unwrap();
    let floor = async || {
        let bounds = reader.bounds().await.unwrap();
        let read: Vec<i64> =
            sqlx::query_scalar("SELECT position FROM read_events(0, 10)").fetch_all(&pool).await.unwrap();
        (bounds.head, bounds.safe_position, read)
    };
    assert_eq!(floor().await, (2, 2, vec![1]), "a rolled-back savepoint holds the floor back");
    Append::pins(stream, 1, 1).run(&mut *open).await.unwrap(); // 3
    Append::pins(Uuid::from_u128(2), 0, 1).run(&pool).await.unwrap(); // 4
    assert_eq!(floor().await, (4, 2, vec![1]));
    assert!(reader.oldest_open_append_age().await.unwrap() > 0.0);
    assert_eq!(reader.last_position().await.unwrap(), 1);
    open.commit().await.unwrap();
    assert_eq!(floor().await, (4, 4, vec![1, 3, 4]));
    assert_eq!(reader.last_position().await.unwrap(), 4);
    assert!(reader.oldest_open_append_age().await.unwrap() == 0.0);
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn open_first_append_holds_the_floor(pool: PgPool) {
    let mut open = pool.begin().await.unwrap();
    Append::pins(Uuid::from_u128(1), 0, 1).run(&mut *open).await.unwrap();
    Append::pins(Uuid::from_u128(2), 0, 1).run(&pool).await.unwrap();
    let read: Vec<i64> =
        sqlx::query_scalar("SELECT position FROM read_events(0, 10)").fetch_all(&pool).await.unwrap();
    assert_eq!(read, [0_i64; 0]);
    open.rollback().await.unwrap();
    let read: Vec<i64> =
        sqlx::query_scalar("SELECT position FROM read_events(0, 10)").fetch_all(&pool).await.unwrap();
    assert_eq!(read, [2]);
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn read_in_repeatable_read_transaction_is_rejected(pool: PgPool) {
    for isolation in ["REPEATABLE READ", "SERIALIZABLE"] {
        let mut transaction = pool.begin().await.unwrap();
        sqlx::query(&format!("SET TRANSACTION ISOLATION LEVEL {isolation}"))
            .execute(&mut *transaction)
            .await
            .unwrap();
        let read = sqlx::query("SELECT * FROM read_events(0, 10)").fetch_all(&mut *transaction).await;
        assert_eq!(code(read), "VB004", "{isolation}");
    }
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn only_appends_of_this_database_hold_the_floor(pool: PgPool) {
    // A transaction older than any append, which writes another table.
    let mut writing = pool.begin().await.unwrap();
    sqlx::query("INSERT INTO checkpoints VALUES ('x', 0)").execute(&mut *writing).await.unwrap();
    // An append in another database of the same server, and unrelated advisory locks.
    let elsewhere = (*pool.connect_options()).clone().database("postgres");
    let mut elsewhere = PgConnection::connect_with(&elsewhere).await.unwrap();
    sqlx::query("SELECT pg_advisory_lock_shared(22082::bigint << 48)").execute(&mut elsewhere).await.unwrap();
    let mut other = pool.acquire().await.unwrap();
    sqlx::query("SELECT pg_advisory_lock_shared(22081::bigint << 48), pg_advisory_lock(22082, 0)")
        .execute(&mut *other)
        .await
        .unwrap();
    until(&pool, "SELECT count(*) >= 3 FROM pg_locks WHERE locktype = 'advisory'").await;

    Append::pins(Uuid::from_u128(1), 0, 2).run(&pool).await.unwrap();
    let read: Vec<i64> =
        sqlx::query_scalar("SELECT position FROM read_events(0, 10)").fetch_all(&pool).await.unwrap();
    assert_eq!(read, [1, 2]);
    // Cross-check: the same lock in this database holds the floor.
    let mut ours = pool.begin().await.unwrap();
    sqlx::query("SELECT pg_advisory_xact_lock_shared(22082::bigint << 48)")
        .execute(&mut *ours)
        .await
        .unwrap();
    let read: Vec<i64> =
        sqlx::query_scalar("SELECT position FROM read_events(0, 10)").fetch_all(&pool).await.unwrap();
    assert_eq!(read, [0_i64; 0]);
    ours.rollback().await.unwrap();
    elsewhere.close().await.unwrap();
}
