//! A ChatKit client: requests, documents, and streams that are parsed as strictly as the protocol promises.

use std::collections::BTreeMap;

use reqwest::Response;
use serde_json::{Value, json};

use crate::support::app::{Person, TestApp, WAIT_TIMEOUT};
use crate::support::client::{Answer, Call};

/// A user's front end.
#[derive(Clone, Copy)]
pub(super) struct Kit<'a> {
    pub(super) app: &'a TestApp,
    pub(super) person: &'a Person,
}

/// Builds the body of a request.
pub(super) fn request(kind: &str, params: &Value) -> Value {
    json!({"type": kind, "params": params})
}

/// Builds a message of one text.
pub(super) fn text(text: &str) -> Value {
    json!({"content": [{"type": "input_text", "text": text}], "attachments": [], "inference_options": {}})
}

/// Builds a message of one text with these files.
pub(super) fn with_files(said: &str, files: &[&str]) -> Value {
    let mut input = text(said);
    input["attachments"] = json!(files);
    input
}

impl<'a> Kit<'a> {
    pub(super) fn new(app: &'a TestApp, person: &'a Person) -> Self {
        Self { app, person }
    }

    /// Prepares a request without sending it.
    pub(super) fn call(&self, kind: &str, params: &Value) -> Call {
        self.app.post("/chatkit").by(self.person).json(&request(kind, params))
    }

    /// Sends a request and returns the response, whatever its status.
    pub(super) async fn ask(&self, kind: &str, params: Value) -> Answer {
        self.call(kind, &params).send().await
    }

    /// Sends a request and returns the JSON document of the response.
    pub(super) async fn get(&self, kind: &str, params: Value) -> Value {
        let answer = self.ask(kind, params).await.is(200);
        assert_eq!(answer.header("content-type"), "application/json");
        answer.value()
    }

    /// Sends a request and returns every event of the response stream.
    pub(super) async fn stream(&self, kind: &str, params: Value) -> Vec<Value> {
        let (answer, bytes) = self.call(kind, &params).download().await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_sse_headers(&answer.headers);
        let events = parse(&bytes);
        assert_well_formed(&events);
        events
    }

    /// Sends a request and opens its stream, to be read step by step.
    pub(super) async fn open(&self, kind: &str, params: Value) -> OpenStream {
        let response = self.call(kind, &params).open().await;
        assert_eq!(response.status(), 200);
        assert_sse_headers(response.headers());
        OpenStream { response, buffer: Vec::new(), events: Vec::new() }
    }

    /// Creates a thread with this text; returns its id and all events of the stream.
    pub(super) async fn create(&self, said: &str) -> (String, Vec<Value>) {
        let events = self.stream("threads.create", json!({"input": text(said)})).await;
        (thread_of(&events), events)
    }

    /// Adds a message of one text; returns all events of the stream.
    pub(super) async fn add(&self, thread: &str, said: &str) -> Vec<Value> {
        self.stream("threads.add_user_message", json!({"thread_id": thread, "input": text(said)})).await
    }

    /// Sends an action of a widget; returns all events of the stream.
    pub(super) async fn act(&self, thread: &str, item: &str, name: &str, payload: Value) -> Vec<Value> {
        self.stream("threads.custom_action", acting(thread, item, name, payload)).await
    }

    /// Returns up to a hundred items of a thread, oldest first.
    pub(super) async fn items(&self, thread: &str) -> Vec<Value> {
        let page = self.get("items.list", json!({"thread_id": thread, "limit": 100, "order": "asc"})).await;
        assert_eq!(page["has_more"], false);
        page["data"].as_array().unwrap().clone()
    }
}

/// Builds the parameters of an action.
pub(super) fn acting(thread: &str, item: &str, name: &str, payload: Value) -> Value {
    json!({"thread_id": thread, "item_id": item, "action": {"type": name, "payload": payload}})
}

fn assert_sse_headers(headers: &reqwest::header::HeaderMap) {
    assert_eq!(headers["content-type"], "text/event-stream");
    assert_eq!(headers["cache-control"], "no-cache");
    assert_eq!(headers["x-accel-buffering"], "no");
    assert!(!headers.contains_key("content-encoding"));
}

/// Parses the events of a whole body: each is `data: `, one line of compact JSON, and an empty line.
pub(super) fn parse(bytes: &[u8]) -> Vec<Value> {
    let mut rest = std::str::from_utf8(bytes).expect("a stream is UTF-8");
    let mut events = Vec::new();
    while !rest.is_empty() {
        let (frame, after) = rest.split_once("\n\n").expect("every event ends with an empty line");
        events.push(parse_frame(frame));
        rest = after;
    }
    events
}

fn parse_frame(frame: &str) -> Value {
    let line = frame.strip_prefix("data: ").unwrap_or_else(|| panic!("no data line: {frame:?}"));
    assert!(!line.contains(['\n', '\r']), "more than one line: {frame:?}");
    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert_eq!(value.to_string().len(), line.len(), "not compact: {line}");
    value
}

/// Checks the rules that every whole stream obeys.
pub(super) fn assert_well_formed(events: &[Value]) {
    let kinds: Vec<&str> = events.iter().map(kind).collect();
    let options = kinds.iter().filter(|kind| **kind == "stream_options").count();
    let refused = kinds == ["error"];
    assert_eq!(options, usize::from(!refused), "one run has its options once: {kinds:?}");
    let before: &[&str] = &kinds[..kinds.iter().position(|kind| *kind == "stream_options").unwrap_or(0)];
    let openings: [&[&str]; 3] = [&[], &["thread.item.done"], &["thread.created", "thread.item.done"]];
    assert!(openings.contains(&before), "before the options: {before:?}");
    let mut open: BTreeMap<String, String> = BTreeMap::new();
    let mut done: Vec<String> = Vec::new();
    for event in events {
        let id = || event["item_id"].as_str().or(event["item"]["id"].as_str()).unwrap().to_owned();
        assert!(!event.to_string().contains("hidden_context"), "{event}");
        match kind(event) {
            "thread.item.added" => {
                assert!(!done.contains(&id()), "added after it was done: {event}");
                assert!(open.insert(id(), String::new()).is_none(), "added twice: {event}");
            }
            "thread.item.updated" => match event["update"]["type"].as_str().unwrap() {
                "assistant_message.content_part.text_delta" => {
                    let delta = event["update"]["delta"].as_str().unwrap();
                    assert!(!delta.is_empty());
                    open.get_mut(&id()).expect("an update of an open item").push_str(delta);
                }
                "assistant_message.content_part.added" => {
                    assert_eq!(open.get(&id()).map(String::as_str), Some(""), "{event}");
                }
                "assistant_message.content_part.done" => {
                    let text = event["update"]["content"]["text"].as_str();
                    assert_eq!(open.get(&id()).map(String::as_str), text, "{event}");
                }
                // Actions change items that were done before this stream.
                "widget.root.updated" | "widget.streaming_text.value_delta" => {
                    assert!(open.is_empty(), "{event}");
                }
                other => panic!("an update of a kind that is not sent here: {other}"),
            },
            "thread.item.removed" => {
                open.remove(&id()).expect("only what was added is removed");
            }
            "thread.item.done" => {
                assert!(!done.contains(&id()), "done twice: {event}");
                if let Some(streamed) = open.remove(&id()) {
                    assert_eq!(event["item"]["content"][0]["text"], streamed, "{event}");
                }
                done.push(id());
            }
            _ => {}
        }
    }
    let gone = kinds.last() == Some(&"error");
    assert!(open.is_empty() || gone, "left open: {:?}", open.keys());
}

/// Returns an event's `type`.
pub(super) fn kind(event: &Value) -> &str {
    event["type"].as_str().expect("every event has a type")
}

/// Returns the types of events.
pub(super) fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(kind).collect()
}

/// Returns the id of the thread that a stream has created.
pub(super) fn thread_of(events: &[Value]) -> String {
    assert_eq!(kind(&events[0]), "thread.created");
    events[0]["thread"]["id"].as_str().unwrap().to_owned()
}

/// Returns the finished items of this type.
pub(super) fn done<'e>(events: &'e [Value], of: &str) -> Vec<&'e Value> {
    let done = events.iter().filter(|event| kind(event) == "thread.item.done");
    done.map(|event| &event["item"]).filter(|item| item["type"] == of).collect()
}

/// Returns the text of the only finished assistant message.
pub(super) fn answer_of(events: &[Value]) -> &str {
    let answers = done(events, "assistant_message");
    assert_eq!(answers.len(), 1, "{:?}", kinds(events));
    answers[0]["content"][0]["text"].as_str().unwrap()
}

/// Returns the concatenated text of all deltas.
pub(super) fn deltas_of(events: &[Value]) -> String {
    events.iter().filter_map(|event| event["update"]["delta"].as_str()).collect()
}

/// Returns an item's id.
pub(super) fn id_of(item: &Value) -> String {
    item["id"].as_str().unwrap().to_owned()
}

/// Converts a thread id to the session id of the chat API.
pub(super) fn session_of(thread: &str) -> String {
    uuid::Uuid::parse_str(thread.strip_prefix("thr_").unwrap()).unwrap().to_string()
}

/// An open stream; dropping it closes the connection.
pub(super) struct OpenStream {
    response: Response,
    buffer: Vec<u8>,
    pub(super) events: Vec<Value>,
}

impl OpenStream {
    /// Reads until an event matches; panics if the stream ends first.
    pub(super) async fn read_until(&mut self, wanted: impl Fn(&Value) -> bool) {
        while !self.events.iter().any(&wanted) {
            assert!(self.more().await, "the stream ended without the event: {:?}", kinds(&self.events));
        }
    }

    /// Reads until there are more than this many events.
    pub(super) async fn read_until_more_than(&mut self, count: usize) {
        while self.events.len() <= count {
            assert!(self.more().await, "the stream ended: {:?}", kinds(&self.events));
        }
    }

    /// Reads to the end, which must be a clean one.
    pub(super) async fn rest(mut self) -> Vec<Value> {
        while self.more().await {}
        assert!(self.buffer.is_empty(), "half an event");
        self.events
    }

    async fn more(&mut self) -> bool {
        let chunk = tokio::time::timeout(WAIT_TIMEOUT, self.response.chunk())
            .await
            .expect("the next chunk arrives in time");
        let Some(chunk) = chunk.expect("a stream that ends in order") else { return false };
        self.buffer.extend_from_slice(&chunk);
        while let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
            let frame: Vec<u8> = self.buffer.drain(..end + 2).collect();
            self.events.extend(parse(&frame));
        }
        true
    }
}
