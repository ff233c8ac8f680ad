//! Widgets: trees of components that a chat's front end draws.
//!
//! [`table`] defines the language as data: the properties of each component. [`language`] validates widgets against it.
//! [`build`] has typed builders for the widgets of this program. [`mod@diff`] computes the changes between two states of a
//! widget.

pub mod build;
pub mod diff;
pub mod icons;
pub mod language;
pub mod table;

pub use diff::{WidgetUpdate, diff};
pub use icons::IconName;
pub use language::{Widget, WidgetError, validate};
