//! Finds values of requests that come from earlier responses, and the variables that carry them.
//!
//! A value is the same wherever it occurs: an id in a path, a token in a header. A variable is named after the field
//! of the value. A name is reused once its value is no longer needed, so the newest token is always `access_token`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::docs::calls::{Call, Recorded};

/// Minimum length of a value that is recognised anywhere. Shorter values are recognised only as ids, in fields for ids.
const MIN_UNIQUE_LEN: usize = 16;
/// Email domain of the users in the examples.
const DOMAIN: &str = "@example.org";

/// A value in a response that later requests use.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Saved {
    /// Name of the variable.
    pub(super) name: String,
    /// Expression for the value in the response; empty for the output of a command.
    pub(super) place: String,
}

/// One scalar value in a response.
struct Leaf {
    key: String,
    name: String,
    place: String,
    value: String,
}

/// The values that requests and responses share.
pub(super) struct Values {
    /// Variable of each value.
    names: BTreeMap<String, String>,
    saved: Vec<Vec<Saved>>,
    /// Usernames in lower case.
    people: BTreeSet<String>,
    first: usize,
}

impl Values {
    pub(super) fn of(done: &[Recorded], names: &[String]) -> Self {
        let people = done.iter().filter_map(|one| match one {
            Recorded::Call(call) => Some(call.json()?["username"].as_str()?.to_lowercase()),
            Recorded::Command { .. } => None,
        });
        let mut values = Self {
            names: BTreeMap::new(),
            saved: done.iter().map(|_| Vec::new()).collect(),
            people: people.collect(),
            first: done.iter().position(|one| matches!(one, Recorded::Call(_))).unwrap(),
        };
        // Where each value first appears, and where it is last used.
        let mut known: BTreeMap<String, (usize, Leaf)> = BTreeMap::new();
        let mut used: BTreeMap<String, usize> = BTreeMap::new();
        for (at, one) in done.iter().enumerate() {
            if let Recorded::Call(call) = one {
                used.extend(
                    candidates(call)
                        .into_iter()
                        .filter(|value| known.contains_key(value))
                        .map(|value| (value, at)),
                );
            }
            for leaf in leaves(one, &names[at]) {
                known.entry(leaf.value.clone()).or_insert((at, leaf));
            }
        }
        values.name(&known, &used);
        values
    }

    /// Names the values in the order in which they appear.
    fn name(&mut self, known: &BTreeMap<String, (usize, Leaf)>, used: &BTreeMap<String, usize>) {
        let mut order: Vec<(&String, &(usize, Leaf))> = known.iter().collect();
        order.sort_by_key(|(_, (at, leaf))| (*at, leaf.place.clone()));
        let mut busy: BTreeMap<String, usize> = BTreeMap::new();
        for (value, (at, leaf)) in order {
            let until = match used.get(value) {
                Some(until) => *until,
                // The token of a sign-in is saved even if the examples do not use it.
                None if leaf.place == "body.access_token"
                    && busy.get("access_token").is_none_or(|until| until < at) =>
                {
                    0
                }
                None => continue,
            };
            let numbered = (2..).map(|number| format!("{}_{number}", leaf.name));
            let mut candidates = std::iter::once(leaf.name.clone()).chain(numbered);
            let name = candidates.find(|name| busy.get(name).is_none_or(|until| until < at)).unwrap();
            busy.insert(name.clone(), until);
            self.names.insert(value.clone(), name.clone());
            self.saved[*at].push(Saved { name, place: leaf.place.clone() });
        }
    }

    /// Returns the values of this response that later requests need.
    pub(super) fn saved(&self, at: usize) -> impl Iterator<Item = &Saved> {
        self.saved[at].iter()
    }

    /// Returns whether this is the first request.
    pub(super) fn is_first(&self, at: usize) -> bool {
        at == self.first
    }

    /// Returns a text with values replaced by variables, and with email addresses that are new in every run.
    pub(super) fn filled(&self, text: &str, _at: usize) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some(begin) = rest.find(is_part) {
            let length = rest[begin..].find(|c| !is_part(c)).unwrap_or(rest.len() - begin);
            let run = &rest[begin..begin + length];
            filled.push_str(&rest[..begin]);
            match self.names.get(run).filter(|_| run.len() >= MIN_UNIQUE_LEN) {
                Some(name) => filled.push_str(&format!("{{{{{name}}}}}")),
                None => filled.push_str(run),
            }
            rest = &rest[begin + length..];
        }
        filled.push_str(rest);
        filled.replace(DOMAIN, &format!("-{{{{run}}}}{DOMAIN}"))
    }

    /// Returns a JSON body with values replaced by variables.
    pub(super) fn filled_json(&self, text: &str, json: &Value, at: usize) -> String {
        let mut filled = self.filled(text, at);
        for (key, value) in short_ids(json) {
            if let Some(name) = self.names.get(&value) {
                filled = filled.replace(&format!("\"{value}\""), &format!("\"{{{{{name}}}}}\""));
            }
            debug_assert!(key.to_lowercase().ends_with("id"));
        }
        if let Some(person) = json["username"].as_str() {
            filled = filled.replace(&format!("\"{person}\""), &format!("\"{}\"", self.person(person)));
        }
        filled
    }

    /// Returns the value of a form field, replaced by a variable if known.
    pub(super) fn filled_field(&self, name: &str, value: &str, at: usize) -> String {
        if name == "username" { self.person(value) } else { self.filled(value, at) }
    }

    fn person(&self, name: &str) -> String {
        if self.people.contains(&name.to_lowercase()) {
            format!("{name}-{{{{run}}}}")
        } else {
            name.to_owned()
        }
    }

    /// Returns the value of a query parameter; a number is recognised by the name of its field.
    pub(super) fn parameter(&self, name: &str, value: &str, at: usize) -> String {
        match self.names.get(&numbered(name, value)) {
            Some(name) => format!("{{{{{name}}}}}"),
            None => self.filled(value, at),
        }
    }

    /// Returns the variable of a whole URL that a response contained.
    pub(super) fn whole_address(&self, target: &str, _at: usize) -> Option<String> {
        let address =
            self.names.iter().find(|(value, _)| value.starts_with("http") && value.ends_with(target))?;
        Some(format!("{{{{{}}}}}", address.1))
    }
}

/// Returns a number with the name of its field, since equal numbers often are unrelated.
fn numbered(key: &str, value: &str) -> String {
    format!("{key} = {value}")
}

fn is_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-.".contains(c)
}

/// Returns short values in the id fields of a JSON body.
fn short_ids(json: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    walk(json, "", &mut |key, _, value| {
        if let Value::String(text) = value
            && key.to_lowercase().ends_with("id")
            && text.len() < MIN_UNIQUE_LEN
        {
            found.push((key.to_owned(), text.clone()));
        }
    });
    found
}

/// Returns everything in a request that may come from an earlier response.
fn candidates(call: &Call) -> Vec<String> {
    let texts = call
        .headers
        .iter()
        .filter(|(name, _)| ["authorization", "last-event-id"].contains(&name.to_lowercase().as_str()))
        .map(|(_, value)| value.as_str())
        .chain([call.target.as_str(), call.body.as_str()]);
    let mut found: Vec<String> = texts
        .flat_map(|text| text.split(|c| !is_part(c)))
        .filter(|run| run.len() >= MIN_UNIQUE_LEN)
        .map(str::to_owned)
        .collect();
    found.extend(call.json().iter().flat_map(short_ids).map(|(_, value)| value));
    let query = call.target.split_once('?').map_or("", |(_, query)| query);
    found.extend(
        query.split('&').filter_map(|pair| pair.split_once('=')).map(|(key, value)| numbered(key, value)),
    );
    let address = call.header("host").map(|host| format!("http://{host}{}", call.target));
    found.extend(address);
    found
}

/// Calls `with` for each scalar in a JSON document, with key, place and value.
fn walk(json: &Value, place: &str, with: &mut impl FnMut(&str, &str, &Value)) {
    fn step(key: &str, place: &str, value: &Value, with: &mut impl FnMut(&str, &str, &Value)) {
        match value {
            Value::Object(fields) => {
                for (name, inner) in fields {
                    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
                    let place = if plain { format!("{place}.{name}") } else { format!("{place}['{name}']") };
                    step(name, &place, inner, with);
                }
            }
            Value::Array(items) => {
                for (index, inner) in items.iter().enumerate() {
                    step(key, &format!("{place}[{index}]"), inner, with);
                }
            }
            value => with(key, place, value),
        }
    }
    step("", place, json, with);
}

/// Returns the values of a response that later requests may use.
fn leaves(one: &Recorded, name: &str) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    let call = match one {
        Recorded::Command { words, said } => {
            let key = format!("{}_token", words.get(1).map_or("", String::as_str));
            if said.len() >= MIN_UNIQUE_LEN && said.chars().all(is_part) {
                leaves.push(Leaf { name: key.clone(), key, place: String::new(), value: said.clone() });
            }
            return leaves;
        }
        Recorded::Call(call) => call,
    };
    let mut take = |json: &Value, root: &str, owner: &str| {
        walk(json, root, &mut |key, place, value| {
            let value = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => numbered(key, &number.to_string()),
                _ => return,
            };
            let leaf = Leaf {
                key: key.to_owned(),
                name: variable(key, place, owner),
                place: place.to_owned(),
                value,
            };
            if leaf.key.is_empty() || !is_needed(&leaf) {
                return;
            }
            leaves.push(leaf);
        });
    };
    let slug = slug(name);
    if call.media == "text/event-stream" {
        let events = call.events();
        for (index, event) in events.iter().enumerate() {
            let Some(root) = finder(&events, index) else { continue };
            let owner = event["item"]["type"].as_str().unwrap_or(&slug).to_owned();
            take(event, &root, &owner);
        }
    } else if let Ok(json) = serde_json::from_str(&call.answer) {
        take(&json, "body", &slug);
    }
    leaves
}

/// Returns whether a later request may use the value: long values, ids, and numbers.
fn is_needed(leaf: &Leaf) -> bool {
    let is_id = leaf.key.to_lowercase().ends_with("id");
    leaf.value.len() >= MIN_UNIQUE_LEN || is_id || leaf.value.contains(" = ")
}

/// Returns the expression that finds an event by its type, since the number of events before it varies.
fn finder(events: &[Value], index: usize) -> Option<String> {
    if index == 0 {
        return Some("events[0]".to_owned());
    }
    let is_like = |event: &Value| {
        let what = |event: &Value| (event["type"].clone(), event["item"]["type"].clone());
        what(event) == what(&events[index])
    };
    if events.iter().position(is_like)? != index {
        return None;
    }
    let kind = events[index]["type"].as_str()?;
    let item = events[index]["item"]["type"].as_str();
    let item = item.map(|item| format!(" && e.item.type === '{item}'")).unwrap_or_default();
    Some(format!("event(e => e.type === '{kind}'{item})"))
}

/// Returns the variable for a field: its own name if that is clear enough.
fn variable(key: &str, place: &str, owner: &str) -> String {
    let parents =
        place.split(['.', '[']).filter(|part| part.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
    let parent = parents.rev().nth(1).filter(|parent| !["item", "items", "data", "body"].contains(parent));
    match key {
        "id" => format!("{}_id", parent.unwrap_or(owner)),
        "url" => "upload_url".to_owned(),
        key => key.to_owned(),
    }
}

fn slug(name: &str) -> String {
    let name = name.split(" (").next().unwrap_or_default().to_lowercase();
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}
