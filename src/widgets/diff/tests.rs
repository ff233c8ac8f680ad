//! Which updates a change yields; applying them leads from one state to the other.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::widgets::build::tests::card;
use crate::widgets::validate;

fn widget(child: &Value) -> Widget {
    validate(&json!({"type": "Card", "children": [child]})).unwrap()
}

fn append(value: &mut Value, component_id: &str, delta: &str) -> usize {
    let mut found = 0;
    match value {
        Value::Object(fields) => {
            let is_it = fields.get("id").is_some_and(|id| id == component_id);
            if is_it && let Some(Value::String(text)) = fields.get_mut("value") {
                text.push_str(delta);
                found += 1;
            }
            found += fields.values_mut().map(|value| append(value, component_id, delta)).sum::<usize>();
        }
        Value::Array(items) => {
            found += items.iter_mut().map(|value| append(value, component_id, delta)).sum::<usize>();
        }
        _ => {}
    }
    found
}

/// Returns what a client shows after these updates.
fn applied(before: &Widget, updates: &[WidgetUpdate]) -> Value {
    let mut shown = before.as_value().clone();
    for update in updates {
        match update {
            WidgetUpdate::Root(widget) => shown = widget.as_value().clone(),
            WidgetUpdate::Text { component_id, delta, .. } => {
                assert_eq!(append(&mut shown, component_id, delta), 1, "{component_id} names one text");
            }
        }
    }
    shown
}

fn text(id: &str, delta: &str, done: bool) -> WidgetUpdate {
    WidgetUpdate::Text { component_id: id.to_owned(), delta: delta.to_owned(), done }
}

#[test]
fn equal_states_yield_nothing_and_grown_texts_deltas() {
    let row = |a: &str, b: &str| {
        widget(&json!({"type": "Row", "children": [
            {"type": "Text", "id": "a", "value": a, "streaming": true},
            {"type": "Transition", "children": {"type": "Markdown", "id": "b", "value": b}},
        ]}))
    };
    assert_eq!(diff(&row("x", "y"), &row("x", "y")), []);
    assert_eq!(diff(&row("x", "y"), &row("x and", "y")), [text("a", " and", false)]);
    assert_eq!(diff(&row("", "y"), &row("x", "y")), [text("a", "x", false)]);
    assert_eq!(
        diff(&row("x", "y"), &row("x and", "y or")),
        [text("a", " and", false), text("b", " or", true)]
    );
}

#[test]
fn other_changes_replace_the_widget() {
    let grown = |name: &str, id: Option<&str>, value: &str| {
        let mut child = json!({"type": name, "value": value});
        if let Some(id) = id {
            child["id"] = json!(id);
        }
        child
    };
    let cases = [
        ("another type", grown("Text", Some("a"), "x"), grown("Markdown", Some("a"), "x")),
        ("another id", grown("Text", Some("a"), "x"), grown("Text", Some("b"), "x y")),
        ("an id more", grown("Text", None, "x"), grown("Text", Some("a"), "x")),
        ("text without an id", grown("Text", None, "x"), grown("Text", None, "x y")),
        ("text that shrinks", grown("Text", Some("a"), "x y"), grown("Text", Some("a"), "x")),
        ("another text", grown("Text", Some("a"), "x"), grown("Text", Some("a"), "y x")),
        ("a title does not stream", grown("Title", Some("a"), "x"), grown("Title", Some("a"), "x y")),
        ("nor does a caption", grown("Caption", Some("a"), "x"), grown("Caption", Some("a"), "x y")),
        ("a key", json!({"type": "Spacer", "key": "a"}), json!({"type": "Spacer", "key": "b"})),
        (
            "the end of streaming",
            json!({"type": "Text", "id": "a", "value": "x", "streaming": true}),
            json!({"type": "Text", "id": "a", "value": "x y", "streaming": false}),
        ),
        (
            "a property on one side only",
            json!({"type": "Text", "id": "a", "value": "x", "italic": true}),
            json!({"type": "Text", "id": "a", "value": "x y"}),
        ),
        (
            "another property in its place",
            json!({"type": "Text", "id": "a", "value": "x", "italic": true}),
            json!({"type": "Text", "id": "a", "value": "x", "truncate": true}),
        ),
        (
            "a child more",
            json!({"type": "Row", "children": []}),
            json!({"type": "Row", "children": [{"type": "Spacer"}]}),
        ),
        ("children where there were none", json!({"type": "Row"}), json!({"type": "Row", "children": []})),
        (
            "text without an id in a transition",
            json!({"type": "Transition", "children": {"type": "Text", "value": "x"}}),
            json!({"type": "Transition", "children": {"type": "Text", "value": "x y"}}),
        ),
        (
            "a duplicated id",
            json!({"type": "Row", "children": [{"type": "Text", "id": "a", "value": "x"}, {"type": "Text", "id": "a", "value": "z"}]}),
            json!({"type": "Row", "children": [{"type": "Text", "id": "a", "value": "x y"}, {"type": "Text", "id": "a", "value": "z"}]}),
        ),
        (
            "an action's payload",
            json!({"type": "Button", "onClickAction": {"type": "a", "payload": {"value": "x"}}}),
            json!({"type": "Button", "onClickAction": {"type": "a", "payload": {"value": "x y"}}}),
        ),
    ];
    for (what, before, after) in cases {
        let (before, after) = (widget(&before), widget(&after));
        assert_eq!(diff(&before, &after), [WidgetUpdate::Root(after)], "{what}");
    }
}

/// Texts in boxes, some of them with ids; ids may be duplicated.
fn texts() -> impl Strategy<Value = Value> {
    let text = (
        "(Text|Markdown|Title)",
        proptest::option::of("[a-c]"),
        "[xy]{0,3}",
        proptest::option::of(any::<bool>()),
    );
    let leaf = text.prop_map(|(name, id, value, streaming)| {
        let mut node = json!({"type": name, "value": value});
        if let Some(id) = id {
            node["id"] = json!(id);
        }
        if let (Some(streaming), true) = (streaming, name != "Title") {
            node["streaming"] = json!(streaming);
        }
        node
    });
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3)
                .prop_map(|children| json!({"type": "Box", "children": children})),
            inner.prop_map(|child| json!({"type": "Transition", "children": child})),
        ]
    })
}

/// Extends each text that follows an even number of others.
fn grow(value: &mut Value, odd: &mut bool) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(text)) = fields.get_mut("value") {
                *odd = !*odd;
                if *odd {
                    text.push_str("zz");
                }
            }
            fields.values_mut().for_each(|value| grow(value, odd));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| grow(value, odd)),
        _ => {}
    }
}

proptest! {
    #[test]
    fn updates_lead_from_one_state_to_the_other(before in texts(), other in texts()) {
        let mut after = before.clone();
        grow(&mut after, &mut false);
        for after in [&before, &after, &other] {
            let (before, after) = (widget(&before), widget(after));
            let updates = diff(&before, &after);
            prop_assert_eq!(&applied(&before, &updates), after.as_value());
            prop_assert_eq!(updates.is_empty(), before == after);
        }
    }

    #[test]
    fn the_same_holds_for_cards(before in card(), after in card()) {
        let (before, after) = (before.build(), after.build());
        prop_assert_eq!(&applied(&before, &diff(&before, &after)), after.as_value());
        prop_assert_eq!(diff(&before, &before), []);
    }
}
