//! Checks that SQL statements are constants with bound parameters. Every place that builds one at run time is listed
//! here with the reason.

use super::{root, sources};

/// A place that builds a statement at run time.
struct ReviewedStatement {
    file: &'static str,
    /// Beginning of the statement's text.
    begins: &'static str,
    reason: &'static str,
}

/// The reviewed places.
const REVIEWED: [ReviewedStatement; 5] = [
    ReviewedStatement {
        file: "projections/src/rebuild.rs",
        begins: "DELETE FROM {table}",
        reason: "a table of `Projection::tables`, which are constants: no name of a table can be bound",
    },
    ReviewedStatement {
        file: "projections/src/rebuild.rs",
        begins: "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)::text FROM {table} t",
        reason: "a table of `Projection::tables`, which are constants: no name of a table can be bound",
    },
    ReviewedStatement {
        file: "projections/src/runner.rs",
        begins: "BEGIN; SET LOCAL synchronous_commit = off",
        reason: "several statements in one trip take no parameters: two i64, and a projection's name, which is a constant",
    },
    ReviewedStatement {
        file: "projections/src/runner.rs",
        begins: "SELECT position FROM checkpoints WHERE projection = '{name}'",
        reason: "sent without being prepared, as the statement before it: a projection's name, which is a constant",
    },
    ReviewedStatement {
        file: "src/bootstrap/database.rs",
        begins: "{role}SET statement_timeout = '3s'",
        reason: "the settings of a connection take no parameters: one of two constants",
    },
];

/// A literal of at least two words with one of these counts as a statement, or as a part of one.
const WORDS: [&str; 20] = [
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "SET",
    "BEGIN",
    "COMMIT",
    "NOTIFY",
    "LISTEN",
    "CREATE",
    "DROP",
    "ALTER",
    "TRUNCATE",
    "COPY",
    "GRANT",
    "REVOKE",
    "FROM",
    "WHERE",
    "VALUES",
    "RETURNING",
];

/// Code before or after a literal that builds a text from it.
const MAKERS: [&str; 6] = ["format!(", "format_args!(", "push_str(", "String::from(", "Cow::from(", "+"];
const WRITERS: [&str; 2] = ["write!(", "writeln!("];
const ENDINGS: [&str; 7] =
    [".to_owned()", ".to_string()", ".into()", ".replace(", ".replacen(", ".chars()", "+"];

/// Returns begin and end of each string literal in a source, without the quotes.
fn literals(source: &str) -> Vec<(usize, usize)> {
    let bytes = source.as_bytes();
    let find = |from: usize, what: &str| source[from..].find(what).map_or(source.len(), |at| from + at);
    let (mut found, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let rest = &source[at..];
        let hashes = rest.strip_prefix('r').map(|raw| raw.bytes().take_while(|byte| *byte == b'#').count());
        let is_raw = |hashes: usize| rest[1 + hashes..].starts_with('"');
        let is_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
        if rest.starts_with("//") {
            at = find(at, "\n");
        } else if rest.starts_with("/*") {
            at = find(at, "*/") + 2;
        } else if let Some(hashes) =
            hashes.filter(|hashes| is_raw(*hashes) && (!is_word || bytes[at - 1] == b'b'))
        {
            let begins = at + hashes + 2;
            let ends = find(begins, &format!("\"{}", "#".repeat(hashes)));
            found.push((begins, ends));
            at = ends + 1 + hashes;
        } else if rest.starts_with('"') {
            let mut ends = at + 1;
            while ends < bytes.len() && bytes[ends] != b'"' {
                ends += if bytes[ends] == b'\\' { 2 } else { 1 };
            }
            found.push((at + 1, ends));
            at = ends + 1;
        } else if rest.starts_with("'\\") {
            // An escaped character: at least two bytes.
            at = find(at + 3, "'") + 1;
        } else if let Some(character) = rest.strip_prefix('\'').and_then(|rest| rest.chars().next()) {
            // A character, or a lifetime.
            let ends = at + 1 + character.len_utf8();
            at = if source[ends..].starts_with('\'') { ends + 1 } else { at + 1 };
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    found
}

/// Returns the statements that a source builds at run time: line and text.
fn built_statements(source: &str) -> Vec<(usize, &str)> {
    let is_statement = |text: &str| {
        let mut words =
            text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty());
        words.clone().nth(1).is_some() && words.any(|word| WORDS.contains(&word))
    };
    let is_made = |begins: usize, ends: usize| {
        let before = source[..begins].trim_end_matches(['"', '#', 'r', 'b', '&', ' ', '\n']);
        let after = source[(ends + 1).min(source.len())..].trim_start_matches(['#', ' ', '\n']);
        let written = |writer: &&str| {
            before.rsplit_once(*writer).is_some_and(|(_, between)| !between.contains(['"', ';', ')']))
        };
        MAKERS.iter().any(|maker| before.ends_with(maker))
            || ENDINGS.iter().any(|ending| after.starts_with(ending))
            || WRITERS.iter().any(written)
    };
    let found = literals(source).into_iter();
    let found =
        found.filter(|(begins, ends)| is_statement(&source[*begins..*ends]) && is_made(*begins, *ends));
    found.map(|(begins, ends)| (source[..begins].lines().count(), &source[begins..ends])).collect()
}

#[test]
fn sql_is_built_only_in_reviewed_places() {
    let (mut unknown, mut seen) = (Vec::new(), [0; REVIEWED.len()]);
    for folder in ["src", "crates/event_store/src", "projections/src"] {
        for (path, source) in sources(folder) {
            let file = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            if file.ends_with("tests.rs") || file.contains("/tests/") {
                continue;
            }
            let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
            for (line, text) in built_statements(source) {
                let reviewed =
                    REVIEWED.iter().position(|place| file == place.file && text.starts_with(place.begins));
                match reviewed {
                    Some(place) => seen[place] += 1,
                    None => unknown.push(format!("{file}:{line}: {text}")),
                }
            }
        }
    }
    assert!(
        unknown.is_empty(),
        "SQL is built at run time here: {unknown:#?}\nWrite the statement out and bind its parameters; or review the place and \
         list it in tests/it/architecture/sql.rs with its reason."
    );
    for (place, seen) in REVIEWED.iter().zip(seen) {
        assert!(
            seen == 1 && !place.reason.is_empty(),
            "{} `{}` occurs {seen} times",
            place.file,
            place.begins
        );
    }
}

#[test]
fn built_sql_is_detected_in_every_form() {
    for source in [
        r#"query(&format!("SELECT 1 FROM {table}"))"#,
        "format!(\n    \"UPDATE t \\\n     SET x = {x}\"\n)",
        r###"format!(r#"DELETE FROM "{table}""#)"###,
        r#"sql.push_str(" WHERE owner = "); let quote = '"';"#,
        r#"write!(sql, "NOTIFY {channel}")"#,
        r#"let sql = "DROP TABLE ".to_owned() + name;"#,
        r#"let sql = begin + " ORDER BY x LIMIT 1 RETURNING y";"#,
        r#"let sql = String::from("ALTER ROLE ");"#,
        r#""LISTEN channel".replace("channel", name)"#,
        r#"let c = '"'; let d: &'static str = x; format!("TRUNCATE {d}")"#,
        "// it's \"\nformat!(\"CREATE ROLE {name}\")",
    ] {
        assert_eq!(built_statements(source).len(), 1, "{source}");
    }
    for source in [
        r#"query("SELECT 1 FROM t WHERE x = $1").bind(x)"#,
        r#"format!("nothing is selected from {here}")"#,
        r#"let method = "DELETE".to_owned();"#,
        r#"// format!("DELETE FROM {table}")"#,
        r#"const BEGIN: &str = "BEGIN; SET LOCAL synchronous_commit = off";"#,
    ] {
        assert_eq!(built_statements(source), Vec::new(), "{source}");
    }
}
