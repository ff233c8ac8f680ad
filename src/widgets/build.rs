//! Typed components for the widgets of this program. Whatever can be built is valid in the language.

use serde::Serialize;

use super::icons::IconName;
use super::language::Widget;

/// A card with components below each other.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(tag = "type")]
pub struct Card {
    /// Components of the card.
    pub children: Vec<Component>,
    /// Width of the card.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<CardSize>,
}

impl Card {
    /// Returns the card as a widget.
    #[must_use]
    pub fn build(&self) -> Widget {
        // These types contain nothing that JSON cannot represent.
        Widget::built(serde_json::to_value(self).unwrap_or_default())
    }
}

/// A component.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type")]
pub enum Component {
    /// Components side by side.
    Row(Layout),
    /// Components below each other.
    Col(Layout),
    /// A frame around components.
    Box(Layout),
    /// Fields that are submitted together.
    Form(Form),
    /// A small text.
    Caption(Caption),
    /// A heading.
    Title(Title),
    /// A text.
    Text(Text),
    /// A short text in a frame.
    Badge(Badge),
    /// An icon.
    Icon(Icon),
    /// Flexible space between components.
    Spacer {},
    /// A divider line.
    Divider {},
    /// Options of which one is chosen.
    RadioGroup(RadioGroup),
    /// A button.
    Button(Button),
}

/// Components in a frame.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Layout {
    /// Components in the frame.
    pub children: Vec<Component>,
    /// Alignment across the direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub align: Option<Align>,
    /// Gap between components.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<u32>,
    /// Padding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub padding: Option<u32>,
    /// Corner radius.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub radius: Option<Radius>,
    /// Background color.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub background: Option<Color>,
    /// Flex factor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flex: Option<u32>,
}

/// Fields that are submitted together.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Form {
    /// Components of the form.
    pub children: Vec<Component>,
    /// Action on submission.
    pub on_submit_action: Action,
}

/// A small text.
#[derive(Debug, Clone, Serialize)]
pub struct Caption {
    /// The text.
    pub value: String,
}

/// A heading.
#[derive(Debug, Clone, Serialize)]
pub struct Title {
    /// Text of the heading.
    pub value: String,
    /// Font size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<TitleSize>,
}

/// A text.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Text {
    /// The text.
    pub value: String,
    /// Font size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<TextSize>,
    /// Text color.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color: Option<Color>,
    /// Most lines shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_lines: Option<u32>,
}

/// A short text in a frame.
#[derive(Debug, Clone, Serialize)]
pub struct Badge {
    /// Text of the badge.
    pub label: String,
    /// Color of the badge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color: Option<BadgeColor>,
}

/// An icon.
#[derive(Debug, Clone, Serialize)]
pub struct Icon {
    /// Name of the icon.
    pub name: IconName,
    /// Color of the icon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color: Option<Color>,
}

/// Options of which one is chosen.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RadioGroup {
    /// Field name of the choice in the submission.
    pub name: String,
    /// The options.
    pub options: Vec<RadioOption>,
    /// Label for screen readers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aria_label: Option<String>,
    /// Action when an option is chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_change_action: Option<Action>,
    /// Preselected value; empty for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_value: Option<String>,
    /// Direction of the options.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// Whether the group is disabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Whether a choice is required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
}

/// One choice.
#[derive(Debug, Clone, Serialize)]
pub struct RadioOption {
    /// Label of the option.
    pub label: String,
    /// Submitted value.
    pub value: String,
}

/// A button.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Button {
    /// Label of the button.
    pub label: String,
    /// Whether it submits the form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub submit: Option<bool>,
    /// Importance of the button.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub style: Option<ButtonStyle>,
    /// Drawing style.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<Variant>,
    /// Icon after the label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icon_end: Option<IconName>,
    /// Action on a click.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_click_action: Option<Action>,
    /// Whether the button is disabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}

/// Action of a click, choice or submission.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Action {
    /// Type of the action.
    #[serde(rename = "type")]
    pub name: String,
    /// Data sent with the action; without null fields.
    pub payload: Payload,
    /// Who handles the action.
    pub handler: Handler,
    /// What shows a loading state meanwhile.
    pub loading_behavior: Loading,
    /// Whether the server responds with a stream.
    pub streaming: bool,
}

impl Action {
    /// Creates an action to which the server responds with a stream.
    pub fn streamed(name: &str, payload: Payload) -> Self {
        Self {
            name: name.to_owned(),
            payload,
            handler: Handler::Server,
            loading_behavior: Loading::Auto,
            streaming: true,
        }
    }

    /// Creates an action with an immediate response and no loading state.
    pub fn quiet(name: &str, payload: Payload) -> Self {
        Self { loading_behavior: Loading::None, streaming: false, ..Self::streamed(name, payload) }
    }
}

/// Data of an action in a quiz card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Payload {
    /// Id of the question.
    pub question_id: String,
    /// Number of the question, from 1.
    pub index: u32,
    /// Number of the try, from 1; detects an action that arrives twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$inner:meta])* $word:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name {
            $($(#[$inner])* $word,)*
        }

        impl $name {
            /// All variants.
            pub const ALL: &[Self] = &[$(Self::$word),*];
        }
    };
}

words! {
    /// Width of a card.
    CardSize {
        /// Narrow.
        Sm,
        /// Medium, the default.
        Md,
        /// Wide.
        Lg,
    }
}
words! {
    /// Alignment of components across their row or column.
    Align {
        /// At the start.
        Start,
        /// Centered.
        Center,
        /// At the end.
        End,
    }
}
words! {
    /// Corner radius.
    Radius {
        /// Slightly rounded.
        Md,
        /// Fully rounded.
        Full,
    }
}
words! {
    /// Size of a heading.
    TitleSize {
        /// Small.
        Sm,
        /// Medium, the default.
        Md,
    }
}
words! {
    /// Size of a text.
    TextSize {
        /// Small.
        Sm,
        /// Medium, the default.
        Md,
    }
}
words! {
    /// Colours of badges.
    BadgeColor {
        /// Informational.
        Info,
        /// Success.
        Success,
    }
}
words! {
    /// Importance of a button.
    ButtonStyle {
        /// Primary.
        Primary,
        /// Secondary.
        Secondary,
    }
}
words! {
    /// Drawing style of a control.
    Variant {
        /// Filled.
        Solid,
        /// Outlined.
        Outline,
    }
}
words! {
    /// Direction of a layout.
    Direction {
        /// Side by side.
        Row,
        /// Below each other.
        Col,
    }
}
words! {
    /// Colors of surfaces and texts, from the front end's palette.
    Color {
        /// Pale yellow.
        #[serde(rename = "yellow-100")]
        PaleYellow,
        /// Pale green.
        #[serde(rename = "green-100")]
        PaleGreen,
        /// Secondary text.
        Secondary,
        /// Success.
        Success,
    }
}
words! {
    /// Handler of an action.
    Handler {
        /// The server.
        Server,
        /// The page.
        Client,
    }
}
words! {
    /// Element that shows a loading state.
    Loading {
        /// The component's default.
        Auto,
        /// No element.
        None,
        /// The component.
        #[serde(rename = "self")]
        Itself,
        /// The whole widget.
        Container,
    }
}

#[cfg(test)]
pub(super) mod tests;
