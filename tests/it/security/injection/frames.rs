//! Injection into every text of every WebSocket frame, and into the parameters of the upgrade.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::http::surfaces::websocket::frames::ClientFrame;
use verbatim::schema::MIGRATOR;

use super::{MAX_RESPONSE_TIME, payloads, percent_encoded};
use crate::sockets::client::Socket;
use crate::support::app::TestApp;

/// Returns the text fields of each frame type, from the schema.
fn text_fields() -> BTreeSet<(String, String)> {
    let schema = schemars::schema_for!(ClientFrame);
    let mut places = BTreeSet::new();
    for kind in schema.as_value()["oneOf"].as_array().unwrap() {
        for (name, property) in kind["properties"].as_object().unwrap() {
            let kinds = &property["type"];
            let text =
                kinds == "string" || kinds.as_array().is_some_and(|kinds| kinds.contains(&json!("string")));
            if text && name != "type" {
                let kind = kind["properties"]["type"]["const"].as_str().unwrap();
                places.insert((kind.to_owned(), name.clone()));
            }
        }
    }
    places
}

/// Sends a frame and returns the server's response to its `ref`.
async fn send_frame(socket: &mut Socket, frame: Value, what: &str) -> Value {
    let started = Instant::now();
    let reference = frame["ref"].clone();
    socket.send(frame).await;
    loop {
        let answer = socket.next().await.unwrap_or_else(|code| panic!("{what}: closed with {code}"));
        if answer["ref"] == reference {
            assert!(started.elapsed() < MAX_RESPONSE_TIME, "{what} took {:?}", started.elapsed());
            assert!(answer["status"].as_u64().is_none_or(|status| status < 500), "{what}: {answer}");
            return answer;
        }
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn sql_payloads_in_frames_have_no_effect(db: PgPool) {
    // One socket for each payload, since the frame rate of a socket is limited.
    let app = TestApp::with(&db, &[("MAX_SOCKETS_PER_USER", "200")]).await;
    let person = app.person().await;
    let said = app.say(&person, None, "Hello").await;
    let (session, reply) = (&said["session_id"], &said["reply_id"]);
    let (asked, answered) = (&said["user_message_id"], &said["message_id"]);
    let frames = [
        json!({"type": "message", "message": "Hello", "session_id": session, "model": null}),
        json!({"type": "follow", "reply_id": reply, "after": null}),
        json!({"type": "cancel", "reply_id": reply}),
        json!({"type": "regenerate", "session_id": session, "message_id": asked, "model": null}),
        json!({"type": "edit", "session_id": session, "message_id": asked, "message": "Hello", "model": null}),
        json!({"type": "switch", "session_id": session, "branch": 0}),
        json!({"type": "read", "session_id": session, "message_id": answered}),
        json!({"type": "typing", "session_id": session, "typing": true}),
        json!({"type": "auth", "token": person.access}),
    ];
    let places: Vec<(&Value, &String)> = frames
        .iter()
        .flat_map(|frame| frame.as_object().unwrap().iter().map(move |(name, value)| (frame, name, value)))
        .filter(|(_, name, value)| (value.is_string() || value.is_null()) && *name != "type")
        .map(|(frame, name, _)| (frame, name))
        .collect();
    let named =
        places.iter().map(|(frame, name)| (frame["type"].as_str().unwrap().to_owned(), (*name).clone()));
    assert_eq!(named.collect::<BTreeSet<_>>(), text_fields());
    for (number, payload) in payloads().iter().enumerate() {
        let opened = Instant::now();
        if let Err((status, refused)) =
            Socket::try_since(&app, &person, &format!("?after={}", percent_encoded(payload))).await
        {
            assert!(status < 500, "{payload}: {refused}");
        }
        assert!(opened.elapsed() < MAX_RESPONSE_TIME, "after {payload}: {:?}", opened.elapsed());
        let mut socket = Socket::of(&app, &person).await;
        for (frame, name) in &places {
            // Frames that start a reply are slow: only some payloads are sent.
            if *name == "message" && number % 7 != 0 {
                continue;
            }
            let mut frame = (*frame).clone();
            frame[*name] = json!(payload);
            frame["ref"] = json!(format!("{name} {number}"));
            let what = format!("{} {name}: {payload}", frame["type"]);
            send_frame(&mut socket, frame, &what).await;
        }
        let answer = send_frame(&mut socket, json!({"type": "ping", "ref": payload}), payload).await;
        assert_eq!(answer, json!({"type": "pong", "ref": payload}));
        send_frame(&mut socket, json!({"type": payload, "ref": "t"}), payload).await;
        let read = json!({"type": "read", "session_id": session, "message_id": answered, "key": payload, "ref": "k"});
        send_frame(&mut socket, read, payload).await;
    }
    // A message is stored literally.
    let message = payloads().join("\n");
    let mut socket = Socket::of(&app, &person).await;
    let frame = json!({"message": message, "ref": "all"});
    let accepted = send_frame(&mut socket, frame, "all").await;
    app.wait_for_projections().await;
    let path = format!("/api/history/{}", accepted["session_id"].as_str().unwrap());
    let page = app.get(&path).by(&person).send().await.is(200).value();
    let kept =
        |item: &Value| item["message_id"] == accepted["user_message_id"] && item["text"] == message.as_str();
    assert!(page["items"].as_array().unwrap().iter().any(kept), "{page}");
    drop(socket);
    app.end().await;
}
