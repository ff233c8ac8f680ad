//! Graceful shutdown of a process that serves many clients.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tokio::task::JoinSet;

use super::client::{Socket, kind, open};
use crate::kill::client::http;
use crate::kill::process::{Installation, PostgresKind, STEP_TIMEOUT, within};
use crate::support::client::{Call, Sse};

const SOCKETS: usize = 200;
const STREAMS: usize = 200;
const REPLIES: usize = 20;
/// Maximum duration of a shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

async fn register(http: &reqwest::Client, base: &str) -> String {
    let account = json!({"email": "someone@mail.example", "password": "correct horse 7"});
    let answer = http.post(format!("{base}/api/auth/register")).json(&account).send().await.unwrap();
    answer.json::<Value>().await.unwrap()["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_closes_clients_and_next_process_resumes() {
    let mut place = Installation::new(PostgresKind::Server, None).await;
    for (name, value) in [
        ("MAX_SOCKETS_PER_USER", "1000"),
        ("MAX_STREAMS_PER_USER", "1000"),
        ("SCRIPTED_WORDS_PER_SECOND", "4"),
        ("REPLY_CONCURRENCY", "20"),
    ] {
        place.set(name, value.to_owned());
    }
    let client = http();
    let (node, base, _) = place.start(&client, STEP_TIMEOUT).await.unwrap();
    let address = base.trim_start_matches("http://").to_owned();
    let token = register(&client, &base).await;
    let bearer = format!("Bearer {token}");
    let call = |method, path: &str| Call::new(client.request(method, format!("{base}{path}"))).bearer(&token);

    let mut streams: Vec<Sse> = Vec::new();
    let mut replies = Vec::new();
    for _ in 0..REPLIES {
        let body = json!({"message": "word ".repeat(50)});
        let mut stream = call(reqwest::Method::POST, "/api/chat/stream").json(&body).stream().await;
        replies.push(stream.next().await.unwrap().reply());
        streams.push(stream);
    }
    for n in REPLIES..STREAMS {
        let path = format!("/api/chat/stream/{}", replies[n % REPLIES]);
        streams.push(call(reqwest::Method::GET, &path).stream().await);
    }
    let mut sockets = Vec::new();
    for _ in 0..SOCKETS {
        sockets.push(open(&address, "", &[("authorization", &bearer)]).await.unwrap());
    }
    // Every stream has received text, and one command is in flight.
    for stream in &mut streams {
        stream.until("reply.delta").await;
    }
    let mut first = sockets.remove(0);
    first.send(json!({"message": "in flight", "key": "in-flight"})).await;

    let began = Instant::now();
    let mut ending = JoinSet::new();
    ending.spawn(node.stop());
    let mut clients = JoinSet::new();
    for mut socket in sockets {
        clients.spawn(async move { assert_eq!(socket.closed().await, 1001) });
    }
    for mut stream in streams {
        clients.spawn(async move {
            let mut last = None;
            while let Some(event) = stream.next().await {
                assert!(!event.is_end(), "{event:?}");
                last = event.id.or(last);
            }
            assert!(last.is_some(), "no event id to resume from");
        });
    }
    let mut accepted = None;
    while let Ok(frame) = first.next().await {
        if kind(&frame) == "accepted" {
            accepted = Some(frame);
        }
    }
    clients.join_all().await;
    assert!(ending.join_next().await.unwrap().unwrap().success(), "the process exited with a failure");
    assert!(began.elapsed() < SHUTDOWN_TIMEOUT, "{:?}", began.elapsed());

    // The next process completes the open replies, and the command has one outcome.
    place.set("SCRIPTED_WORDS_PER_SECOND", "0".to_owned());
    let (node, base, _) = place.start(&client, STEP_TIMEOUT).await.unwrap();
    let address = base.trim_start_matches("http://").to_owned();
    let mut again: Socket = open(&address, "", &[("authorization", &bearer)]).await.unwrap();
    again.send(json!({"message": "in flight", "key": "in-flight"})).await;
    let outcome = again.next_of("accepted", &["message", "typing"]).await;
    if let Some(accepted) = accepted {
        assert_eq!(outcome["reply_id"], accepted["reply_id"]);
    }
    let mut connection = PgConnection::connect_with(&place.options()).await.unwrap();
    let all = i64::try_from(REPLIES + 1).unwrap();
    let completed = async || {
        let count: i64 =
            sqlx::query_scalar("SELECT count(*) FROM events WHERE event_type = 'reply_completed'")
                .fetch_one(&mut connection)
                .await
                .unwrap();
        count == all
    };
    assert!(within(STEP_TIMEOUT, completed).await, "not all replies completed");
    drop(again);
    assert!(node.stop().await.success());
    connection.close().await.unwrap();
    place.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_signal_exits_at_once_and_next_start_is_clean() {
    let mut place = Installation::new(PostgresKind::Server, None).await;
    place.set("SCRIPTED_WORDS_PER_SECOND", "1".to_owned());
    place.set("SHUTDOWN_SECONDS", "60".to_owned());
    let client = http();
    let (node, base, _) = place.start(&client, STEP_TIMEOUT).await.unwrap();
    let token = register(&client, &base).await;
    let sent = client
        .post(format!("{base}/api/chat"))
        .bearer_auth(&token)
        .json(&json!({"message": "word ".repeat(100)}))
        .send()
        .await
        .unwrap();
    assert_eq!(sent.status(), 202);
    let began = Instant::now();
    node.signal(nix::sys::signal::Signal::SIGTERM);
    // The process waits for the reply, so it does not exit yet.
    assert!(within(STEP_TIMEOUT, async || client.get(format!("{base}/livez")).send().await.is_err()).await);
    let status = node.stop().await;
    assert!(
        !status.success() && began.elapsed() < SHUTDOWN_TIMEOUT,
        "{status:?} after {:?}",
        began.elapsed()
    );
    let (node, ..) = place.start(&client, STEP_TIMEOUT).await.unwrap();
    assert!(node.stop().await.success());
    place.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn socket_contents_are_not_logged() {
    let mut place = Installation::new(PostgresKind::Server, None).await;
    place.set("LOG_LEVEL", "trace".to_owned());
    let client = http();
    let (node, base, _) = place.start(&client, STEP_TIMEOUT).await.unwrap();
    let address = base.trim_start_matches("http://").to_owned();
    let token = register(&client, &base).await;
    let ticket = client.post(format!("{base}/api/chat/ws/ticket")).bearer_auth(&token).send().await.unwrap();
    let ticket = ticket.json::<Value>().await.unwrap()["ticket"].as_str().unwrap().to_owned();
    let mut by_token = open(&address, &format!("?token={token}"), &[]).await.unwrap();
    let mut by_ticket = open(&address, &format!("?ticket={ticket}"), &[]).await.unwrap();
    by_token.send(json!({"type": "auth", "token": token})).await;
    by_token.next_of("accepted", &[]).await;
    by_ticket.send(json!({"message": "a canary that sings"})).await;
    let accepted = by_ticket.next_of("accepted", &["message", "typing"]).await;
    by_ticket.until_the_end(&accepted["reply_id"]).await;
    drop((by_token, by_ticket));
    assert!(node.stop().await.success());
    let said = place.log_lines();
    assert!(
        said.iter().any(|line| line.contains("\"level\":\"DEBUG\"")),
        "debug lines are missing from the log"
    );
    for secret in [token.as_str(), ticket.as_str(), "canary that sings"] {
        let clients: Vec<_> = said.iter().filter(|line| line.contains(secret)).take(3).collect();
        assert!(clients.is_empty(), "{clients:?}");
    }
    place.remove().await;
}
