//! The log has an event of a newer program version while this version runs: it rejects commands on that stream, reports
//! it, skips nothing, and continues where it stopped once a version runs that can read the event.

use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::{Executor as _, PgPool};
use verbatim::schema::MIGRATOR;

use super::proxied::events_of;
use crate::support::app::{Person, TestApp, WAIT_TIMEOUT};

/// Maximum time until health reports the stopped projections.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(10);

/// Appends an event of this type and version to a conversation, as a newer program would; returns its position.
async fn append_newer(db: &PgPool, person: &Person, session: &str, event_type: &str, version: &str) -> i64 {
    let last_sequence: i64 = sqlx::query_scalar(
        "SELECT max(sequence) FROM events WHERE aggregate_type = 'conversation' AND aggregate_id = $1",
    )
    .bind(session)
    .fetch_one(db)
    .await
    .unwrap();
    let payload = json!({"type": event_type, "conversation_id": session, "owner": person.id, "at": "2026-01-01T00:00:00Z"});
    sqlx::query_scalar::<_, Vec<i64>>(
        "SELECT positions FROM append(NULL, NULL, NULL, NULL, ARRAY['conversation'], ARRAY[$1], ARRAY[$2],
             ARRAY['conversation'], ARRAY[$1], ARRAY[$2 + 1], ARRAY[$3], ARRAY[$4], ARRAY[$5], '{\"surface\":\"api\"}', NULL)",
    )
    .bind(session)
    .bind(last_sequence)
    .bind(event_type)
    .bind(version)
    .bind(payload.to_string())
    .fetch_one(db)
    .await
    .unwrap()[0]
}

/// Waits until every projection has stopped before `position`, and asserts that health lists each.
async fn assert_stopped_before(app: &TestApp, position: i64) {
    let begun = Instant::now();
    let health = loop {
        let health = app.get("/health").send().await.value();
        if health["projections"].as_array().unwrap().iter().all(|model| model["status"] == "stopped") {
            break health;
        }
        assert!(begun.elapsed() < HEALTH_TIMEOUT, "{health}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let models = health["projections"].as_array().unwrap();
    assert_eq!(models.len(), projections::registry::all().len());
    assert_eq!(health["status"], "unhealthy");
    for model in models {
        assert!(model["position"].as_i64().unwrap() < position, "{model} has passed the event");
    }
}

async fn assert_commands_rejected(app: &TestApp, person: &Person, session: &str) {
    let path = format!("/api/history/{session}");
    let before = app.events().await;
    for (number, body) in
        [json!({"title": "Unread"}), json!({"pinned": true}), json!({"pinned": false})].iter().enumerate()
    {
        let id = format!("refused-{number}");
        let call = app.patch(&path).by(person).key(&id).header("x-request-id", &id);
        call.json(body).send().await.assert_error(503, "unavailable");
        assert_eq!(events_of(&app.db, &id).await, Vec::<String>::new());
    }
    let body = json!({"message": "Unread", "session_id": session});
    app.post("/api/chat").by(person).json(&body).send().await.assert_error(503, "unavailable");
    app.delete(&path).by(person).send().await.assert_error(503, "unavailable");
    assert_eq!(app.events().await, before);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn newer_event_version_stops_projections_and_is_not_skipped(db: PgPool) {
    let app = TestApp::with(&db, &[("REPLY_WAIT_SECONDS", "1")]).await;
    let person = app.person().await;
    let (theirs, ours) = (app.session(&person).await, app.session(&person).await);
    app.wait_for_projections().await;
    let position = append_newer(&db, &person, &theirs, "conversation_pinned", "2").await;
    assert_commands_rejected(&app, &person, &theirs).await;
    assert_stopped_before(&app, position).await;

    // Commands on other streams still succeed at once; their projections and replies wait.
    let begun = Instant::now();
    let path = format!("/api/history/{ours}");
    for number in 0..5 {
        app.patch(&path).by(&person).json(&json!({"title": format!("Title {number}")})).send().await.is(200);
    }
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "a command waited for a stopped projection: {:?}",
        begun.elapsed()
    );
    let kept = json!({"message": "To be answered", "session_id": ours});
    let sent = app.post("/api/chat").by(&person).json(&kept).send().await.is(202);
    assert_eq!(app.reply_events(&sent.field("reply_id")).await, ["reply_requested"]);
    let list = app.get("/api/history").by(&person).send().await.is(200).value();
    assert_eq!(list["items"].as_array().unwrap().len(), 2, "existing rows are still shown");
    app.get("/readyz").send().await.is(200);
    app.stop(WAIT_TIMEOUT).await;

    // After a restart the same version stops at the same position and is not ready.
    let app = TestApp::start(&db).await;
    assert_stopped_before(&app, position).await;
    let ready = app.get("/readyz").send().await.is(503).value();
    assert_eq!(ready["missing"].as_array().unwrap().len(), projections::registry::all().len(), "{ready}");
    assert_commands_rejected(&app, &person, &theirs).await;
    app.stop(WAIT_TIMEOUT).await;

    // No newer program is available here, but it would continue where this one stopped. So the test changes the stored
    // version, in its own database, to one that this program can read.
    let readable = format!(
        "ALTER TABLE events DISABLE TRIGGER events_append_only;
         UPDATE events SET event_version = '1' WHERE position = {position};
         ALTER TABLE events ENABLE ALWAYS TRIGGER events_append_only"
    );
    db.execute(readable.as_str()).await.unwrap();
    let app = TestApp::start(&db).await;
    app.wait_until("the reply has ended", async || {
        app.reply_events(&sent.field("reply_id")).await.len() == 3
    })
    .await;
    app.wait_for_projections().await;
    let list = app.get("/api/history").by(&person).send().await.is(200).value();
    let shown = |session: &str| {
        list["items"].as_array().unwrap().iter().find(|item| item["session_id"] == session).unwrap().clone()
    };
    assert_eq!(shown(&theirs)["pinned"], true);
    assert_eq!(shown(&ours)["title"], "Title 4");
    app.patch(&format!("/api/history/{theirs}"))
        .by(&person)
        .json(&json!({"title": "Read"}))
        .send()
        .await
        .is(200);
    app.get("/readyz").send().await.is(200);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn unknown_event_type_stops_projections_but_not_other_commands(db: PgPool) {
    let app = TestApp::with(&db, &[("REPLY_WAIT_SECONDS", "1")]).await;
    let person = app.person().await;
    let session = app.session(&person).await;
    app.wait_until("the reply has ended", async || super::proxied::events(&db, "reply_completed").await == 1)
        .await;
    app.wait_for_projections().await;
    let position = append_newer(&db, &person, &session, "conversation_coloured", "1").await;
    assert_commands_rejected(&app, &person, &session).await;
    assert_stopped_before(&app, position).await;
    app.post("/api/chat").by(&person).json(&json!({"message": "Elsewhere"})).send().await.is(202);
    app.stop(WAIT_TIMEOUT).await;
}
