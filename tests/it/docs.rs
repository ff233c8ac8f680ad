//! Checks the documentation against the program: its commands are run, its tables and lists are compared with the code.

mod calls;
mod collection;
mod frames;
pub(crate) mod program;
mod tour;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use aggregates::conversation::FailureReason;
use serde_json::Value;
use traces::attributes::Attribute;
use verbatim::config::Config;

use calls::Recorded;
use program::Program;
use tour::take_tour;

use crate::support::env_var;

/// The document with an example of every operation.
const EXAMPLES: &str = "docs/API_EXAMPLES.md";
/// The same examples as a collection of requests.
pub(crate) const COLLECTION: &str = "docs/postman/chatbot_api.postman_collection.json";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the program's OpenAPI description.
fn api_description(program: &Program) -> Value {
    serde_json::from_str(&program.shell("curl -fsS $API/openapi.json")).unwrap()
}

/// Returns the texts in backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn tours_run_as_shown_and_every_endpoint_is_documented() {
    let program = Program::start();
    // The second tour continues with the account of the first.
    take_tour(&program, "README.md", 5);
    take_tour(&program, "docs/tour.md", 10);
    let done = take_tour(&program, EXAMPLES, 10);
    let description = api_description(&program);
    program.stop();
    let operations = collection::operations(&description);

    let document = read("docs/API_EXAMPLES.md");
    let documented: BTreeSet<String> = document
        .lines()
        .filter(|line| line.starts_with("### `"))
        .flat_map(|line| quoted(line).map(str::to_owned))
        .collect();
    let all: BTreeSet<String> = operations.keys().cloned().collect();
    assert_eq!(documented, all);
    let calls = done.iter().filter_map(|one| match one {
        Recorded::Call(call) => call.operation(operations.keys()),
        Recorded::Command { .. } => None,
    });
    let called: BTreeSet<&str> = calls.collect();
    let uncalled: Vec<&String> =
        all.iter().filter(|operation| !called.contains(operation.as_str())).collect();
    assert!(uncalled.is_empty(), "{EXAMPLES} shows no command for {uncalled:?}");

    let made = collection::collection(&done, &tour::tour(EXAMPLES, 10), &description);
    let text = format!("{}\n", serde_json::to_string_pretty(&made).unwrap());
    if env_var("UPDATE_DOCS").is_some() {
        std::fs::write(root().join(COLLECTION), &text).unwrap();
    }
    assert!(read(COLLECTION) == text, "{COLLECTION} is out of date: run this test with UPDATE_DOCS=1");
}

/// Returns the cells of each table row in a text, without the table heads.
fn rows(text: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| -> Vec<String> {
        line.trim().trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()
    };
    text.lines().filter(|line| line.starts_with("| `")).map(cells).collect()
}

/// Returns the part of a document under a heading, up to the next heading of the same or a higher level.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let level = heading.bytes().take_while(|byte| *byte == b'#').count();
    let begin = text.find(&format!("\n{heading}")).unwrap_or_else(|| panic!("no section {heading}")) + 1;
    let body = begin + text[begin..].find('\n').unwrap();
    let is_heading = |line: &str| {
        let depth = line.bytes().take_while(|byte| *byte == b'#').count();
        (1..=level).contains(&depth) && line[depth..].starts_with(' ')
    };
    let mut at = body + 1;
    for line in text[at..].split_inclusive('\n') {
        if is_heading(line) {
            break;
        }
        at += line.len();
    }
    &text[body..at]
}

/// Returns the variables that a deployment file sets: `NAME=value` after `ENV`, or `NAME: value` in YAML.
fn variables_set_in(text: &str) -> BTreeSet<String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let words = lines.flat_map(|line| match line.strip_prefix("ENV ") {
        Some(list) => list.split(' ').filter_map(|word| word.split_once('=')).map(|(name, _)| name).collect(),
        None => line.split_once(": ").map(|(name, _)| name).into_iter().collect::<Vec<_>>(),
    });
    let is_name =
        |name: &&str| name.len() > 3 && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    words.filter(is_name).map(str::to_owned).collect()
}

#[test]
fn deployment_files_use_existing_variables_and_commands() {
    let config = Config::from_map(&BTreeMap::new()).unwrap();
    let known: BTreeSet<String> = config.effective().iter().map(|line| line.name.to_owned()).collect();
    let compose = read("docs/deploy/compose.yaml");
    for (file, least) in [("docs/deploy/Containerfile", 3), ("docs/deploy/compose.yaml", 8)] {
        let set = variables_set_in(&read(file));
        let unknown: Vec<_> = set.difference(&known).filter(|name| !name.starts_with("POSTGRES_")).collect();
        assert!(unknown.is_empty(), "{file} sets {unknown:?}");
        assert!(set.len() >= least, "{file} was not read: {set:?}");
    }
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_verbatim")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let commands: Vec<&str> = compose
        .lines()
        .filter_map(|line| line.trim().strip_prefix("command: [\""))
        .filter_map(|rest| rest.strip_suffix("\"]"))
        .filter(|command| !command.starts_with('-'))
        .collect();
    assert_eq!(commands, ["migrate", "worker", "relay"]);
    for command in commands {
        assert!(help.contains(&format!("\n  {command} ")), "there is no command {command}");
    }
}

/// Returns the fields of each event and version with their values, from the golden files.
fn event_fields() -> BTreeMap<(&'static str, u32), serde_json::Map<String, Value>> {
    aggregates::versions::event_types()
        .map(|(name, version)| {
            let golden = read(&format!("aggregates/tests/golden/{name}.v{version}.json"));
            let Value::Object(mut payload) = serde_json::from_str(&golden).unwrap() else {
                panic!("{name}: no object")
            };
            payload.remove("type");
            ((name, version), payload)
        })
        .collect()
}

#[test]
fn event_catalogue_lists_every_event_and_field() {
    let catalogue = read("docs/events.md");
    let events = event_fields();
    // A field that is null in one golden file is personal if a field of the same name is.
    let is_sealed = |value: &Value| value.get("$personal").or(value.get("$erased")).is_some();
    let is_personal = |field: &str, value: &Value| {
        let named = || events.values().filter_map(|payload| payload.get(field));
        if value.is_null() { named().any(is_sealed) } else { is_sealed(value) }
    };
    for ((name, version), payload) in &events {
        let section = section(&catalogue, &format!("### `{name}`, version {version}\n"));
        let fields: BTreeMap<String, bool> =
            payload.iter().map(|(field, value)| (field.clone(), is_personal(field, value))).collect();
        let documented: BTreeMap<String, bool> = rows(section)
            .into_iter()
            .map(|cells| (cells[0].trim_matches('`').to_owned(), cells[1] == "yes"))
            .collect();
        assert_eq!(documented, fields, "{name}");
    }
    assert_eq!(catalogue.matches("\n### ").count(), events.len(), "the catalogue lists unknown events");
}

#[test]
fn event_catalogue_lists_models_reasons_and_metadata() {
    let catalogue = read("docs/events.md");
    for model in projections::registry::all() {
        assert!(catalogue.contains(&format!("`{}`", model.name())), "{}", model.name());
    }
    let reasons = rows(section(&catalogue, "## Reasons"));
    let documented: BTreeSet<&str> = reasons.iter().flat_map(|cells| quoted(&cells[0])).collect();
    let known: BTreeSet<&str> = FailureReason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(documented, known);
    let full = event_store::Metadata {
        actor: Some(uuid::Uuid::nil()),
        request_id: Some(String::new()),
        correlation_id: Some(String::new()),
        causation_id: Some(String::new()),
        traceparent: Some(String::new()),
        occurred_at: Some(chrono::DateTime::default()),
        ..Default::default()
    };
    let Value::Object(keys) = serde_json::to_value(full).unwrap() else { panic!("metadata is no object") };
    let documented: BTreeSet<String> = rows(section(&catalogue, "## Metadata"))
        .into_iter()
        .map(|cells| cells[0].trim_matches('`').to_owned())
        .collect();
    assert_eq!(documented, keys.keys().cloned().collect());
}

/// Returns all Rust files below these folders as one text, without unit tests.
fn sources(folders: &[&str]) -> String {
    rust_files(folders).iter().map(|text| text.split("#[cfg(test)]\nmod tests {").next().unwrap()).collect()
}

/// Returns the text of every Rust file below these folders.
fn rust_files(folders: &[&str]) -> Vec<String> {
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    let mut all = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                all.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }
    all
}

/// Returns the first string literal after each occurrence of `call`; before it there may be one argument that begins
/// with `first`.
fn literals<'a>(sources: &'a str, call: &str, first: &str) -> Vec<&'a str> {
    let is_path = |text: &str| text.chars().all(|c| c.is_alphanumeric() || "_:".contains(c));
    sources
        .split(call)
        .skip(1)
        .filter_map(|rest| {
            let (before, rest) = rest.split_once('"')?;
            let argument = before.trim().trim_end_matches(',');
            let fits = argument.starts_with(first) && is_path(argument);
            fits.then(|| rest.split('"').next()).flatten()
        })
        .collect()
}

#[test]
fn documented_error_codes_match_code() {
    let sources = sources(&["src/app", "src/http"]);
    let codes: BTreeSet<&str> =
        [("AppError::new(", "Kind::"), ("Self::new(", "Kind::"), ("ApiError::http(", "StatusCode::")]
            .into_iter()
            .flat_map(|(call, first)| literals(&sources, call, first))
            .collect();
    let document = read("docs/API_EXAMPLES.md");
    let documented: BTreeSet<&str> = section(&document, "### Errors")
        .lines()
        .filter(|line| line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit())
        .flat_map(|line| quoted(line.split(" | ").nth(1).unwrap()))
        .collect();
    assert!(codes.len() > 20, "{codes:?}");
    assert_eq!(documented, codes);
}

#[test]
fn documented_metrics_match_code() {
    let sources = sources(&["src", "crates", "projections/src"]);
    let metrics: BTreeSet<&str> = ["counter!(", "gauge!(", "histogram!("]
        .into_iter()
        .flat_map(|call| literals(&sources, call, ""))
        .collect();
    let document = read("docs/operations/README.md");
    let documented: BTreeSet<String> = rows(section(&document, "## Metrics"))
        .into_iter()
        .map(|cells| cells[0].trim_matches('`').to_owned())
        .collect();
    assert!(metrics.len() > 10, "{metrics:?}");
    assert_eq!(documented.iter().map(String::as_str).collect::<BTreeSet<_>>(), metrics);
}

#[test]
fn tests_named_in_security_docs_exist() {
    let tests =
        rust_files(&["src", "aggregates/src", "crates", "projections/src", "tests/it", "projections/tests"])
            .concat();
    let document = read("docs/security.md");
    let cells =
        document.lines().filter(|line| line.starts_with("| ")).filter_map(|line| line.split(" | ").last());
    let named: Vec<&str> = cells.flat_map(quoted).filter(|name| name.contains('_')).collect();
    assert!(named.len() > 40, "{named:?}");
    for name in named {
        assert!(tests.contains(&format!("fn {name}(")), "there is no test {name}");
    }
}

#[test]
fn documented_span_attributes_match_code() {
    let document = read("docs/operations/traces.md");
    let rows = rows(section(&document, "## What a span may say"));
    let documented: BTreeSet<&str> = rows.iter().flat_map(|cells| quoted(&cells[0])).collect();
    let known: BTreeSet<&str> = Attribute::ALL.iter().map(|attribute| attribute.name()).collect();
    assert_eq!(documented, known);
}

/// Returns every Markdown document of the top level and of `docs`.
fn documents() -> Vec<PathBuf> {
    let mut open = vec![root().join("docs")];
    let mut found: Vec<PathBuf> =
        ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"].map(|name| root().join(name)).into();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found
}

/// Returns a heading's anchor: lower case, hyphens for spaces, no other punctuation.
fn anchor(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

fn anchors(path: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
}

#[test]
fn document_links_resolve() {
    let mut links = 0;
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            links += 1;
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() { document.clone() } else { document.parent().unwrap().join(file) };
            assert!(path.exists(), "{}: {target} does not exist", document.display());
            assert!(
                heading.is_empty() || anchors(&path).contains(heading),
                "{}: {target} has no such heading",
                document.display()
            );
        }
    }
    assert!(links > 20, "only {links} links were found");
}

#[test]
fn files_and_functions_named_in_docs_exist() {
    let text: String = documents().iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let is_path = |word: &&str| {
        ["src/", "aggregates/", "crates/", "projections/", "migrations/", "tests/", "docs/", "scripts/"]
            .iter()
            .any(|folder| word.starts_with(folder))
            && !word.contains('<')
    };
    let mut paths = 0;
    for path in quoted(&text).filter(is_path) {
        paths += 1;
        assert!(root().join(path).exists(), "{path} does not exist");
    }
    assert!(paths > 30, "only {paths} paths were found");
    let sources = sources(&["src", "crates", "projections/src", "aggregates/src"]);
    let mut functions = 0;
    let is_name = |name: &str| name.chars().all(|c| c.is_alphanumeric() || c == '_');
    for (owner, function) in quoted(&text).filter_map(|word| word.split_once("::")) {
        if !is_name(owner) || !is_name(function) {
            continue;
        }
        functions += 1;
        assert!(
            sources.contains(owner) && sources.contains(&format!("fn {function}")),
            "{owner}::{function} does not exist"
        );
    }
    assert!(functions > 4, "only {functions} functions were found");
}
