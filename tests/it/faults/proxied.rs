//! A whole system whose database is behind a [`Proxy`]; the test itself connects to the database directly.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;

use super::proxy::Proxy;
use crate::support::app::{Person, TestApp, WAIT_TIMEOUT};
use crate::support::client::Answer;

/// Size of the connection pool of a [`TestApp`].
pub(super) const POOL_SIZE: i64 = 6;

/// A system behind a proxy.
pub(super) struct Proxied {
    pub(super) app: TestApp,
    pub(super) proxy: Proxy,
}

impl Proxied {
    pub(super) async fn start(db: &PgPool, variables: &[(&str, &str)]) -> Self {
        let options: PgConnectOptions = db.connect_options().as_ref().clone();
        let address = format!("{}:{}", options.get_host(), options.get_port());
        let server: SocketAddr = tokio::net::lookup_host(address)
            .await
            .expect("DATABASE_URL names a server reachable by TCP")
            .next()
            .unwrap();
        let proxy = Proxy::before(server).await;
        let options = options.host("127.0.0.1").port(proxy.address().port());
        Self { app: TestApp::with_database(db, options, variables).await, proxy }
    }

    /// Starts a conversation; returns its id without waiting for the reply.
    pub(super) async fn new_session(&self, person: &Person) -> String {
        let answer = self.app.post("/api/chat").by(person).json(&json!({"message": "Hello"})).send().await;
        assert!((200..300).contains(&answer.status), "{}", answer.text);
        answer.field("session_id")
    }

    /// Repeats the request until the answer is not 503.
    pub(super) async fn until_served(&self, send: impl AsyncFn() -> Answer) -> Answer {
        let begun = Instant::now();
        loop {
            let answer = send().await;
            if answer.status != 503 {
                return answer;
            }
            assert!(begun.elapsed() < WAIT_TIMEOUT, "still {}", answer.text);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Returns the types of the events that one request has appended, in log order.
pub(super) async fn events_of(db: &PgPool, request_id: &str) -> Vec<String> {
    sqlx::query_scalar("SELECT event_type FROM events WHERE metadata ->> 'request_id' = $1 ORDER BY position")
        .bind(request_id)
        .fetch_all(db)
        .await
        .unwrap()
}

/// Returns the number of events of this type.
pub(super) async fn events(db: &PgPool, event_type: &str) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM events WHERE event_type = $1")
        .bind(event_type)
        .fetch_one(db)
        .await
        .unwrap()
}
