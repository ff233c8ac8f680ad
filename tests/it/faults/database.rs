//! A database that stands still, goes away or breaks off: requests are refused soon, nothing hangs, and when it is back
//! everything is served again by as many connections as before.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _, PgConnection, PgPool};
use verbatim::bootstrap::database::MIGRATOR;

use super::proxied::{POOL, Proxied};
use super::proxy::{Way, When};
use crate::support::app::{PASSWORD, PATIENCE, Person};
use crate::support::client::Answer;

/// How soon a request is refused while the database stands still.
const REFUSED: Duration = Duration::from_secs(5);
/// How soon everything is served again after connections were cut.
const BACK: Duration = Duration::from_secs(5);
/// How soon the pool has its full size again.
const FULL: Duration = Duration::from_secs(30);
/// The kinds of requests in [`ask`].
const KINDS: usize = 8;

/// One request of the given kind, and how long it took.
async fn ask(scene: &Proxied, person: &Person, session: &str, kind: usize) -> (Answer, Duration) {
    let app = &scene.app;
    let call = match kind % KINDS {
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

/// Asks for everything at once.
async fn ask_all(scene: &Proxied, person: &Person, session: &str) -> Vec<(usize, Answer, Duration)> {
    futures::future::join_all((0..KINDS * 2).map(async |kind| {
        let (answer, took) = ask(scene, person, session, kind).await;
        (kind, answer, took)
    }))
    .await
}

/// Whether one connection after the other can be made to wait until as many as the pool has wait at once, and all of
/// those requests are served afterwards. A connection that was lost for good could not.
async fn full_size(scene: &Proxied, db: &PgPool, people: &[Person]) {
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
            while waiting < POOL && Instant::now() < end {
                waiting = waiting_sessions(db).await;
            }
            holding.rollback().await.unwrap();
            waiting
        };
        let ((lists, logins), waiting) = futures::join!(asked, released);
        let answers: Vec<u16> = lists.iter().chain(&logins).map(|answer| answer.status).collect();
        if waiting == POOL && answers.iter().all(|status| *status == 200) {
            break;
        }
        assert!(begun.elapsed() < FULL, "{waiting} of {POOL} connections are used: {answers:?}");
    }
    other.close().await.unwrap();
}

/// How many of the use cases' sessions wait for a lock.
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

/// Waits until one of each kind is served.
async fn served(scene: &Proxied, person: &Person, session: &str, bound: Duration) -> Duration {
    let begun = Instant::now();
    for kind in [0, 1, 2, 3, 4, 5] {
        scene.until_served(async || ask(scene, person, session, kind).await.0).await;
    }
    assert!(begun.elapsed() <= bound, "served again after {:?}", begun.elapsed());
    begun.elapsed()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_database_that_stands_still_is_refused_soon_and_leaves_a_whole_pool(db: PgPool) {
    let scene = Proxied::start(&db, &[("REPLY_WAIT_SECONDS", "2")]).await;
    let people = people(&scene, 6).await;
    let session = scene.new_session(&people[0]).await;
    full_size(&scene, &db, &people).await;

    // Questions still arrive, but no answer does: some requests are caught in the middle of their work.
    scene.proxy.freeze_one(Way::ToClient);
    let mut asked = ask_all(&scene, &people[0], &session).await;
    scene.proxy.freeze();
    for person in &people[1..2] {
        asked.extend(ask_all(&scene, person, &session).await);
        let begun = Instant::now();
        let health = scene.app.get("/health").send().await.is(503).value();
        assert_eq!((&health["status"], &health["database"]), (&json!("unhealthy"), &json!("disconnected")));
        let ready = scene.app.get("/readyz").send().await.is(503).value();
        assert_eq!(ready["missing"], json!(["database"]));
        assert!(begun.elapsed() < REFUSED, "health took {:?}", begun.elapsed());
        scene.app.get("/livez").send().await.is(200);
    }
    let mut late = Vec::new();
    for (kind, answer, took) in &asked {
        assert_eq!(answer.status, 503, "kind {kind}: {}", answer.text);
        let body: Value = answer.value();
        assert!(body["detail"].is_string() && body["request_id"].is_string(), "{body}");
        assert!(!answer.header("retry-after").is_empty());
        if *took > REFUSED {
            late.push((*kind, *took));
        }
    }
    assert!(late.is_empty(), "refused after more than {REFUSED:?}: {late:?}");

    scene.proxy.thaw();
    let begun = Instant::now();
    served(&scene, &people[0], &session, FULL).await;
    full_size(&scene, &db, &people).await;
    assert!(begun.elapsed() < FULL, "full size after {:?}", begun.elapsed());
    scene.app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_database_that_is_back_is_used_at_once(db: PgPool) {
    let scene = Proxied::start(&db, &[("REPLY_WAIT_SECONDS", "2")]).await;
    let people = people(&scene, 6).await;
    let session = scene.new_session(&people[0]).await;
    for round in 0..3 {
        // With requests under way.
        let (_, ()) = futures::join!(ask_all(&scene, &people[round], &session), async {
            tokio::task::yield_now().await;
            if round == 1 { scene.proxy.half_close_all() } else { scene.proxy.reset_all() }
        });
        served(&scene, &people[0], &session, BACK).await;
    }
    // Away for a while, as in a restart.
    scene.proxy.refuse(true);
    scene.proxy.reset_all();
    let away = Instant::now();
    while away.elapsed() < Duration::from_secs(3) {
        for (kind, answer, took) in ask_all(&scene, &people[1], &session).await {
            assert_eq!(answer.status, 503, "kind {kind}: {}", answer.text);
            assert_eq!(answer.refusal(), "unavailable");
            assert!(took < Duration::from_secs(3), "kind {kind} took {took:?}");
        }
    }
    scene.proxy.refuse(false);
    served(&scene, &people[0], &session, BACK).await;
    // Every other connection breaks somewhere while it is made.
    for bytes in (0..600).step_by(120) {
        scene.proxy.cut_new_after(Some(bytes));
        scene.proxy.reset_all();
        for (kind, answer, took) in ask_all(&scene, &people[1], &session).await {
            assert!(answer.status == 503 || answer.status < 300, "kind {kind}: {}", answer.text);
            assert!(took < PATIENCE, "kind {kind} took {took:?}");
        }
    }
    scene.proxy.cut_new_after(None);
    scene.proxy.reset_all();
    served(&scene, &people[0], &session, BACK).await;
    full_size(&scene, &db, &people).await;
    scene.app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_sign_in_that_is_caught_in_the_middle_is_refused_soon(db: PgPool) {
    let scene = Proxied::start(&db, &[]).await;
    let person = scene.app.person().await;
    // The connection has just been found well, and then does not say anything any more.
    scene.proxy.cut_at("FROM credentials WHERE user_id", When::StandsStill, 1);
    let begun = Instant::now();
    let fields = [("username", person.email.as_str()), ("password", PASSWORD)];
    let login = async || scene.app.post("/api/auth/login").form(&fields).send().await;
    assert_eq!(login().await.refusal(), "unavailable");
    assert!(begun.elapsed() < REFUSED, "refused after {:?}", begun.elapsed());
    scene.proxy.thaw();
    scene.until_served(login).await.is(200);
    scene.app.end().await;
}
