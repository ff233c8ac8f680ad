//! Widgets: trees of components that a chat's front end draws.
//!
//! [`table`] is the language as data: which component has which properties. [`language`] holds every widget against it.
//! [`build`] makes those that this program shows itself; [`card`] is the one of a quiz. [`mod@diff`] tells what has changed
//! between two states of a widget.

pub mod build;
pub mod card;
pub mod diff;
pub mod icons;
pub mod language;
pub mod table;

pub use card::quiz_card;
pub use diff::{WidgetUpdate, diff};
pub use icons::IconName;
pub use language::{Widget, WidgetError, validate};
