//! The house rules that can be checked: which way dependencies point, and what a door may touch.

mod dependencies;
mod sql;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, MetadataCommand};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Ordinary dependencies of each workspace crate.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec().unwrap();
    metadata
        .packages
        .iter()
        .map(|package| {
            let names = package
                .dependencies
                .iter()
                .filter(|dependency| dependency.kind == DependencyKind::Normal)
                .map(|dependency| dependency.name.clone())
                .collect();
            (package.name.to_string(), names)
        })
        .collect()
}

/// Every Rust file below a folder, with its text.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(path) = open.pop() {
        for entry in std::fs::read_dir(&path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty(), "{folder} holds no sources");
    found
}

/// The code of a file without comments and without its unit tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn offences(folder: &str, forbidden: &[&str], except: impl Fn(&Path) -> bool) -> Vec<String> {
    let mut offences = Vec::new();
    for (path, text) in sources(folder) {
        if except(&path) {
            continue;
        }
        let code = code(&text);
        for word in forbidden.iter().filter(|word| code.contains(**word)) {
            offences.push(format!("{} mentions {word}", path.display()));
        }
    }
    offences
}

#[test]
fn the_domain_depends_on_nothing_that_does_input_or_output() {
    let dependencies = dependencies();
    let allowed: BTreeSet<&str> =
        ["chrono", "cqrs-es", "rpds", "serde", "serde_json", "thiserror", "unicode-normalization", "uuid"]
            .into();
    let names = &dependencies["aggregates"];
    let foreign: Vec<&String> = names.iter().filter(|name| !allowed.contains(name.as_str())).collect();
    assert!(foreign.is_empty(), "aggregates depends on {foreign:?}");
}

#[test]
fn dependencies_point_from_the_root_through_projections_to_aggregates() {
    let dependencies = dependencies();
    assert!(
        dependencies["verbatim"].contains("projections") && dependencies["verbatim"].contains("aggregates")
    );
    assert!(dependencies["projections"].contains("aggregates"));
    assert!(!dependencies["projections"].contains("verbatim"), "projections depends on the root package");
    for foreign in ["axum", "hyper", "reqwest", "async-openai"] {
        assert!(!dependencies["projections"].contains(foreign), "projections depends on {foreign}");
    }
}

#[test]
fn the_domain_reads_no_clock_no_randomness_and_no_environment() {
    let forbidden = [
        "Utc::now",
        "SystemTime",
        "Instant",
        "now_v7",
        "new_v4",
        "std::env",
        "std::fs",
        "std::net",
        "rand::",
        "tokio::",
    ];
    let found = offences("aggregates/src", &forbidden, |path| path.to_string_lossy().contains("tests"));
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn doors_touch_no_sql_no_events_and_no_write_side() {
    let forbidden = [
        "sqlx",
        "PgPool",
        "aggregates::Event",
        "ConversationEvent",
        "UserEvent",
        "ClaimEvent",
        "QuizEvent",
        "aggregates::conversation",
        "aggregates::user",
        "aggregates::claim",
        "crate::replies",
        "crate::bootstrap",
        "event_store::",
        "projections::runner",
    ];
    let found = offences("src/http", &forbidden, |_| false);
    assert!(found.is_empty(), "{found:#?}");
}

/// The API surfaces: what stands in `src/http/surfaces`, and is listed in `SURFACES`.
fn surfaces() -> Vec<String> {
    let folder = root().join("src/http/surfaces");
    let list = std::fs::read_to_string(folder.join("mod.rs")).unwrap();
    let mut surfaces = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned();
        if name != "mod" {
            assert!(list.contains(&format!("{name}::routes)")), "SURFACES does not list {name}");
            surfaces.push(name);
        }
    }
    surfaces
}

#[test]
fn surfaces_do_not_use_each_other() {
    let surfaces = surfaces();
    assert!(!surfaces.is_empty());
    let mut found = Vec::new();
    for (path, text) in sources("src/http/surfaces") {
        let own = path.strip_prefix(root().join("src/http/surfaces")).unwrap();
        let own = own.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
        let code = code(&text);
        for other in surfaces.iter().filter(|other| own.trim_end_matches(".rs") != *other && own != "mod.rs")
        {
            if code.contains(&format!("surfaces::{other}")) {
                found.push(format!("{} uses the surface {other}", path.display()));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn use_cases_know_no_transport() {
    let found = offences("src/app", &["axum", "hyper", "crate::http", "aide::"], |_| false);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn the_environment_is_read_in_one_place() {
    let found = offences("src", &["std::env::"], |path| {
        let path = path.to_string_lossy();
        path.contains("src/config") || path.contains("src/embedded")
    });
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn files_stay_small_enough_to_read() {
    let mut long = Vec::new();
    for folder in ["src", "aggregates/src", "projections/src"] {
        for (path, text) in sources(folder) {
            if text.lines().count() > 500 {
                long.push(format!("{}: {} lines", path.display(), text.lines().count()));
            }
        }
    }
    assert!(long.is_empty(), "{long:#?}");
}
