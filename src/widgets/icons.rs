//! Icon names: a closed list, and two prefixes for custom names.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::Serialize;

/// Icons of every front end, sorted.
const NAMES: [&str; 64] = [
    "agent",
    "analytics",
    "atom",
    "batch",
    "bolt",
    "book-clock",
    "book-closed",
    "book-open",
    "bug",
    "calendar",
    "chart",
    "check",
    "check-circle",
    "check-circle-filled",
    "chevron-left",
    "chevron-right",
    "circle-question",
    "clock",
    "compass",
    "confetti",
    "cube",
    "desktop",
    "document",
    "dot",
    "dots-horizontal",
    "dots-vertical",
    "empty-circle",
    "external-link",
    "globe",
    "images",
    "info",
    "keys",
    "lab",
    "lifesaver",
    "lightbulb",
    "mail",
    "map-pin",
    "maps",
    "mobile",
    "name",
    "notebook",
    "notebook-pencil",
    "page-blank",
    "phone",
    "play",
    "plus",
    "profile",
    "profile-card",
    "reload",
    "search",
    "settings-slider",
    "sparkle",
    "sparkle-double",
    "square-code",
    "square-image",
    "square-text",
    "star",
    "star-filled",
    "suitcase",
    "user",
    "wreath",
    "write",
    "write-alt",
    "write-alt2",
];

/// Name of an icon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct IconName(Cow<'static, str>);

impl IconName {
    /// Marks a right answer.
    pub const CHECK: Self = Self(Cow::Borrowed("check-circle-filled"));
    /// On buttons that lead on.
    pub const FORWARD: Self = Self(Cow::Borrowed("chevron-right"));
    /// Marks help.
    pub const QUESTION: Self = Self(Cow::Borrowed("circle-question"));

    /// Returns the name, if it is valid.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        is_icon(name).then(|| Self(Cow::Owned(name.to_owned())))
    }
}

/// Returns whether this is an icon name, as far as the server can know.
#[must_use]
pub fn is_icon(name: &str) -> bool {
    let behind = |prefix: &str| name.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty());
    NAMES.binary_search(&name).is_ok() || behind("vendor:") || behind("lucide:")
}

#[cfg(test)]
mod tests;
