//! AI providers, tested with a fake server that can fail on demand: the adapters alone, and the whole reply worker.

mod adapters;
mod cancel;
mod chain;
mod check;
mod circuit;
mod models;
mod replies;
mod size;
mod tools;

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::app::{Person, TestApp};
use crate::support::client::{Event, Sse};
use crate::support::openai_server::{ERROR_TEXT, KEY, KEY_2, OpenAiServer};

/// Starts an app whose only provider is this server with this protocol; short back-offs, no titles.
async fn app_with_provider(db: &PgPool, server: &OpenAiServer, api: &str, more: &[(&str, &str)]) -> TestApp {
    let url = server.base_url();
    let usual = [
        ("OPENAI_API_KEY", KEY),
        ("OPENAI_BASE_URL", url.as_str()),
        ("OPENAI_API", api),
        ("CHAT_TITLES", "off"),
        ("PROVIDER_BACKOFF_MILLISECONDS", "20"),
    ];
    TestApp::with(db, &[&usual[..], more].concat()).await
}

/// An ended reply as returned by `/api/replies/{id}`.
struct EndedReply(Value);

impl EndedReply {
    /// Sends a message in a new conversation and waits for the end of its reply.
    async fn of(app: &TestApp, person: &Person, message: &str) -> Self {
        Self::to(app, person, &json!({"message": message})).await
    }

    /// Like [`EndedReply::of`] with this body.
    async fn to(app: &TestApp, person: &Person, body: &Value) -> Self {
        let (reply, stream) = ask(app, person, body).await;
        Self::end(app, person, &reply, stream).await
    }

    /// Waits for the end of the stream and fetches the reply.
    async fn end(app: &TestApp, person: &Person, reply: &str, stream: Sse) -> Self {
        let events = stream.rest().await;
        assert!(events.last().is_some_and(Event::is_end), "{events:?}");
        let ended = app.get(&format!("/api/replies/{reply}")).by(person).send().await.is(200).value();
        assert!(!ended["ended_at"].is_null(), "{ended}");
        Self(ended)
    }

    fn status(&self) -> &str {
        self.0["status"].as_str().unwrap()
    }

    /// Returns the status and the reason of a failure.
    fn outcome(&self) -> (&str, Option<&str>) {
        (self.status(), self.0["failure"].as_str())
    }

    fn attempts(&self) -> &[Value] {
        self.0["attempts"].as_array().unwrap()
    }

    /// Returns provider, key number and failure of each attempt.
    fn asked(&self) -> Vec<(&str, u64, Option<&str>)> {
        self.attempts()
            .iter()
            .map(|attempt| {
                let plan = &attempt["plan"];
                let key = plan["parameters"]["key"].as_u64().unwrap();
                (plan["provider"].as_str().unwrap(), key, attempt["failure"].as_str())
            })
            .collect()
    }

    /// Returns the back-off after each failed attempt that was followed by another.
    fn pauses(&self) -> Vec<Duration> {
        let between = |attempt: &Value| {
            let until = time(&attempt["next_not_before"])?;
            (until - time(&attempt["failed_at"])?).to_std().ok()
        };
        self.attempts().iter().filter_map(between).collect()
    }
}

fn time(value: &Value) -> Option<DateTime<Utc>> {
    value.as_str()?.parse().ok()
}

/// Sends a message; returns the reply's id and stream.
async fn ask(app: &TestApp, person: &Person, body: &Value) -> (String, Sse) {
    let mut stream = app.post("/api/chat/stream").by(person).json(body).stream().await;
    let opening = stream.next().await.unwrap();
    (opening.reply(), stream)
}

/// Returns the stored text of a reply.
async fn text(app: &TestApp, person: &Person, reply: &EndedReply) -> String {
    let path = format!("/api/history/{}", reply.0["session_id"].as_str().unwrap());
    let history = app.get(&path).by(person).send().await.is(200).value();
    let items = history["items"].as_array().unwrap();
    let answer = items.iter().find(|item| item["message_id"] == reply.0["message_id"]);
    answer.and_then(|answer| answer["text"].as_str()).unwrap_or_default().to_owned()
}

/// Asserts that the event log contains no key and no error text of a provider.
async fn assert_no_leak(app: &TestApp) {
    let everything = "SELECT string_agg(payload::text || metadata::text, '') FROM events";
    let events: String = sqlx::query_scalar(everything).fetch_one(&app.db).await.unwrap();
    for secret in [KEY, KEY_2, ERROR_TEXT, "canary"] {
        assert!(!events.contains(secret), "the event log contains {secret}");
    }
}
