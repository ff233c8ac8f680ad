//! A database that fails those who follow: they are not cut for it, and miss nothing.

use serde_json::json;
use sqlx::PgPool;
use verbatim::bootstrap::database::MIGRATOR;

use super::proxied::Proxied;
use super::proxy::When;
use crate::sockets::client::{Socket, kind, text};

/// Looks that fail one after the other.
const IN_VAIN: u64 = 3;
/// Part of the statement that a follower looks for its reply with, and of no other.
const LOOK: &str = "AS wanted(name)";
/// The same of a socket that looks for what it missed.
const MISSED: &str = "AS missed";

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_stream_outlives_looks_that_fail(db: PgPool) {
    let scene = Proxied::start(&db, &[("SCRIPTED_WORDS_PER_SECOND", "40")]).await;
    let person = scene.app.person().await;
    scene.proxy.cut_at(LOOK, When::Before, IN_VAIN);
    let body = json!({"message": "Words that come while nobody finds the reply."});
    let events = scene.app.post("/api/chat/stream").by(&person).json(&body).stream().await.rest().await;
    assert_eq!(scene.proxy.cut(), IN_VAIN);
    let end = events.last().unwrap();
    assert_eq!(end.name, "reply.done");
    let told: String =
        events.iter().filter(|event| event.name == "reply.delta").map(|event| event.text()).collect();
    assert_eq!(told, end.text());
    scene.app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_socket_outlives_looks_that_fail(db: PgPool) {
    let scene = Proxied::start(&db, &[("SCRIPTED_WORDS_PER_SECOND", "40")]).await;
    let person = scene.app.person().await;
    scene.new_session(&person).await;
    scene.proxy.cut_at(MISSED, When::Before, IN_VAIN);
    let mut socket = Socket::since(&scene.app, &person, "?after=0").await;
    for role in ["user", "assistant"] {
        let frame = socket.next().await.unwrap();
        assert_eq!((kind(&frame), &frame["role"]), ("message", &json!(role)));
    }
    assert_eq!(scene.proxy.cut(), IN_VAIN);
    scene.app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_reply_is_followed_and_waited_for_through_looks_that_fail(db: PgPool) {
    let scene = Proxied::start(&db, &[("SCRIPTED_WORDS_PER_SECOND", "40")]).await;
    let person = scene.app.person().await;
    let mut socket = Socket::of(&scene.app, &person).await;
    scene.proxy.cut_at(LOOK, When::Before, IN_VAIN);
    // The socket follows what is asked for by it; whoever asks by a request waits for the same.
    socket.send(json!({"type": "message", "ref": "1", "message": "Words for a socket."})).await;
    let body = json!({"message": "Words for a request."});
    let waits = scene.app.post("/api/chat").by(&person).json(&body).send();
    let (answer, frames) = tokio::join!(waits, async {
        let accepted = socket.next_of("accepted", &["message", "typing"]).await;
        socket.until_the_end(&accepted["reply_id"]).await
    });
    assert!(!answer.is(200).field("reply").is_empty());
    let end = frames.last().unwrap();
    assert_eq!((kind(end), end["text"].as_str()), ("reply.done", Some(text(&frames).as_str())));
    assert_eq!(scene.proxy.cut(), IN_VAIN);
    scene.app.end().await;
}
