//! Generates the request collection in `docs/postman`: the requests in docs/API_EXAMPLES.md with checks of their
//! responses. A value that one response contains and a later request needs becomes a variable.

mod checks;
mod values;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::calls::{Call, Recorded};
use super::tour::Step;
use values::Values;

/// Request headers that the collection includes.
const HEADERS: [&str; 4] = ["authorization", "content-type", "idempotency-key", "last-event-id"];

/// Returns the collection for a document's recorded actions. `described` is the OpenAPI description.
pub(super) fn collection(done: &[Recorded], steps: &[Step], described: &Value) -> Value {
    let operations = operations(described);
    let names = names(done, &operations);
    let values = Values::of(done, &names);
    let mut folders: Vec<(String, Vec<Value>)> = Vec::new();
    let mut before = String::new();
    for (at, one) in done.iter().enumerate() {
        let call = match one {
            Recorded::Call(call) => call,
            Recorded::Command { words, .. } => {
                before.push_str(&command(words, at, &values));
                continue;
            }
        };
        let operation = call.operation(operations.keys()).unwrap_or_default();
        let summary = operations.get(operation).and_then(|operation| operation["summary"].as_str());
        let quoted = format!("`{operation}`");
        let parts = [summary.unwrap_or_default(), &quoted, std::mem::take(&mut before).trim()].join("\n\n");
        let description = parts.trim().to_owned();
        let item = item(call, at, &names[at], &description, &values);
        let folder = &steps[call.step].folder;
        match folders.last_mut() {
            Some((name, items)) if name == folder => items.push(item),
            _ => folders.push((folder.clone(), vec![item])),
        }
    }
    let folders: Vec<Value> =
        folders.into_iter().map(|(name, items)| json!({"name": name, "item": items})).collect();
    json!({
        "info": {
            "name": "ChatBot API",
            "description": "Every operation of the API, in the order of docs/API_EXAMPLES.md, from which this file is generated. \
                Run it from the top: each request saves the values that later ones need. `base_url` is the address of the service. \
                Requests of the last folder need commands of the operator first, as their descriptions say.",
            "schema": "https://schema.getpostman.com/json/collection/v2.1.0/collection.json",
        },
        "variable": [
            {"key": "base_url", "value": "http://localhost:8000"},
            {"key": "access_token", "value": ""},
        ],
        "item": folders,
    })
}

/// Returns each operation of a description, by `GET /path`.
pub(super) fn operations(described: &Value) -> BTreeMap<String, Value> {
    let paths = described["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().iter().map(move |(method, operation)| {
                (format!("{} {path}", method.to_uppercase()), operation.clone())
            })
        })
        .collect()
}

/// Names each request after its operation, and requests at `/chatkit` after their type; repeated names are numbered.
fn names(done: &[Recorded], operations: &BTreeMap<String, Value>) -> Vec<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    done.iter()
        .map(|one| {
            let Recorded::Call(call) = one else { return String::new() };
            let asked = call.json().filter(|_| call.path() == "/chatkit");
            let operation = call.operation(operations.keys()).map(|key| &operations[key]["operationId"]);
            let name = match (asked, operation.and_then(Value::as_str)) {
                (Some(asked), _) => asked["type"].as_str().unwrap().to_owned(),
                (None, Some(id)) => id.replace('_', " "),
                (None, None) => format!("{} {}", call.method, call.path()),
            };
            let count = seen.entry(name.clone()).or_default();
            *count += 1;
            let mut name = if *count == 1 { name } else { format!("{name} ({count})") };
            if call.path() != "/chatkit" {
                name[..1].make_ascii_uppercase();
            }
            name
        })
        .collect()
}

/// Describes a command that the operator must run before a request. The test of the collection parses this text.
fn command(words: &[String], at: usize, values: &Values) -> String {
    let words = values.filled(&words.join(" "), at);
    let gives = values.saved(at).map(|saved| format!(" Its first line is `{{{{{}}}}}`.", saved.name));
    let gives: String = gives.collect();
    format!("Before this request, the operator runs `verbatim {words}`.{gives} ")
}

/// One request.
fn item(call: &Call, at: usize, name: &str, description: &str, values: &Values) -> Value {
    let is_upgrade = call.status == 101;
    let headers: Vec<Value> = call
        .headers
        .iter()
        .filter(|(name, _)| HEADERS.contains(&name.to_ascii_lowercase().as_str()))
        .map(|(name, value)| {
            // Curl declares a form if the document names no type.
            let value = if name.eq_ignore_ascii_case("content-type") && call.json().is_some() {
                "application/json".to_owned()
            } else {
                values.filled(&with_boundary(value, value), at)
            };
            json!({"key": name, "value": value})
        })
        .collect();
    let mut request = json!({"method": call.method, "header": headers, "url": url(call, at, values)});
    let description = if is_upgrade {
        format!("{description}\n\nPostman has a separate request type for WebSockets; this request gets 426.")
    } else {
        description.to_owned()
    };
    request["description"] = description.into();
    if let Some(body) = body(call, at, values) {
        request["body"] = body;
    }
    let mut scripts = Vec::new();
    if values.is_first(at) {
        let lines = [
            "// Makes email addresses and usernames unique to this run.",
            "const run = Date.now().toString(36);",
        ];
        let saves = checks::save("run", "run");
        scripts
            .push(script("prerequest", lines.iter().map(|line| (*line).to_owned()).chain(saves).collect()));
    }
    let saves = values.saved(at).flat_map(|saved| checks::saving(&saved.name, &saved.place));
    let checks = if is_upgrade { checks::no_upgrade() } else { checks::of(call) };
    scripts.push(script("test", checks.into_iter().chain(saves).collect()));
    json!({"name": name, "request": request, "event": scripts})
}

fn script(listen: &str, lines: Vec<String>) -> Value {
    json!({"listen": listen, "script": {"type": "text/javascript", "exec": lines}})
}

fn url(call: &Call, at: usize, values: &Values) -> Value {
    if let Some(whole) = values.whole_address(&call.target, at) {
        return json!(whole);
    }
    let (path, query) = call.target.split_once('?').unwrap_or((&call.target, ""));
    let path = values.filled(path, at);
    let pairs: Vec<(String, String)> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), values.parameter(name, value, at)))
        .collect();
    let raw: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mark = if raw.is_empty() { "" } else { "?" };
    let mut url = json!({
        "raw": format!("{{{{base_url}}}}{path}{mark}{}", raw.join("&")),
        "host": ["{{base_url}}"],
        "path": path.trim_start_matches('/').split('/').collect::<Vec<_>>(),
    });
    if !pairs.is_empty() {
        let query = pairs.iter().map(|(name, value)| json!({"key": name, "value": value}));
        url["query"] = query.collect();
    }
    url
}

fn body(call: &Call, at: usize, values: &Values) -> Option<Value> {
    if call.body.is_empty() {
        return None;
    }
    if let Some(json) = call.json() {
        let text = values.filled_json(&call.body, &json, at);
        return Some(json!({"mode": "raw", "raw": text, "options": {"raw": {"language": "json"}}}));
    }
    if call.header("content-type") == Some("application/x-www-form-urlencoded") {
        let decoded = |text: &str| {
            let text = text.replace('+', " ");
            percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned()
        };
        let pairs = call.body.split('&').filter_map(|pair| pair.split_once('='));
        let fields = pairs.map(|(name, value)| {
            json!({"key": decoded(name), "value": values.filled_field(name, &decoded(value), at), "type": "text"})
        });
        return Some(json!({"mode": "urlencoded", "urlencoded": fields.collect::<Vec<_>>()}));
    }
    let text = with_boundary(call.header("content-type").unwrap_or_default(), &call.body);
    Some(json!({"mode": "raw", "raw": values.filled(&text, at)}))
}

/// Replaces curl's random multipart boundary by a constant one.
fn with_boundary(media: &str, text: &str) -> String {
    match media.split_once("boundary=") {
        Some((_, boundary)) => text.replace(boundary, "end-of-part"),
        None => text.to_owned(),
    }
}
