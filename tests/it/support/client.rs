//! HTTP client of the API: calls, answers, and server-sent events. [`super::app::TestApp`] creates the calls.

use reqwest::header::HeaderMap;
use serde_json::Value;
use uuid::Uuid;

use super::app::{Person, WAIT_TIMEOUT};

/// A request that has not been sent yet.
pub(crate) struct Call {
    request: reqwest::RequestBuilder,
}

impl Call {
    pub(crate) fn new(request: reqwest::RequestBuilder) -> Self {
        Self { request }
    }

    /// Adds the user's access token.
    pub(crate) fn by(self, person: &Person) -> Self {
        self.bearer(&person.access)
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        Self { request: self.request.bearer_auth(token) }
    }

    /// Adds this idempotency key.
    pub(crate) fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    /// Appends a header; earlier headers of the same name stay.
    pub(crate) fn header(self, name: &str, value: &str) -> Self {
        Self { request: self.request.header(name, value) }
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string().into_bytes())
    }

    pub(crate) fn form(self, fields: &[(&str, &str)]) -> Self {
        let body = serde_urlencoded::to_string(fields).unwrap();
        self.body("application/x-www-form-urlencoded", body.into_bytes())
    }

    pub(crate) fn body(self, media: &str, body: Vec<u8>) -> Self {
        Self { request: self.request.header("content-type", media).body(body) }
    }

    /// Sends the request and reads the whole answer.
    pub(crate) async fn send(self) -> Answer {
        let answered = async {
            let response = self.request.send().await.unwrap();
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            Answer { status, headers, text: response.text().await.unwrap() }
        };
        tokio::time::timeout(WAIT_TIMEOUT, answered).await.expect("timed out waiting for an answer")
    }

    /// Sends the request and returns the response before its body is read; dropping it hangs up.
    pub(crate) async fn open(self) -> reqwest::Response {
        tokio::time::timeout(WAIT_TIMEOUT, self.request.send())
            .await
            .expect("timed out waiting for an answer")
            .unwrap()
    }

    /// Sends the request; returns the answer and its body as bytes.
    pub(crate) async fn download(self) -> (Answer, Vec<u8>) {
        let answered = async {
            let response = self.request.send().await.unwrap();
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            let bytes = response.bytes().await.unwrap().to_vec();
            (Answer { status, headers, text: String::from_utf8_lossy(&bytes).into_owned() }, bytes)
        };
        tokio::time::timeout(WAIT_TIMEOUT, answered).await.expect("timed out waiting for an answer")
    }

    /// Sets a multipart form with these parts as the body.
    pub(crate) fn parts(self, parts: &[Part<'_>]) -> Self {
        self.body("multipart/form-data; boundary=cut-here", form(parts))
    }

    /// Sends the request and reads the answer as an event stream.
    pub(crate) async fn stream(self) -> Sse {
        match self.try_stream().await {
            Ok(stream) => stream,
            Err(answer) => panic!("no stream: {answer:?}"),
        }
    }

    /// Sends the request; returns the event stream or the error answer.
    pub(crate) async fn try_stream(self) -> Result<Sse, Answer> {
        let response = tokio::time::timeout(WAIT_TIMEOUT, self.request.send()).await.unwrap().unwrap();
        if response.status() != 200 {
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            return Err(Answer { status, headers, text: response.text().await.unwrap() });
        }
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        assert_eq!(response.headers()["cache-control"], "no-cache");
        Ok(Sse { response, buffer: Vec::new() })
    }
}

/// A part of a multipart form: name, file name, media type, content.
pub(crate) type Part<'a> = (&'a str, Option<&'a str>, Option<&'a str>, &'a [u8]);

/// Encodes a multipart form; the boundary is `cut-here`.
pub(crate) fn form(parts: &[Part<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, file, media, content) in parts {
        body.extend(format!("--cut-here\r\nContent-Disposition: form-data; name=\"{name}\"").bytes());
        if let Some(file) = file {
            body.extend(format!("; filename=\"{file}\"").bytes());
        }
        if let Some(media) = media {
            body.extend(format!("\r\nContent-Type: {media}").bytes());
        }
        body.extend(b"\r\n\r\n");
        body.extend(*content);
        body.extend(b"\r\n");
    }
    body.extend(b"--cut-here--\r\n");
    body
}

/// A complete HTTP answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    /// Asserts the status and returns the answer.
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// Parses the body as JSON.
    #[track_caller]
    pub(crate) fn value(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// Returns a string field of the JSON body.
    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> String {
        self.value()[name].as_str().unwrap_or_else(|| panic!("no {name}: {}", self.text)).to_owned()
    }

    /// Returns a header's value, or an empty string if it is absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Returns the log position in the `verbatim-position` header.
    #[track_caller]
    pub(crate) fn position(&self) -> i64 {
        self.header("verbatim-position").parse().unwrap_or_else(|_| panic!("no position: {self:?}"))
    }

    /// Asserts that the answer has the shape that all errors share; returns its code.
    #[track_caller]
    pub(crate) fn error_code(&self) -> String {
        let body = self.value();
        let object = body.as_object().unwrap_or_else(|| panic!("no object: {}", self.text));
        assert!(self.status >= 400, "{} is not an error status", self.status);
        assert!(object["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{body}");
        assert_eq!(object["request_id"], self.header("x-request-id"), "{body}");
        let known = ["detail", "code", "request_id", "errors", "kept"];
        let has_kept = ["reply_failed", "reply_cancelled"].contains(&object["code"].as_str().unwrap());
        assert!(has_kept || !object.contains_key("kept"), "{body}");
        assert!(object.keys().all(|name| known.contains(&name.as_str())), "{body}");
        if let Some(errors) = object.get("errors") {
            for error in errors.as_array().unwrap() {
                assert!(error["field"].is_string() && error["message"].is_string(), "{body}");
            }
        }
        object["code"].as_str().unwrap().to_owned()
    }

    /// Asserts an error with this status and code.
    #[track_caller]
    pub(crate) fn assert_error(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.error_code(), code, "{}", self.text);
    }

    /// Returns the body of an error without its request id, which differs from request to request.
    #[track_caller]
    pub(crate) fn without_request_id(&self) -> Value {
        let mut body = self.value();
        body.as_object_mut().unwrap().remove("request_id").expect("every error has a request id");
        body
    }
}

/// One server-sent event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    pub(crate) name: String,
    pub(crate) data: Value,
}

impl Event {
    /// Whether this is the last event of a reply.
    pub(crate) fn is_end(&self) -> bool {
        ["reply.done", "reply.failed", "reply.cancelled"].contains(&self.name.as_str())
    }

    pub(crate) fn id(&self) -> &str {
        self.id.as_deref().expect("an id")
    }

    pub(crate) fn text(&self) -> &str {
        self.data["text"].as_str().unwrap_or_default()
    }

    pub(crate) fn reply(&self) -> String {
        let id = self.data["reply_id"].as_str().expect("an event has a reply id");
        assert!(id.parse::<Uuid>().is_ok());
        id.to_owned()
    }
}

/// An open stream of server-sent events.
pub(crate) struct Sse {
    response: reqwest::Response,
    buffer: Vec<u8>,
}

impl Sse {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.response.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Returns the next event, or `None` after a clean end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        tokio::time::timeout(WAIT_TIMEOUT, self.read())
            .await
            .expect("timed out waiting for an event or the end")
    }

    async fn read(&mut self) -> Option<Event> {
        loop {
            while let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
                if let Some(event) = parse(std::str::from_utf8(&block).unwrap()) {
                    return Some(event);
                }
            }
            match self.response.chunk().await.expect("the stream ends cleanly") {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None => {
                    assert!(self.buffer.is_empty(), "the stream ended inside an event");
                    return None;
                }
            }
        }
    }

    /// Reads events up to and including the first one with this name.
    pub(crate) async fn until(&mut self, name: &str) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
            if events.last().is_some_and(|last| last.name == name) {
                return events;
            }
        }
        panic!("no {name} in {events:?}");
    }

    /// Reads all remaining events.
    pub(crate) async fn rest(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            assert!(
                !events.last().is_some_and(Event::is_end),
                "an event follows the last event of the reply"
            );
            events.push(event);
        }
        events
    }
}

/// Parses one block of lines; returns `None` if it has only comments and retry times.
fn parse(block: &str) -> Option<Event> {
    let (mut id, mut name, mut data) = (None, None, String::new());
    for line in block.lines() {
        match line.split_once(':') {
            Some(("id", value)) => id = Some(value.trim_start().to_owned()),
            Some(("event", value)) => name = Some(value.trim_start().to_owned()),
            Some(("data", value)) => data.push_str(value.trim_start()),
            _ => {}
        }
    }
    name.map(|name| Event { id, name, data: serde_json::from_str(&data).unwrap() })
}

/// Returns the text that a client displays after these events of one reply.
pub(crate) fn displayed_text(events: &[Event]) -> String {
    let mut text = String::new();
    for event in events {
        match event.name.as_str() {
            "reply.restart" => text.clear(),
            "reply.delta" => {
                text.push_str(event.text());
                assert_eq!(
                    event.data["offset"],
                    text.len(),
                    "the offset is not the number of bytes so far: {event:?}"
                );
            }
            _ => {}
        }
    }
    text
}
