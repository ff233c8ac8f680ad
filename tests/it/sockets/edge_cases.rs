//! Edge cases: concurrent events, expiry, and extreme sizes.

use std::time::{Duration, Instant};

use futures::{SinkExt as _, StreamExt as _};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use uuid::Uuid;
use verbatim::schema::MIGRATOR;

use super::client::{Socket, kind, open};
use crate::support::app::{JWT_KID, JWT_SECRET, Person, TestApp, WAIT_TIMEOUT};

/// Signs an access token of this user that expires after this many seconds.
fn short_token(person: &Person, seconds: i64) -> String {
    let mut claims: Value = {
        use base64::Engine as _;
        let part = person.access.split('.').nth(1).unwrap();
        serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap())
            .unwrap()
    };
    claims["exp"] = json!(claims["iat"].as_i64().unwrap() + seconds);
    let header = Header { kid: Some(JWT_KID.to_owned()), ..Header::new(Algorithm::HS256) };
    encode(&header, &claims, &EncodingKey::from_secret(JWT_SECRET.as_bytes())).unwrap()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn token_expiry_closes_busy_socket_unless_renewed(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let bearer = format!("Bearer {}", short_token(&person, 1));
    let address = app.address().to_string();
    let began = Instant::now();
    let mut chatty = open(&address, "", &[("authorization", &bearer)]).await.unwrap();
    let mut renewed = open(&address, "", &[("authorization", &bearer)]).await.unwrap();
    renewed.send(json!({"type": "auth", "token": person.access})).await;
    assert_eq!(kind(&renewed.next().await.unwrap()), "accepted");
    let code = loop {
        // The server may close before the next ping.
        let _ = chatty.stream.send(Message::text(r#"{"type":"ping"}"#)).await;
        match chatty.next().await {
            Ok(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            Err(code) => break code,
        }
    };
    // One second, plus the leeway of five that every request has.
    assert_eq!(code, 4401);
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    renewed.is_idle().await;
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn socket_waits_for_read_models_that_regressed(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    for _ in 0..5 {
        app.session(&person).await;
    }
    app.wait_for_projections().await;
    // As after a database crash: rows and checkpoint are older than what the process has seen.
    let mut back = db.begin().await.unwrap();
    let until: i64 = sqlx::query_scalar("SELECT position FROM messages ORDER BY position OFFSET 3 LIMIT 1")
        .fetch_one(&mut *back)
        .await
        .unwrap();
    sqlx::query("DELETE FROM messages WHERE position > $1").bind(until).execute(&mut *back).await.unwrap();
    sqlx::query("UPDATE checkpoints SET position = $1 WHERE projection = 'messages'")
        .bind(until)
        .execute(&mut *back)
        .await
        .unwrap();
    back.commit().await.unwrap();
    let mut socket = Socket::since(&app, &person, "?after=0").await;
    for _ in 0..10 {
        assert_eq!(kind(&socket.next().await.unwrap()), "message");
    }
    socket.is_idle().await;
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn live_frames_equal_replayed_frames_under_load(db: PgPool) {
    const USERS: usize = 16;
    const MESSAGES: usize = 12;
    let app = std::sync::Arc::new(TestApp::start(&db).await);
    let mut users = JoinSet::new();
    for _ in 0..USERS {
        let app = std::sync::Arc::clone(&app);
        users.spawn(async move {
            let person = app.person().await;
            let mut socket = Socket::of(&app, &person).await;
            let mut live = Vec::new();
            for n in 0..MESSAGES {
                socket.send(json!({"message": format!("number {n}")})).await;
                while live.len() < 2 * (n + 1) {
                    let frame = socket.next().await.unwrap();
                    if kind(&frame) == "message" {
                        live.push(frame);
                    }
                }
            }
            let mut replayed = Socket::since(&app, &person, "?after=0").await;
            for frame in live {
                assert_eq!(replayed.next().await.unwrap(), frame);
                assert!(frame["reply_id"].is_string());
            }
        });
    }
    users.join_all().await;
    std::sync::Arc::into_inner(app).unwrap().end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn largest_reply_is_delivered(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let answer = app.say(&person, None, "a short one").await;
    // Each character takes six bytes in JSON.
    sqlx::query("UPDATE messages SET text = repeat(E'\\x01', 65536) WHERE role = 'assistant'")
        .execute(&db)
        .await
        .unwrap();
    let mut socket = Socket::since(&app, &person, "?after=0").await;
    socket.next().await.unwrap();
    assert_eq!(socket.next().await.unwrap()["text"].as_str().unwrap().len(), 65_536);
    socket.send(json!({"type": "follow", "reply_id": answer["reply_id"]})).await;
    let frames = socket.until_the_end(&answer["reply_id"]).await;
    assert_eq!(frames.last().unwrap()["text"].as_str().unwrap().len(), 65_536);
    app.stop(WAIT_TIMEOUT).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn close_frame_is_answered(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let mut socket = Socket::of(&app, &person).await;
    socket.stream.send(Message::Close(None)).await.unwrap();
    let answer = tokio::time::timeout(WAIT_TIMEOUT, socket.stream.next()).await.unwrap();
    assert!(matches!(answer, Some(Ok(Message::Close(_)))), "{answer:?}");
    assert!(socket.stream.next().await.is_none());
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn endless_fragmented_message_is_disconnected(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let mut socket = Socket::of(&app, &person).await;
    let fragment = |kind| Message::Frame(Frame::message(Vec::new(), OpCode::Data(kind), false));
    socket.stream.feed(fragment(Data::Text)).await.unwrap();
    let flood = async {
        for _ in 0..1_000_000 {
            if socket.stream.feed(fragment(Data::Continue)).await.is_err() {
                return true;
            }
        }
        socket.stream.flush().await.is_err()
    };
    assert!(
        tokio::time::timeout(WAIT_TIMEOUT, flood).await.expect("timed out waiting for the disconnect"),
        "the server accepted a million fragments"
    );
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn following_same_reply_again_takes_no_slot(db: PgPool) {
    let app = TestApp::with(&db, &[("SCRIPTED_WORDS_PER_SECOND", "2"), ("REPLY_WAIT_SECONDS", "0")]).await;
    let person = app.person().await;
    let mut replies = Vec::new();
    for _ in 0..17 {
        let body = json!({"message": "word ".repeat(60)});
        replies.push(app.post("/api/chat").by(&person).json(&body).send().await.is(202).field("reply_id"));
    }
    let mut socket = Socket::of(&app, &person).await;
    let answer = async |socket: &mut Socket, reply: &str| {
        socket.send(json!({"type": "follow", "ref": "f", "reply_id": reply})).await;
        loop {
            let frame = socket.next().await.unwrap();
            if frame["ref"] == "f" {
                return frame["code"].as_str().map(str::to_owned);
            }
        }
    };
    for reply in &replies[..16] {
        assert_eq!(answer(&mut socket, reply).await, None);
    }
    assert_eq!(answer(&mut socket, &replies[16]).await.as_deref(), Some("too_many_followed"));
    assert_eq!(answer(&mut socket, &replies[3]).await, None);
    let unknown = Uuid::from_u128(7).to_string();
    assert_eq!(answer(&mut socket, &unknown).await.as_deref(), Some("too_many_followed"));
    drop(socket);
    for reply in &replies {
        app.post(&format!("/api/replies/{reply}/cancel")).by(&person).send().await.is(200);
    }
    app.end().await;
}
