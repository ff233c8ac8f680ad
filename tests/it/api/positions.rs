//! Tests read-your-writes, and `Verbatim-Position`, which extends it to other nodes.

use std::time::Duration;

use serde_json::json;
use sqlx::PgPool;
use tokio::time::Instant;
use verbatim::schema::MIGRATOR;

use crate::support::app::TestApp;

#[sqlx::test(migrator = "MIGRATOR")]
async fn query_after_command_shows_its_effect(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let session = app.session(&person).await;
    let path = format!("/api/history/{session}");
    let mut last = 0;
    for number in 0..100 {
        let title = format!("Title {number}");
        let answer = app.patch(&path).by(&person).json(&json!({"title": title})).send().await.is(200);
        assert!(answer.position() > last);
        last = answer.position();
        let page = app.get("/api/history").by(&person).send().await.is(200).value();
        assert_eq!(page["items"][0]["title"], title);
    }
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn commands_return_rising_positions_and_are_visible(db: PgPool) {
    let app = TestApp::with(&db, &[("SCRIPTED_FAULT", "hang"), ("REPLY_WAIT_SECONDS", "0")]).await;
    let person = app.person().await;
    let mut last = 0;
    let mut assert_rises = |position: i64| {
        assert!(position > last, "{position} after {last}");
        last = position;
    };
    for _ in 0..10 {
        // A message whose reply is still pending.
        let sent = app.post("/api/chat").by(&person).json(&json!({"message": "x"})).send().await.is(202);
        assert_rises(sent.position());
        let (reply, path) = (sent.field("reply_id"), format!("/api/history/{}", sent.field("session_id")));
        let page = app.get(&path).by(&person).send().await.is(200).value();
        assert_eq!(page["items"][0]["message_id"], sent.field("user_message_id"));
        app.get(&format!("/api/replies/{reply}")).by(&person).send().await.is(200);

        // A stream, as soon as its headers have arrived.
        let stream = app.post("/api/chat/stream").by(&person).json(&json!({"message": "x"})).stream().await;
        assert_rises(stream.header("verbatim-position").parse().unwrap());
        let list = app.get("/api/history").by(&person).send().await.is(200).value();
        assert_eq!(list["items"][0]["message_count"], 1);
        let streamed = list["items"][0]["session_id"].as_str().unwrap().to_owned();
        let page = app.get(&format!("/api/history/{streamed}")).by(&person).send().await.is(200).value();
        let streamed_reply = page["items"][0]["reply_id"].as_str().unwrap().to_owned();
        drop(app.get(&format!("/api/chat/stream/{streamed_reply}")).by(&person).stream().await);
        drop(stream);

        let cancelled = app.post(&format!("/api/replies/{reply}/cancel")).by(&person).send().await.is(200);
        assert_rises(cancelled.position());
        let shown = app.get(&format!("/api/replies/{reply}")).by(&person).send().await.is(200);
        assert_eq!(shown.field("status"), "cancelled");
        for path in [path, format!("/api/history/{streamed}")] {
            assert_rises(app.delete(&path).by(&person).send().await.is(204).position());
            app.get(&path).by(&person).send().await.is(404);
        }
    }
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn query_waits_for_named_position_up_to_its_limit(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let session = app.session(&person).await;
    app.wait_for_projections().await;
    // The list's projection cannot advance while this transaction locks its checkpoint.
    let mut held = db.begin().await.unwrap();
    sqlx::query("SELECT FROM checkpoints WHERE projection = 'conversations' FOR UPDATE")
        .execute(&mut *held)
        .await
        .unwrap();
    let path = format!("/api/history/{session}");
    let renamed = app.patch(&path).by(&person).json(&json!({"title": "New"})).send().await.is(200);
    let position = renamed.position().to_string();
    let query = || app.get("/api/history").by(&person);
    let started = Instant::now();
    let stale = query().header("verbatim-position", &position).send().await.is(200).value();
    assert!(started.elapsed() >= Duration::from_millis(300), "waited only {:?}", started.elapsed());
    assert_eq!(stale["items"][0]["title"], serde_json::Value::Null);
    held.rollback().await.unwrap();
    app.wait_until("the new title is shown", async || {
        let page = query().header("verbatim-position", &position).send().await.is(200).value();
        page["items"][0]["title"] == "New"
    })
    .await;
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn position_makes_write_visible_on_other_node(db: PgPool) {
    let (writer, reader) = (TestApp::start(&db).await, TestApp::start(&db).await);
    let person = writer.person().await;
    let session = writer.session(&person).await;
    let path = format!("/api/history/{session}");
    for number in 0..8 {
        let title = format!("Title {number}");
        let answer = writer.patch(&path).by(&person).json(&json!({"title": title})).send().await.is(200);
        let position = answer.header("verbatim-position");
        let page = reader.get("/api/history").by(&person).header("verbatim-position", position).send().await;
        assert_eq!(page.is(200).value()["items"][0]["title"], title);
    }
    reader.end().await;
    writer.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn malformed_position_is_rejected(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    for position in ["", "x", "-1", "1.5", "1e3", "0x10", "99999999999999999999", "1 2"] {
        let answer = app.get("/api/history").by(&person).header("verbatim-position", position).send().await;
        answer.assert_error(400, "invalid_position");
    }
    // A position in the future is waited for briefly, and then the query runs anyway.
    for position in ["0", "1", "9223372036854775807"] {
        app.get("/api/history").by(&person).header("verbatim-position", position).send().await.is(200);
    }
    app.end().await;
}
