//! Computes the smallest update between two states of a widget.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::language::Widget;

/// One update of a widget.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum WidgetUpdate {
    /// Replaces the widget.
    Root(Widget),
    /// Appends to a text.
    Text {
        /// Id of the component with the text.
        component_id: String,
        /// Text to append.
        delta: String,
        /// Whether the text is complete.
        done: bool,
    },
}

/// Returns the updates from `before` to `after`: none if equal; one per grown text if nothing else has changed; otherwise
/// one replacement.
///
/// Only a `Text` or `Markdown` with an id that is unique in the widget can be appended to.
#[must_use]
pub fn diff(before: &Widget, after: &Widget) -> Vec<WidgetUpdate> {
    let mut walk = Walk { grown: Vec::new(), ids: BTreeMap::new() };
    let only_texts_grew = walk.node(before.as_value(), after.as_value());
    let is_alone = |id: &String| walk.ids.get(id.as_str()) == Some(&1);
    if only_texts_grew && walk.grown.iter().all(|(id, _, _)| is_alone(id)) {
        let text = |(component_id, delta, done)| WidgetUpdate::Text { component_id, delta, done };
        walk.grown.into_iter().map(text).collect()
    } else {
        vec![WidgetUpdate::Root(after.clone())]
    }
}

/// Compares two trees.
struct Walk<'a> {
    /// Id, added text, and whether it is complete.
    grown: Vec<(String, String, bool)>,
    /// How often each id occurs in the widget.
    ids: BTreeMap<&'a str, usize>,
}

impl<'a> Walk<'a> {
    /// Returns whether the components differ at most by grown texts with an id.
    fn node(&mut self, before: &Value, after: &'a Value) -> bool {
        let (Value::Object(old), Value::Object(new)) = (before, after) else { return before == after };
        if let Some(Value::String(id)) = new.get("id") {
            *self.ids.entry(id).or_default() += 1;
        }
        old.len() == new.len()
            && new.iter().all(|(name, value)| match (name.as_str(), old.get(name)) {
                (_, None) => false,
                ("children", Some(children)) => self.children(children, value),
                ("value", Some(text)) if text != value && is_streaming_text(new) => {
                    self.text(text, value, new)
                }
                (_, Some(other)) => other == value,
            })
    }

    /// Compares a list of components, or the one of a `Transition`.
    fn children(&mut self, before: &Value, after: &'a Value) -> bool {
        match (before, after) {
            (Value::Array(old), Value::Array(new)) => {
                old.len() == new.len() && old.iter().zip(new).all(|(old, new)| self.node(old, new))
            }
            (old, new) => self.node(old, new),
        }
    }

    fn text(&mut self, before: &Value, after: &Value, component: &Map<String, Value>) -> bool {
        let (Value::String(old), Value::String(new)) = (before, after) else { return false };
        let (Some(delta), Some(Value::String(id))) = (new.strip_prefix(old.as_str()), component.get("id"))
        else {
            return false;
        };
        let done = component.get("streaming") != Some(&Value::Bool(true));
        self.grown.push((id.clone(), delta.to_owned(), done));
        true
    }
}

fn is_streaming_text(component: &Map<String, Value>) -> bool {
    component.get("type").is_some_and(|name| name == "Text" || name == "Markdown")
}

#[cfg(test)]
mod tests;
