//! Traces of the real program, sent to a test collector.

mod collector_failures;
mod one_trace;

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::kill::client::http;
use crate::kill::process::{Installation, PostgresKind, STEP_TIMEOUT, within};
use crate::support::collector::{CollectedSpan, Collector, CollectorBehavior};
use crate::support::openai_server::{Act, KEY, OpenAiServer};

/// An installation with a trace collector and a fake provider.
struct World {
    installation: Installation,
    collector: Collector,
    provider: OpenAiServer,
    http: reqwest::Client,
}

impl World {
    async fn new(mood: CollectorBehavior, acts: impl IntoIterator<Item = Act>) -> Self {
        let collector = Collector::start(mood).await;
        let provider = OpenAiServer::start(acts).await;
        let mut installation = Installation::new(PostgresKind::Server, None).await;
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()),
            ("OPENAI_API_KEY", KEY.to_owned()),
            ("OPENAI_BASE_URL", provider.base_url()),
            ("REPLY_WAIT_SECONDS", "20".to_owned()),
        ] {
            installation.set(name, value);
        }
        Self { installation, collector, provider, http: http() }
    }

    /// Registers a user; returns the access token.
    async fn sign_up(&self, base: &str) -> String {
        let body = json!({"email": "ada@mail.example", "username": "ada", "password": "correct horse 7"});
        let (status, answer) =
            self.call(Method::POST, &format!("{base}/api/auth/register"), "", &body, &[]).await;
        assert_eq!(status, 201, "{answer}");
        answer["access_token"].as_str().unwrap().to_owned()
    }

    /// Sends a message and waits for the reply.
    async fn say(&self, base: &str, token: &str, headers: &[(&str, &str)]) -> (u16, Value) {
        let body = json!({"message": "Good morning"});
        self.call(Method::POST, &format!("{base}/api/chat"), token, &body, headers).await
    }

    async fn call(
        &self,
        method: Method,
        url: &str,
        token: &str,
        body: &Value,
        headers: &[(&str, &str)],
    ) -> (u16, Value) {
        let mut request = self
            .http
            .request(method, url)
            .bearer_auth(token)
            .header("content-type", "application/json")
            .body(body.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap())
    }

    /// Waits until a trace has at least `count` spans; returns them.
    async fn spans(&self, trace: &str, count: usize) -> Vec<CollectedSpan> {
        let there = within(STEP_TIMEOUT, async || self.collector.of(trace).len() >= count).await;
        let spans = self.collector.of(trace);
        assert!(there, "timed out waiting for {count} spans: {:#?}", tree(&spans));
        spans
    }
}

/// Returns the path of names from the root to each span, sorted.
fn tree(spans: &[CollectedSpan]) -> Vec<String> {
    let by_id: BTreeMap<&str, &CollectedSpan> = spans.iter().map(|span| (span.id.as_str(), span)).collect();
    let path = |span: &CollectedSpan| {
        let mut path = vec![span.name.clone()];
        let mut ancestor = span.parent.as_str();
        while let Some(parent) = by_id.get(ancestor) {
            path.push(parent.name.clone());
            ancestor = &parent.parent;
        }
        path.reverse();
        path.join(" > ")
    };
    let mut paths: Vec<String> = spans.iter().map(path).collect();
    paths.sort();
    paths
}

/// Returns the only span with this name.
#[track_caller]
fn named<'a>(spans: &'a [CollectedSpan], name: &str) -> &'a CollectedSpan {
    let mut found = spans.iter().filter(|span| span.name == name);
    let one = found.next().unwrap_or_else(|| panic!("no {name} in {:#?}", tree(spans)));
    assert!(found.next().is_none(), "more than one {name}");
    one
}

/// Returns the parent of a span.
#[track_caller]
fn parent_of<'a>(spans: &'a [CollectedSpan], span: &CollectedSpan) -> &'a CollectedSpan {
    spans.iter().find(|other| other.id == span.parent).unwrap_or_else(|| panic!("no parent of {span:?}"))
}

/// Runs a future; returns its output and duration.
async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let began = std::time::Instant::now();
    (work.await, began.elapsed())
}
