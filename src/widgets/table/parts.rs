//! Types and property groups that several components share.

use super::Type::{Any, Bool, False, Icon, Int, List, Map, Number, Object, Text, Word};
use super::{Children, Property, Type};

pub(super) const fn may(name: &'static str, kind: Type) -> Property {
    Property { name, kind, required: false }
}

pub(super) const fn must(name: &'static str, kind: Type) -> Property {
    Property { name, kind, required: true }
}

/// Properties of every component.
pub(super) const COMMON_PROPERTIES: &[Property] = &[may("id", Text), may("key", Text)];

pub(super) const ALIGN: Type = Word(&["start", "center", "end", "baseline", "stretch"]);
pub(super) const JUSTIFY: Type = Word(&["start", "center", "end", "between", "around", "evenly", "stretch"]);
pub(super) const VARIANT: Type = Word(&["solid", "soft", "outline", "ghost"]);
pub(super) const CONTROL_SIZE: Type = Word(&["3xs", "2xs", "xs", "sm", "md", "lg", "xl", "2xl", "3xl"]);
pub(super) const WEIGHT: Type = Word(&["normal", "medium", "semibold", "bold"]);
pub(super) const EDGES: Type = Word(&["start", "center", "end"]);
pub(super) const TEXT_SIZE: Type = Word(&["xs", "sm", "md", "lg", "xl"]);
pub(super) const SMALL: Type = Word(&["sm", "md", "lg"]);
pub(super) const DIRECTION: Type = Word(&["row", "col"]);
pub(super) const THEME: Type = Word(&["light", "dark"]);
pub(super) const RADIUS: Type =
    Word(&["2xs", "xs", "sm", "md", "lg", "xl", "2xl", "3xl", "4xl", "full", "100%", "none"]);
pub(super) const COLOR: Type =
    Type::Either("a colour, or one for each of `light` and `dark`", &[Text, Object(THEMED)]);
pub(super) const THEMED: &[Property] = &[must("light", Text), must("dark", Text)];
pub(super) const LENGTH: Type = Type::Either("a number or a CSS string", &[Number, Text]);
pub(super) const SPACE: Type =
    Type::Either("a number, a CSS string, or one of them for sides", &[Number, Text, Object(SPACES)]);
pub(super) const SPACES: &[Property] = &[
    may("top", LENGTH),
    may("right", LENGTH),
    may("bottom", LENGTH),
    may("left", LENGTH),
    may("x", LENGTH),
    may("y", LENGTH),
];
pub(super) const LINE: &[Property] = &[
    must("size", Int),
    may("color", COLOR),
    may("style", Word(&["solid", "dashed", "dotted", "double", "groove", "ridge", "inset", "outset"])),
];
pub(super) const EDGE: Type = Type::Either("a width or a border", &[Int, Object(LINE)]);
pub(super) const BORDERS: Type =
    Type::Either("a width, a border, or one of them for sides", &[Int, Object(LINE), Object(SIDES)]);
pub(super) const SIDES: &[Property] = &[
    may("top", EDGE),
    may("right", EDGE),
    may("bottom", EDGE),
    may("left", EDGE),
    may("x", EDGE),
    may("y", EDGE),
];
pub(super) const ACTION: Type = Object(ACTION_FIELDS);
pub(super) const ACTION_FIELDS: &[Property] = &[
    must("type", Text),
    may("payload", Any),
    may("handler", Word(&["server", "client"])),
    may("loadingBehavior", Word(&["auto", "none", "self", "container"])),
    may("streaming", Bool),
];
pub(super) const BUTTON_BELOW: Type = Object(&[must("label", Text), must("action", ACTION)]);
pub(super) const STATUS: Type = Type::Either(
    "a string with an icon or a favicon",
    &[
        Object(&[must("text", Text), may("icon", Icon)]),
        Object(&[must("text", Text), may("favicon", Text), may("frame", Bool)]),
    ],
);
pub(super) const RADIO_OPTIONS: Type =
    List(&Object(&[must("label", Text), must("value", Text), may("disabled", Bool)]));
pub(super) const SELECT_OPTIONS: Type = List(&Object(&[
    must("value", Text),
    must("label", Text),
    may("disabled", Bool),
    may("description", Text),
]));
pub(super) const EDITABLE: Type = Type::Either(
    "`false`, or how it can be edited",
    &[
        False,
        Object(&[
            must("name", Text),
            may("autoFocus", Bool),
            may("autoSelect", Bool),
            may("autoComplete", Text),
            may("allowAutofillExtensions", Bool),
            may("pattern", Text),
            may("placeholder", Text),
            may("required", Bool),
        ]),
    ],
);
pub(super) const CURVE: Type = Word(&[
    "basis",
    "basisClosed",
    "basisOpen",
    "bumpX",
    "bumpY",
    "bump",
    "linear",
    "linearClosed",
    "natural",
    "monotoneX",
    "monotoneY",
    "monotone",
    "step",
    "stepBefore",
    "stepAfter",
]);
pub(super) const SERIES: Type = List(&Type::Either(
    "bars, an area or a line",
    &[
        Object(&[
            must("type", Word(&["bar"])),
            must("label", Text),
            must("dataKey", Text),
            may("stack", Text),
            may("color", COLOR),
        ]),
        Object(&[
            must("type", Word(&["area"])),
            must("label", Text),
            must("dataKey", Text),
            may("stack", Text),
            may("color", COLOR),
            may("curveType", CURVE),
        ]),
        Object(&[
            must("type", Word(&["line"])),
            must("label", Text),
            must("dataKey", Text),
            may("color", COLOR),
            may("curveType", CURVE),
        ]),
    ],
));
pub(super) const ROWS: Type = List(&Map(&Type::Either("a string or a number", &[Text, Number])));
pub(super) const AXIS: Type = Type::Either(
    "a key, or how the axis is drawn",
    &[Text, Object(&[must("dataKey", Text), may("hide", Bool), may("labels", Map(&Text))])],
);

pub(super) const SIZES: &[Property] = &[
    may("height", LENGTH),
    may("width", LENGTH),
    may("size", LENGTH),
    may("minHeight", LENGTH),
    may("minWidth", LENGTH),
    may("minSize", LENGTH),
    may("maxHeight", LENGTH),
    may("maxWidth", LENGTH),
    may("maxSize", LENGTH),
    may("aspectRatio", LENGTH),
];
pub(super) const CHILDREN: Type = Type::Children(Children::Common);
pub(super) const BOX: &[Property] = &[
    may("children", CHILDREN),
    may("align", ALIGN),
    may("justify", JUSTIFY),
    may("wrap", Word(&["nowrap", "wrap", "wrap-reverse"])),
    may("flex", LENGTH),
    may("gap", LENGTH),
    may("padding", SPACE),
    may("margin", SPACE),
    may("border", BORDERS),
    may("radius", RADIUS),
    may("background", COLOR),
];
pub(super) const FIELD: &[Property] = &[
    must("name", Text),
    may("defaultValue", Text),
    may("required", Bool),
    may("pattern", Text),
    may("placeholder", Text),
    may("allowAutofillExtensions", Bool),
    may("autoSelect", Bool),
    may("autoFocus", Bool),
    may("disabled", Bool),
    may("variant", Word(&["soft", "outline"])),
    may("size", CONTROL_SIZE),
    may("gutterSize", Word(&["2xs", "xs", "sm", "md", "lg", "xl"])),
];
/// Properties of headings, except the size.
pub(super) const HEADING: &[Property] = &[
    must("value", Text),
    may("color", COLOR),
    may("weight", WEIGHT),
    may("textAlign", EDGES),
    may("truncate", Bool),
    may("maxLines", Int),
];
/// Properties of controls with a popup of options.
pub(super) const PICKER: &[Property] = &[
    must("name", Text),
    may("onChangeAction", ACTION),
    may("placeholder", Text),
    may("variant", VARIANT),
    may("size", CONTROL_SIZE),
    may("pill", Bool),
    may("block", Bool),
    may("clearable", Bool),
    may("disabled", Bool),
];
