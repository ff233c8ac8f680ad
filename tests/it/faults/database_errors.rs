//! Errors of the database: transient ones are retried or answered with 503; permanent ones are defects and are not
//! retried.
//!
//! A trigger of the test raises the errors and counts the tries in a sequence, which a rollback does not reset.

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::json;
use sqlx::{Connection as _, Executor as _, PgConnection, PgPool};
use verbatim::schema::MIGRATOR;

use crate::support::app::{Person, TestApp};
use crate::support::client::Answer;

/// Maximum number of tries after a lost race.
const MAX_TRIES: i64 = 5;

/// Fails the first `fault.times` tries of a rename with the SQLSTATE `fault.code`.
const TRIGGER: &str = "
    CREATE SEQUENCE tries;
    CREATE TABLE fault (code text, times bigint, sleep double precision);
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE fault fault;
    BEGIN
        IF NEW.event_type <> 'conversation_renamed' THEN RETURN NEW; END IF;
        SELECT * INTO fault FROM fault;
        IF nextval('tries') <= fault.times THEN
            PERFORM pg_sleep(fault.sleep);
            RAISE EXCEPTION 'made by the test' USING ERRCODE = fault.code;
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION refuse();";

struct Scene {
    app: TestApp,
    person: Person,
    path: String,
    db: PgPool,
}

impl Scene {
    async fn start(db: PgPool) -> Self {
        let app = TestApp::start(&db).await;
        let person = app.person().await;
        let path = format!("/api/history/{}", app.session(&person).await);
        db.execute(TRIGGER).await.unwrap();
        Self { app, person, path, db }
    }

    async fn rename(&self, title: &str, request_id: &str) -> Answer {
        let call = self.app.patch(&self.path).by(&self.person).header("x-request-id", request_id);
        call.json(&json!({"title": title})).send().await
    }

    /// Renames while the first `times` tries fail; returns the answer and the number of tries.
    async fn rename_failing(&self, code: &str, times: i64, sleep: f64) -> (Answer, i64) {
        self.db.execute("DELETE FROM fault; ALTER SEQUENCE tries RESTART").await.unwrap();
        sqlx::query("INSERT INTO fault VALUES ($1, $2, $3)")
            .bind(code)
            .bind(times)
            .bind(sleep)
            .execute(&self.db)
            .await
            .unwrap();
        let answer = self.rename(&format!("{code} {times}"), &format!("{code}-{times}")).await;
        (answer, self.tries().await)
    }

    async fn tries(&self) -> i64 {
        sqlx::query_scalar("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM tries")
            .fetch_one(&self.db)
            .await
            .unwrap()
    }
}

#[track_caller]
fn assert_unavailable(answer: &Answer, code: &str) {
    answer.assert_error(503, code);
    assert_eq!(answer.header("retry-after"), "1");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn transient_errors_are_retried_or_503_and_permanent_are_500(db: PgPool) {
    let scene = Scene::start(db).await;
    let before = scene.app.events().await;
    // Deadlocks and serialization failures are lost races: at most five tries.
    for code in ["40P01", "40001"] {
        let (answer, tries) = scene.rename_failing(code, 2, 0.0).await;
        assert_eq!((answer.status, tries), (200, 3), "{}", answer.text);
        let (answer, tries) = scene.rename_failing(code, i64::MAX, 0.0).await;
        assert_unavailable(&answer, "busy");
        assert_eq!(tries, MAX_TRIES, "{code}");
    }
    assert_eq!(scene.app.events().await, before + 2);
    // Lock not available, statement timeout, too many connections, disk full, shutdown, read-only, connection failure.
    for code in ["55P03", "57014", "53300", "53100", "57P03", "25006", "08006"] {
        let (answer, tries) = scene.rename_failing(code, i64::MAX, 0.0).await;
        assert_unavailable(&answer, "unavailable");
        assert_eq!(tries, 1, "{code}");
    }
    // Unknown constraints, a value that does not fit, a missing function, an error in a trigger, an internal error.
    for code in ["23505", "23514", "23503", "22001", "42883", "P0001", "XX000"] {
        let (answer, tries) = scene.rename_failing(code, i64::MAX, 0.0).await;
        answer.assert_error(500, "internal");
        assert!(!answer.text.contains("made by"), "{}", answer.text);
        assert_eq!(tries, 1, "{code}");
    }
    assert_eq!(scene.app.events().await, before + 2, "a failed command appended events");
    scene.rename_failing("00000", 0, 0.0).await.0.is(200);
    scene.app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn permanent_unique_violation_is_not_retried(db: PgPool) {
    let scene = Scene::start(db).await;
    scene.rename_failing("00000", 0, 0.0).await.0.is(200);
    let index = "CREATE UNIQUE INDEX one_of_a_kind ON events ((metadata ->> 'request_id'))
                 WHERE event_type = 'conversation_renamed'";
    scene.db.execute(index).await.unwrap();
    scene.rename("One", "the-same").await.is(200);
    let tries = scene.tries().await;
    scene.rename("Two", "the-same").await.assert_error(500, "internal");
    assert_eq!(scene.tries().await, tries + 1);
    scene.rename("Three", "another").await.is(200);
    scene.app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn locks_and_slow_statements_time_out_and_full_pool_is_503(db: PgPool) {
    let scene = Scene::start(db.clone()).await;
    let begun = Instant::now();
    let (answer, _) = scene.rename_failing("00000", i64::MAX, 30.0).await;
    assert_unavailable(&answer, "unavailable");
    assert!(begun.elapsed() < Duration::from_secs(5), "a statement took {:?}", begun.elapsed());
    scene.rename_failing("00000", 0, 0.0).await.0.is(200);

    // No session can write: every connection of the pool waits for the lock.
    let mut other = PgConnection::connect_with(&db.connect_options()).await.unwrap();
    let mut holding = other.begin().await.unwrap();
    holding.execute("LOCK TABLE events, conversations IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let commands = (0..10).map(async |number| {
        let begun = Instant::now();
        let answer = scene.rename(&format!("Title {number}"), &format!("locked-{number}")).await;
        (answer, begun.elapsed())
    });
    let queries = (0..20).map(async |_| {
        let begun = Instant::now();
        let answer = scene.app.get("/api/history").by(&scene.person).send().await;
        (answer, begun.elapsed())
    });
    let (commands, queries) = futures::join!(join_all(commands), join_all(queries));
    for (answer, took) in commands.iter().chain(&queries) {
        assert_unavailable(answer, "unavailable");
        assert!(*took < Duration::from_secs(5), "a request took {took:?}");
    }
    scene.app.get("/livez").send().await.is(200);
    holding.rollback().await.unwrap();
    other.close().await.unwrap();
    scene.rename("Unlocked", "unlocked").await.is(200);
    scene.app.end().await;
}
