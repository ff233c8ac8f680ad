//! Tests many concurrent streams on one node: each contains its whole reply, once and in order, and no text of another.

use std::collections::BTreeSet;

use futures::future::join_all;
use serde_json::json;
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::support::{Kit, answer_of, deltas_of, done, id_of, kinds, text, thread_of};
use crate::support::app::{Person, TestApp};

const USERS: usize = 20;
const STREAMS_PER_USER: usize = 10;

/// The outcome of one stream.
struct Streamed {
    person: usize,
    thread: String,
    id: String,
    answer: String,
    pieces: usize,
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn two_hundred_concurrent_streams_lose_no_event(db: PgPool) {
    let variables =
        [("CHAT_TITLES", "off"), ("SCRIPTED_WORDS_PER_SECOND", "60"), ("REPLY_CONCURRENCY", "200")];
    let app = TestApp::with(&db, &variables).await;
    let mut people: Vec<Person> = Vec::new();
    for _ in 0..USERS {
        people.push(app.person().await);
    }
    let one = async |person: usize, stream: usize| {
        let kit = Kit::new(&app, &people[person]);
        let said = format!("Person {person}, stream {stream}: Grüße, 世界 🎉");
        let events = kit.stream("threads.create", json!({"input": text(&said)})).await;
        let answer = answer_of(&events).to_owned();
        assert!(answer.contains(&format!("You said: \"{said}\" Turns seen: 1")), "{answer}");
        assert_eq!(deltas_of(&events), answer);
        let kinds = kinds(&events);
        assert_eq!(kinds[..4], ["thread.created", "thread.item.done", "stream_options", "thread.item.added"]);
        assert_eq!(kinds.last(), Some(&"thread.item.done"), "{kinds:?}");
        let pieces = events.iter().filter(|event| event["update"]["delta"].is_string()).count();
        let id = id_of(done(&events, "assistant_message")[0]);
        Streamed { person, thread: thread_of(&events), id, answer, pieces }
    };
    let all = (0..USERS).flat_map(|person| (0..STREAMS_PER_USER).map(move |stream| (person, stream)));
    let streams = join_all(all.map(|(person, stream)| one(person, stream))).await;
    assert_eq!(streams.len(), USERS * STREAMS_PER_USER);
    app.wait_for_projections().await;
    for Streamed { person, thread, id, answer, .. } in &streams {
        let items = Kit::new(&app, &people[*person]).items(thread).await;
        assert_eq!(items.len(), 2);
        assert_eq!(id_of(&items[1]), *id);
        assert_eq!(items[1]["content"][0]["text"].as_str(), Some(answer.as_str()));
    }
    // The number of pieces depends on the load of the machine.
    assert!(streams.iter().any(|stream| stream.pieces > 1), "no text arrived in several pieces");
    let ids: BTreeSet<&String> = streams.iter().map(|stream| &stream.id).collect();
    assert_eq!(ids.len(), streams.len(), "every id is unique");
    app.end().await;
}
