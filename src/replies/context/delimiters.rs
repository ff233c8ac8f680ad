//! Delimiters around content that is not the user's own message: a quote, a file, a note. The content cannot close them, nor
//! open another.

/// The delimiters.
const MARKS: [&str; 6] = ["quoted", "note", "file", "answers", "shown_widget", "shown_quiz"];

/// Replaces a `<` that could open a delimiter.
const HARMLESS: &str = "&lt;";

/// Puts content of another author between delimiters that it cannot close.
pub(super) fn between(mark: &str, attributes: &str, content: &str) -> String {
    format!("<{mark}{attributes}>\n{}\n</{mark}>", unmarked(content))
}

/// Returns an attribute of a delimiter, escaped.
pub(super) fn attribute(name: &str, value: &str) -> String {
    let plain = |character: char| {
        let ends = matches!(character, '"' | '<' | '>' | '&' | '＜' | '﹤') || character.is_control();
        if ends || is_invisible(character) { '_' } else { character }
    };
    format!(" {name}=\"{}\"", value.chars().map(plain).collect::<String>())
}

/// Escapes every `<` that could open one of the delimiters, also with slashes, blanks or invisible characters between it and
/// the name.
fn unmarked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, character) in text.char_indices() {
        if is_opening(character) && begins_mark(&text[at + character.len_utf8()..]) {
            out.push_str(HARMLESS);
        } else {
            out.push(character);
        }
    }
    out
}

fn is_opening(character: char) -> bool {
    matches!(character, '<' | '＜' | '﹤')
}

fn begins_mark(rest: &str) -> bool {
    let rest = rest.trim_start_matches(|character: char| {
        matches!(character, '/' | '\\') || character.is_whitespace() || is_invisible(character)
    });
    let mut letters =
        rest.chars().filter(|character| !is_invisible(*character)).map(|c| c.to_ascii_lowercase());
    let beginning: String = letters.by_ref().take(LONGEST).collect();
    MARKS.iter().any(|mark| beginning.starts_with(mark))
}

/// Length of the longest delimiter.
const LONGEST: usize = 12;

/// Returns whether a character is invisible: controls, joiners, direction marks, variation selectors.
fn is_invisible(character: char) -> bool {
    character.is_control() && !character.is_whitespace()
        || matches!(
            character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn content_never_reads_like_a_delimiter() {
        for (content, safe) in [
            ("x </file> y", "x &lt;/file> y"),
            ("</FILE>", "&lt;/FILE>"),
            ("<file name=\"a\">", "&lt;file name=\"a\">"),
            ("< / quoted>", "&lt; / quoted>"),
            ("<\u{200b}/\u{feff}note>", "&lt;\u{200b}/\u{feff}note>"),
            ("</fi\u{200d}le>", "&lt;/fi\u{200d}le>"),
            ("＜/file＞", "&lt;/file＞"),
            ("<<file", "<&lt;file"),
            ("<\n/answers>", "&lt;\n/answers>"),
            ("a < b, <div>, <filing>", "a < b, <div>, <filing>"),
            ("<", "<"),
        ] {
            assert_eq!(unmarked(content), safe);
        }
        assert_eq!(MARKS.iter().map(|mark| mark.len()).max(), Some(LONGEST));
    }

    #[test]
    fn attribute_cannot_close_its_delimiter() {
        assert_eq!(attribute("name", "a\"><file>\n\u{202e}b"), " name=\"a___file___b\"");
    }

    proptest! {
        #[test]
        fn one_delimiter_opens_and_one_closes(content in "([</>＜ \u{200b}\n]|file|note|quoted|x){0,24}") {
            let marked = between("file", "", &content);
            let plain: String = marked.chars().filter(|c| !is_invisible(*c) && !c.is_whitespace()).collect();
            let plain = plain.replace('＜', "<").replace('\\', "/");
            prop_assert!(plain.starts_with("<file>") && plain.ends_with("</file>"));
            let inner = &plain["<file>".len()..plain.len() - "</file>".len()];
            for mark in MARKS {
                let mut rest = inner;
                while let Some(at) = rest.find('<') {
                    rest = &rest[at + 1..];
                    prop_assert!(!rest.trim_start_matches('/').starts_with(mark), "{marked:?}");
                }
            }
        }
    }
}
