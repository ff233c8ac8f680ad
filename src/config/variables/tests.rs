//! The table, the generated files and the configuration that is read agree.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::*;
use crate::config::Config;

const BEGIN: &str = "<!-- variables:begin -->\n";
const END: &str = "<!-- variables:end -->";

/// Compares a file with its generated form; with `UPDATE_DOCS=1` in the environment, writes it first.
fn check_generated(path: &str, generate: impl Fn(&str) -> String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let found = std::fs::read_to_string(&path).unwrap();
    let generated = generate(&found);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &generated).unwrap();
    } else {
        assert!(
            found == generated,
            "{} is out of date: UPDATE_DOCS=1 cargo test -p verbatim --lib config::variables",
            path.display()
        );
    }
}

#[test]
fn table_lists_exactly_the_variables_that_are_read() {
    let config = Config::from_map(&BTreeMap::new()).unwrap();
    let read: BTreeSet<&str> = config.effective().iter().map(|line| line.name).collect();
    let names: Vec<&str> =
        SECTIONS.iter().flat_map(|section| section.variables).map(|variable| variable.name).collect();
    assert_eq!(names.iter().copied().collect::<BTreeSet<_>>(), read);
    assert_eq!(names.len(), read.len(), "a variable is listed twice");
}

#[test]
fn table_defaults_are_the_effective_defaults() {
    let unset = Config::from_map(&BTreeMap::new()).unwrap();
    let variables = SECTIONS.iter().flat_map(|section| section.variables);
    let set = variables.map(|variable| (variable.name.to_owned(), variable.default.to_owned())).collect();
    let set = Config::from_map(&set).unwrap();
    for (set, unset) in set.effective().iter().zip(unset.effective()) {
        assert_eq!((set.name, &set.value), (unset.name, &unset.value));
    }
    assert_eq!(set.notes, Vec::<String>::new());
}

#[test]
fn configuration_page_is_generated_from_the_table() {
    check_generated("docs/configuration.md", |page| {
        let (before, rest) = page.split_once(BEGIN).expect("no begin marker");
        let (_, after) = rest.split_once(END).expect("no end marker");
        format!("{before}{BEGIN}\n{}{END}{after}", markdown())
    });
}

#[test]
fn env_example_is_generated_from_the_table() {
    check_generated(".env.example", |_| env_example());
}
