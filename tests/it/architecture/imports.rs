//! Reads Rust sources far enough to know which modules they refer to.

use std::path::Path;

/// A source without comments, without the contents of its literals, and without what is compiled for unit tests only.
pub(super) fn code(source: &str) -> String {
    without_tests(&without_text(source))
}

/// Blanks comments and the contents of strings and characters.
fn without_text(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut at = 0;
    while at < source.len() {
        let rest = &source[at..];
        let raw = rest.strip_prefix('r').map(|rest| rest.bytes().take_while(|byte| *byte == b'#').count());
        let in_word = code.ends_with(|c: char| c.is_alphanumeric() || c == '_') && !code.ends_with('b');
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw.filter(|hashes| !in_word && rest[1 + hashes..].starts_with('"')) {
            let end = format!("\"{}", "#".repeat(hashes));
            rest[hashes + 2..].find(&end).map_or(rest.len(), |at| at + hashes + 2 + end.len())
        } else if rest.starts_with('"') {
            quoted(rest, '"')
        } else if rest.starts_with("'\\") {
            quoted(rest, '\'')
        } else if rest.starts_with('\'') && rest.chars().nth(2) == Some('\'') {
            rest.chars().take(3).map(char::len_utf8).sum()
        } else {
            0
        };
        if skipped == 0 {
            let c = rest.chars().next().unwrap();
            code.push(c);
            at += c.len_utf8();
        } else {
            code.push(' ');
            at += skipped;
        }
    }
    code
}

/// The length of a literal with its quotes.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    rest.len()
}

/// Removes every item below `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    const TESTS: &str = "#[cfg(test)]";
    let (mut kept, mut rest) = (String::new(), code);
    while let Some(at) = rest.find(TESTS) {
        kept.push_str(&rest[..at]);
        rest = &rest[at + TESTS.len()..];
        rest = &rest[item_end(rest)..];
    }
    kept + rest
}

/// The end of the item that the code begins with: its `;` or the brace that closes it.
fn item_end(code: &str) -> usize {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            ';' if depth == 0 => return at + 1,
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => {
                depth -= 1;
                if depth == 0 && c == '}' {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    code.len()
}

/// The module that a file of `src` holds, as its path below the crate: `["http", "errors"]`.
pub(super) fn module(file: &Path) -> Vec<String> {
    let mut module: Vec<String> = file
        .with_extension("")
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    if module.last().is_some_and(|name| name == "mod") {
        module.pop();
    }
    module
}

/// Every path that `code` refers to in this crate, from the crate's root, and every path into the `crates`, which
/// begins with the name of the crate. Groups are taken apart: `crate::{a, b::c}` are two paths.
pub(super) fn references(code: &str, module: &[String], crates: &[&str]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(next) = code[at..].find(|c: char| c.is_alphabetic() || c == '_') {
        at += next;
        let word: String = code[at..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let is_first = !code[..at].ends_with("::") && !code[..at].ends_with('.');
        let rest = &code[at + word.len()..];
        at += word.len();
        if !is_first || !rest.starts_with("::") || code[..at].ends_with("r#") {
            continue;
        }
        let start = match word.as_str() {
            "crate" => Vec::new(),
            "super" => module[..module.len().saturating_sub(1)].to_vec(),
            name if crates.contains(&name) => vec![name.to_owned()],
            _ => continue,
        };
        at += 2 + tree(&rest[2..], start, &mut found);
    }
    found
}

/// Reads a path or a group of paths, and returns the length that was read.
fn tree(code: &str, mut path: Vec<String>, found: &mut Vec<Vec<String>>) -> usize {
    let mut at = code.len() - code.trim_start().len();
    if code[at..].starts_with('{') {
        at += 1;
        loop {
            at += tree(&code[at..], path.clone(), found);
            at += code[at..].len() - code[at..].trim_start().len();
            match code[at..].chars().next() {
                Some(',') => at += 1,
                Some('}') => return at + 1,
                _ => return at,
            }
        }
    }
    let word: String = code[at..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    at += word.len();
    match word.as_str() {
        // `a::{b, c,}` and `a::*`.
        "" => {
            if code[at..].starts_with('*') {
                found.push(path);
                at += 1;
            }
            return at;
        }
        "super" => {
            path.pop();
        }
        "self" => {}
        name => path.push(name.to_owned()),
    }
    if code[at..].starts_with("::") && !code[at + 2..].starts_with('<') {
        return at + 2 + tree(&code[at + 2..], path, found);
    }
    found.push(path);
    if let Some(renamed) = code[at..].strip_prefix(" as ") {
        at += 4 + renamed.chars().take_while(|c| c.is_alphanumeric() || *c == '_').count();
    }
    at
}

#[test]
fn references_are_found_in_groups_and_outside_text() {
    let source = r##"
        //! See crate::comment.
        use crate::{a, b::{c, d as e}, f::*};
        use super::{g, super::h};
        use projections::rows::{Row, self};
        use std::fmt;
        fn x() -> crate::i::Type<'_> { "crate::text"; r#"crate::"raw"#; '"'; '\''; b"crate::bytes"; super::super::j::k() }
        #[cfg(test)]
        mod tests { use crate::unit; fn y() { "}"; } }
        #[cfg(test)]
        use crate::one;
        pub(in crate::l) fn z<T: crate::m::N>() { crate::o!(); value.crate_::p; not::crate::q }
    "##;
    let module = ["http", "errors", "shape"].map(str::to_owned);
    let found: Vec<String> = references(&code(source), &module, &["projections"])
        .into_iter()
        .map(|path| path.join("::"))
        .collect();
    let expected = [
        "a",
        "b::c",
        "b::d",
        "f",
        "http::errors::g",
        "http::h",
        "projections::rows::Row",
        "projections::rows",
        "i::Type",
        "http::j::k",
        "l",
        "m::N",
        "o",
    ];
    assert_eq!(found, expected);
}
