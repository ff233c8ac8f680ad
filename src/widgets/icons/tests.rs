use super::*;

#[test]
fn list_is_sorted_and_closed() {
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
