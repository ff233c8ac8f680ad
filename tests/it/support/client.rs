//! A client of the API: calls, answers, and streams of server-sent events. Made by [`super::app::TestApp`].

use reqwest::header::HeaderMap;
use serde_json::Value;
use uuid::Uuid;

use super::app::{PATIENCE, Person};

/// A call that has not been made yet.
pub(crate) struct Call {
    request: reqwest::RequestBuilder,
}

impl Call {
    pub(crate) fn new(request: reqwest::RequestBuilder) -> Self {
        Self { request }
    }

    /// In this person's name.
    pub(crate) fn by(self, person: &Person) -> Self {
        self.bearer(&person.access)
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        Self { request: self.request.bearer_auth(token) }
    }

    /// With this idempotency key.
    pub(crate) fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    /// With one more header, besides those of the same name.
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

    /// Makes the call.
    pub(crate) async fn send(self) -> Answer {
        let answered = async {
            let response = self.request.send().await.unwrap();
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            Answer { status, headers, text: response.text().await.unwrap() }
        };
        tokio::time::timeout(PATIENCE, answered).await.expect("an answer in time")
    }

    /// Makes the call; gives what is answered before its body is read. To drop it is to hang up.
    pub(crate) async fn open(self) -> reqwest::Response {
        tokio::time::timeout(PATIENCE, self.request.send()).await.expect("an answer in time").unwrap()
    }

    /// Makes the call; its answer with the body as bytes.
    pub(crate) async fn download(self) -> (Answer, Vec<u8>) {
        let answered = async {
            let response = self.request.send().await.unwrap();
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            let bytes = response.bytes().await.unwrap().to_vec();
            (Answer { status, headers, text: String::from_utf8_lossy(&bytes).into_owned() }, bytes)
        };
        tokio::time::timeout(PATIENCE, answered).await.expect("an answer in time")
    }

    /// With a form of these parts: name, file name, type, content.
    pub(crate) fn parts(self, parts: &[Part<'_>]) -> Self {
        self.body("multipart/form-data; boundary=cut-here", form(parts))
    }

    /// Makes the call and reads its answer as a stream.
    pub(crate) async fn stream(self) -> Sse {
        match self.try_stream().await {
            Ok(stream) => stream,
            Err(answer) => panic!("no stream: {answer:?}"),
        }
    }

    /// The same, or the refusal.
    pub(crate) async fn try_stream(self) -> Result<Sse, Answer> {
        let response = tokio::time::timeout(PATIENCE, self.request.send()).await.unwrap().unwrap();
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

/// A part of a form: name, file name, type, content.
pub(crate) type Part<'a> = (&'a str, Option<&'a str>, Option<&'a str>, &'a [u8]);

/// The body of a form with parts; the boundary is `cut-here`.
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

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    /// The same, if it has this status.
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// The body as JSON.
    #[track_caller]
    pub(crate) fn value(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// A text of the body.
    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> String {
        self.value()[name].as_str().unwrap_or_else(|| panic!("no {name}: {}", self.text)).to_owned()
    }

    /// A header, empty when it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The position that the answer reveals.
    #[track_caller]
    pub(crate) fn position(&self) -> i64 {
        self.header("verbatim-position").parse().unwrap_or_else(|_| panic!("no position: {self:?}"))
    }

    /// A refusal, in the one shape that all have; gives its code.
    #[track_caller]
    pub(crate) fn refusal(&self) -> String {
        let body = self.value();
        let object = body.as_object().unwrap_or_else(|| panic!("no object: {}", self.text));
        assert!(self.status >= 400, "{} is no refusal", self.status);
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

    /// A refusal with this status and code.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.refusal(), code, "{}", self.text);
    }

    /// The body of a refusal without what differs from request to request.
    #[track_caller]
    pub(crate) fn but_for_its_id(&self) -> Value {
        let mut body = self.value();
        body.as_object_mut().unwrap().remove("request_id").expect("every refusal has one");
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
    /// Whether nothing may follow it.
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
        let id = self.data["reply_id"].as_str().expect("every event names its reply");
        assert!(id.parse::<Uuid>().is_ok());
        id.to_owned()
    }
}

/// An open stream of events.
pub(crate) struct Sse {
    response: reqwest::Response,
    buffer: Vec<u8>,
}

impl Sse {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.response.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The next event; none when the stream has ended in order.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        tokio::time::timeout(PATIENCE, self.read()).await.expect("an event, or the end, in time")
    }

    async fn read(&mut self) -> Option<Event> {
        loop {
            while let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
                if let Some(event) = parse(std::str::from_utf8(&block).unwrap()) {
                    return Some(event);
                }
            }
            match self.response.chunk().await.expect("a stream that ends in order") {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None => {
                    assert!(self.buffer.is_empty(), "half an event");
                    return None;
                }
            }
        }
    }

    /// Everything up to the first event with this name.
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

    /// Everything that is left.
    pub(crate) async fn rest(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            assert!(!events.last().is_some_and(Event::is_end), "something follows the end");
            events.push(event);
        }
        events
    }
}

/// One block of lines; none when it holds comments and times only.
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

/// What a client has on its screen after these events of one reply.
pub(crate) fn shown(events: &[Event]) -> String {
    let mut text = String::new();
    for event in events {
        match event.name.as_str() {
            "reply.restart" => text.clear(),
            "reply.delta" => {
                text.push_str(event.text());
                assert_eq!(event.data["offset"], text.len(), "an offset counts the bytes so far: {event:?}");
            }
            _ => {}
        }
    }
    text
}
