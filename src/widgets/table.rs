//! The language as data: components, their properties, and what those may hold.

mod components;
mod parts;

pub use components::COMPONENTS;
use parts::EVERY;

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
