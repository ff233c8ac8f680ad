//! Which values of a request came out of an earlier answer, and the variables that carry them.
//!
//! A value is the same wherever it stands: an id in a path, a token in a header. Names are those of the fields that the values came
//! in, and are used again once nothing needs what they stand for: so the newest token is always `access_token`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::docs::calls::{Call, Done};

/// The shortest value that is taken for the same wherever it stands. Shorter ones count as ids in fields for ids.
const TELLING: usize = 16;
/// Where the people of the examples have their addresses.
const DOMAIN: &str = "@example.org";

/// Something that an answer gives to later requests.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Saved {
    /// The variable.
    pub(super) name: String,
    /// Where the answer has it, for a script; empty: in what a command prints.
    pub(super) place: String,
}

/// One value in an answer.
struct Leaf {
    key: String,
    name: String,
    place: String,
    value: String,
}

/// The values of all requests.
pub(super) struct Values {
    /// The variable of each value that is used.
    names: BTreeMap<String, String>,
    saved: Vec<Vec<Saved>>,
    /// User names, in lower case.
    people: BTreeSet<String>,
    first: usize,
}

impl Values {
    pub(super) fn of(done: &[Done], names: &[String]) -> Self {
        let people = done.iter().filter_map(|one| match one {
            Done::Call(call) => Some(call.json()?["username"].as_str()?.to_lowercase()),
            Done::Command { .. } => None,
        });
        let mut values = Self {
            names: BTreeMap::new(),
            saved: done.iter().map(|_| Vec::new()).collect(),
            people: people.collect(),
            first: done.iter().position(|one| matches!(one, Done::Call(_))).unwrap(),
        };
        // Where each value came from first, and where it is used last.
        let mut known: BTreeMap<String, (usize, Leaf)> = BTreeMap::new();
        let mut used: BTreeMap<String, usize> = BTreeMap::new();
        for (at, one) in done.iter().enumerate() {
            if let Done::Call(call) = one {
                used.extend(
                    wanted(call)
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

    /// Gives names, in the order in which the values come up.
    fn name(&mut self, known: &BTreeMap<String, (usize, Leaf)>, used: &BTreeMap<String, usize>) {
        let mut order: Vec<(&String, &(usize, Leaf))> = known.iter().collect();
        order.sort_by_key(|(_, (at, leaf))| (*at, leaf.place.clone()));
        let mut busy: BTreeMap<String, usize> = BTreeMap::new();
        for (value, (at, leaf)) in order {
            let until = match used.get(value) {
                Some(until) => *until,
                // Whoever has signed in is signed in, also where the examples go on otherwise.
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

    /// What later requests need of this answer.
    pub(super) fn saved(&self, at: usize) -> impl Iterator<Item = &Saved> {
        self.saved[at].iter()
    }

    /// Whether it is the first request of all.
    pub(super) fn is_first(&self, at: usize) -> bool {
        at == self.first
    }

    /// A text with variables in the place of values, and people who are new in every run.
    pub(super) fn filled(&self, text: &str, _at: usize) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some(begin) = rest.find(is_part) {
            let length = rest[begin..].find(|c| !is_part(c)).unwrap_or(rest.len() - begin);
            let run = &rest[begin..begin + length];
            filled.push_str(&rest[..begin]);
            match self.names.get(run).filter(|_| run.len() >= TELLING) {
                Some(name) => filled.push_str(&format!("{{{{{name}}}}}")),
                None => filled.push_str(run),
            }
            rest = &rest[begin + length..];
        }
        filled.push_str(rest);
        filled.replace(DOMAIN, &format!("-{{{{run}}}}{DOMAIN}"))
    }

    /// The text of a JSON body.
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

    /// The value of a field of a form.
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

    /// The value of a parameter of an address: also numbers, where the answer calls them so.
    pub(super) fn parameter(&self, name: &str, value: &str, at: usize) -> String {
        match self.names.get(&numbered(name, value)) {
            Some(name) => format!("{{{{{name}}}}}"),
            None => self.filled(value, at),
        }
    }

    /// The variable that is a whole address, when an answer gave it.
    pub(super) fn whole_address(&self, target: &str, _at: usize) -> Option<String> {
        let address =
            self.names.iter().find(|(value, _)| value.starts_with("http") && value.ends_with(target))?;
        Some(format!("{{{{{}}}}}", address.1))
    }
}

/// A number under the name of its field: numbers alone are the same too often.
fn numbered(key: &str, value: &str) -> String {
    format!("{key} = {value}")
}

fn is_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-.".contains(c)
}

/// Short ids in the fields of a JSON body that are for ids.
fn short_ids(json: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    walk(json, "", &mut |key, _, value| {
        if let Value::String(text) = value
            && key.to_lowercase().ends_with("id")
            && text.len() < TELLING
        {
            found.push((key.to_owned(), text.clone()));
        }
    });
    found
}

/// Everything in a request that may have come from an answer.
fn wanted(call: &Call) -> Vec<String> {
    let texts = call
        .headers
        .iter()
        .filter(|(name, _)| ["authorization", "last-event-id"].contains(&name.to_lowercase().as_str()))
        .map(|(_, value)| value.as_str())
        .chain([call.target.as_str(), call.body.as_str()]);
    let mut wanted: Vec<String> = texts
        .flat_map(|text| text.split(|c| !is_part(c)))
        .filter(|run| run.len() >= TELLING)
        .map(str::to_owned)
        .collect();
    wanted.extend(call.json().iter().flat_map(short_ids).map(|(_, value)| value));
    let query = call.target.split_once('?').map_or("", |(_, query)| query);
    wanted.extend(
        query.split('&').filter_map(|pair| pair.split_once('=')).map(|(key, value)| numbered(key, value)),
    );
    let address = call.header("host").map(|host| format!("http://{host}{}", call.target));
    wanted.extend(address);
    wanted
}

/// Calls `with` for each value in a JSON document: its key, its place, and itself.
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

/// What an answer gives.
fn leaves(one: &Done, name: &str) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    let call = match one {
        Done::Command { words, said } => {
            let key = format!("{}_token", words.get(1).map_or("", String::as_str));
            if said.len() >= TELLING && said.chars().all(is_part) {
                leaves.push(Leaf { name: key.clone(), key, place: String::new(), value: said.clone() });
            }
            return leaves;
        }
        Done::Call(call) => call,
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

/// Long values, ids, and numbers that lead on.
fn is_needed(leaf: &Leaf) -> bool {
    let is_id = leaf.key.to_lowercase().ends_with("id");
    leaf.value.len() >= TELLING || is_id || leaf.value.contains(" = ")
}

/// How a script finds an event again, of which there may be more or fewer before it: by what it is.
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

/// The variable for a field: its own name, where that says enough.
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
