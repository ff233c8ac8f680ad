//! S26: statements stand in the source as they are sent, and what varies is bound. Where one is put together all the same, it was
//! looked at, and stands here with its reason.

use super::{root, sources};

/// A place where a statement is put together.
struct Place {
    file: &'static str,
    /// How its text begins.
    begins: &'static str,
    why: &'static str,
}

/// The places that were looked at.
const REVIEWED: [Place; 5] = [
    Place {
        file: "projections/src/rebuild.rs",
        begins: "DELETE FROM {table}",
        why: "a table of `Projection::tables`, which are constants: no name of a table can be bound",
    },
    Place {
        file: "projections/src/rebuild.rs",
        begins: "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)::text FROM {table} t",
        why: "a table of `Projection::tables`, which are constants: no name of a table can be bound",
    },
    Place {
        file: "projections/src/runner.rs",
        begins: "BEGIN; SET LOCAL synchronous_commit = off",
        why: "several statements in one trip take no parameters: two i64, and a projection's name, which is a constant",
    },
    Place {
        file: "projections/src/runner.rs",
        begins: "SELECT position FROM checkpoints WHERE projection = '{name}'",
        why: "sent without being prepared, as the statement before it: a projection's name, which is a constant",
    },
    Place {
        file: "src/bootstrap/database.rs",
        begins: "{role}SET statement_timeout = '3s'",
        why: "the settings of a connection take no parameters: one of two constants",
    },
];

/// Words of which a text with others beside them is a statement, or a part of one.
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

/// What makes a text out of a literal and something else.
const MAKERS: [&str; 6] = ["format!(", "format_args!(", "push_str(", "String::from(", "Cow::from(", "+"];
const WRITERS: [&str; 2] = ["write!(", "writeln!("];
const ENDINGS: [&str; 7] =
    [".to_owned()", ".to_string()", ".into()", ".replace(", ".replacen(", ".chars()", "+"];

/// Where each literal of a source begins and ends, without its quotes.
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
            // A character that is escaped: two bytes at least.
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

/// The statements that are put together in a source: line and text.
fn built(source: &str) -> Vec<(usize, &str)> {
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
fn no_statement_is_put_together_outside_the_places_that_were_looked_at() {
    let (mut unknown, mut seen) = (Vec::new(), [0; REVIEWED.len()]);
    for folder in ["src", "crates/event_store/src", "projections/src"] {
        for (path, source) in sources(folder) {
            let file = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            if file.ends_with("tests.rs") || file.contains("/tests/") {
                continue;
            }
            let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
            for (line, text) in built(source) {
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
        "SQL is put together here: {unknown:#?}\nWrite the statement out and bind what varies; or have the place looked at, and \
         list it in tests/it/architecture/sql.rs with its reason."
    );
    for (place, seen) in REVIEWED.iter().zip(seen) {
        assert!(
            seen == 1 && !place.why.is_empty(),
            "{} `{}` is there {seen} times",
            place.file,
            place.begins
        );
    }
}

#[test]
fn every_way_to_put_a_statement_together_is_noticed() {
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
        assert_eq!(built(source).len(), 1, "{source}");
    }
    for source in [
        r#"query("SELECT 1 FROM t WHERE x = $1").bind(x)"#,
        r#"format!("nothing is selected from {here}")"#,
        r#"let method = "DELETE".to_owned();"#,
        r#"// format!("DELETE FROM {table}")"#,
        r#"const BEGIN: &str = "BEGIN; SET LOCAL synchronous_commit = off";"#,
    ] {
        assert_eq!(built(source), Vec::new(), "{source}");
    }
}
