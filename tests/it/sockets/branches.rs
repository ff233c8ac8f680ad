//! Branches over sockets: regenerating, editing, switching branches, and the frames that the user's other sockets get.

use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::client::{Socket, kind, text};
use crate::support::app::TestApp;

const REPLY_FRAMES: &[&str] = &["typing", "reply.delta", "reply.done", "message"];

#[sqlx::test(migrator = "MIGRATOR")]
async fn regenerate_edit_and_switch_frames_update_other_sockets(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let first = app.say(&person, None, "one").await;
    let (session, message) = (&first["session_id"], &first["user_message_id"]);
    app.say(&person, session.as_str(), "two").await;
    app.wait_for_projections().await;
    let (mut here, mut there) = (Socket::of(&app, &person).await, Socket::of(&app, &person).await);

    // Regenerate: `rewound` comes before the new text, so every socket knows what to remove.
    here.send(
        json!({"type": "regenerate", "ref": "r1", "key": "k1", "session_id": session, "message_id": message}),
    )
    .await;
    let accepted = here.next_of("accepted", &["rewound", "typing", "message"]).await;
    assert_eq!((&accepted["ref"], &accepted["user_message_id"]), (&json!("r1"), message));
    assert!(accepted["position"].as_i64().unwrap() > 0);
    let frames = here.until_the_end(&accepted["reply_id"]).await;
    assert!(text(&frames).contains("You said: \"one\" Turns seen: 1"), "{frames:?}");
    let rewound = there.next_of("rewound", &[]).await;
    let names = ["session_id", "message_id", "edited", "branch"];
    let fields = |frame: &Value| Value::from(names.map(|name| frame[name].clone()).to_vec());
    assert_eq!(fields(&rewound), json!([session, message, false, 1]));
    let answer = there.next_of("message", REPLY_FRAMES).await;
    assert_eq!(answer["message_id"], accepted["message_id"]);

    // Edit: another message replaces the first.
    here.send(
        json!({"type": "edit", "ref": "e1", "session_id": session, "message_id": message, "message": "eins"}),
    )
    .await;
    let accepted = here.next_of("accepted", &["rewound", "typing", "message"]).await;
    here.until_the_end(&accepted["reply_id"]).await;
    let rewound = there.next_of("rewound", REPLY_FRAMES).await;
    assert_eq!(fields(&rewound), json!([session, message, true, 2]));
    let edited = there.next_of("message", REPLY_FRAMES).await;
    assert_eq!((&edited["text"], &edited["role"]), (&json!("eins"), &json!("user")));
    assert_eq!(edited["message_id"], accepted["user_message_id"]);
    there.next_of("message", REPLY_FRAMES).await;

    // Switch back to the first branch.
    here.send(json!({"type": "switch", "ref": "s1", "session_id": session, "branch": 0})).await;
    let accepted = here.next_of("accepted", &["switched", "typing", "message"]).await;
    let switched = there.next_of("switched", &["typing"]).await;
    assert_eq!((&switched["session_id"], &switched["branch"]), (session, &json!(0)));
    assert_eq!(switched["position"], accepted["position"]);
    let path = format!("/api/history/{}", session.as_str().unwrap());
    let position = switched["position"].to_string();
    let page = app.get(&path).by(&person).header("verbatim-position", &position).send().await.is(200).value();
    assert_eq!(page["items"].as_array().unwrap().len(), 4);

    // A client that was disconnected meanwhile is told to reload.
    let after = there.hello["position"].as_i64().unwrap();
    let mut back = Socket::since(&app, &person, &format!("?after={after}")).await;
    assert_eq!(kind(&back.next().await.unwrap()), "reset");

    // Invalid frames get an error frame; the socket stays open.
    for (frame, status, code) in [
        (json!({"type": "switch", "session_id": session, "branch": 9}), 404, "not_found"),
        (json!({"type": "switch", "session_id": "x", "branch": 0}), 404, "not_found"),
        (json!({"type": "switch", "session_id": session, "branch": -1}), 422, ""),
        (
            json!({"type": "edit", "session_id": session, "message_id": edited["message_id"], "message": "x"}),
            409,
            "branch_not_active",
        ),
        (json!({"type": "regenerate", "session_id": session, "message_id": session}), 404, "not_found"),
        (json!({"type": "edit", "session_id": session, "message_id": message, "message": ""}), 400, ""),
    ] {
        back.send(frame.clone()).await;
        let error = back.next_of("error", &[]).await;
        assert_eq!(error["status"], status, "{frame}: {error}");
        assert!(code.is_empty() || error["code"] == code, "{frame}: {error}");
    }
    let other = app.person().await;
    let mut stranger = Socket::of(&app, &other).await;
    let events = app.events().await;
    for (frame, more) in [
        ("switch", json!({"branch": 1})),
        ("switch", json!({"branch": 9})),
        ("regenerate", json!({"message_id": message})),
        ("regenerate", json!({"message_id": edited["message_id"]})),
        ("edit", json!({"message_id": edited["message_id"], "message": "mine"})),
        ("edit", json!({"message_id": edited["message_id"], "message": ""})),
    ] {
        let mut frame = json!({"type": frame, "session_id": session});
        frame.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        stranger.send(frame.clone()).await;
        let error = stranger.next_of("error", &[]).await;
        assert_eq!((&error["status"], &error["code"]), (&json!(404), &json!("not_found")), "{frame}");
    }
    assert_eq!(app.events().await, events);
    drop((here, there, back, stranger));
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn switching_branches_is_rate_limited(db: PgPool) {
    let app = TestApp::with(&db, &[("RATE_LIMITS", "on"), ("RATE_LIMIT_USER_PER_MINUTE", "3")]).await;
    let person = app.person().await;
    let said = app.say(&person, None, "one").await;
    let (session, message) = (&said["session_id"], &said["user_message_id"]);
    let mut socket = Socket::of(&app, &person).await;
    let edit = json!({"type": "edit", "session_id": session, "message_id": message, "message": "eins"});
    socket.send(edit).await;
    let accepted = socket.next_of("accepted", &["rewound", "typing", "message"]).await;
    socket.until_the_end(&accepted["reply_id"]).await;
    let shown = ["accepted", "switched", "typing", "message", "rewound"];
    for branch in [0, 1] {
        socket.send(json!({"type": "switch", "session_id": session, "branch": branch})).await;
    }
    let error = socket.next_of("error", &shown).await;
    assert_eq!((&error["status"], &error["code"]), (&json!(429), &json!("rate_limited")), "{error}");
    drop(socket);
    app.end().await;
}
