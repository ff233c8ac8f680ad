//! The language as data: components, their properties, and what those may hold.

/// What a value may be.
#[derive(Debug)]
pub enum Type {
    /// Text.
    Text,
    /// True or false.
    Bool,
    /// A whole number.
    Int,
    /// Any number.
    Number,
    /// Any JSON.
    Any,
    /// Name of an icon.
    Icon,
    /// A date with a time, as ISO 8601 writes it.
    Date,
    /// Exactly `false`.
    False,
    /// One of these words.
    Word(&'static [&'static str]),
    /// An object with these properties and no other.
    Object(&'static [Property]),
    /// An object with any names and such values.
    Map(&'static Type),
    /// A list of such values.
    List(&'static Type),
    /// One of these, the first that fits; and what they are together, in words.
    Either(&'static str, &'static [Type]),
    /// A list of components.
    Children(Children),
    /// One component.
    Child,
}

/// Which components may stand in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Children {
    /// All but roots and those that stand in one kind of parent only.
    Common,
    /// Those, and roots.
    WithRoots,
    /// This one only.
    Only(&'static str),
}

/// A property.
#[derive(Debug)]
pub struct Property {
    /// Its name.
    pub name: &'static str,
    /// What it may hold.
    pub kind: Type,
    /// Whether it has to be there.
    pub required: bool,
}

/// A component.
#[derive(Debug)]
pub struct Component {
    /// Its `type`.
    pub name: &'static str,
    /// Where it may stand.
    pub place: Place,
    /// Its properties, besides `type`, `id` and `key`; groups that several components share.
    pub properties: &'static [&'static [Property]],
}

/// Where a component may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// At the top.
    Root,
    /// In any component that takes children.
    Anywhere,
    /// In the one component that asks for it.
    InItsParent,
}

const fn may(name: &'static str, kind: Type) -> Property {
    Property { name, kind, required: false }
}

const fn must(name: &'static str, kind: Type) -> Property {
    Property { name, kind, required: true }
}

use Type::{Any, Bool, Child, Date, False, Icon, Int, List, Map, Number, Object, Text, Word};

/// The component of this name.
#[must_use]
pub fn component(name: &str) -> Option<&'static Component> {
    COMPONENTS.iter().find(|component| component.name == name)
}

impl Component {
    /// Its property of this name.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&'static Property> {
        self.all().find(|property| property.name == name)
    }

    /// All its properties but `type`.
    pub fn all(&self) -> impl Iterator<Item = &'static Property> + Clone {
        EVERY.iter().chain(self.properties.iter().copied().flatten())
    }
}

const EVERY: &[Property] = &[may("id", Text), may("key", Text)];

const ALIGN: Type = Word(&["start", "center", "end", "baseline", "stretch"]);
const JUSTIFY: Type = Word(&["start", "center", "end", "between", "around", "evenly", "stretch"]);
const VARIANT: Type = Word(&["solid", "soft", "outline", "ghost"]);
const CONTROL_SIZE: Type = Word(&["3xs", "2xs", "xs", "sm", "md", "lg", "xl", "2xl", "3xl"]);
const WEIGHT: Type = Word(&["normal", "medium", "semibold", "bold"]);
const EDGES: Type = Word(&["start", "center", "end"]);
const TEXT_SIZE: Type = Word(&["xs", "sm", "md", "lg", "xl"]);
const SMALL: Type = Word(&["sm", "md", "lg"]);
const DIRECTION: Type = Word(&["row", "col"]);
const THEME: Type = Word(&["light", "dark"]);
const RADIUS: Type =
    Word(&["2xs", "xs", "sm", "md", "lg", "xl", "2xl", "3xl", "4xl", "full", "100%", "none"]);
const COLOR: Type = Type::Either("a colour, or one for each of `light` and `dark`", &[Text, Object(THEMED)]);
const THEMED: &[Property] = &[must("light", Text), must("dark", Text)];
const LENGTH: Type = Type::Either("a number or a CSS string", &[Number, Text]);
const SPACE: Type =
    Type::Either("a number, a CSS string, or one of them for sides", &[Number, Text, Object(SPACES)]);
const SPACES: &[Property] = &[
    may("top", LENGTH),
    may("right", LENGTH),
    may("bottom", LENGTH),
    may("left", LENGTH),
    may("x", LENGTH),
    may("y", LENGTH),
];
const LINE: &[Property] = &[
    must("size", Int),
    may("color", COLOR),
    may("style", Word(&["solid", "dashed", "dotted", "double", "groove", "ridge", "inset", "outset"])),
];
const EDGE: Type = Type::Either("a width or a border", &[Int, Object(LINE)]);
const BORDERS: Type =
    Type::Either("a width, a border, or one of them for sides", &[Int, Object(LINE), Object(SIDES)]);
const SIDES: &[Property] = &[
    may("top", EDGE),
    may("right", EDGE),
    may("bottom", EDGE),
    may("left", EDGE),
    may("x", EDGE),
    may("y", EDGE),
];
const ACTION: Type = Object(ACTION_FIELDS);
const ACTION_FIELDS: &[Property] = &[
    must("type", Text),
    may("payload", Any),
    may("handler", Word(&["server", "client"])),
    may("loadingBehavior", Word(&["auto", "none", "self", "container"])),
    may("streaming", Bool),
];
const BUTTON_BELOW: Type = Object(&[must("label", Text), must("action", ACTION)]);
const STATUS: Type = Type::Either(
    "a text with an icon or a favicon",
    &[
        Object(&[must("text", Text), may("icon", Icon)]),
        Object(&[must("text", Text), may("favicon", Text), may("frame", Bool)]),
    ],
);
const RADIO_OPTIONS: Type = List(&Object(&[must("label", Text), must("value", Text), may("disabled", Bool)]));
const SELECT_OPTIONS: Type = List(&Object(&[
    must("value", Text),
    must("label", Text),
    may("disabled", Bool),
    may("description", Text),
]));
const EDITABLE: Type = Type::Either(
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
const CURVE: Type = Word(&[
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
const SERIES: Type = List(&Type::Either(
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
const ROWS: Type = List(&Map(&Type::Either("a text or a number", &[Text, Number])));
const AXIS: Type = Type::Either(
    "a key, or how the axis is drawn",
    &[Text, Object(&[must("dataKey", Text), may("hide", Bool), may("labels", Map(&Text))])],
);

const SIZES: &[Property] = &[
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
const CHILDREN: Type = Type::Children(Children::Common);
const BOX: &[Property] = &[
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
const FIELD: &[Property] = &[
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
/// What a heading has, but for its size.
const HEADING: &[Property] = &[
    must("value", Text),
    may("color", COLOR),
    may("weight", WEIGHT),
    may("textAlign", EDGES),
    may("truncate", Bool),
    may("maxLines", Int),
];
/// What a control has that opens something to choose from.
const PICKER: &[Property] = &[
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

const fn root(name: &'static str, properties: &'static [&'static [Property]]) -> Component {
    Component { name, place: Place::Root, properties }
}

const fn common(name: &'static str, properties: &'static [&'static [Property]]) -> Component {
    Component { name, place: Place::Anywhere, properties }
}

const fn inner(name: &'static str, properties: &'static [&'static [Property]]) -> Component {
    Component { name, place: Place::InItsParent, properties }
}

/// Every component.
pub static COMPONENTS: &[Component] = &[
    root(
        "Card",
        &[&[
            must("children", CHILDREN),
            may("asForm", Bool),
            may("background", COLOR),
            may("size", Word(&["sm", "md", "lg", "full"])),
            may("padding", SPACE),
            may("status", STATUS),
            may("collapsed", Bool),
            may("confirm", BUTTON_BELOW),
            may("cancel", BUTTON_BELOW),
            may("theme", THEME),
            may("border", BORDERS),
        ]],
    ),
    root(
        "ListView",
        &[&[
            must("children", Type::Children(Children::Only("ListViewItem"))),
            may("limit", Type::Either("a whole number or `auto`", &[Int, Word(&["auto"])])),
            may("status", STATUS),
            may("theme", THEME),
        ]],
    ),
    root(
        "Basic",
        &[&[
            may("children", Type::Children(Children::WithRoots)),
            may("theme", THEME),
            may("direction", DIRECTION),
            may("gap", LENGTH),
            may("padding", SPACE),
            may("align", ALIGN),
            may("justify", JUSTIFY),
        ]],
    ),
    inner(
        "ListViewItem",
        &[&[
            must("children", CHILDREN),
            may("onClickAction", ACTION),
            may("gap", LENGTH),
            may("align", ALIGN),
        ]],
    ),
    common("Box", &[BOX, SIZES, &[may("direction", DIRECTION)]]),
    common("Row", &[BOX, SIZES]),
    common("Col", &[BOX, SIZES]),
    common("Form", &[BOX, SIZES, &[may("onSubmitAction", ACTION), may("direction", DIRECTION)]]),
    common("Spacer", &[&[may("minSize", LENGTH)]]),
    common(
        "Divider",
        &[&[may("color", COLOR), may("size", LENGTH), may("spacing", LENGTH), may("flush", Bool)]],
    ),
    common("Transition", &[&[may("children", Child)]]),
    common(
        "Text",
        &[
            HEADING,
            &[
                may("size", TEXT_SIZE),
                may("streaming", Bool),
                may("italic", Bool),
                may("lineThrough", Bool),
                may("width", LENGTH),
                may("minLines", Int),
                may("editable", EDITABLE),
            ],
        ],
    ),
    common("Title", &[HEADING, &[may("size", Word(&["sm", "md", "lg", "xl", "2xl", "3xl", "4xl", "5xl"]))]]),
    common("Caption", &[HEADING, &[may("size", SMALL)]]),
    common("Markdown", &[&[must("value", Text), may("streaming", Bool)]]),
    common(
        "Badge",
        &[&[
            must("label", Text),
            may("size", SMALL),
            may("pill", Bool),
            may("variant", Word(&["solid", "soft", "outline"])),
            may("color", Word(&["secondary", "success", "danger", "warning", "info", "discovery"])),
        ]],
    ),
    common(
        "Icon",
        &[&[
            must("name", Icon),
            may("color", COLOR),
            may("size", Word(&["xs", "sm", "md", "lg", "xl", "2xl", "3xl"])),
        ]],
    ),
    common(
        "Image",
        &[
            SIZES,
            &[
                must("src", Text),
                may("alt", Text),
                may("fit", Word(&["cover", "contain", "fill", "scale-down", "none"])),
                may(
                    "position",
                    Word(&[
                        "top left",
                        "top",
                        "top right",
                        "left",
                        "center",
                        "right",
                        "bottom left",
                        "bottom",
                        "bottom right",
                    ]),
                ),
                may("radius", RADIUS),
                may("frame", Bool),
                may("flush", Bool),
                may("margin", SPACE),
                may("background", COLOR),
                may("flex", LENGTH),
            ],
        ],
    ),
    common(
        "Button",
        &[&[
            may("submit", Bool),
            may("label", Text),
            may("onClickAction", ACTION),
            may("iconStart", Icon),
            may("iconEnd", Icon),
            may("style", Word(&["primary", "secondary"])),
            may("iconSize", Word(&["sm", "md", "lg", "xl", "2xl"])),
            may(
                "color",
                Word(&[
                    "primary",
                    "secondary",
                    "info",
                    "discovery",
                    "success",
                    "caution",
                    "warning",
                    "danger",
                ]),
            ),
            may("variant", VARIANT),
            may("size", CONTROL_SIZE),
            may("pill", Bool),
            may("uniform", Bool),
            may("block", Bool),
            may("disabled", Bool),
        ]],
    ),
    common(
        "RadioGroup",
        &[&[
            must("name", Text),
            may("options", RADIO_OPTIONS),
            may("ariaLabel", Text),
            may("onChangeAction", ACTION),
            may("defaultValue", Text),
            may("direction", DIRECTION),
            may("disabled", Bool),
            may("required", Bool),
        ]],
    ),
    common(
        "Select",
        &[PICKER, &[must("options", SELECT_OPTIONS), may("defaultValue", Text), may("searchable", Bool)]],
    ),
    common(
        "Checkbox",
        &[&[
            must("name", Text),
            may("label", Text),
            may("defaultChecked", Bool),
            may("onChangeAction", ACTION),
            may("disabled", Bool),
            may("required", Bool),
        ]],
    ),
    common(
        "Input",
        &[
            FIELD,
            &[
                may("inputType", Word(&["number", "email", "text", "password", "tel", "url"])),
                may("pill", Bool),
            ],
        ],
    ),
    common("Textarea", &[FIELD, &[may("rows", Int), may("autoResize", Bool), may("maxRows", Int)]]),
    common(
        "DatePicker",
        &[
            PICKER,
            &[
                may("defaultValue", Date),
                may("min", Date),
                may("max", Date),
                may("side", Word(&["top", "bottom", "left", "right"])),
                may("align", EDGES),
            ],
        ],
    ),
    common(
        "Label",
        &[&[
            must("value", Text),
            must("fieldName", Text),
            may("size", TEXT_SIZE),
            may("weight", WEIGHT),
            may("textAlign", EDGES),
            may("color", COLOR),
        ]],
    ),
    common(
        "Chart",
        &[
            SIZES,
            &[
                must("data", ROWS),
                must("series", SERIES),
                must("xAxis", AXIS),
                may("showYAxis", Bool),
                may("showLegend", Bool),
                may("showTooltip", Bool),
                may("barGap", Int),
                may("barCategoryGap", Int),
                may("flex", LENGTH),
            ],
        ],
    ),
    common("Table", &[&[may("children", Type::Children(Children::Only("Table.Row")))]]),
    inner(
        "Table.Row",
        &[&[may("children", Type::Children(Children::Only("Table.Cell"))), may("header", Bool)]],
    ),
    inner(
        "Table.Cell",
        &[&[
            may("children", CHILDREN),
            may("width", LENGTH),
            may("padding", SPACE),
            may("colSpan", Int),
            may("rowSpan", Int),
            may("align", EDGES),
            may("vAlign", EDGES),
            may("colSize", TEXT_SIZE),
        ]],
    ),
];
