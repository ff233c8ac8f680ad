//! Every dependency obeys `deny.toml`: an allowed licence, the public registry, no banned crate.

use std::collections::BTreeSet;
use std::process::Command;

use cargo_metadata::{Metadata, MetadataCommand, Package};
use serde::Deserialize;

use super::root;

#[derive(Deserialize)]
struct Policy {
    licenses: Licenses,
    bans: Bans,
    sources: Sources,
}

#[derive(Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

#[derive(Deserialize)]
struct Sources {
    #[serde(rename = "allow-registry")]
    allow_registry: Vec<String>,
}

fn policy() -> Policy {
    toml::from_str(&std::fs::read_to_string(root().join("deny.toml")).unwrap()).unwrap()
}

/// The packages that this platform builds, tests included.
fn packages() -> Vec<Package> {
    let rustc = Command::new("rustc").arg("-vV").output().unwrap();
    let described = String::from_utf8(rustc.stdout).unwrap();
    let host = described.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let metadata: Metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(["--filter-platform".to_owned(), host.to_owned(), "--locked".to_owned()])
        .exec()
        .unwrap();
    metadata.packages
}

/// Returns whether the expression can be satisfied with allowed licences. `/` is the old way to write `OR`.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let expression = spdx::Expression::parse_mode(expression, spdx::ParseMode::LAX).unwrap();
    expression.evaluate(|requirement| {
        requirement.addition.is_none() && allowed.contains(&requirement.license.to_string())
    })
}

#[test]
fn dependencies_obey_deny_toml() {
    let Policy { licenses, bans, sources } = policy();
    let mut offences = Vec::new();
    let mut checked = 0;
    for package in packages() {
        let name = package.name.to_string();
        // The workspace's own packages have no source.
        let Some(source) = &package.source else { continue };
        checked += 1;
        if !sources.allow_registry.iter().any(|registry| source.repr == format!("registry+{registry}")) {
            offences.push(format!("{name} comes from {}", source.repr));
        }
        match &package.license {
            Some(license) if is_allowed(license, &licenses.allow) => {}
            license => offences.push(format!("{name} has the licence {license:?}")),
        }
        if let Some(ban) = bans.deny.iter().find(|ban| ban.name == name) {
            offences.push(format!("{name} is banned: {}", ban.reason));
        }
    }
    assert!(checked > 100, "only {checked} dependencies were found");
    assert!(offences.is_empty(), "{offences:#?}");
}

#[test]
fn licence_expressions_need_one_allowed_alternative() {
    let allowed = ["MIT", "Unicode-3.0"].map(str::to_owned).into();
    for expression in
        ["MIT", "MIT OR GPL-3.0-only", "(GPL-3.0-only OR MIT) AND Unicode-3.0", "MIT/Apache-2.0"]
    {
        assert!(is_allowed(expression, &allowed), "{expression}");
    }
    for expression in ["GPL-3.0-only", "MIT AND GPL-3.0-only", "MIT WITH Classpath-exception-2.0"] {
        assert!(!is_allowed(expression, &allowed), "{expression}");
    }
}
