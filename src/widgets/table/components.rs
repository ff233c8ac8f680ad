//! All components.

use super::Type::{Bool, Child, Date, Icon, Int, Text, Word};
use super::parts::*;
use super::{Children, Component, Position, Property, Type};

const fn root(name: &'static str, properties: &'static [&'static [Property]]) -> Component {
    Component { name, position: Position::Root, properties }
}

const fn common(name: &'static str, properties: &'static [&'static [Property]]) -> Component {
    Component { name, position: Position::Anywhere, properties }
}

const fn inner(name: &'static str, properties: &'static [&'static [Property]]) -> Component {
    Component { name, position: Position::FixedParent, properties }
}

/// All components of the language.
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
