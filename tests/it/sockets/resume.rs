//! Resumption: every stored item once and in order, and replies from where the client left off.

use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::client::{Socket, kind, open, text};
use crate::support::app::TestApp;

#[sqlx::test(migrator = "MIGRATOR")]
async fn missed_items_arrive_once_in_order_from_any_position(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let mut all = Socket::of(&app, &person).await;
    let (one, two) = (app.session(&person).await, app.session(&person).await);
    for session in [&one, &two, &one] {
        app.say(&person, Some(session), "more").await;
    }
    let mut stored: Vec<Value> = Vec::new();
    while stored.len() < 10 {
        let frame = all.next().await.unwrap();
        if kind(&frame) == "message" {
            stored.push(frame);
        }
    }
    let positions: Vec<i64> = stored.iter().map(|item| item["position"].as_i64().unwrap()).collect();
    for (missed, after) in std::iter::once(0).chain(positions).enumerate() {
        let mut socket = Socket::since(&app, &person, &format!("?after={after}")).await;
        assert_eq!(socket.hello["position"], after);
        for item in &stored[missed..] {
            assert_eq!(socket.next().await.unwrap(), *item);
        }
        socket.is_idle().await;
    }
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn switch_from_replay_to_live_loses_and_repeats_nothing(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let session = app.session(&person).await;
    let writing = async {
        for n in 0..40 {
            app.say(&person, Some(&session), &format!("number {n}")).await;
        }
    };
    // A client that reconnects again and again meanwhile.
    let reading = async {
        let (mut at, mut seen) = (0, Vec::new());
        while seen.len() < 82 {
            let mut socket = Socket::since(&app, &person, &format!("?after={at}")).await;
            for _ in 0..7 {
                let frame = socket.next().await.unwrap();
                if kind(&frame) == "message" {
                    at = frame["position"].as_i64().unwrap();
                    seen.push(frame["message_id"].clone());
                }
                if seen.len() == 82 {
                    break;
                }
            }
        }
        seen
    };
    let ((), seen) = tokio::join!(writing, reading);
    let page = app.get(&format!("/api/history/{session}?limit=100")).by(&person).send().await.is(200).value();
    let stored: Vec<_> =
        page["items"].as_array().unwrap().iter().map(|item| item["message_id"].clone()).collect();
    assert_eq!(seen, stored);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn client_that_missed_too_much_gets_reset(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let session = app.session(&person).await;
    // Older stored items: only their number matters.
    sqlx::query(
        "INSERT INTO messages (message_id, conversation_id, position, role, status, created_at)
         SELECT gen_random_uuid(), $1::uuid, 2, 'user', 'complete', now() FROM generate_series(1, 999)",
    )
    .bind(&session)
    .execute(&db)
    .await
    .unwrap();
    let mut socket = Socket::since(&app, &person, "?after=0").await;
    let reset = socket.next().await.unwrap();
    assert_eq!(kind(&reset), "reset");
    let answer = app.say(&person, Some(&session), "and now").await;
    let told = socket.next().await.unwrap();
    assert_eq!(told["message_id"], answer["user_message_id"]);
    assert!(told["position"].as_i64() > reset["position"].as_i64());
    sqlx::query("DELETE FROM messages WHERE position = 2 AND text IS NULL").execute(&db).await.unwrap();
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn invalid_positions_are_rejected(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let bearer = format!("Bearer {}", person.access);
    for after in ["-1", "999999999", "9223372036854775807"] {
        let (status, body) =
            open(&app.address().to_string(), &format!("?after={after}"), &[("authorization", &bearer)])
                .await
                .err()
                .unwrap();
        assert_eq!((status, body["code"].as_str()), (400, Some("invalid_position")), "{after}");
    }
    for after in ["x", "1.5", "1e3", "99999999999999999999"] {
        let (status, _) =
            open(&app.address().to_string(), &format!("?after={after}"), &[("authorization", &bearer)])
                .await
                .err()
                .unwrap();
        assert_eq!(status, 422, "{after}");
    }
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn reply_resumes_from_last_event_id(db: PgPool) {
    let app = TestApp::with(&db, &[("SCRIPTED_WORDS_PER_SECOND", "50")]).await;
    let person = app.person().await;
    let mut socket = Socket::of(&app, &person).await;
    socket.send(json!({"message": "word ".repeat(40)})).await;
    let accepted = socket.next_of("accepted", &["message", "typing"]).await;
    let reply = accepted["reply_id"].clone();
    let mut frames = Vec::new();
    for _ in 0..5 {
        frames.push(socket.next_of("reply.delta", &["message", "typing"]).await);
    }
    drop(socket);
    let mut socket = Socket::of(&app, &person).await;
    let last = frames.last().unwrap()["id"].clone();
    socket.send(json!({"type": "follow", "reply_id": reply, "after": last})).await;
    frames.extend(socket.until_the_end(&reply).await);
    let end = frames.last().unwrap();
    assert_eq!((kind(end), text(&frames)), ("reply.done", end["text"].as_str().unwrap().to_owned()));
    assert!(frames.iter().all(|frame| kind(frame) != "reply.restart"));

    // Again after the end, from the beginning and from the last id.
    for (after, expected) in [(None, text(&frames)), (Some(end["id"].clone()), String::new())] {
        socket.send(json!({"type": "follow", "reply_id": reply, "after": after})).await;
        let again = socket.until_the_end(&reply).await;
        assert_eq!(text(&again), expected);
    }
    app.end().await;
}
