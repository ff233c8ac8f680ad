//! A fake provider on loopback that speaks OpenAI's Responses API with a configurable length and speed.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures::StreamExt as _;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Answer of the provider.
#[derive(Debug, Clone, Copy)]
pub(super) struct Script {
    /// Number of text deltas.
    pub(super) pieces: usize,
    /// Pause before each delta except the first.
    pub(super) pause: Duration,
}

/// A running provider; it stops when dropped.
pub(super) struct Provider {
    pub(super) address: SocketAddr,
    _serving: JoinSet<()>,
}

impl Provider {
    pub(super) async fn start(script: Script) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let router = Router::new().route("/v1/responses", post(move || async move { answer(script) }));
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            // Ends with the run; open connections break.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, _serving: serving })
    }

    /// Returns the variables that make the measured program use it.
    pub(super) fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("OPENAI_API_KEY", "sk-bench-0123456789".to_owned()),
            ("OPENAI_BASE_URL", format!("http://{}/v1", self.address)),
            ("CHAT_TITLES", "off".to_owned()),
        ]
    }
}

/// Returns the text of delta `number`.
pub(super) fn piece(number: usize) -> String {
    format!("piece-{number:04} ")
}

fn answer(script: Script) -> Response {
    let event = |value: serde_json::Value| format!("data: {value}\n\n");
    let pieces = futures::stream::iter(0..script.pieces).then(move |number| async move {
        if number > 0 && !script.pause.is_zero() {
            tokio::time::sleep(script.pause).await;
        }
        event(json!({"type": "response.output_text.delta", "delta": piece(number)}))
    });
    let end = event(json!({"type": "response.completed", "response": {
        "id": "resp_bench", "model": "bench-1", "usage": {"input_tokens": 10, "output_tokens": script.pieces},
    }}));
    let events = pieces.chain(futures::stream::once(async { end })).map(Ok::<_, Infallible>);
    ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(events)).into_response()
}
