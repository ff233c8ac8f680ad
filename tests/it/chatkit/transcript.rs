//! Transcripts: requests and responses, compared with the golden files in `golden/transcripts`. Ids, times and links
//! are replaced by placeholders.
//!
//! `UPDATE_GOLDEN=1` rewrites the files; review the diff afterwards.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use uuid::Uuid;
use verbatim::http::surfaces::chatkit::wire::IdKind;

use super::examples::{folder, read};
use super::support::{Kit, OpenStream, request};
use crate::support::client::Answer;
use crate::support::env_var;

/// Folder of the transcripts.
pub(super) const FOLDER: &str = "transcripts";
/// Names of all transcripts.
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

/// The exchanges between a front end and the server.
pub(super) struct Transcript<'a> {
    pub(super) kit: Kit<'a>,
    exchanges: Vec<Exchange>,
    names: BTreeMap<String, String>,
}

struct Exchange {
    request: Value,
    status: u16,
    answer: Response,
}

enum Response {
    Events(Vec<Value>),
    Document(Value),
}

impl<'a> Transcript<'a> {
    pub(super) fn of(kit: Kit<'a>) -> Self {
        Self { kit, exchanges: Vec::new(), names: BTreeMap::new() }
    }

    /// Sends a request whose response is a stream.
    pub(super) async fn stream(&mut self, kind: &str, params: Value) -> Vec<Value> {
        let events = self.kit.stream(kind, params.clone()).await;
        self.record(kind, &params, 200, Response::Events(events.clone()));
        events
    }

    /// Reads a stream, which was opened with these parameters, to its end.
    pub(super) async fn rest(&mut self, kind: &str, params: Value, stream: OpenStream) -> Vec<Value> {
        let events = stream.rest().await;
        self.record(kind, &params, 200, Response::Events(events.clone()));
        events
    }

    /// Sends a request whose response is a document.
    pub(super) async fn get(&mut self, kind: &str, params: Value) -> Value {
        let document = self.kit.get(kind, params.clone()).await;
        self.record(kind, &params, 200, Response::Document(document.clone()));
        document
    }

    /// Sends a request that must be rejected.
    pub(super) async fn refused(&mut self, kind: &str, params: Value, status: u16, code: &str) -> Answer {
        let answer = self.kit.ask(kind, params.clone()).await;
        answer.assert_error(status, code);
        self.record(kind, &params, status, Response::Document(answer.without_request_id()));
        answer
    }

    fn record(&mut self, kind: &str, params: &Value, status: u16, answer: Response) {
        self.exchanges.push(Exchange { request: request(kind, params), status, answer });
    }

    /// Replaces these texts by other names in the transcript.
    pub(super) fn renamed(mut self, names: &[(&str, &str)]) -> Self {
        self.names = names.iter().map(|(text, name)| ((*text).to_owned(), (*name).to_owned())).collect();
        self
    }

    /// Compares the transcript with its golden file.
    pub(super) fn check(self, name: &str) {
        assert!(NAMES.contains(&name), "{name} is not in the list");
        let mut redacted = Redacted { names: self.names, ..Redacted::default() };
        let exchanges: Vec<Value> = self
            .exchanges
            .iter()
            .map(|Exchange { request, status, answer }| {
                let request = redacted.value(request);
                match answer {
                    Response::Events(events) => {
                        let events: Vec<Value> = joined(events).iter().map(|e| redacted.value(e)).collect();
                        json!({"request": request, "events": events})
                    }
                    Response::Document(document) => {
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

    /// Returns all requests, events and documents, each with its kind in the official package.
    pub(super) fn values(&self) -> Vec<(&'static str, String, Value)> {
        let mut values = Vec::new();
        for (number, Exchange { request, status, answer }) in self.exchanges.iter().enumerate() {
            let name = format!("{number} {}", request["type"].as_str().unwrap());
            values.push(("request", name.clone(), request.clone()));
            match answer {
                Response::Events(events) => {
                    values.extend(events.iter().map(|event| ("event", name.clone(), event.clone())));
                }
                Response::Document(document) if *status == 200 => match document_kind(request) {
                    Some(kind) => values.push((kind, name, document.clone())),
                    None => assert_eq!(*document, json!({}), "{name}"),
                },
                // The package has no type for rejections.
                Response::Document(_) => {}
            }
        }
        values
    }
}

/// Returns the kind of a request's response document; `None` for an empty object.
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

/// Merges consecutive deltas of one text, since their number depends on timing.
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

/// Names ids in order of appearance, and removes times and links.
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

/// Returns whether the text is a time in the required form: UTC with `Z`, at most six fractional digits.
fn is_time(text: &str) -> bool {
    let fraction = text.strip_suffix('Z').and_then(|text| text.split_once('.')).map_or(0, |(_, f)| f.len());
    text.ends_with('Z') && fraction <= 6 && chrono::DateTime::parse_from_rfc3339(text).is_ok()
}

/// Returns whether the text is a call id of the scripted provider.
fn is_call(text: &str) -> bool {
    let of = text.strip_prefix("call-").and_then(|rest| rest.rsplit_once('-'));
    of.is_some_and(|(reply, attempt)| Uuid::parse_str(reply).is_ok() && attempt.parse::<u32>().is_ok())
}

#[test]
fn transcript_folder_matches_list() {
    let files = std::fs::read_dir(folder().join(FOLDER)).unwrap();
    let mut files: Vec<String> =
        files.map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    files.sort();
    assert_eq!(files, NAMES);
}
