//! Tests that personal text is encrypted in the log and that secrets are stored nowhere.

use serde_json::json;
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use crate::support::app::TestApp;

/// Tables that hold personal text in plain by design; they are rebuilt after an erasure.
const READ_MODELS: [&str; 6] =
    ["users", "conversations", "messages", "pending_replies", "replies", "widget_state"];

/// Counts the rows of a table that contain this text, in plain or hex-encoded.
async fn rows_containing(db: &PgPool, table: &str, text: &str) -> i64 {
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    sqlx::query_scalar(&format!(
        "SELECT count(*) FROM {table} t
         WHERE position(lower($1) IN lower(t::text)) > 0 OR position($2 IN t::text) > 0"
    ))
    .bind(text)
    .bind(hex)
    .fetch_one(db)
    .await
    .unwrap()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn personal_text_and_secrets_are_never_stored_in_plain(db: PgPool) {
    let app = TestApp::with(&db, &[("SCRIPTED_FAULT", "cut:1"), ("SCRIPTED_WORDS_PER_SECOND", "100")]).await;
    let account =
        json!({"email": "Canary@Mail.Example", "username": "canary-name", "password": "canary pass 1"});
    let registered =
        app.post("/api/auth/register").key("canary-register").json(&account).send().await.is(201);
    let login = json!({"username": "canary@mail.example", "password": "canary pass 1"});
    let signed_in = app.post("/api/auth/login").json(&login).send().await.is(200);
    let refresh = json!({"refresh_token": signed_in.field("refresh_token")});
    let refreshed = app.post("/api/auth/refresh").json(&refresh).send().await.is(200);
    let access = refreshed.field("access_token");
    let message = json!({"message": "canary message, Grüße"});
    let sent = app.post("/api/chat").bearer(&access).key("canary-chat").json(&message).send().await.is(200);
    let session = sent.field("session_id");
    let path = format!("/api/history/{session}");
    let title = json!({"title": "canary title"});
    app.patch(&path).bearer(&access).key("canary-title").json(&title).send().await.is(200);
    let more = json!({"message": "canary, cancelled", "session_id": session});
    let mut stream = app.post("/api/chat/stream").bearer(&access).json(&more).stream().await;
    let reply = stream.until("reply.delta").await[0].reply();
    app.post(&format!("/api/replies/{reply}/cancel")).bearer(&access).key("c").send().await.is(200);
    stream.rest().await;
    let change = json!({"current_password": "canary pass 1", "new_password": "canary pass 2"});
    app.post("/api/auth/password").bearer(&access).key("p").json(&change).send().await.is(204);
    app.post("/api/auth/logout").bearer(&access).send().await.is(204);
    app.wait_for_projections().await;

    let tables: Vec<String> =
        sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
            .fetch_all(&db)
            .await
            .unwrap();
    for needed in
        ["events", "command_keys", "credentials", "logins", "refresh_tokens", "user_keys", "data_keys"]
    {
        assert!(tables.iter().any(|table| table == needed), "no table {needed}");
    }
    let mut secrets = vec!["canary pass".to_owned()];
    for answer in [&registered, &signed_in, &refreshed] {
        secrets.push(answer.field("access_token"));
        // The signature alone is secret as well.
        secrets.push(answer.field("access_token").rsplit('.').next().unwrap().to_owned());
        secrets.push(answer.field("refresh_token").trim_start_matches("vrt_").to_owned());
    }
    let personal = [
        "canary@mail",
        "canary-name",
        "canary message",
        "grüße",
        "canary title",
        "canary, cancelled",
        // The scripted reply repeats the message.
        "built-in scripted",
        "turns seen",
    ];
    for table in &tables {
        for secret in &secrets {
            assert_eq!(rows_containing(&db, table, secret).await, 0, "{secret} in {table}");
        }
        if !READ_MODELS.contains(&table.as_str()) {
            for text in personal {
                assert_eq!(rows_containing(&db, table, text).await, 0, "{text} in {table}");
            }
        }
    }
    // The search itself works: it finds text that is stored.
    assert!(rows_containing(&db, "messages", "canary message").await >= 1);
    assert_eq!(rows_containing(&db, "users", "canary-name").await, 1);
    assert!(rows_containing(&db, "events", &session).await > 5);
    app.end().await;
}
