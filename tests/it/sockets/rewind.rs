//! Frames that sockets get when the conversation is rewound to an earlier message.

use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::client::{Socket, kind};
use crate::support::app::{Person, TestApp};

/// Regenerates the reply to a message through ChatKit.
async fn regenerate(app: &TestApp, person: &Person, session: &str, message: &str) {
    let params = json!({"thread_id": session, "item_id": message});
    let body = json!({"type": "threads.retry_after_item", "params": params});
    app.post("/chatkit").by(person).json(&body).send().await.is(200);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn rewind_is_announced_and_returning_client_gets_reset(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let first = app.say(&person, None, "Which way?").await;
    let session = first["session_id"].as_str().unwrap().to_owned();
    let history = app.get(&format!("/api/history/{session}")).by(&person).send().await.is(200).value();
    let asked = history["items"].as_array().unwrap().iter().find(|item| item["role"] == "user").unwrap();
    let message = asked["message_id"].as_str().unwrap().to_owned();

    let mut socket = Socket::of(&app, &person).await;
    let hello = socket.hello.clone();
    regenerate(&app, &person, &session, &message).await;
    let mut frames = Vec::new();
    while frames.iter().filter(|frame: &&Value| kind(frame) == "message").count() < 1 {
        frames.push(socket.next().await.unwrap());
    }
    let rewound = frames.iter().find(|frame| kind(frame) == "rewound").expect("a rewound frame");
    assert_eq!((&rewound["session_id"], &rewound["message_id"]), (&json!(session), &json!(message)));
    let at = |kind_of: &str| frames.iter().position(|frame| kind(frame) == kind_of).unwrap();
    assert!(at("rewound") < at("message"), "{frames:?}");

    // A client that was disconnected meanwhile still shows the old reply.
    let after = hello["position"].as_i64().unwrap();
    let mut back = Socket::since(&app, &person, &format!("?after={after}")).await;
    let reset = back.next().await.unwrap();
    assert_eq!(kind(&reset), "reset");
    // A client that is up to date gets no reset.
    let mut here = Socket::since(&app, &person, &format!("?after={}", reset["position"])).await;
    here.send(json!({"type": "ping", "ref": "p"})).await;
    assert_eq!(kind(&here.next().await.unwrap()), "pong");
    drop((socket, back, here));
    app.end().await;
}
