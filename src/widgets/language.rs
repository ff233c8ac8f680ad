//! Validates widgets.

use std::fmt;

use chrono::{DateTime, NaiveDateTime};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::{Map, Value};

use super::icons::is_icon;
use super::table::{Children, Component, Position, Property, Type, component};

/// Most levels of nested components.
pub const MAX_DEPTH: usize = 20;
/// Most components of a widget.
pub const MAX_NODES: usize = 2_000;
/// Largest widget, in bytes of JSON.
pub const MAX_BYTES: usize = 256 * 1024;
/// Most levels of nested values, including action payloads.
const MAX_NESTING: usize = 64;
/// Most errors reported at once.
const MAX_ERRORS: usize = 20;

/// A valid widget: a tree of components without nulls.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Widget(Value);

impl Widget {
    /// Returns the JSON.
    #[must_use]
    pub const fn as_value(&self) -> &Value {
        &self.0
    }

    /// Returns the JSON.
    #[must_use]
    pub fn into_value(self) -> Value {
        self.0
    }

    /// Wraps the output of a builder, which can build only valid widgets.
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

/// An error in a widget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WidgetError {
    /// Path such as `children[0].label`; `.` for the widget itself.
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

/// Validates a JSON value as a widget. Nulls are removed at any depth.
///
/// # Errors
/// At most 20 errors in document order: an unknown component or property, a missing property or one of the wrong type, a
/// misplaced component, or a tree beyond [`MAX_NODES`], [`MAX_DEPTH`] and [`MAX_BYTES`].
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
    check.node(&value, |component| match component.position {
        Position::Root => Ok(()),
        Position::Anywhere | Position::FixedParent => {
            Err("cannot be the root: that is Card, ListView or Basic")
        }
    });
    if check.nodes > MAX_NODES {
        return Err(whole(format!("has more than {MAX_NODES} components")));
    }
    if check.errors.is_empty() { Ok(Widget(value)) } else { Err(check.errors) }
}

/// Returns the value without nulls; `None` if it is nested deeper than `levels`.
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

/// One step of a path.
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

    fn within(&mut self, step: Step<'a>, check: impl FnOnce(&mut Self)) {
        self.path.push(step);
        check(self);
        self.path.pop();
    }

    /// Checks a component; `check_position` checks its position.
    fn node(
        &mut self,
        value: &'a Value,
        check_position: impl FnOnce(&Component) -> Result<(), &'static str>,
    ) {
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
            return self.within(Step::Field("type"), |check| check.fail("is not a component"));
        };
        if let Err(message) = check_position(component) {
            self.fail(format!("{name} {message}"));
        }
        if self.depth == MAX_DEPTH {
            return self.fail(format!("is nested in more than {MAX_DEPTH} components"));
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

    fn list(&mut self, value: &'a Value, check: impl Fn(&mut Self, &'a Value)) {
        let Value::Array(items) = value else { return self.fail("must be a list") };
        for (index, item) in items.iter().enumerate() {
            self.within(Step::Index(index), |this| check(this, item));
        }
    }

    /// Checks a value of several possible types. If its form fits only one of them, reports that type's errors, otherwise the
    /// expected types.
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
        match (self, child.position) {
            (Self::Common | Self::WithRoots, Position::Anywhere) | (Self::WithRoots, Position::Root) => {
                Ok(())
            }
            (Self::Only(name), _) if child.name == name => Ok(()),
            (_, Position::Root) => Err("can only be the root"),
            (_, Position::FixedParent) => Err("is only allowed in another kind of component"),
            (Self::Only(_), Position::Anywhere) => {
                Err("is not allowed here: this list takes one kind of component")
            }
        }
    }
}

impl Type {
    /// Returns what a plain value should be, if it is something else.
    fn mismatch(&self, value: &Value) -> Option<String> {
        let (fits, expected) = match self {
            Self::Text => (value.is_string(), "a string".to_owned()),
            Self::Bool => (value.is_boolean(), "true or false".to_owned()),
            Self::Int => (value.is_i64() || value.is_u64(), "a whole number".to_owned()),
            Self::Number => (value.is_number(), "a number".to_owned()),
            Self::Icon => (value.as_str().is_some_and(is_icon), "the name of an icon".to_owned()),
            Self::Date => (value.as_str().is_some_and(is_date), "an ISO 8601 date with time".to_owned()),
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

/// Returns whether this is a date with a time, with or without a zone.
fn is_date(text: &str) -> bool {
    DateTime::parse_from_rfc3339(text).is_ok()
        || NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").is_ok()
        || NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M").is_ok()
}

#[cfg(test)]
mod tests;
