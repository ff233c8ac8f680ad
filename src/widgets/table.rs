//! The widget language as data: components, their properties and types.

mod components;
mod parts;

pub use components::COMPONENTS;
use parts::COMMON_PROPERTIES;

/// Type of a value.
#[derive(Debug)]
pub enum Type {
    /// Text.
    Text,
    /// Boolean.
    Bool,
    /// Integer.
    Int,
    /// Number.
    Number,
    /// Any JSON value.
    Any,
    /// Icon name.
    Icon,
    /// ISO 8601 date with time.
    Date,
    /// The literal `false`.
    False,
    /// One of these strings.
    Word(&'static [&'static str]),
    /// An object with exactly these properties.
    Object(&'static [Property]),
    /// An object with any keys and values of this type.
    Map(&'static Type),
    /// A list of values of this type.
    List(&'static Type),
    /// The first of these types that fits; with a description of all of them.
    Either(&'static str, &'static [Type]),
    /// A list of components.
    Children(Children),
    /// One component.
    Child,
}

/// Components allowed in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Children {
    /// All but roots and those with a fixed parent.
    Common,
    /// Those, and roots.
    WithRoots,
    /// Only this component.
    Only(&'static str),
}

/// A property.
#[derive(Debug)]
pub struct Property {
    /// Name of the property.
    pub name: &'static str,
    /// Type of the value.
    pub kind: Type,
    /// Whether the property is required.
    pub required: bool,
}

/// A component.
#[derive(Debug)]
pub struct Component {
    /// Value of `type`.
    pub name: &'static str,
    /// Where the component may be.
    pub position: Position,
    /// Properties besides `type`, `id` and `key`, as groups that components share.
    pub properties: &'static [&'static [Property]],
}

/// Allowed position of a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// At the root.
    Root,
    /// In any component with children.
    Anywhere,
    /// In one kind of parent only.
    FixedParent,
}

/// Returns the component of this name.
#[must_use]
pub fn component(name: &str) -> Option<&'static Component> {
    COMPONENTS.iter().find(|component| component.name == name)
}

impl Component {
    /// Returns the property of this name.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&'static Property> {
        self.all().find(|property| property.name == name)
    }

    /// Returns all properties but `type`.
    pub fn all(&self) -> impl Iterator<Item = &'static Property> + Clone {
        COMMON_PROPERTIES.iter().chain(self.properties.iter().copied().flatten())
    }
}
