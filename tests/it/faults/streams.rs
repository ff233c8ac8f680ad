//! Queries of followers fail for a while: the followers stay connected and miss nothing.

use serde_json::json;
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::proxied::Proxied;
use super::proxy::CutPoint;
use crate::sockets::client::{Socket, kind, text};

/// Number of consecutive failing queries.
const FAILING_QUERIES: u64 = 3;
/// Text that only the query of a reply's follower contains.
const FOLLOW_QUERY: &str = "AS wanted(name)";
/// Text that only the query for a socket's missed items contains.
const MISSED_QUERY: &str = "AS missed";

#[sqlx::test(migrator = "MIGRATOR")]
async fn stream_survives_failing_queries(db: PgPool) {
    let scene = Proxied::start(&db, &[("SCRIPTED_WORDS_PER_SECOND", "40")]).await;
    let person = scene.app.person().await;
    scene.proxy.cut_at(FOLLOW_QUERY, CutPoint::Before, FAILING_QUERIES);
    let body = json!({"message": "Words that arrive while the queries fail."});
    let events = scene.app.post("/api/chat/stream").by(&person).json(&body).stream().await.rest().await;
    assert_eq!(scene.proxy.cut(), FAILING_QUERIES);
    let end = events.last().unwrap();
    assert_eq!(end.name, "reply.done");
    let text_of_deltas: String =
        events.iter().filter(|event| event.name == "reply.delta").map(|event| event.text()).collect();
    assert_eq!(text_of_deltas, end.text());
    scene.app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn socket_survives_failing_queries(db: PgPool) {
    let scene = Proxied::start(&db, &[("SCRIPTED_WORDS_PER_SECOND", "40")]).await;
    let person = scene.app.person().await;
    scene.new_session(&person).await;
    scene.proxy.cut_at(MISSED_QUERY, CutPoint::Before, FAILING_QUERIES);
    let mut socket = Socket::since(&scene.app, &person, "?after=0").await;
    for role in ["user", "assistant"] {
        let frame = socket.next().await.unwrap();
        assert_eq!((kind(&frame), &frame["role"]), ("message", &json!(role)));
    }
    assert_eq!(scene.proxy.cut(), FAILING_QUERIES);
    scene.app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn following_and_waiting_survive_failing_queries(db: PgPool) {
    let scene = Proxied::start(&db, &[("SCRIPTED_WORDS_PER_SECOND", "40")]).await;
    let person = scene.app.person().await;
    let mut socket = Socket::of(&scene.app, &person).await;
    scene.proxy.cut_at(FOLLOW_QUERY, CutPoint::Before, FAILING_QUERIES);
    // The socket follows its own reply; the HTTP request waits for its own.
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
    assert_eq!(scene.proxy.cut(), FAILING_QUERIES);
    scene.app.end().await;
}
