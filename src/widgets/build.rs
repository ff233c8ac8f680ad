//! Components as types, for the widgets that this program shows itself. What can be built keeps to the language.

use serde::Serialize;

use super::icons::IconName;
use super::language::Widget;

/// A card, with components one below the other.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(tag = "type")]
pub struct Card {
    /// What it shows.
    pub children: Vec<Component>,
    /// How wide it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<CardSize>,
}

impl Card {
    /// The card as a widget.
    #[must_use]
    pub fn build(&self) -> Widget {
        // These types hold nothing that JSON cannot say.
        Widget::built(serde_json::to_value(self).unwrap_or_default())
    }
}

/// A component.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type")]
pub enum Component {
    /// Components side by side.
    Row(Layout),
    /// Components one below the other.
    Col(Layout),
    /// A frame around components.
    Box(Layout),
    /// Fields that are submitted together.
    Form(Form),
    /// A small text.
    Caption(Caption),
    /// A head.
    Title(Title),
    /// A text.
    Text(Text),
    /// A word in a frame.
    Badge(Badge),
    /// A picture.
    Icon(Icon),
    /// Room that pushes the others apart.
    Spacer {},
    /// A line between others.
    Divider {},
    /// Choices of which one is taken.
    RadioGroup(RadioGroup),
    /// Something to press.
    Button(Button),
}

/// Components in a frame.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Layout {
    /// What is in it.
    pub children: Vec<Component>,
    /// Where they stand across.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub align: Option<Align>,
    /// Room between them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<u32>,
    /// Room around them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub padding: Option<u32>,
    /// Its corners.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub radius: Option<Radius>,
    /// Its colour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub background: Option<Color>,
    /// How it shares the room with its neighbours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flex: Option<u32>,
}

/// Fields that are submitted together.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Form {
    /// What is in it.
    pub children: Vec<Component>,
    /// What its submission does.
    pub on_submit_action: Action,
}

/// A small text.
#[derive(Debug, Clone, Serialize)]
pub struct Caption {
    /// The text.
    pub value: String,
}

/// A head.
#[derive(Debug, Clone, Serialize)]
pub struct Title {
    /// Its text.
    pub value: String,
    /// How large it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<TitleSize>,
}

/// A text.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Text {
    /// The text.
    pub value: String,
    /// How large it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<TextSize>,
    /// Its colour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color: Option<Color>,
    /// How many lines of it are shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_lines: Option<u32>,
}

/// A word in a frame.
#[derive(Debug, Clone, Serialize)]
pub struct Badge {
    /// The word.
    pub label: String,
    /// Its colour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color: Option<BadgeColor>,
}

/// A picture.
#[derive(Debug, Clone, Serialize)]
pub struct Icon {
    /// Which.
    pub name: IconName,
    /// Its colour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color: Option<Color>,
}

/// Choices of which one is taken.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RadioGroup {
    /// Under which name the choice is submitted.
    pub name: String,
    /// The choices.
    pub options: Vec<RadioOption>,
    /// What it is called for those who do not see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aria_label: Option<String>,
    /// What a choice does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_change_action: Option<Action>,
    /// What is marked at first; empty for nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_value: Option<String>,
    /// How the choices stand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// Whether nothing can be chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Whether something has to be chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
}

/// One choice.
#[derive(Debug, Clone, Serialize)]
pub struct RadioOption {
    /// What is shown.
    pub label: String,
    /// What is submitted.
    pub value: String,
}

/// Something to press.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Button {
    /// What stands on it.
    pub label: String,
    /// Whether it submits the form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub submit: Option<bool>,
    /// How important it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub style: Option<ButtonStyle>,
    /// How it is drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<Variant>,
    /// A picture behind the label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icon_end: Option<IconName>,
    /// What it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_click_action: Option<Action>,
    /// Whether it cannot be pressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}

/// What happens when something is pressed, chosen or submitted.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Action {
    /// Its name.
    #[serde(rename = "type")]
    pub name: String,
    /// What comes with it; no field may be null.
    pub payload: Payload,
    /// Who deals with it.
    pub handler: Handler,
    /// What looks busy meanwhile.
    pub loading_behavior: Loading,
    /// Whether it is answered by a stream.
    pub streaming: bool,
}

impl Action {
    /// An action that the server answers by a stream.
    pub fn streamed(name: &str, payload: Payload) -> Self {
        Self {
            name: name.to_owned(),
            payload,
            handler: Handler::Server,
            loading_behavior: Loading::Auto,
            streaming: true,
        }
    }

    /// An action that the server answers at once, and that makes nothing look busy.
    pub fn quiet(name: &str, payload: Payload) -> Self {
        Self { loading_behavior: Loading::None, streaming: false, ..Self::streamed(name, payload) }
    }
}

/// What comes with an action of a quiz's card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Payload {
    /// Of which question.
    pub question_id: String,
    /// The question's number, from 1.
    pub index: u32,
    /// Which try it would be, from 1; so that an action that comes twice is noticed.
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
            /// Every one of them.
            pub const ALL: &[Self] = &[$(Self::$word),*];
        }
    };
}

words! {
    /// How wide a card is.
    CardSize {
        /// Narrow.
        Sm,
        /// As most are.
        Md,
        /// Wide.
        Lg,
    }
}
words! {
    /// Where components stand across their row or column.
    Align {
        /// At the beginning.
        Start,
        /// In the middle.
        Center,
        /// At the end.
        End,
    }
}
words! {
    /// Corners.
    Radius {
        /// Round a little.
        Md,
        /// As round as can be.
        Full,
    }
}
words! {
    /// How large a head is.
    TitleSize {
        /// Small.
        Sm,
        /// As most are.
        Md,
    }
}
words! {
    /// How large a text is.
    TextSize {
        /// Small.
        Sm,
        /// As most are.
        Md,
    }
}
words! {
    /// Colours of badges.
    BadgeColor {
        /// Of what can be known.
        Info,
        /// Of what went well.
        Success,
    }
}
words! {
    /// How important a button is.
    ButtonStyle {
        /// The one to press.
        Primary,
        /// Another one.
        Secondary,
    }
}
words! {
    /// How a control is drawn.
    Variant {
        /// Filled.
        Solid,
        /// As a frame.
        Outline,
    }
}
words! {
    /// Which way things stand.
    Direction {
        /// Side by side.
        Row,
        /// One below the other.
        Col,
    }
}
words! {
    /// Colours of surfaces and texts, from the front end's palette.
    Color {
        /// A faint yellow.
        #[serde(rename = "yellow-100")]
        PaleYellow,
        /// A faint green.
        #[serde(rename = "green-100")]
        PaleGreen,
        /// Of texts that matter less.
        Secondary,
        /// Of what went well.
        Success,
    }
}
words! {
    /// Who deals with an action.
    Handler {
        /// The server.
        Server,
        /// The page.
        Client,
    }
}
words! {
    /// What looks busy while an action is dealt with.
    Loading {
        /// What is usual for the component.
        Auto,
        /// Nothing.
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
