//! Names of icons: a closed list, and two prefixes behind which anything may stand.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::Serialize;

/// The icons that every front end has, in the alphabet's order.
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
    /// In front of what an answer was given to rightly.
    pub const CHECK: Self = Self(Cow::Borrowed("check-circle-filled"));
    /// At a button that leads on.
    pub const FORWARD: Self = Self(Cow::Borrowed("chevron-right"));
    /// In front of help.
    pub const QUESTION: Self = Self(Cow::Borrowed("circle-question"));

    /// The name, if it is one.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        is_icon(name).then(|| Self(Cow::Owned(name.to_owned())))
    }
}

/// Whether there is an icon of this name, as far as can be known here.
#[must_use]
pub fn is_icon(name: &str) -> bool {
    let behind = |prefix: &str| name.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty());
    NAMES.binary_search(&name).is_ok() || behind("vendor:") || behind("lucide:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_what_is_not_on_it_is_no_icon() {
        assert!(NAMES.is_sorted());
        for name in NAMES.into_iter().chain(["vendor:logo", "lucide:anchor"]) {
            assert!(IconName::parse(name).is_some(), "{name}");
        }
        for name in ["", "Check", "checks", "vendor:", "lucide:", "other:thing", " check"] {
            assert!(IconName::parse(name).is_none(), "{name}");
        }
        for icon in [IconName::CHECK, IconName::FORWARD, IconName::QUESTION] {
            assert!(is_icon(&icon.0));
        }
    }
}
