//! Messages, replies, read positions and typing indicators over sockets.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::http::surfaces::websocket::frames::{ClientEnvelope, ClientFrame};
use verbatim::schema::MIGRATOR;

use super::client::{Socket, kind, text};
use crate::support::app::TestApp;

const BACKGROUND_FRAMES: &[&str] = &["message", "typing"];

#[sqlx::test(migrator = "MIGRATOR")]
async fn message_is_accepted_stored_and_answered_in_deltas(db: PgPool) {
    let app = TestApp::with(&db, &[("SCRIPTED_WORDS_PER_SECOND", "50")]).await;
    let person = app.person().await;
    let mut socket = Socket::of(&app, &person).await;
    socket.send(json!({"type": "message", "ref": "one", "message": "one two three"})).await;
    let accepted = socket.next_of("accepted", BACKGROUND_FRAMES).await;
    assert_eq!(accepted["ref"], "one");
    let frames = socket.until_the_end(&accepted["reply_id"]).await;
    let end = frames.last().unwrap();
    assert_eq!((kind(end), &end["session_id"]), ("reply.done", &accepted["session_id"]));
    assert_eq!(text(&frames), end["text"].as_str().unwrap());
    let deltas: Vec<_> = frames.iter().filter(|frame| kind(frame) == "reply.delta").collect();
    assert!(deltas.len() > 3, "{} deltas", deltas.len());
    let last = format!("{}:1:{}", accepted["reply_id"].as_str().unwrap(), text(&frames).len());
    assert_eq!((deltas.last().unwrap()["id"].as_str(), end["id"].as_str()), (Some(&*last), Some(&*last)));

    // Each stored item arrives once, before or after the frames of the reply.
    let session = accepted["session_id"].as_str().unwrap();
    let page = app.get(&format!("/api/history/{session}")).by(&person).send().await.is(200).value();
    let mut after = Socket::since(&app, &person, "?after=0").await;
    for item in page["items"].as_array().unwrap() {
        let told = after.next().await.unwrap();
        assert_eq!(kind(&told), "message");
        for name in ["message_id", "role", "status", "text", "reply_id", "in_reply_to", "model", "created_at"]
        {
            assert_eq!(told[name], item[name], "{name}");
        }
    }
    after.is_idle().await;
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn frame_with_message_and_session_continues_session(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let session = app.session(&person).await;
    let mut socket = Socket::of(&app, &person).await;
    socket.send(json!({"message": "and on", "session_id": session})).await;
    let accepted = socket.next_of("accepted", BACKGROUND_FRAMES).await;
    assert_eq!(accepted["session_id"], session);
    assert_eq!(accepted.get("ref"), None);
    let frames = socket.until_the_end(&accepted["reply_id"]).await;
    assert_eq!(kind(frames.last().unwrap()), "reply.done");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn messages_are_stored_in_sending_order(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let session = app.session(&person).await;
    let mut socket = Socket::of(&app, &person).await;
    for n in 0..6 {
        socket
            .send(json!({"message": format!("number {n}"), "session_id": session, "ref": n.to_string()}))
            .await;
    }
    let mut stored = Vec::new();
    while stored.len() < 12 {
        let frame = socket.next().await.unwrap();
        if kind(&frame) == "message" {
            stored.push(frame);
        }
    }
    let asked: Vec<_> =
        stored.iter().filter(|frame| frame["role"] == "user").map(|frame| frame["text"].clone()).collect();
    assert_eq!(asked, (0..6).map(|n| json!(format!("number {n}"))).collect::<Vec<_>>());
    let positions: Vec<_> = stored.iter().map(|frame| frame["position"].as_i64().unwrap()).collect();
    assert!(positions.is_sorted_by(|one, two| one < two), "{positions:?}");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn message_reaches_all_sockets_of_its_user_only(db: PgPool) {
    let app = TestApp::start(&db).await;
    let (ada, eve) = (app.person().await, app.person().await);
    let (mut one, mut two) = (Socket::of(&app, &ada).await, Socket::of(&app, &ada).await);
    let mut strangers = Socket::of(&app, &eve).await;
    let answer = app.say(&ada, None, "told to all").await;
    for socket in [&mut one, &mut two] {
        let asked = socket.next().await.unwrap();
        assert_eq!((kind(&asked), &asked["text"]), ("message", &json!("told to all")));
        assert_eq!(asked["reply_id"], answer["reply_id"]);
        let begins = socket.next().await.unwrap();
        let writes = json!({"type": "typing", "session_id": answer["session_id"], "who": "assistant", "typing": true,
            "reply_id": answer["reply_id"]});
        assert_eq!(begins, writes);
        assert_eq!(socket.next().await.unwrap()["typing"], false);
        let answered = socket.next().await.unwrap();
        assert_eq!((kind(&answered), &answered["text"]), ("message", &answer["reply"]));
        socket.is_idle().await;
    }
    strangers.is_idle().await;
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn reply_can_be_followed_and_cancelled_on_another_socket(db: PgPool) {
    let app = TestApp::with(&db, &[("SCRIPTED_WORDS_PER_SECOND", "20")]).await;
    let person = app.person().await;
    let (mut one, mut two) = (Socket::of(&app, &person).await, Socket::of(&app, &person).await);
    one.send(json!({"message": "word ".repeat(300)})).await;
    let accepted = one.next_of("accepted", BACKGROUND_FRAMES).await;
    let reply = &accepted["reply_id"];
    one.next_of("reply.delta", BACKGROUND_FRAMES).await;
    two.send(json!({"type": "follow", "ref": "f", "reply_id": reply})).await;
    assert_eq!(two.next_of("accepted", BACKGROUND_FRAMES).await["session_id"], accepted["session_id"]);
    two.next_of("reply.delta", BACKGROUND_FRAMES).await;
    two.send(json!({"type": "cancel", "ref": "c", "reply_id": reply})).await;
    let ends = two.until_the_end(reply).await;
    let end = ends.last().unwrap();
    assert_eq!((kind(end), end["text"].as_str().unwrap().is_empty()), ("reply.cancelled", false));
    let other = one.until_the_end(reply).await;
    assert_eq!(other.last().unwrap()["text"], end["text"]);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn read_position_is_stored_once_and_sent_to_other_sockets(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let answer = app.say(&person, None, "to be read").await;
    let (session, message) = (&answer["session_id"], &answer["message_id"]);
    let (mut one, mut two) = (Socket::of(&app, &person).await, Socket::of(&app, &person).await);
    let read = json!({"type": "read", "ref": "r", "session_id": session, "message_id": message});
    one.send(read.clone()).await;
    let position = one.next_of("accepted", &["read"]).await["position"].clone();
    let told = json!({"type": "read", "position": position, "session_id": session, "message_id": message});
    assert_eq!(two.next().await.unwrap(), told);
    let list = app.get("/api/history").by(&person).send().await.is(200).value();
    assert_eq!(list["items"][0]["read_to"], *message);

    // Again, and for an earlier message: no new event.
    let events = app.events().await;
    for message in [message, &answer["user_message_id"]] {
        two.send(json!({"type": "read", "session_id": session, "message_id": message})).await;
        two.next_of("accepted", &["read"]).await;
    }
    assert_eq!(app.events().await, events);
    let mut later = Socket::since(&app, &person, "?after=0").await;
    let mut kinds = Vec::new();
    for _ in 0..3 {
        kinds.push(kind(&later.next().await.unwrap()).to_owned());
    }
    assert_eq!(kinds, ["message", "message", "read"]);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn typing_is_sent_to_other_sockets_only(db: PgPool) {
    let app = TestApp::start(&db).await;
    let (person, stranger) = (app.person().await, app.person().await);
    let session = app.session(&person).await;
    let (mut one, mut two) = (Socket::of(&app, &person).await, Socket::of(&app, &person).await);
    for typing in [true, false] {
        one.send(json!({"type": "typing", "session_id": session, "typing": typing})).await;
        let told = json!({"type": "typing", "session_id": session, "who": "user", "typing": typing});
        assert_eq!(two.next().await.unwrap(), told);
    }
    one.is_idle().await;
    let mut strangers = Socket::of(&app, &stranger).await;
    strangers.send(json!({"type": "typing", "session_id": session, "typing": true})).await;
    assert_eq!(strangers.next().await.unwrap()["code"], "not_found");
    two.is_idle().await;
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn repeated_key_returns_first_outcome_or_rejects(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let (mut one, mut two) = (Socket::of(&app, &person).await, Socket::of(&app, &person).await);
    one.send(json!({"message": "once", "key": "k1", "ref": "a"})).await;
    let first = one.next_of("accepted", BACKGROUND_FRAMES).await;
    one.until_the_end(&first["reply_id"]).await;
    two.send(json!({"message": "once", "key": "k1", "ref": "b"})).await;
    let again = two.next_of("accepted", BACKGROUND_FRAMES).await;
    for name in ["session_id", "user_message_id", "message_id", "reply_id", "position"] {
        assert_eq!(again[name], first[name], "{name}");
    }
    two.until_the_end(&first["reply_id"]).await;
    for (frame, code) in [
        (json!({"message": "twice", "key": "k1", "ref": "c"}), "idempotency_key_reused"),
        (json!({"message": "blank", "key": " ", "ref": "c"}), "invalid_idempotency_key"),
        (json!({"message": "long", "key": "k".repeat(256), "ref": "c"}), "invalid_idempotency_key"),
    ] {
        two.send(frame).await;
        let error = two.next_of("error", BACKGROUND_FRAMES).await;
        assert_eq!((error["code"].as_str(), error["ref"].as_str()), (Some(code), Some("c")));
    }
    app.end().await;
}

/// Expected answer to a frame that names another user's resources: type, and status and code of an error. A new kind of
/// frame needs an answer here and a row in the test.
fn expected_for_stranger(frame: &ClientFrame) -> Value {
    match frame {
        ClientFrame::Message { .. }
        | ClientFrame::Follow { .. }
        | ClientFrame::Cancel { .. }
        | ClientFrame::Regenerate { .. }
        | ClientFrame::Edit { .. }
        | ClientFrame::Switch { .. }
        | ClientFrame::Read { .. }
        | ClientFrame::Typing { .. } => json!(["error", 404, "not_found"]),
        // Another user's token: the socket keeps its user.
        ClientFrame::Auth { .. } => json!(["error", 401, "invalid_token"]),
        // Names no resource.
        ClientFrame::Ping {} => json!(["pong", null, null]),
    }
}

/// S19.
#[sqlx::test(migrator = "MIGRATOR")]
async fn every_frame_is_checked_against_its_senders_rights(db: PgPool) {
    let app = TestApp::start(&db).await;
    let (owner, stranger) = (app.person().await, app.person().await);
    let answer = app.say(&owner, None, "private").await;
    let (session, reply, message) = (&answer["session_id"], &answer["reply_id"], &answer["message_id"]);
    let asked = &answer["user_message_id"];
    let own = app.session(&stranger).await;
    let unknown = "0190b6f0-0000-7000-8000-000000000000";
    let (mut socket, mut owners) = (Socket::of(&app, &stranger).await, Socket::of(&app, &owner).await);
    let events = app.events().await;
    let mut sent = BTreeSet::new();
    for frame in [
        json!({"message": "intruder", "session_id": session}),
        json!({"message": "nowhere", "session_id": unknown}),
        json!({"message": "no id", "session_id": "verbatim.>"}),
        json!({"type": "follow", "reply_id": reply}),
        json!({"type": "cancel", "reply_id": reply}),
        json!({"type": "regenerate", "session_id": session, "message_id": asked}),
        json!({"type": "regenerate", "session_id": session, "message_id": message}),
        json!({"type": "regenerate", "session_id": own, "message_id": asked}),
        json!({"type": "edit", "session_id": session, "message_id": asked, "message": "intruder"}),
        json!({"type": "edit", "session_id": own, "message_id": asked, "message": "intruder"}),
        json!({"type": "switch", "session_id": session, "branch": 0}),
        json!({"type": "read", "session_id": session, "message_id": message}),
        json!({"type": "read", "session_id": own, "message_id": message}),
        json!({"type": "typing", "session_id": session, "typing": true}),
        json!({"type": "auth", "token": owner.access}),
        json!({"type": "ping"}),
    ] {
        let read = ClientEnvelope::parse(&frame.to_string()).unwrap().frame;
        socket.send(frame.clone()).await;
        let told = socket.next().await.unwrap();
        let told = Value::from(["type", "status", "code"].map(|name| told[name].clone()).to_vec());
        assert_eq!(told, expected_for_stranger(&read), "{frame}");
        sent.insert(read.kind().to_owned());
    }
    let schema = schemars::schema_for!(ClientFrame);
    let kinds = schema.as_value()["oneOf"].as_array().unwrap().iter();
    let all: BTreeSet<String> =
        kinds.map(|kind| kind["properties"]["type"]["const"].as_str().unwrap().to_owned()).collect();
    assert_eq!(sent, all, "a kind of frame has no row");
    assert_eq!(app.events().await, events);
    owners.is_idle().await;
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn invalid_frame_gets_error_and_socket_stays(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let mut socket = Socket::of(&app, &person).await;
    for (text, status) in [
        ("", 422),
        ("{", 422),
        ("[]", 422),
        (r#""hello""#, 422),
        (r#"{"type": "dance", "ref": "d"}"#, 422),
        (r#"{"message": 7}"#, 422),
        (r#"{"message": "a\u0000b"}"#, 400),
        (r#"{"message": ""}"#, 400),
        (r#"{"type": "follow", "reply_id": "x"}"#, 404),
    ] {
        futures::SinkExt::send(&mut socket.stream, tokio_tungstenite::tungstenite::Message::text(text))
            .await
            .unwrap();
        let error = socket.next().await.unwrap();
        assert_eq!((kind(&error), error["status"].as_u64()), ("error", Some(status)), "{text}");
        assert!(error["detail"].is_string() && error["request_id"].is_string(), "{error}");
    }
    let answer = app.say(&person, None, "real").await;
    socket.send(json!({"type": "follow", "reply_id": answer["reply_id"], "after": "rubbish"})).await;
    assert_eq!(socket.next_of("error", BACKGROUND_FRAMES).await["code"], "invalid_last_event_id");
    socket.is_idle().await;
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn rate_limited_message_gets_retry_after(db: PgPool) {
    let app = TestApp::with(&db, &[("RATE_LIMITS", "on"), ("RATE_LIMIT_SESSION_PER_MINUTE", "2")]).await;
    let person = app.person().await;
    let session = app.session(&person).await;
    let mut socket = Socket::of(&app, &person).await;
    let mut rejected = None;
    for _ in 0..3 {
        socket.send(json!({"message": "more", "session_id": session})).await;
        loop {
            let frame = socket.next().await.unwrap();
            match kind(&frame) {
                "accepted" => break,
                "error" => {
                    rejected = Some(frame);
                    break;
                }
                _ => {}
            }
        }
    }
    let rejected = rejected.expect("a rejection");
    assert_eq!((rejected["status"].as_u64(), rejected["code"].as_str()), (Some(429), Some("rate_limited")));
    assert!(rejected["retry_after"].as_u64().is_some_and(|seconds| seconds > 0), "{rejected}");
    app.end().await;
}
