//! Five hundred clients reconnect again and again: each receives every word once and in order.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio::time::Instant;
use verbatim::schema::MIGRATOR;

use super::client::{Socket, kind};
use crate::support::app::{Person, TestApp};

/// Number of users, and of concurrent streams and sockets for each.
const USERS: usize = 25;
const STREAMS_PER_USER: usize = 16;
const SOCKETS_PER_USER: usize = 4;
/// Lifetime of a connection in milliseconds.
const CONNECTION_LIFETIME_MS: std::ops::RangeInclusive<u64> = 1000..=5000;
const SEED: u64 = 20_261_121;

/// What a client has received of a reply.
#[derive(Default)]
struct Received {
    text: String,
    last: Option<String>,
    cuts: u32,
}

impl Received {
    fn delta(&mut self, id: &str, offset: u64, piece: &str) {
        self.text.push_str(piece);
        assert_eq!(self.text.len() as u64, offset, "words are missing or duplicated");
        self.last = Some(id.to_owned());
    }
}

async fn follow_by_stream(app: &TestApp, person: &Person, reply: &str, random: &mut StdRng) -> Received {
    let mut received = Received::default();
    loop {
        let cut = Instant::now() + Duration::from_millis(random.random_range(CONNECTION_LIFETIME_MS));
        let mut call = app.get(&format!("/api/chat/stream/{reply}")).by(person);
        if let Some(last) = &received.last {
            call = call.header("last-event-id", last);
        }
        let mut stream = match call.try_stream().await {
            Ok(stream) => stream,
            Err(busy) => {
                // With five hundred clients on a busy machine some get 503 and retry.
                busy.assert_error(503, "unavailable");
                tokio::time::sleep(Duration::from_millis(random.random_range(CONNECTION_LIFETIME_MS))).await;
                continue;
            }
        };
        while let Ok(event) = tokio::time::timeout_at(cut, stream.next()).await {
            let event = event.expect("a stream ends with a final event");
            match event.name.as_str() {
                "reply.delta" => {
                    received.delta(event.id(), event.data["offset"].as_u64().unwrap(), event.text());
                }
                "reply.done" => {
                    assert_eq!(received.text, event.text());
                    return received;
                }
                other => panic!("{other}"),
            }
        }
        received.cuts += 1;
    }
}

async fn follow_by_socket(app: &TestApp, person: &Person, reply: &str, random: &mut StdRng) -> Received {
    let mut received = Received::default();
    loop {
        let cut = Instant::now() + Duration::from_millis(random.random_range(CONNECTION_LIFETIME_MS));
        let mut socket = match Socket::try_since(app, person, "").await {
            Ok(socket) => socket,
            Err((status, body)) => {
                // Retry like the streams.
                assert_eq!((status, &body["code"]), (503, &json!("unavailable")));
                tokio::time::sleep(Duration::from_millis(random.random_range(CONNECTION_LIFETIME_MS))).await;
                continue;
            }
        };
        socket.send(json!({"type": "follow", "reply_id": reply, "after": received.last})).await;
        while let Ok(frame) = tokio::time::timeout_at(cut, socket.next()).await {
            let frame = frame.expect("the server does not close the socket");
            match kind(&frame) {
                "reply.delta" => {
                    let text = frame["text"].as_str().unwrap();
                    received.delta(frame["id"].as_str().unwrap(), frame["offset"].as_u64().unwrap(), text);
                }
                "reply.done" => {
                    assert_eq!(received.text, frame["text"].as_str().unwrap());
                    return received;
                }
                "accepted" | "message" | "typing" => {}
                other => panic!("{other}"),
            }
        }
        received.cuts += 1;
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn reconnecting_clients_miss_nothing(db: PgPool) {
    let variables = [
        ("SCRIPTED_WORDS_PER_SECOND", "5"),
        ("REPLY_CONCURRENCY", "100"),
        ("REPLY_WAIT_SECONDS", "0"),
        ("DATABASE_POOL_SIZE", "20"),
    ];
    let app = Arc::new(TestApp::with(&db, &variables).await);
    let mut clients = JoinSet::new();
    for number in 0..USERS {
        let person = app.person().await;
        // Four replies of about twenty seconds; several clients follow each.
        let mut replies = Vec::new();
        for _ in 0..4 {
            let body = json!({"message": "word ".repeat(80)});
            let sent = app.post("/api/chat").by(&person).json(&body).send().await.is(202);
            replies.push(sent.field("reply_id"));
        }
        for client in 0..STREAMS_PER_USER + SOCKETS_PER_USER {
            let (app, person, reply) = (Arc::clone(&app), person.clone(), replies[client % 4].clone());
            let seed = SEED + u64::try_from(number * 100 + client).unwrap();
            clients.spawn(async move {
                let mut random = StdRng::seed_from_u64(seed);
                if client < STREAMS_PER_USER {
                    follow_by_stream(&app, &person, &reply, &mut random).await.cuts
                } else {
                    follow_by_socket(&app, &person, &reply, &mut random).await.cuts
                }
            });
        }
    }
    let cuts: u32 = clients.join_all().await.into_iter().sum();
    assert!(cuts > 1000, "only {cuts} cuts");
    Arc::into_inner(app).unwrap().end().await;
}
