//! Logins against a real database: rotation, detection of copies, ends, the cache, and what the append calls.

use std::time::Duration;

use aggregates::ids::{LoginId, UserId};
use event_store::TransactionalWrite;
use futures::future::join_all;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Executor, PgPool};
use uuid::Uuid;

use super::*;
use crate::auth::credentials::{self, Credentials};
use crate::auth::opaque_token::RefreshToken;
use crate::schema::MIGRATOR;

const ADA: UserId = UserId::new(Uuid::from_u128(0xADA));
const BOB: UserId = UserId::new(Uuid::from_u128(0xB0B));

async fn logins(pool: &PgPool) -> Logins {
    for user in [ADA, BOB] {
        sqlx::query("SELECT credential_set($1, 'a hash')").bind(user.uuid()).execute(pool).await.unwrap();
    }
    Logins::new(pool.clone(), LoginPolicy::default())
}

fn login(n: u128) -> LoginId {
    LoginId::new(Uuid::from_u128(n))
}

/// The `n`th token of a test.
fn token(n: u8) -> RefreshToken {
    RefreshToken::from_random([n; 32])
}

async fn started(logins: &Logins, id: LoginId, user: UserId, first: &RefreshToken) {
    assert!(logins.start(id, user, first, 0, None).await.unwrap());
}

async fn ended_reason(pool: &PgPool, id: LoginId) -> Option<String> {
    sqlx::query_scalar("SELECT ended_reason FROM logins WHERE login_id = $1")
        .bind(id.uuid())
        .fetch_one(pool)
        .await
        .unwrap()
}

fn rotated(reissued: bool) -> Rotation {
    Rotation::Rotated { login: login(1), user: ADA, reissued }
}

const REUSE: Rotation = Rotation::Reuse { login: LoginId::new(Uuid::from_u128(1)), user: ADA };
const EXPIRED: Rotation = Rotation::Expired { login: LoginId::new(Uuid::from_u128(1)), user: ADA };

#[sqlx::test(migrator = "MIGRATOR")]
async fn rotation_returns_the_next_token(pool: PgPool) {
    let logins = logins(&pool).await;
    started(&logins, login(1), ADA, &token(0)).await;
    for n in 0..5 {
        assert_eq!(logins.rotate(&token(n), &token(n + 1)).await.unwrap(), rotated(false));
    }
    assert_eq!(logins.is_live(login(1)).await.unwrap(), Some(ADA));
    assert_eq!(logins.rotate(&token(99), &token(98)).await.unwrap(), Rotation::Unknown);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn repeated_rotation_reissues_and_revokes_the_unused_token(pool: PgPool) {
    let logins = logins(&pool).await;
    started(&logins, login(1), ADA, &token(0)).await;
    assert_eq!(logins.rotate(&token(0), &token(1)).await.unwrap(), rotated(false));
    assert_eq!(logins.rotate(&token(0), &token(2)).await.unwrap(), rotated(true));
    assert_eq!(logins.rotate(&token(0), &token(3)).await.unwrap(), rotated(true));
    // The last one is good.
    assert_eq!(logins.rotate(&token(3), &token(4)).await.unwrap(), rotated(false));
    // One that was replaced unused is not: two parties hold tokens.
    assert_eq!(logins.rotate(&token(1), &token(5)).await.unwrap(), REUSE);
    assert_eq!(logins.is_live(login(1)).await.unwrap(), None);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn token_reuse_ends_the_family_at_once(pool: PgPool) {
    let logins = logins(&pool).await;
    started(&logins, login(1), ADA, &token(0)).await;
    started(&logins, login(2), ADA, &token(100)).await;
    logins.rotate(&token(0), &token(1)).await.unwrap();
    logins.rotate(&token(1), &token(2)).await.unwrap();
    assert_eq!(logins.is_live(login(1)).await.unwrap(), Some(ADA));
    // The successor of 0 has been used, so 0 comes from another client.
    assert_eq!(logins.rotate(&token(0), &token(3)).await.unwrap(), REUSE);
    assert_eq!(logins.is_live(login(1)).await.unwrap(), None);
    assert_eq!(ended_reason(&pool, login(1)).await.as_deref(), Some("reuse"));
    for n in [0, 1, 2] {
        assert_eq!(logins.rotate(&token(n), &token(50 + n)).await.unwrap(), EXPIRED);
    }
    assert_eq!(logins.rotate(&token(3), &token(60)).await.unwrap(), Rotation::Unknown);
    // The other login of the same person goes on.
    assert_eq!(logins.is_live(login(2)).await.unwrap(), Some(ADA));
}

/// Waits until `count` sessions of this database wait for a lock in a statement with this text.
async fn waiting(pool: &PgPool, statement: &str, count: i64) {
    loop {
        let waits: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity
                WHERE wait_event_type = 'Lock' AND datname = current_database() AND strpos(query, $1) > 0",
        )
        .bind(statement)
        .fetch_one(pool)
        .await
        .unwrap();
        if waits == count {
            return;
        }
    }
}

/// A lock holds all twenty until the last one has arrived, so that they really run at once.
#[sqlx::test(migrator = "MIGRATOR")]
async fn parallel_rotations_leave_one_valid_token(pool: PgPool) {
    logins(&pool).await;
    let connect = PgConnectOptions::clone(&pool.connect_options());
    let sessions = PgPoolOptions::new().max_connections(20).connect_with(connect).await.unwrap();
    let logins = Logins::new(sessions.clone(), LoginPolicy::default());
    started(&logins, login(1), ADA, &token(0)).await;
    let (old, fresh): (_, Vec<_>) = (token(0), (1..=20).map(token).collect());

    let mut lock_holder = pool.begin().await.unwrap();
    lock_holder.execute("SELECT FROM logins FOR UPDATE").await.unwrap();
    let uses = join_all(fresh.iter().map(|fresh| logins.rotate(&old, fresh)));
    let open = async {
        waiting(&pool, "login_rotate", 20).await;
        lock_holder.commit().await.unwrap();
    };
    let (outcomes, ()) = futures::join!(uses, open);
    let (first, again): (Vec<_>, Vec<_>) =
        outcomes.into_iter().map(Result::unwrap).partition(|outcome| *outcome == rotated(false));
    assert_eq!(first.len(), 1);
    assert_eq!(again, [rotated(true); 19]);

    let good: Vec<u8> = sqlx::query_scalar("SELECT current_hash FROM logins").fetch_one(&pool).await.unwrap();
    let (good, dead): (Vec<_>, Vec<_>) =
        fresh.iter().partition(|token| token.hash().as_bytes().as_slice() == good);
    assert_eq!((good.len(), dead.len()), (1, 19));
    assert_eq!(logins.rotate(good[0], &token(30)).await.unwrap(), rotated(false));
    assert_eq!(logins.rotate(dead[0], &token(31)).await.unwrap(), REUSE);
    assert_eq!(logins.rotate(&token(30), &token(32)).await.unwrap(), EXPIRED);
    sessions.close().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn login_expires_after_idle_and_total_time(pool: PgPool) {
    let logins = logins(&pool).await;
    started(&logins, login(1), ADA, &token(0)).await;
    let (idle, total): (f64, f64) = sqlx::query_as(
        "SELECT extract(epoch FROM idle_until - created_at)::float8, extract(epoch FROM ends_at - created_at)::float8
            FROM logins",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!((idle, total), (7.0 * 86_400.0, 30.0 * 86_400.0));

    pool.execute("UPDATE logins SET idle_until = clock_timestamp()").await.unwrap();
    assert_eq!(logins.rotate(&token(0), &token(1)).await.unwrap(), EXPIRED);
    assert_eq!(logins.is_live(login(1)).await.unwrap(), None);
    assert!(logins.list(ADA).await.unwrap().is_empty());

    // A use moves the idle end, but never past the end of all.
    pool.execute("UPDATE logins SET idle_until = clock_timestamp() + interval '1 hour', ends_at = clock_timestamp() + interval '2 hours'")
        .await
        .unwrap();
    assert_eq!(logins.rotate(&token(0), &token(1)).await.unwrap(), rotated(false));
    let capped: bool =
        sqlx::query_scalar("SELECT idle_until = ends_at FROM logins").fetch_one(&pool).await.unwrap();
    assert!(capped);

    pool.execute(
        "UPDATE logins SET ends_at = clock_timestamp(), idle_until = clock_timestamp() + interval '1 hour'",
    )
    .await
    .unwrap();
    assert_eq!(logins.rotate(&token(1), &token(2)).await.unwrap(), EXPIRED);
    assert_eq!(Logins::new(pool.clone(), LoginPolicy::default()).is_live(login(1)).await.unwrap(), None);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn sign_out_ends_one_login_and_password_change_the_others(pool: PgPool) {
    let logins = logins(&pool).await;
    for n in 1..=4 {
        started(&logins, login(n), ADA, &token(n.try_into().unwrap())).await;
    }
    started(&logins, login(9), BOB, &token(9)).await;
    for n in [1, 2, 3, 4, 9] {
        assert!(logins.is_live(login(n)).await.unwrap().is_some());
    }

    assert_eq!(logins.end(login(1), EndReason::SignedOut).await.unwrap(), Some(ADA));
    assert_eq!(logins.end(login(1), EndReason::SignedOut).await.unwrap(), None);
    assert_eq!(logins.end(login(77), EndReason::SignedOut).await.unwrap(), None);
    assert_eq!(logins.rotate(&token(1), &token(50)).await.unwrap(), EXPIRED);
    let listed: Vec<_> = logins.list(ADA).await.unwrap().into_iter().map(|row| row.login_id).collect();
    assert_eq!(listed, [login(4), login(3), login(2)]);

    let mut ended = logins.end_all(ADA, EndReason::PasswordChanged, Some(login(3))).await.unwrap();
    ended.sort();
    assert_eq!(ended, [login(2), login(4)]);
    assert_eq!(ended_reason(&pool, login(2)).await.as_deref(), Some("password_changed"));
    for (n, user) in [(1, None), (2, None), (3, Some(ADA)), (4, None), (9, Some(BOB))] {
        assert_eq!(logins.is_live(login(n)).await.unwrap(), user, "login {n}");
    }
    assert_eq!(logins.end_all(ADA, EndReason::AccountClosed, None).await.unwrap(), [login(3)]);
    assert_eq!(logins.is_live(login(3)).await.unwrap(), None);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn sign_in_with_old_password_starts_no_login(pool: PgPool) {
    let logins = logins(&pool).await;
    let credentials = Credentials::new(pool.clone());
    let seen = credentials.get(ADA).await.unwrap().unwrap();
    assert_eq!((seen.hash.as_str(), seen.epoch), ("a hash", 0));
    assert!(!format!("{seen:?}").contains("a hash"));

    // A change while the old password is being checked.
    pool.execute(sqlx::query("SELECT credential_set($1, 'new')").bind(ADA.uuid())).await.unwrap();
    assert!(!logins.start(login(1), ADA, &token(1), seen.epoch, None).await.unwrap());
    let seen = credentials.get(ADA).await.unwrap().unwrap();
    assert!(logins.start(login(1), ADA, &token(1), seen.epoch, None).await.unwrap());

    // An end of all logins (a closed account) meanwhile.
    logins.end_all(ADA, EndReason::AccountClosed, None).await.unwrap();
    assert!(!logins.start(login(2), ADA, &token(2), seen.epoch, None).await.unwrap());

    // A stronger hash of the same password disturbs nothing.
    let seen = credentials.get(ADA).await.unwrap().unwrap();
    assert!(credentials.upgrade(ADA, "new", "stronger").await.unwrap());
    assert!(!credentials.upgrade(ADA, "new", "stronger still").await.unwrap());
    let upgraded = credentials.get(ADA).await.unwrap().unwrap();
    assert_eq!(
        (upgraded.hash.as_str(), upgraded.epoch, upgraded.changed_at),
        ("stronger", seen.epoch, seen.changed_at)
    );
    assert!(logins.start(login(2), ADA, &token(2), seen.epoch, None).await.unwrap());

    let unknown = UserId::new(Uuid::from_u128(404));
    assert!(credentials.get(unknown).await.unwrap().is_none());
    assert!(!logins.start(login(3), unknown, &token(3), 0, None).await.unwrap());
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM logins").fetch_one(&pool).await.unwrap();
    assert_eq!(count, 2);
}

/// The share lock: a concurrent change decides whether an earlier sign-in may start a login.
#[sqlx::test(migrator = "MIGRATOR")]
async fn sign_in_waits_for_concurrent_password_change(pool: PgPool) {
    let logins = logins(&pool).await;
    let mut change = pool.begin().await.unwrap();
    sqlx::query("SELECT credential_set($1, 'new')").bind(ADA.uuid()).execute(&mut *change).await.unwrap();
    let first = token(1);
    let mut sign_in = Box::pin(logins.start(login(1), ADA, &first, 0, None));
    tokio::select! {
        started = &mut sign_in => panic!("did not wait: {started:?}"),
        () = waiting(&pool, "login_start_checked", 1) => {}
    }
    change.commit().await.unwrap();
    assert!(!sign_in.await.unwrap());
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn other_node_sees_an_end_within_two_seconds(pool: PgPool) {
    let here = logins(&pool).await;
    let there = Logins::new(pool.clone(), LoginPolicy::default());
    started(&here, login(1), ADA, &token(0)).await;
    // A login that was asked for too early is let in as soon as it is there.
    assert_eq!(there.is_live(login(2)).await.unwrap(), None);
    started(&here, login(2), ADA, &token(1)).await;
    assert_eq!(there.is_live(login(2)).await.unwrap(), Some(ADA));
    assert_eq!(there.is_live(login(1)).await.unwrap(), Some(ADA));

    here.end(login(1), EndReason::SignedOut).await.unwrap();
    let ended = std::time::Instant::now();
    // Remembered over there: this is what the bound is about.
    assert_eq!(there.is_live(login(1)).await.unwrap(), Some(ADA));
    assert_eq!(here.is_live(login(1)).await.unwrap(), None);
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let mut asked = ended.elapsed();
    while there.is_live(login(1)).await.unwrap().is_some() {
        // When it is asked counts, not when this test hears of it.
        assert!(asked < Duration::from_secs(2), "live {asked:?} after its end");
        tick.tick().await;
        asked = ended.elapsed();
    }
}

/// An end by another transaction (the append), announced by `invalidate`, takes effect at once.
#[sqlx::test(migrator = "MIGRATOR")]
async fn invalidation_forces_a_query(pool: PgPool) {
    let logins = logins(&pool).await;
    started(&logins, login(1), ADA, &token(0)).await;
    assert_eq!(logins.is_live(login(1)).await.unwrap(), Some(ADA));
    pool.execute(sqlx::query("SELECT logins_end_all($1, 'account_closed', NULL)").bind(ADA.uuid()))
        .await
        .unwrap();
    assert_eq!(logins.is_live(login(1)).await.unwrap(), Some(ADA));
    logins.invalidate(ADA);
    assert_eq!(logins.is_live(login(1)).await.unwrap(), None);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn purge_keeps_recently_ended_families(pool: PgPool) {
    let logins = logins(&pool).await;
    for n in 1..=5 {
        started(&logins, login(n), ADA, &token(n.try_into().unwrap())).await;
    }
    logins.rotate(&token(1), &token(11)).await.unwrap();
    for change in [
        "UPDATE logins SET ended_at = clock_timestamp() - interval '2 days', ended_reason = 'x' WHERE current_hash IN
            (SELECT token_hash FROM refresh_tokens WHERE login_id = '00000000-0000-0000-0000-000000000001')",
        "UPDATE logins SET ended_at = clock_timestamp(), ended_reason = 'x' WHERE login_id = '00000000-0000-0000-0000-000000000002'",
        "UPDATE logins SET idle_until = clock_timestamp() - interval '2 days' WHERE login_id = '00000000-0000-0000-0000-000000000003'",
        "UPDATE logins SET ends_at = clock_timestamp() - interval '2 days' WHERE login_id = '00000000-0000-0000-0000-000000000004'",
    ] {
        pool.execute(change).await.unwrap();
    }
    assert_eq!(logins.purge_ended(Duration::from_secs(86_400)).await.unwrap(), 3);
    let left: Vec<Uuid> =
        sqlx::query_scalar("SELECT login_id FROM logins ORDER BY 1").fetch_all(&pool).await.unwrap();
    assert_eq!(left, [login(2).uuid(), login(5).uuid()]);
    let tokens: i64 =
        sqlx::query_scalar("SELECT count(*) FROM refresh_tokens").fetch_one(&pool).await.unwrap();
    assert_eq!(tokens, 2);
    assert_eq!(logins.purge_ended(Duration::from_secs(86_400)).await.unwrap(), 0);
    assert_eq!(logins.purge_ended(Duration::ZERO).await.unwrap(), 1);
}

/// Uses more families than one statement deletes.
#[sqlx::test(migrator = "MIGRATOR")]
async fn large_purge_deletes_all_batches(pool: PgPool) {
    let logins = logins(&pool).await;
    pool.execute(
        "SELECT login_start(gen_random_uuid(), gen_random_uuid(), sha256(n::text::bytea), '0 s', '0 s')
            FROM generate_series(1, 250) n",
    )
    .await
    .unwrap();
    assert_eq!(logins.purge_ended(Duration::ZERO).await.unwrap(), 250);
}

/// No clear token and no reversible form of it is stored.
#[sqlx::test(migrator = "MIGRATOR")]
async fn only_token_hashes_are_stored(pool: PgPool) {
    let logins = logins(&pool).await;
    started(&logins, login(1), ADA, &token(7)).await;
    logins.rotate(&token(7), &token(8)).await.unwrap();
    let (rows, clear): (i64, i64) =
        sqlx::query_as("SELECT count(*), count(*) FILTER (WHERE token_hash IN ($1, $2)) FROM refresh_tokens")
            .bind([7_u8; 32].as_slice())
            .bind([8_u8; 32].as_slice())
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!((rows, clear), (2, 0));
}

/// The append writes credentials and logins in its own transaction, and its failure leaves none of them.
#[sqlx::test(migrator = "MIGRATOR")]
async fn append_runs_the_login_functions(pool: PgPool) {
    let append = |writes: &[TransactionalWrite]| {
        let writes: Vec<_> = writes.iter().map(TransactionalWrite::to_json).collect();
        sqlx::query(
            "SELECT * FROM append(NULL, NULL, NULL, NULL, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', $1)",
        )
        .bind(serde_json::Value::from(writes))
        .execute(&pool)
    };
    let writes =
        [credentials::set_hash(ADA, "a hash"), start_login(login(1), ADA, &token(1), LoginPolicy::default())];
    let mut broken = writes.to_vec();
    broken.push(TransactionalWrite::new("nonsense", []));
    append(&broken).await.unwrap_err();
    let logins = Logins::new(pool.clone(), LoginPolicy::default());
    assert_eq!(logins.is_live(login(1)).await.unwrap(), None);
    assert!(Credentials::new(pool.clone()).get(ADA).await.unwrap().is_none());

    append(&writes).await.unwrap();
    assert_eq!(logins.is_live(login(1)).await.unwrap(), Some(ADA));
    assert_eq!(logins.rotate(&token(1), &token(2)).await.unwrap(), rotated(false));
    append(&[credentials::set_hash(ADA, "another"), end_logins(ADA, EndReason::PasswordChanged, None)])
        .await
        .unwrap();
    logins.invalidate(ADA);
    assert_eq!(logins.is_live(login(1)).await.unwrap(), None);
}

/// The application's role has all of these rights; the projector's and the auditor's have none.
#[sqlx::test(migrator = "MIGRATOR")]
async fn database_roles_have_only_the_needed_rights(pool: PgPool) {
    for (role, table, granted) in ["credentials", "logins", "refresh_tokens"].into_iter().flat_map(|table| {
        [
            ("verbatim_app", table, true),
            ("verbatim_projector", table, false),
            ("verbatim_auditor", table, false),
        ]
    }) {
        for right in ["SELECT", "INSERT", "UPDATE", "DELETE"] {
            let has: bool = sqlx::query_scalar("SELECT has_table_privilege($1, $2, $3)")
                .bind(role)
                .bind(table)
                .bind(right)
                .fetch_one(&pool)
                .await
                .unwrap();
            assert_eq!(has, granted, "{right} on {table} for {role}");
        }
    }
    let mut connection = pool.acquire().await.unwrap();
    connection.execute("SET ROLE verbatim_app").await.unwrap();
    for call in [
        "SELECT credential_set('00000000-0000-0000-0000-000000000ada', 'a hash')",
        "SELECT login_start_checked('00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000ada',
            sha256('1'), '1 h', '1 d', 0)",
        "SELECT login_rotate(sha256('1'), sha256('2'), '1 h')",
        "SELECT login_end('00000000-0000-0000-0000-000000000001', 'signed_out')",
        "SELECT logins_end_all('00000000-0000-0000-0000-000000000ada', 'password_changed', NULL)",
        "DELETE FROM logins",
    ] {
        connection.execute(call).await.unwrap();
    }
    connection.execute("RESET ROLE").await.unwrap();
}
