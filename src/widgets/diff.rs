//! What has changed between two states of a widget, as little as can be told.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::language::Widget;

/// One change of a widget.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum WidgetUpdate {
    /// It looks like this now.
    Root(Widget),
    /// A text in it goes on.
    Text {
        /// Id of the component with the text.
        component_id: String,
        /// What is to be appended.
        delta: String,
        /// Whether that was all.
        done: bool,
    },
}

/// The changes that make `after` of `before`: none when they are equal; one for each text that has grown when nothing else
/// has changed; else the whole.
///
/// A text can only be told alone when it is a `Text` or `Markdown` whose id stands in the widget once.
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

/// A look at two trees side by side.
struct Walk<'a> {
    /// Id, what is new, whether that was all.
    grown: Vec<(String, String, bool)>,
    /// How often each id stands in the widget.
    ids: BTreeMap<&'a str, usize>,
}

impl<'a> Walk<'a> {
    /// Whether the components differ at most by texts that have grown and have an id.
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

    /// A list of components, or the one of a `Transition`.
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
