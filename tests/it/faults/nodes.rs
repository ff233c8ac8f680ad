//! Real processes under load: a frozen node does not slow the other one, and commands work while NATS is down.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::Rng;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use tokio::task::JoinSet;

use crate::kill::client;
use crate::kill::process::{Installation, PostgresKind, STEP_TIMEOUT, within};
use crate::nats::server::{Message, NatsServer};
use crate::support::normal_or_soak;

/// Number of freezes of one node (ordinary run, `scripts/soak`), and the minimum duration of each.
const FREEZES: (usize, usize) = (4, 10);
const MIN_FREEZE: Duration = Duration::from_millis(1500);
/// Number of commands at the other node during each freeze.
const COMMANDS_PER_FREEZE: usize = 60;
/// Bound on the 99th percentile of these commands.
const MAX_P99: Duration = Duration::from_millis(500);

/// How long NATS is down in seconds (ordinary run, `scripts/soak`), while each user sends a command at this interval.
const NATS_DOWN_SECONDS: (u64, u64) = (20, 60);
const USERS: usize = 6;
const COMMAND_INTERVAL: Duration = Duration::from_millis(200);
/// Maximum time until the backlog is drained after NATS is back.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum growth of the process's memory meanwhile, in bytes.
const MAX_GROWTH: u64 = 64 * 1024 * 1024;

/// A registered user with a conversation.
#[derive(Clone)]
struct User {
    http: reqwest::Client,
    token: String,
    session: String,
}

impl User {
    async fn new(http: &reqwest::Client, base: &str, name: &str) -> Self {
        let body = json!({"email": format!("{name}@mail.example"), "password": "correct horse 7"});
        let answer = http.post(format!("{base}/api/auth/register")).json(&body).send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        let token = answer["access_token"].as_str().unwrap().to_owned();
        let mut user = Self { http: http.clone(), token, session: String::new() };
        let (_, body) =
            user.send(base, Method::POST, "/api/chat", &json!({"message": "Hello"})).await.unwrap();
        user.session = body["session_id"].as_str().unwrap().to_owned();
        user
    }

    async fn send(
        &self,
        base: &str,
        method: Method,
        path: &str,
        body: &Value,
    ) -> reqwest::Result<(u16, Value)> {
        let request = self.http.request(method, format!("{base}{path}")).bearer_auth(&self.token);
        let answer = request.json(body).send().await?;
        Ok((answer.status().as_u16(), answer.json().await?))
    }

    /// Changes the conversation, or sends a message in a new one.
    async fn command(&self, base: &str, number: u64) -> reqwest::Result<(u16, Value)> {
        if number.is_multiple_of(3) {
            return self
                .send(base, Method::POST, "/api/chat", &json!({"message": format!("Number {number}")}))
                .await;
        }
        let path = format!("/api/history/{}", self.session);
        self.send(base, Method::PATCH, &path, &json!({"title": format!("Title {number}")})).await
    }
}

/// Whether no reply is pending, every projection is at the end of the log, and each reply has completed.
async fn at_rest(connection: &mut PgConnection) -> bool {
    sqlx::query_scalar(
        "SELECT NOT EXISTS (SELECT FROM pending_replies)
            AND NOT EXISTS (SELECT FROM checkpoints WHERE position < (SELECT max(position) FROM events))
            AND (SELECT count(*) FROM events WHERE event_type = 'reply_requested')
              = (SELECT count(*) FROM events WHERE event_type = 'reply_completed')",
    )
    .fetch_one(connection)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stderr, reason = "shown by the test runner where it is wanted")]
async fn frozen_node_under_load_does_not_slow_the_other() {
    let mut place = Installation::new(PostgresKind::Server, None).await;
    place.set("REPLY_WAIT_SECONDS", "0".to_owned());
    let http = client::http();
    let (victim, first, _) = place.start(&http, STEP_TIMEOUT).await.unwrap();
    let (other, second, _) = place.start(&http, STEP_TIMEOUT).await.unwrap();
    let mut users = Vec::new();
    for number in 0..8 {
        users.push(User::new(&http, &second, &format!("user{number}")).await);
    }
    // Both nodes write to the same conversations.
    let (over, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut load = JoinSet::new();
    for user in users.clone() {
        let (over, served, first) = (Arc::clone(&over), Arc::clone(&served), first.clone());
        load.spawn(async move {
            let mut number = 0;
            while !over.load(Ordering::SeqCst) {
                number += 1;
                let (status, body) = user.command(&first, number).await.unwrap();
                assert!(status < 300 || status == 503, "{status} {body}");
                served.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    let mut times = Vec::new();
    for round in 0..normal_or_soak(FREEZES.0, FREEZES.1) {
        // The random time of the freeze is part of the test.
        tokio::time::sleep(Duration::from_millis(rand::rng().random_range(50..300))).await;
        victim.freeze();
        let begun = Instant::now();
        let mut number = 0;
        while times.len() < (round + 1) * COMMANDS_PER_FREEZE || begun.elapsed() < MIN_FREEZE {
            number += 1;
            let commands = users.iter().step_by(2).map(async |user| {
                let begun = Instant::now();
                let (status, body) = user.command(&second, 1_000 + number).await.unwrap();
                assert!(status < 300, "{status} {body}");
                begun.elapsed()
            });
            times.extend(futures::future::join_all(commands).await);
        }
        victim.thaw();
        let before = served.load(Ordering::SeqCst);
        let serves = within(STEP_TIMEOUT, async || served.load(Ordering::SeqCst) > before + 8).await;
        assert!(serves, "the node does not serve after the freeze");
    }
    over.store(true, Ordering::SeqCst);
    while let Some(ended) = load.join_next().await {
        ended.unwrap();
    }
    times.sort();
    let p99 = times[times.len() * 99 / 100];
    eprintln!("{} commands: median {:?}, p99 {p99:?}", times.len(), times[times.len() / 2]);
    assert!(p99 < MAX_P99, "99 of 100 commands took up to {p99:?}");
    let mut connection = PgConnection::connect_with(&place.options()).await.unwrap();
    assert!(
        within(STEP_TIMEOUT, async || at_rest(&mut connection).await).await,
        "the system did not become idle"
    );
    connection.close().await.unwrap();
    for node in [victim, other] {
        assert!(node.stop().await.success(), "{:#?}", place.last_log_lines());
    }
    place.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stderr, reason = "shown by the test runner where it is wanted")]
async fn nats_outage_fails_no_command_and_takes_little_memory() {
    let mut nats = NatsServer::start().await;
    let mut place = Installation::new(PostgresKind::Server, None).await;
    place.set("NATS_URL", nats.url());
    let http = client::http();
    let (node, base, _) = place.start(&http, STEP_TIMEOUT).await.unwrap();
    let mut users = Vec::new();
    for number in 0..USERS {
        users.push(User::new(&http, &base, &format!("user{number}")).await);
    }
    let over = Arc::new(AtomicBool::new(false));
    let mut load = JoinSet::new();
    for user in users {
        let (over, base) = (Arc::clone(&over), base.clone());
        load.spawn(async move {
            let mut pace = tokio::time::interval(COMMAND_INTERVAL);
            let mut number = 0;
            while !over.load(Ordering::SeqCst) {
                pace.tick().await;
                number += 1;
                let (status, body) = user.command(&base, number).await.unwrap();
                assert!(status < 300, "{status} {body}");
            }
            number
        });
    }
    // The durations with and without NATS are part of the test.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = node.resident();
    nats.kill();
    tokio::time::sleep(Duration::from_secs(normal_or_soak(NATS_DOWN_SECONDS.0, NATS_DOWN_SECONDS.1))).await;
    nats.run().await;
    let back = Instant::now();
    over.store(true, Ordering::SeqCst);
    let mut commands = 0;
    while let Some(ended) = load.join_next().await {
        commands += ended.unwrap();
    }
    let mut connection = PgConnection::connect_with(&place.options()).await.unwrap();
    assert!(
        within(DRAIN_TIMEOUT, async || at_rest(&mut connection).await).await,
        "not all replies have ended"
    );
    let public: Vec<i64> =
        sqlx::query_scalar("SELECT position FROM events WHERE aggregate_type <> 'claim' ORDER BY position")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    let relayed = async || nats.last_position().await == public.last().copied();
    assert!(within(DRAIN_TIMEOUT, relayed).await, "the stream has not caught up");
    let drained = back.elapsed();
    let found: Vec<i64> = nats.messages().await.iter().map(Message::position).collect();
    assert_eq!(found, public);
    if let (Some(before), Some(after)) = (before, node.resident()) {
        let grown = after.saturating_sub(before);
        eprintln!(
            "{commands} commands, drained {drained:?} after NATS was back; {before} bytes and {grown} more"
        );
        assert!(grown < MAX_GROWTH, "the process has grown by {grown} bytes");
    }
    assert!(drained < DRAIN_TIMEOUT, "drained after {drained:?}");
    connection.close().await.unwrap();
    assert!(node.stop().await.success(), "{:#?}", place.last_log_lines());
    place.remove().await;
}
