//! What the database refuses, and what becomes of it: what may pass is tried again or answered with 503, what will not
//! pass is a defect and is tried once.
//!
//! A trigger of the test's own makes the refusals, and counts the tries in a sequence, which no rollback takes back.

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::json;
use sqlx::{Connection as _, Executor as _, PgConnection, PgPool};
use verbatim::bootstrap::database::MIGRATOR;

use crate::support::app::{Person, TestApp};
use crate::support::client::Answer;

/// How often a lost race is tried.
const TRIES: i64 = 5;

/// Refuses the first `$2` tries of a change with this SQLSTATE.
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

    /// Renames while the first `times` tries are refused; gives the answer and the number of tries.
    async fn refused(&self, code: &str, times: i64, sleep: f64) -> (Answer, i64) {
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
fn unavailable(answer: &Answer, code: &str) {
    answer.refused(503, code);
    assert_eq!(answer.header("retry-after"), "1");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_may_pass_is_tried_again_or_put_off_and_what_will_not_is_tried_once(db: PgPool) {
    let scene = Scene::start(db).await;
    let before = scene.app.events().await;
    // A deadlock and a serialization failure are lost races: decided again, five times at most.
    for code in ["40P01", "40001"] {
        let (answer, tries) = scene.refused(code, 2, 0.0).await;
        assert_eq!((answer.status, tries), (200, 3), "{}", answer.text);
        let (answer, tries) = scene.refused(code, i64::MAX, 0.0).await;
        unavailable(&answer, "busy");
        assert_eq!(tries, TRIES, "{code}");
    }
    assert_eq!(scene.app.events().await, before + 2);
    // A lock that is not given, a statement that takes too long, no connection, no room, no writing here now.
    for code in ["55P03", "57014", "53300", "53100", "57P03", "25006", "08006"] {
        let (answer, tries) = scene.refused(code, i64::MAX, 0.0).await;
        unavailable(&answer, "unavailable");
        assert_eq!(tries, 1, "{code}");
    }
    // A constraint that is not ours, a value that does not fit, a function that is not there, a defect of the trigger.
    for code in ["23505", "23514", "23503", "22001", "42883", "P0001", "XX000"] {
        let (answer, tries) = scene.refused(code, i64::MAX, 0.0).await;
        answer.refused(500, "internal");
        assert!(!answer.text.contains("made by"), "{}", answer.text);
        assert_eq!(tries, 1, "{code}");
    }
    assert_eq!(scene.app.events().await, before + 2, "a refused command has left something");
    scene.refused("00000", 0, 0.0).await.0.is(200);
    scene.app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_permanent_unique_violation_is_no_lost_race(db: PgPool) {
    let scene = Scene::start(db).await;
    scene.refused("00000", 0, 0.0).await.0.is(200);
    let index = "CREATE UNIQUE INDEX one_of_a_kind ON events ((metadata ->> 'request_id'))
                 WHERE event_type = 'conversation_renamed'";
    scene.db.execute(index).await.unwrap();
    scene.rename("One", "the-same").await.is(200);
    let tries = scene.tries().await;
    scene.rename("Two", "the-same").await.refused(500, "internal");
    assert_eq!(scene.tries().await, tries + 1);
    scene.rename("Three", "another").await.is(200);
    scene.app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn locks_and_slow_statements_end_in_time_and_a_full_pool_refuses(db: PgPool) {
    let scene = Scene::start(db.clone()).await;
    let begun = Instant::now();
    let (answer, _) = scene.refused("00000", i64::MAX, 30.0).await;
    unavailable(&answer, "unavailable");
    assert!(begun.elapsed() < Duration::from_secs(5), "a statement took {:?}", begun.elapsed());
    scene.refused("00000", 0, 0.0).await.0.is(200);

    // Nobody may write: every connection of the pool comes to wait for the lock.
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
        unavailable(answer, "unavailable");
        assert!(*took < Duration::from_secs(5), "it took {took:?}");
    }
    scene.app.get("/livez").send().await.is(200);
    holding.rollback().await.unwrap();
    other.close().await.unwrap();
    scene.rename("At last", "unlocked").await.is(200);
    scene.app.end().await;
}
