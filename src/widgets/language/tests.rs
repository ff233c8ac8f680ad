//! Valid and invalid widgets; the table itself is checked too.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::widgets::table::COMPONENTS;

fn card(child: &Value) -> Value {
    json!({"type": "Card", "children": [child]})
}

#[track_caller]
fn refused(widget: &Value, path: &str, message: &str) {
    let errors = validate(widget).expect_err("a refusal");
    let expected = |error: &WidgetError| error.path == path && error.message.contains(message);
    assert!(errors.iter().any(expected), "{widget}: {errors:?}");
}

/// Returns a valid value of a type.
fn example(kind: &Type) -> Value {
    match kind {
        Type::Text => json!("some text"),
        Type::Bool => json!(true),
        Type::Int => json!(3),
        Type::Number => json!(1.5),
        Type::Any => json!({"any": [1, "thing"]}),
        Type::Icon => json!("lucide:anchor"),
        Type::Date => json!("2026-01-02T03:04:05Z"),
        Type::False => json!(false),
        Type::Word(words) => json!(words[words.len() - 1]),
        Type::Object(properties) => all_of(properties.iter()),
        Type::Map(inner) => json!({"key": example(inner)}),
        Type::List(inner) => json!([example(inner)]),
        Type::Either(_, kinds) => example(&kinds[0]),
        Type::Children(Children::Common | Children::WithRoots) => json!([{"type": "Spacer"}]),
        Type::Children(Children::Only(name)) => json!([full(component(name).unwrap())]),
        Type::Child => json!({"type": "Spacer"}),
    }
}

fn all_of<'a>(properties: impl Iterator<Item = &'a Property>) -> Value {
    properties.map(|property| (property.name.to_owned(), example(&property.kind))).collect()
}

/// Returns a component with all its properties.
fn full(component: &Component) -> Value {
    let mut value = all_of(component.all());
    value["type"] = json!(component.name);
    value
}

/// Returns a widget with a component in a valid position.
fn placed(name: &str, node: Value) -> Value {
    match name {
        "Card" | "ListView" | "Basic" => node,
        "ListViewItem" => json!({"type": "ListView", "children": [node]}),
        "Table.Row" => card(&json!({"type": "Table", "children": [node]})),
        "Table.Cell" => {
            card(&json!({"type": "Table", "children": [{"type": "Table.Row", "children": [node]}]}))
        }
        _ => card(&node),
    }
}

#[test]
fn every_component_accepts_exactly_its_properties() {
    assert_eq!(COMPONENTS.len(), 30);
    for component in COMPONENTS {
        let node = full(component);
        let widget = placed(component.name, node.clone());
        assert_eq!(validate(&widget), Ok(Widget(widget.clone())), "{}", component.name);
        let mut more = node.clone();
        more["anything"] = json!(1);
        let errors = validate(&placed(component.name, more)).unwrap_err();
        assert!(errors[0].message.contains("no such property"), "{errors:?}");
        for property in component.all() {
            let mut without = node.clone();
            without.as_object_mut().unwrap().remove(property.name);
            let valid = validate(&placed(component.name, without)).is_ok();
            assert_eq!(valid, !property.required, "{} without {}", component.name, property.name);
            let mut wrong = node.clone();
            wrong[property.name] = json!([[["nothing takes this"]]]);
            assert!(
                validate(&placed(component.name, wrong)).is_err(),
                "{} with a wrong {}",
                component.name,
                property.name
            );
        }
        let names: Vec<&str> = component.all().map(|property| property.name).collect();
        let mut distinct = names.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(names.len(), distinct.len(), "{} names a property twice", component.name);
    }
}

#[test]
fn error_has_its_path() {
    let button = |field: &str, value: Value| card(&json!({"type": "Button", field: value}));
    for (widget, path, message) in [
        (json!(null), ".", "must be a component"),
        (json!([]), ".", "must be a component"),
        (json!({}), ".", "must have a type"),
        (json!({"type": 1}), ".", "must have a type"),
        (json!({"type": "Cart", "children": []}), "type", "is not a component"),
        (json!({"type": "Text", "value": "a"}), ".", "cannot be the root"),
        (json!({"type": "Card"}), ".", "must have `children`"),
        (json!({"type": "Card", "children": null}), ".", "must have `children`"),
        (json!({"type": "Card", "children": {}}), "children", "must be a list"),
        (card(&json!("text")), "children[0]", "must be a component"),
        (card(&json!({"type": "Blink"})), "children[0].type", "is not a component"),
        (card(&json!({"type": "Card", "children": []})), "children[0]", "can only be the root"),
        (card(&json!({"type": "ListViewItem", "children": []})), "children[0]", "another kind of component"),
        (json!({"type": "ListView", "children": [{"type": "Spacer"}]}), "children[0]", "one kind"),
        (json!({"type": "ListView", "children": [], "limit": "all"}), "limit", "a whole number or `auto`"),
        (card(&json!({"type": "Title"})), "children[0]", "must have `value`"),
        (card(&json!({"type": "Title", "value": 1})), "children[0].value", "must be a string"),
        (button("size", json!("huge")), "children[0].size", "must be one of"),
        (button("disabled", json!("no")), "children[0].disabled", "true or false"),
        (button("iconEnd", json!("arrow")), "children[0].iconEnd", "name of an icon"),
        (button("onClickAction", json!({})), "children[0].onClickAction", "must have `type`"),
        (button("onClickAction", json!("go")), "children[0].onClickAction", "must be an object"),
        (
            button("onClickAction", json!({"type": "a", "handler": "me"})),
            "children[0].onClickAction.handler",
            "server, client",
        ),
        (button("on_click", json!({})), "children[0].on_click", "no such property"),
        (card(&json!({"type": "Box", "padding": {"top": true}})), "children[0].padding.top", "CSS string"),
        (card(&json!({"type": "Box", "padding": true})), "children[0].padding", "one of them for sides"),
        (
            card(&json!({"type": "Box", "background": {"light": "red"}})),
            "children[0].background",
            "must have `dark`",
        ),
        (card(&json!({"type": "Box", "border": {"size": 1.5}})), "children[0].border", "a width, a border"),
        (
            card(&json!({"type": "Text", "value": "", "editable": true})),
            "children[0].editable",
            "`false`, or",
        ),
        (
            card(&json!({"type": "Text", "value": "", "editable": {}})),
            "children[0].editable",
            "must have `name`",
        ),
        (
            card(&json!({"type": "Text", "value": "", "maxLines": 1.5})),
            "children[0].maxLines",
            "whole number",
        ),
        (
            card(&json!({"type": "RadioGroup", "name": "a", "options": [{"label": "b"}]})),
            "children[0].options[0]",
            "must have `value`",
        ),
        (card(&json!({"type": "DatePicker", "name": "a", "min": "today"})), "children[0].min", "ISO 8601"),
        (
            card(&json!({"type": "Transition", "children": [{"type": "Spacer"}]})),
            "children[0].children",
            "must be a component",
        ),
        (json!({"type": "Card", "children": [], "status": {"icon": "check"}}), "status", "string with"),
    ] {
        refused(&widget, path, message);
    }
    let many = json!({"type": "Card", "children": vec![json!(1); 100]});
    assert_eq!(validate(&many).unwrap_err().len(), MAX_ERRORS);
}

#[test]
fn nulls_are_removed_at_every_depth() {
    let widget = json!({
        "type": "Card", "id": null, "size": null,
        "children": [null, {
            "type": "RadioGroup", "name": "a", "options": [{"label": "b", "value": "c", "disabled": null}, null],
            "onChangeAction": {"type": "d", "payload": {"e": null, "f": [1, null, {"g": null}]}},
        }],
    });
    let clean = json!({
        "type": "Card",
        "children": [{
            "type": "RadioGroup", "name": "a", "options": [{"label": "b", "value": "c"}],
            "onChangeAction": {"type": "d", "payload": {"f": [1, {}]}},
        }],
    });
    assert_eq!(validate(&widget).unwrap().into_value(), clean);
}

/// Returns nested components, the last one inside `depth` others.
fn nested(depth: usize) -> Value {
    let inner =
        (1..depth).fold(json!({"type": "Spacer"}), |inner, _| json!({"type": "Box", "children": [inner]}));
    card(&inner)
}

#[test]
fn depth_count_and_size_are_limited() {
    assert!(validate(&nested(MAX_DEPTH - 1)).is_ok());
    assert!(validate(&nested(MAX_DEPTH)).unwrap_err()[0].message.contains("is nested in more than"));
    let deep = (0..500).fold(json!({"type": "Spacer"}), |inner, _| json!([inner]));
    refused(&card(&deep), ".", "nested deeper");

    let spacers = |count: usize| json!({"type": "Card", "children": vec![json!({"type": "Spacer"}); count]});
    assert!(validate(&spacers(MAX_NODES - 1)).is_ok());
    refused(&spacers(MAX_NODES), ".", "components");

    let text = |bytes: usize| card(&json!({"type": "Text", "value": "x".repeat(bytes)}));
    let frame = serde_json::to_vec(&text(0)).unwrap().len();
    assert!(validate(&text(MAX_BYTES - frame)).is_ok());
    refused(&text(MAX_BYTES - frame + 1), ".", "bytes");
}

fn any_json() -> impl Strategy<Value = Value> {
    let names: Vec<&str> = COMPONENTS.iter().map(|component| component.name).collect();
    let fields =
        ["type", "children", "value", "name", "options", "size", "padding", "onClickAction", "label"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        ".{0,4}".prop_map(Value::from),
        proptest::sample::select(names).prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec((proptest::sample::select(fields.to_vec()), inner), 0..5).prop_map(
                |fields| fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
            ),
        ]
    })
}

proptest! {
    #[test]
    fn validation_never_panics_and_is_idempotent(value in any_json()) {
        if let Ok(widget) = validate(&card(&value)) {
            prop_assert_eq!(validate(widget.as_value()), Ok(widget.clone()));
        }
        let _ = validate(&value);
    }
}
