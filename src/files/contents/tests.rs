use super::*;

#[test]
fn text_is_cut_between_characters_and_flagged() {
    let text = |text: &str, cut| Content::Text { text: text.to_owned(), cut };
    assert_eq!(beginning("Grüße".as_bytes(), 3), text("Grü", true));
    assert_eq!(beginning("Grüße".as_bytes(), 5), text("Grüße", false));
    assert_eq!(beginning("\u{feff}Grüße".as_bytes(), 9), text("Grüße", false));
    assert_eq!(beginning(b"", 0), text("", false));
    assert_eq!(beginning(b"x", 0), text("", true));
}
