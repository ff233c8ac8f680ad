//! The database freezes, goes down or resets connections: requests fail fast with 503, none hangs, and after recovery the
//! pool serves everything at its full size.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _, PgConnection, PgPool};
use verbatim::schema::MIGRATOR;

use super::proxied::{POOL_SIZE, Proxied};
use super::proxy::{CutPoint, Direction};
use crate::support::app::{PASSWORD, Person, WAIT_TIMEOUT};
use crate::support::client::Answer;

/// Maximum time until a request fails while the database is frozen.
const FAIL_FAST_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum time until everything is served again after connections were reset.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum time until the pool has its full size again.
const POOL_RECOVERY_TIMEOUT: Duration = Duration::from_secs(30);
/// Number of request kinds in [`send`].
const REQUEST_KINDS: usize = 8;

/// Sends one request of the given kind; returns the answer and its duration.
async fn send(scene: &Proxied, person: &Person, session: &str, kind: usize) -> (Answer, Duration) {
    let app = &scene.app;
    let call = match kind % REQUEST_KINDS {
        0 => app.get("/api/history").by(person),
        1 => app.get(&format!("/api/history/{session}")).by(person),
        2 => app.get("/api/auth/me").by(person),
        3 => app.post("/api/chat").by(person).key(&format!("{kind}")).json(&json!({"message": "Hello"})),
        4 => app.patch(&format!("/api/history/{session}")).by(person).json(&json!({"pinned": kind % 16 < 8})),
        5 => app.post("/api/auth/login").form(&[("username", person.email.as_str()), ("password", PASSWORD)]),
        6 => app.post("/api/auth/refresh").json(&json!({"refresh_token": person.refresh})),
        _ => {
            app.post("/api/chat/stream").by(person).json(&json!({"message": "Hello", "session_id": session}))
        }
    };
    let begun = Instant::now();
    (call.send().await, begun.elapsed())
}

/// Sends two requests of each kind at once.
async fn send_all(scene: &Proxied, person: &Person, session: &str) -> Vec<(usize, Answer, Duration)> {
    futures::future::join_all((0..REQUEST_KINDS * 2).map(async |kind| {
        let (answer, took) = send(scene, person, session, kind).await;
        (kind, answer, took)
    }))
    .await
}

/// Asserts that all connections of the pool can wait for a lock at once, and serve their requests afterwards. A leaked
/// connection could not.
async fn assert_full_pool(scene: &Proxied, db: &PgPool, people: &[Person]) {
    let mut other = PgConnection::connect_with(&db.connect_options()).await.unwrap();
    let begun = Instant::now();
    loop {
        let mut holding = other.begin().await.unwrap();
        holding.execute("LOCK TABLE conversations, credentials IN ACCESS EXCLUSIVE MODE").await.unwrap();
        let lists = people.iter().map(async |person| scene.app.get("/api/history").by(person).send().await);
        let logins = people.iter().map(async |person| {
            let fields = [("username", person.email.as_str()), ("password", PASSWORD)];
            scene.app.post("/api/auth/login").form(&fields).send().await
        });
        let asked =
            async { futures::join!(futures::future::join_all(lists), futures::future::join_all(logins)) };
        let released = async {
            let mut waiting = 0;
            let end = Instant::now() + Duration::from_millis(1500);
            while waiting < POOL_SIZE && Instant::now() < end {
                waiting = waiting_sessions(db).await;
            }
            holding.rollback().await.unwrap();
            waiting
        };
        let ((lists, logins), waiting) = futures::join!(asked, released);
        let answers: Vec<u16> = lists.iter().chain(&logins).map(|answer| answer.status).collect();
        if waiting == POOL_SIZE && answers.iter().all(|status| *status == 200) {
            break;
        }
        assert!(
            begun.elapsed() < POOL_RECOVERY_TIMEOUT,
            "{waiting} of {POOL_SIZE} connections are used: {answers:?}"
        );
    }
    other.close().await.unwrap();
}

/// Number of the application's database sessions that wait for a lock.
async fn waiting_sessions(db: &PgPool) -> i64 {
    sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
             AND (query LIKE '%FROM conversations%' OR query LIKE '%FROM credentials%')",
    )
    .fetch_one(db)
    .await
    .unwrap()
}

async fn people(scene: &Proxied, count: usize) -> Vec<Person> {
    let mut people = Vec::new();
    for _ in 0..count {
        people.push(scene.app.person().await);
    }
    people
}

/// Waits until one request of each kind succeeds; asserts that it takes at most `bound`.
async fn recovers(scene: &Proxied, person: &Person, session: &str, bound: Duration) -> Duration {
    let begun = Instant::now();
    for kind in [0, 1, 2, 3, 4, 5] {
        scene.until_served(async || send(scene, person, session, kind).await.0).await;
    }
    assert!(begun.elapsed() <= bound, "recovered after {:?}", begun.elapsed());
    begun.elapsed()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn frozen_database_fails_fast_and_pool_recovers(db: PgPool) {
    let scene = Proxied::start(&db, &[("REPLY_WAIT_SECONDS", "2")]).await;
    let people = people(&scene, 6).await;
    let session = scene.new_session(&people[0]).await;
    assert_full_pool(&scene, &db, &people).await;

    // Queries still arrive but responses do not, so some requests stop in the middle of their work.
    scene.proxy.freeze_one(Direction::ToClient);
    let mut asked = send_all(&scene, &people[0], &session).await;
    scene.proxy.freeze();
    for person in &people[1..2] {
        asked.extend(send_all(&scene, person, &session).await);
        let begun = Instant::now();
        let health = scene.app.get("/health").send().await.is(503).value();
        assert_eq!((&health["status"], &health["database"]), (&json!("unhealthy"), &json!("disconnected")));
        let ready = scene.app.get("/readyz").send().await.is(503).value();
        assert_eq!(ready["missing"], json!(["database"]));
        assert!(begun.elapsed() < FAIL_FAST_TIMEOUT, "health took {:?}", begun.elapsed());
        scene.app.get("/livez").send().await.is(200);
    }
    let mut late = Vec::new();
    for (kind, answer, took) in &asked {
        assert_eq!(answer.status, 503, "kind {kind}: {}", answer.text);
        let body: Value = answer.value();
        assert!(body["detail"].is_string() && body["request_id"].is_string(), "{body}");
        assert!(!answer.header("retry-after").is_empty());
        if *took > FAIL_FAST_TIMEOUT {
            late.push((*kind, *took));
        }
    }
    assert!(late.is_empty(), "failed after more than {FAIL_FAST_TIMEOUT:?}: {late:?}");

    scene.proxy.thaw();
    let begun = Instant::now();
    recovers(&scene, &people[0], &session, POOL_RECOVERY_TIMEOUT).await;
    assert_full_pool(&scene, &db, &people).await;
    assert!(begun.elapsed() < POOL_RECOVERY_TIMEOUT, "full size after {:?}", begun.elapsed());
    scene.app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn recovered_database_is_used_at_once(db: PgPool) {
    let scene = Proxied::start(&db, &[("REPLY_WAIT_SECONDS", "2")]).await;
    let people = people(&scene, 6).await;
    let session = scene.new_session(&people[0]).await;
    for round in 0..3 {
        // With requests in flight.
        let (_, ()) = futures::join!(send_all(&scene, &people[round], &session), async {
            tokio::task::yield_now().await;
            if round == 1 { scene.proxy.half_close_all() } else { scene.proxy.reset_all() }
        });
        recovers(&scene, &people[0], &session, RECOVERY_TIMEOUT).await;
    }
    // Down for a while, as in a restart.
    scene.proxy.refuse(true);
    scene.proxy.reset_all();
    let away = Instant::now();
    while away.elapsed() < Duration::from_secs(3) {
        for (kind, answer, took) in send_all(&scene, &people[1], &session).await {
            assert_eq!(answer.status, 503, "kind {kind}: {}", answer.text);
            assert_eq!(answer.error_code(), "unavailable");
            assert!(took < Duration::from_secs(3), "kind {kind} took {took:?}");
        }
    }
    scene.proxy.refuse(false);
    recovers(&scene, &people[0], &session, RECOVERY_TIMEOUT).await;
    // New connections break at different points of the handshake.
    for bytes in (0..600).step_by(120) {
        scene.proxy.cut_new_after(Some(bytes));
        scene.proxy.reset_all();
        for (kind, answer, took) in send_all(&scene, &people[1], &session).await {
            assert!(answer.status == 503 || answer.status < 300, "kind {kind}: {}", answer.text);
            assert!(took < WAIT_TIMEOUT, "kind {kind} took {took:?}");
        }
    }
    scene.proxy.cut_new_after(None);
    scene.proxy.reset_all();
    recovers(&scene, &people[0], &session, RECOVERY_TIMEOUT).await;
    assert_full_pool(&scene, &db, &people).await;
    scene.app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn sign_in_during_database_freeze_fails_fast(db: PgPool) {
    let scene = Proxied::start(&db, &[]).await;
    let person = scene.app.person().await;
    // The connection passes its health check and then goes silent.
    scene.proxy.cut_at("FROM credentials WHERE user_id", CutPoint::FreezeBefore, 1);
    let begun = Instant::now();
    let fields = [("username", person.email.as_str()), ("password", PASSWORD)];
    let login = async || scene.app.post("/api/auth/login").form(&fields).send().await;
    assert_eq!(login().await.error_code(), "unavailable");
    assert!(begun.elapsed() < FAIL_FAST_TIMEOUT, "failed after {:?}", begun.elapsed());
    scene.proxy.thaw();
    scene.until_served(login).await.is(200);
    scene.app.end().await;
}
