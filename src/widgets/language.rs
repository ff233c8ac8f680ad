//! Whether something is a widget.

use std::fmt;

use chrono::{DateTime, NaiveDateTime};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::{Map, Value};

use super::icons::is_icon;
use super::table::{Children, Component, Place, Property, Type, component};

/// How deep components may stand in each other.
pub const MAX_DEPTH: usize = 20;
/// How many components a widget may have.
pub const MAX_NODES: usize = 2_000;
/// How long a widget may be, in bytes of JSON.
pub const MAX_BYTES: usize = 256 * 1024;
/// How deep any values may stand in each other, payloads of actions included.
const MAX_NESTING: usize = 64;
/// How many mistakes are told at once.
const MAX_ERRORS: usize = 20;

/// A widget: a tree of components that keeps to the language, without any null.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Widget(Value);

impl Widget {
    /// Its JSON.
    #[must_use]
    pub const fn as_value(&self) -> &Value {
        &self.0
    }

    /// Its JSON.
    #[must_use]
    pub fn into_value(self) -> Value {
        self.0
    }

    /// What a builder has made, which can make nothing else than widgets.
    pub(super) const fn built(value: Value) -> Self {
        Self(value)
    }
}

impl JsonSchema for Widget {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Widget".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "required": ["type"],
            "properties": {"type": {"enum": ["Card", "ListView", "Basic"]}},
            "additionalProperties": true,
        })
    }
}

/// A mistake in a widget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WidgetError {
    /// Where it is, such as `children[0].label`; `.` for the whole.
    pub path: String,
    /// What is wrong there.
    pub message: String,
}

impl fmt::Display for WidgetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl std::error::Error for WidgetError {}

/// Takes a JSON value as a widget. Nulls are left out, wherever they stand.
///
/// # Errors
/// What is wrong with it, at most 20 mistakes in the order in which they stand: an unknown component or property, one that
/// is missing or holds something else, a component where it may not stand, more or deeper than [`MAX_NODES`],
/// [`MAX_DEPTH`] and [`MAX_BYTES`] allow.
pub fn validate(value: &Value) -> Result<Widget, Vec<WidgetError>> {
    let whole = |message: String| vec![WidgetError { path: ".".to_owned(), message }];
    let Some(value) = without_nulls(value, MAX_NESTING) else {
        return Err(whole(format!("is nested deeper than {MAX_NESTING} values")));
    };
    let size = serde_json::to_vec(&value).map_or(usize::MAX, |bytes| bytes.len());
    if size > MAX_BYTES {
        return Err(whole(format!("has more than {MAX_BYTES} bytes")));
    }
    let mut check = Check { path: Vec::new(), errors: Vec::new(), nodes: 0, depth: 0 };
    check.node(&value, |component| match component.place {
        Place::Root => Ok(()),
        Place::Anywhere | Place::InItsParent => Err("cannot be the root: that is Card, ListView or Basic"),
    });
    if check.nodes > MAX_NODES {
        return Err(whole(format!("has more than {MAX_NODES} components")));
    }
    if check.errors.is_empty() { Ok(Widget(value)) } else { Err(check.errors) }
}

/// The same without nulls; none when it is nested deeper than `levels`.
fn without_nulls(value: &Value, levels: usize) -> Option<Value> {
    let levels = levels.checked_sub(1)?;
    Some(match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(_, value)| !value.is_null());
            let kept = kept.map(|(name, value)| Some((name.clone(), without_nulls(value, levels)?)));
            Value::Object(kept.collect::<Option<Map<_, _>>>()?)
        }
        Value::Array(items) => {
            let kept = items.iter().filter(|value| !value.is_null());
            Value::Array(kept.map(|value| without_nulls(value, levels)).collect::<Option<_>>()?)
        }
        plain => plain.clone(),
    })
}

/// A step of a path.
#[derive(Clone, Copy)]
enum Step<'a> {
    Field(&'a str),
    Index(usize),
}

struct Check<'a> {
    path: Vec<Step<'a>>,
    errors: Vec<WidgetError>,
    nodes: usize,
    depth: usize,
}

impl<'a> Check<'a> {
    fn fail(&mut self, message: impl Into<String>) {
        if self.errors.len() >= MAX_ERRORS {
            return;
        }
        let mut path = String::new();
        for step in &self.path {
            match step {
                Step::Field(name) if path.is_empty() => path.push_str(name),
                Step::Field(name) => path.extend([".", name]),
                Step::Index(index) => path.push_str(&format!("[{index}]")),
            }
        }
        if path.is_empty() {
            path.push('.');
        }
        self.errors.push(WidgetError { path, message: message.into() });
    }

    fn within(&mut self, step: Step<'a>, look: impl FnOnce(&mut Self)) {
        self.path.push(step);
        look(self);
        self.path.pop();
    }

    /// A component, which `may_stand` takes or refuses.
    fn node(&mut self, value: &'a Value, may_stand: impl FnOnce(&Component) -> Result<(), &'static str>) {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return;
        }
        let Value::Object(fields) = value else {
            return self.fail("must be a component: an object with a type");
        };
        let name = match fields.get("type") {
            Some(Value::String(name)) => name,
            _ => return self.fail("must have a type, the name of a component"),
        };
        let Some(component) = component(name) else {
            return self.within(Step::Field("type"), |check| check.fail("is no component"));
        };
        if let Err(message) = may_stand(component) {
            self.fail(format!("{name} {message}"));
        }
        if self.depth == MAX_DEPTH {
            return self.fail(format!("stands in more than {MAX_DEPTH} components"));
        }
        self.depth += 1;
        self.fields(fields, component.all(), name, |name| name == "type");
        self.depth -= 1;
    }

    fn fields(
        &mut self,
        fields: &'a Map<String, Value>,
        properties: impl Iterator<Item = &'static Property> + Clone,
        owner: &str,
        is_known: impl Fn(&str) -> bool,
    ) {
        for property in properties.clone().filter(|property| property.required) {
            if !fields.contains_key(property.name) {
                self.fail(format!("{owner} must have `{}`", property.name));
            }
        }
        for (name, value) in fields {
            match properties.clone().find(|property| property.name == name) {
                Some(property) => self.within(Step::Field(name), |check| check.value(value, &property.kind)),
                None if is_known(name) => {}
                None => self
                    .within(Step::Field(name), |check| check.fail(format!("{owner} has no such property"))),
            }
        }
    }

    fn value(&mut self, value: &'a Value, kind: &'static Type) {
        match kind {
            Type::Object(properties) => match value {
                Value::Object(fields) => self.fields(fields, properties.iter(), "it", |_| false),
                _ => self.fail("must be an object"),
            },
            Type::Map(inner) => match value {
                Value::Object(fields) => {
                    for (name, value) in fields {
                        self.within(Step::Field(name), |check| check.value(value, inner));
                    }
                }
                _ => self.fail("must be an object"),
            },
            Type::List(inner) => self.list(value, |check, value| check.value(value, inner)),
            Type::Children(children) => {
                self.list(value, |check, value| check.node(value, |child| children.take(child)));
            }
            Type::Child => self.node(value, |child| Children::Common.take(child)),
            Type::Either(words, kinds) => self.either(value, words, kinds),
            plain => {
                if let Some(expected) = plain.mismatch(value) {
                    self.fail(format!("must be {expected}"));
                }
            }
        }
    }

    fn list(&mut self, value: &'a Value, look: impl Fn(&mut Self, &'a Value)) {
        let Value::Array(items) = value else { return self.fail("must be a list") };
        for (index, item) in items.iter().enumerate() {
            self.within(Step::Index(index), |check| look(check, item));
        }
    }

    /// One of several kinds. Where only one of them has the value's form, its mistakes are told, else what all are.
    fn either(&mut self, value: &'a Value, words: &str, kinds: &'static [Type]) {
        let before = self.errors.len();
        let mut objects = 0;
        let mut told = Vec::new();
        for kind in kinds {
            self.value(value, kind);
            if self.errors.len() == before {
                return;
            }
            let failed = self.errors.split_off(before);
            if matches!(kind, Type::Object(_)) && value.is_object() {
                objects += 1;
                told = failed;
            }
        }
        if objects == 1 {
            self.errors.extend(told);
        } else {
            self.fail(format!("must be {words}"));
        }
    }
}

impl Children {
    fn take(self, child: &Component) -> Result<(), &'static str> {
        match (self, child.place) {
            (Self::Common | Self::WithRoots, Place::Anywhere) | (Self::WithRoots, Place::Root) => Ok(()),
            (Self::Only(name), _) if child.name == name => Ok(()),
            (_, Place::Root) => Err("can only be the root"),
            (_, Place::InItsParent) => Err("stands in components of another kind only"),
            (Self::Only(_), Place::Anywhere) => {
                Err("cannot stand here: this list is for one kind of component")
            }
        }
    }
}

impl Type {
    /// What a plain value should be, when it is something else.
    fn mismatch(&self, value: &Value) -> Option<String> {
        let (fits, expected) = match self {
            Self::Text => (value.is_string(), "a text".to_owned()),
            Self::Bool => (value.is_boolean(), "true or false".to_owned()),
            Self::Int => (value.is_i64() || value.is_u64(), "a whole number".to_owned()),
            Self::Number => (value.is_number(), "a number".to_owned()),
            Self::Icon => (value.as_str().is_some_and(is_icon), "the name of an icon".to_owned()),
            Self::Date => {
                (value.as_str().is_some_and(is_date), "a date with a time, as ISO 8601 writes it".to_owned())
            }
            Self::False => (value == &Value::Bool(false), "false".to_owned()),
            Self::Word(words) => {
                let fits = value.as_str().is_some_and(|word| words.contains(&word));
                (fits, format!("one of {}", words.join(", ")))
            }
            _ => (true, String::new()),
        };
        (!fits).then_some(expected)
    }
}

/// Whether it is a date with a time, with or without a zone.
fn is_date(text: &str) -> bool {
    DateTime::parse_from_rfc3339(text).is_ok()
        || NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").is_ok()
        || NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M").is_ok()
}

#[cfg(test)]
mod tests;
