//! WebSocket client for tests.

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::support::app::{Person, TestApp, WAIT_TIMEOUT};

/// An open socket.
pub(crate) struct Socket {
    pub(crate) stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// First frame (`hello`).
    pub(crate) hello: Value,
}

/// WebSocket close code.
pub(crate) type Closed = u16;

/// Opens a socket at `address`; returns the HTTP status and body if the upgrade is rejected.
pub(crate) async fn open(
    address: &str,
    query: &str,
    headers: &[(&str, &str)],
) -> Result<Socket, (u16, Value)> {
    let mut request = format!("ws://{address}/api/chat/ws{query}").into_client_request().unwrap();
    for (name, value) in headers {
        let name: tokio_tungstenite::tungstenite::http::HeaderName = name.parse().unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    match tokio::time::timeout(WAIT_TIMEOUT, connect_async(request))
        .await
        .expect("timed out waiting for the upgrade")
    {
        Ok((stream, _)) => {
            let mut socket = Socket { stream, hello: Value::Null };
            socket.hello = socket.next().await.expect("the first frame");
            assert_eq!((&socket.hello["type"], &socket.hello["version"]), (&json!("hello"), &json!(1)));
            Ok(socket)
        }
        Err(Error::Http(response)) => {
            let body = response.body().clone().unwrap_or_default();
            Err((response.status().as_u16(), serde_json::from_slice(&body).unwrap_or_default()))
        }
        Err(error) => panic!("{error}"),
    }
}

impl Socket {
    /// Opens a socket of this user.
    pub(crate) async fn of(app: &TestApp, person: &Person) -> Self {
        Self::since(app, person, "").await
    }

    /// Opens a socket of this user with a query.
    pub(crate) async fn since(app: &TestApp, person: &Person, query: &str) -> Self {
        Self::try_since(app, person, query).await.unwrap()
    }

    /// Like [`Socket::since`], but returns a rejected upgrade.
    pub(crate) async fn try_since(app: &TestApp, person: &Person, query: &str) -> Result<Self, (u16, Value)> {
        let bearer = format!("Bearer {}", person.access);
        open(&app.address().to_string(), query, &[("authorization", &bearer)]).await
    }

    pub(crate) async fn send(&mut self, frame: Value) {
        self.stream.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// Returns the next frame, or the close code.
    pub(crate) async fn next(&mut self) -> Result<Value, Closed> {
        loop {
            let message = tokio::time::timeout(WAIT_TIMEOUT, self.stream.next())
                .await
                .expect("timed out waiting for a frame");
            match message {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(Some(close)))) => return Err(close.code.into()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Returns the next frame of this type; frames before it must have a type in `among`.
    pub(crate) async fn next_of(&mut self, kind: &str, among: &[&str]) -> Value {
        loop {
            let frame = self.next().await.unwrap_or_else(|code| panic!("closed with {code}"));
            if frame["type"] == kind {
                return frame;
            }
            assert!(among.contains(&frame["type"].as_str().unwrap()), "{frame}");
        }
    }

    /// Returns all frames up to and including the end of the reply.
    pub(crate) async fn until_the_end(&mut self, reply: &Value) -> Vec<Value> {
        let mut frames = Vec::new();
        loop {
            let frame = self.next().await.unwrap_or_else(|code| panic!("closed with {code}"));
            let end = ["reply.done", "reply.failed", "reply.cancelled"].contains(&kind(&frame))
                && frame["reply_id"] == *reply;
            frames.push(frame);
            if end {
                return frames;
            }
        }
    }

    /// Asserts that the socket is open and has no unread frames.
    pub(crate) async fn is_idle(&mut self) {
        self.send(json!({"type": "ping", "ref": "idle"})).await;
        let frame = self.next().await.unwrap();
        assert_eq!(frame, json!({"type": "pong", "ref": "idle"}), "an unexpected frame arrived");
    }

    /// Returns the close code; skips frames before it.
    pub(crate) async fn closed(&mut self) -> Closed {
        loop {
            if let Err(code) = self.next().await {
                return code;
            }
        }
    }
}

pub(crate) fn kind(frame: &Value) -> &str {
    frame["type"].as_str().unwrap()
}

/// Concatenates the text of the deltas in these frames.
pub(crate) fn text(frames: &[Value]) -> String {
    frames
        .iter()
        .filter(|frame| kind(frame) == "reply.delta")
        .map(|frame| frame["text"].as_str().unwrap())
        .collect()
}
