//! Transcripts: what was asked and what was answered, word for word, but for ids, times and links, of which only the shape is
//! held against the golden files in `golden/transcripts`.
//!
//! `UPDATE_GOLDEN=1` writes them anew; what has changed is then to be looked at.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use uuid::Uuid;
use verbatim::http::surfaces::chatkit::wire::IdKind;

use super::examples::{folder, read};
use super::support::{Kit, Reading, request};
use crate::support::client::Answer;
use crate::support::env_var;

/// Where the transcripts lie.
pub(super) const FOLDER: &str = "transcripts";
/// Every transcript.
const NAMES: [&str; 18] = [
    "action_of_a_quiz",
    "action_of_a_widget",
    "action_synchronous",
    "action_that_is_none",
    "add_user_message",
    "client_tool",
    "client_tool_null",
    "composed",
    "create",
    "failed",
    "failed_midway",
    "restart",
    "retry",
    "structured_input_answered",
    "structured_input_skipped",
    "titled",
    "tool_choice",
    "widget",
];

/// What passes between a front end and the server.
pub(super) struct Transcript<'a> {
    pub(super) kit: Kit<'a>,
    exchanges: Vec<Exchange>,
    names: BTreeMap<String, String>,
}

struct Exchange {
    request: Value,
    status: u16,
    answer: Answered,
}

enum Answered {
    Events(Vec<Value>),
    Document(Value),
}

impl<'a> Transcript<'a> {
    pub(super) fn of(kit: Kit<'a>) -> Self {
        Self { kit, exchanges: Vec::new(), names: BTreeMap::new() }
    }

    /// Asks for a stream.
    pub(super) async fn stream(&mut self, kind: &str, params: Value) -> Vec<Value> {
        let events = self.kit.stream(kind, params.clone()).await;
        self.note(kind, &params, 200, Answered::Events(events.clone()));
        events
    }

    /// Reads a stream that was opened with these parameters to its end.
    pub(super) async fn rest(&mut self, kind: &str, params: Value, stream: Reading) -> Vec<Value> {
        let events = stream.rest().await;
        self.note(kind, &params, 200, Answered::Events(events.clone()));
        events
    }

    /// Asks for a document.
    pub(super) async fn get(&mut self, kind: &str, params: Value) -> Value {
        let document = self.kit.get(kind, params.clone()).await;
        self.note(kind, &params, 200, Answered::Document(document.clone()));
        document
    }

    /// Asks for what is refused.
    pub(super) async fn refused(&mut self, kind: &str, params: Value, status: u16, code: &str) -> Answer {
        let answer = self.kit.ask(kind, params.clone()).await;
        answer.assert_error(status, code);
        self.note(kind, &params, status, Answered::Document(answer.without_request_id()));
        answer
    }

    fn note(&mut self, kind: &str, params: &Value, status: u16, answer: Answered) {
        self.exchanges.push(Exchange { request: request(kind, params), status, answer });
    }

    /// With these texts under other names.
    pub(super) fn renamed(mut self, names: &[(&str, &str)]) -> Self {
        self.names = names.iter().map(|(text, name)| ((*text).to_owned(), (*name).to_owned())).collect();
        self
    }

    /// Holds it against its golden file.
    pub(super) fn check(self, name: &str) {
        assert!(NAMES.contains(&name), "{name} is not in the list");
        let mut redacted = Redacted { names: self.names, ..Redacted::default() };
        let exchanges: Vec<Value> = self
            .exchanges
            .iter()
            .map(|Exchange { request, status, answer }| {
                let request = redacted.value(request);
                match answer {
                    Answered::Events(events) => {
                        let events: Vec<Value> = joined(events).iter().map(|e| redacted.value(e)).collect();
                        json!({"request": request, "events": events})
                    }
                    Answered::Document(document) => {
                        json!({"request": request, "status": status, "answer": redacted.value(document)})
                    }
                }
            })
            .collect();
        let transcript = Value::Array(exchanges);
        let path = folder().join(FOLDER).join(format!("{name}.json"));
        if env_var("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, format!("{transcript:#}\n")).unwrap();
        }
        assert_eq!(transcript, read(&path), "{name}: {transcript:#}");
    }

    /// Everything that was asked and answered, each with the kind under which the protocol's package knows it.
    pub(super) fn values(&self) -> Vec<(&'static str, String, Value)> {
        let mut values = Vec::new();
        for (number, Exchange { request, status, answer }) in self.exchanges.iter().enumerate() {
            let name = format!("{number} {}", request["type"].as_str().unwrap());
            values.push(("request", name.clone(), request.clone()));
            match answer {
                Answered::Events(events) => {
                    values.extend(events.iter().map(|event| ("event", name.clone(), event.clone())));
                }
                Answered::Document(document) if *status == 200 => match document_kind(request) {
                    Some(kind) => values.push((kind, name, document.clone())),
                    None => assert_eq!(*document, json!({}), "{name}"),
                },
                // The package knows no refusals.
                Answered::Document(_) => {}
            }
        }
        values
    }
}

/// What the answer to a request is; none: an empty object.
fn document_kind(request: &Value) -> Option<&'static str> {
    match request["type"].as_str().unwrap() {
        "threads.get_by_id" | "threads.update" => Some("thread"),
        "threads.list" => Some("page_of_threads"),
        "items.list" => Some("page_of_items"),
        "attachments.create" => Some("attachment"),
        "input.transcribe" => Some("transcription"),
        "threads.sync_custom_action" => Some("updated_item"),
        "threads.delete" | "items.feedback" | "attachments.delete" => None,
        other => panic!("{other} is answered by a stream"),
    }
}

/// The events with the deltas of one text in a row as one: in how many pieces it comes is a matter of luck.
fn joined(events: &[Value]) -> Vec<Value> {
    const DELTA: &str = "assistant_message.content_part.text_delta";
    let mut joined: Vec<Value> = Vec::new();
    for event in events {
        match joined.last_mut() {
            Some(last)
                if last["update"]["type"] == DELTA
                    && event["update"]["type"] == DELTA
                    && last["item_id"] == event["item_id"] =>
            {
                let more = event["update"]["delta"].as_str().unwrap();
                let text = format!("{}{more}", last["update"]["delta"].as_str().unwrap());
                last["update"]["delta"] = json!(text);
            }
            _ => joined.push(event.clone()),
        }
    }
    joined
}

/// Gives ids names in the order of their appearance, and takes times and links away.
#[derive(Default)]
struct Redacted {
    names: BTreeMap<String, String>,
    counts: BTreeMap<&'static str, usize>,
}

impl Redacted {
    fn value(&mut self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(values) => values.iter().map(|value| self.value(value)).collect(),
            Value::Object(fields) => {
                fields.iter().map(|(name, value)| (name.clone(), self.value(value))).collect()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    fn text(&mut self, text: &str) -> String {
        if is_time(text) {
            return "<time>".to_owned();
        }
        if let Some(name) = self.names.get(text) {
            return name.clone();
        }
        let written = |kind: &IdKind| kind.read(text).is_some_and(|id| kind.write(id) == text);
        let kind = match IdKind::ALL.iter().find(|kind| written(kind)) {
            Some(kind) => kind.prefix(),
            None if is_call(text) => "call",
            None => return text.to_owned(),
        };
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        let name = format!("<{kind} {count}>");
        self.names.insert(text.to_owned(), name.clone());
        name
    }
}

/// A moment as it has to be written: UTC with `Z`, six digits of a fraction at most.
fn is_time(text: &str) -> bool {
    let fraction = text.strip_suffix('Z').and_then(|text| text.split_once('.')).map_or(0, |(_, f)| f.len());
    text.ends_with('Z') && fraction <= 6 && chrono::DateTime::parse_from_rfc3339(text).is_ok()
}

/// What the scripted provider calls its calls.
fn is_call(text: &str) -> bool {
    let of = text.strip_prefix("call-").and_then(|rest| rest.rsplit_once('-'));
    of.is_some_and(|(reply, attempt)| Uuid::parse_str(reply).is_ok() && attempt.parse::<u32>().is_ok())
}

#[test]
fn there_is_no_transcript_besides_those_in_the_list() {
    let files = std::fs::read_dir(folder().join(FOLDER)).unwrap();
    let mut files: Vec<String> =
        files.map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    files.sort();
    assert_eq!(files, NAMES);
}
