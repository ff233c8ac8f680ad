//! No cycles: neither among the top-level modules of the root crate nor among the crates of the workspace.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cargo_metadata::MetadataCommand;

use super::imports::{code, module, references};
use super::{root, sources};

/// From a node to those that it uses, each with the files that say so.
type Graph = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// Imports that are known to close a cycle and will be removed. The list may only shrink.
const KNOWN: &[(&str, &str)] = &[];

/// Files of `src` that belong to no module: the roots of the library and of the program.
const ROOTS: [&str; 2] = ["lib.rs", "main.rs"];

fn is_unit_test(file: &str) -> bool {
    file.ends_with("tests.rs") || file.contains("/tests/")
}

/// Which top-level modules of `src` use which.
fn modules() -> Graph {
    let mut graph = Graph::new();
    let mut files = Vec::new();
    for (path, source) in sources("src") {
        let file = path.strip_prefix(root().join("src")).unwrap().to_string_lossy().into_owned();
        let module = module(Path::new(&file));
        if !ROOTS.contains(&file.as_str()) && !is_unit_test(&file) {
            graph.entry(module[0].clone()).or_default();
            files.push((file, module, source));
        }
    }
    for (file, module, source) in files {
        for path in references(&code(&source), &module, &[]) {
            let Some(used) = path.first().filter(|used| **used != module[0] && graph.contains_key(*used))
            else {
                continue;
            };
            let uses = graph.get_mut(&module[0]).unwrap();
            uses.entry(used.clone()).or_default().insert(format!("src/{file}"));
        }
    }
    graph
}

/// Which crates of the workspace depend on which, also for their tests.
fn crates() -> Graph {
    let metadata = MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec().unwrap();
    let names: BTreeSet<String> = metadata.packages.iter().map(|package| package.name.to_string()).collect();
    let mut graph = Graph::new();
    for package in &metadata.packages {
        let uses = graph.entry(package.name.to_string()).or_default();
        let members = package.dependencies.iter().filter(|used| names.contains(&used.name));
        for used in members {
            uses.entry(used.name.clone()).or_default().insert(package.manifest_path.to_string());
        }
    }
    graph
}

/// Every node that can be reached from `start` by at least one edge.
fn reachable(graph: &Graph, start: &str) -> BTreeSet<String> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![start.to_owned()]);
    while let Some(node) = open.pop() {
        for used in graph.get(&node).into_iter().flat_map(BTreeMap::keys) {
            if reached.insert(used.clone()) {
                open.push(used.clone());
            }
        }
    }
    reached
}

/// The edges that lie on a cycle, one line each, with the files that say so.
fn cycles(graph: &Graph) -> Vec<String> {
    let reachable: BTreeMap<&String, _> = graph.keys().map(|node| (node, reachable(graph, node))).collect();
    let mut found = Vec::new();
    for (node, uses) in graph {
        for (used, files) in uses.iter().filter(|(used, _)| reachable[used].contains(node)) {
            let files: Vec<&str> = files.iter().map(String::as_str).collect();
            found.push(format!("{node} -> {used}: {}", files.join(", ")));
        }
    }
    found
}

#[test]
fn modules_have_no_cycles() {
    let mut graph = modules();
    assert!(graph.len() > 15 && graph["http"].contains_key("app"), "the imports were not read");
    for (node, used) in KNOWN.iter().copied() {
        let edge = graph.get_mut(node).and_then(|uses| uses.remove(used));
        assert!(edge.is_some(), "{node} does not use {used} any more: remove it from KNOWN");
    }
    let found = cycles(&graph);
    assert!(found.is_empty(), "these imports between modules of src form a cycle: {found:#?}");
}

#[test]
fn workspace_crates_have_no_cycles() {
    let graph = crates();
    assert!(graph["verbatim"].contains_key("projections"), "the dependencies were not read");
    let found = cycles(&graph);
    assert!(found.is_empty(), "these dependencies between crates form a cycle: {found:#?}");
}

#[test]
fn cycles_are_reported_with_their_files() {
    let edge = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    let mut graph = Graph::new();
    for (from, to) in [edge("a", "b"), edge("b", "c"), edge("c", "b"), edge("c", "d")] {
        graph.entry(to.clone()).or_default();
        graph.entry(from.clone()).or_default().entry(to).or_default().insert(format!("src/{from}.rs"));
    }
    assert_eq!(cycles(&graph), ["b -> c: src/b.rs", "c -> b: src/c.rs"]);
}
