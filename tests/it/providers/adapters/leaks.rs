//! Logs and errors contain no conversation text, no provider text and no key.

use std::io;
use std::sync::Arc;

use futures::StreamExt;
use parking_lot::Mutex;
use verbatim::ai::{Limits, Role, Turn};

use super::{APIS, call, prompt, provider_at, raw};
use crate::support::openai_server::{Act, ERROR_TEXT, Ending, KEY, OpenAiServer};

/// Collects a test's log lines.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn logs_contain_no_conversation_provider_text_or_key() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // For this thread, which runs the whole test.
    let _guard = tracing::subscriber::set_default(subscriber);
    tracing::trace!("lines are captured");
    let acts = [
        Act::reply(&["canary"]),
        Act::error(401, "invalid_api_key"),
        Act::error(500, "server_error"),
        Act::error(429, "insufficient_quota"),
        Act::ending(&["canary"], Ending::Failed("server_error")),
        raw("text/html", &[b"<p>canary"]),
        raw("text/event-stream", &[b"data: {\"type\": \"canary\n\n"]),
        raw("text/event-stream", &[b"data: {\"type\": \"canary\", \"delta\": \"\\ud800\"}\n\n"]),
        raw("text/event-stream", &[b"data: {\"type\": \"canary\", \"delta\": \"\xff\"}\n\n"]),
        raw(
            "text/event-stream",
            &[b"data: {\"type\": \"response.completed\", \"response\": \"canary\"}\n\n"],
        ),
        raw("text/event-stream", &[b"data: {\"choices\": \"canary\"}\n\n"]),
    ];
    for (act, api) in acts.into_iter().flat_map(|act| APIS.map(|api| (act.clone(), api))) {
        let server = OpenAiServer::start([act]).await;
        let provider = provider_at(api, &server.base_url(), KEY, Limits::default());
        let mut prompt = prompt();
        prompt.turns[0] = Turn::message(Role::User, "canary");
        provider.stream(prompt).for_each(|_| async {}).await;
        assert_eq!(server.requests().len(), 1);
    }
    let lines = lines.0.lock();
    let lines = String::from_utf8_lossy(&lines);
    assert!(lines.contains("lines are captured"));
    assert!(!lines.contains("canary"), "{lines}");
}

#[tokio::test]
async fn errors_contain_no_provider_text_or_key() {
    let acts = [
        Act::error(500, "server_error"),
        Act::error(400, "invalid_value"),
        Act::ending(&["half"], Ending::Failed("server_error")),
        raw("text/event-stream", &[format!("data: {ERROR_TEXT}\n\n").as_bytes()]),
    ];
    for (act, api) in acts.into_iter().flat_map(|act| APIS.map(|api| (act.clone(), api))) {
        let (_, end) = call(api, act).await;
        let error = end.expect_err("an error");
        let ended = format!("{error} {error:?}");
        assert!(!ended.contains("canary"), "{ended}");
    }
}
