//! Checks architecture rules: the direction of dependencies, and what each layer may use.

mod cycles;
mod dependencies;
mod imports;
mod sql;
mod surfaces;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, MetadataCommand};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the normal dependencies of each workspace crate.
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

/// Returns every Rust file below a folder, with its text.
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
    assert!(!found.is_empty(), "{folder} contains no sources");
    found
}

/// Returns the code of a file without comments and unit tests.
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
fn aggregates_depend_on_no_io_crates() {
    let dependencies = dependencies();
    let allowed: BTreeSet<&str> =
        ["chrono", "cqrs-es", "rpds", "serde", "serde_json", "thiserror", "unicode-normalization", "uuid"]
            .into();
    let names = &dependencies["aggregates"];
    let foreign: Vec<&String> = names.iter().filter(|name| !allowed.contains(name.as_str())).collect();
    assert!(foreign.is_empty(), "aggregates depends on {foreign:?}");
}

#[test]
fn dependencies_point_from_root_to_projections_to_aggregates() {
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
fn aggregates_use_no_clock_randomness_or_environment() {
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
fn event_store_knows_no_business_terms() {
    for (path, text) in sources("crates/event_store/src") {
        let text = text.to_lowercase();
        for term in ["mail", "login", "password", "quota"] {
            assert!(!text.contains(term), "{} mentions {term}", path.display());
        }
    }
}

#[test]
fn use_cases_do_not_use_transport() {
    let found = offences("src/app", &["axum", "hyper", "crate::http", "aide::"], |_| false);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn environment_is_read_only_by_configuration() {
    let found = offences("src", &["std::env::"], |path| {
        let path = path.to_string_lossy();
        path.contains("src/config") || path.contains("src/embedded")
    });
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn source_files_have_at_most_500_lines() {
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
