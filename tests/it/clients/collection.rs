//! Runs the request collection in `docs/postman` with newman against the program. A test of the documents generates
//! the file.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::docs::COLLECTION;
use crate::docs::program::Program;
use crate::support::{env_var, root};

/// Text before an operator's command in the description of a request.
const OPERATOR_COMMAND: &str = "the operator runs `verbatim ";

fn collection() -> Value {
    serde_json::from_str(&std::fs::read_to_string(root().join(COLLECTION)).unwrap()).unwrap()
}

/// Returns every request, in order.
fn items(collection: &Value) -> Vec<Value> {
    let folders = collection["item"].as_array().unwrap().iter();
    folders.flat_map(|folder| folder["item"].as_array().unwrap().clone()).collect()
}

fn description(item: &Value) -> &str {
    item["request"]["description"].as_str().unwrap()
}

/// Returns a variable of an environment that newman has exported.
fn variable(environment: &Value, name: &str) -> String {
    let values = environment["values"].as_array().unwrap().iter();
    let value = values.filter(|value| value["key"] == name).find_map(|value| value["value"].as_str());
    value.unwrap_or_else(|| panic!("no {name} in {environment}")).to_owned()
}

/// Runs parts of the collection, with the operator's commands between them.
struct Runner {
    program: Program,
    folder: tempfile::TempDir,
    environment: Value,
}

impl Runner {
    /// Runs the operator's command in the description of a request, if there is one.
    fn operate(&mut self, description: &str) {
        let Some((_, rest)) = description.split_once(OPERATOR_COMMAND) else { return };
        let (command, rest) = rest.split_once('`').unwrap();
        let command = command.replace("{{run}}", &variable(&self.environment, "run"));
        assert!(!command.contains("{{"), "{command}");
        let output = self.program.shell(&format!("\"$VERBATIM\" {command} 2> /dev/null"));
        if let Some((_, name)) = rest.split_once("first line is `{{") {
            let (name, first) = (name.split("}}").next().unwrap(), output.lines().next().unwrap());
            let values = self.environment["values"].as_array_mut().unwrap();
            values.push(json!({"key": name, "value": first}));
        }
    }

    /// Runs these requests with the current variables.
    fn run(&mut self, items: &[Value], whole: &Value) {
        let path = |name: &str| self.folder.path().join(name);
        let part = json!({"info": whole["info"], "variable": whole["variable"], "item": items});
        std::fs::write(path("collection.json"), part.to_string()).unwrap();
        std::fs::write(path("environment.json"), self.environment.to_string()).unwrap();
        let newman = env_var("TEST_NEWMAN")
            .map_or_else(|| root().join("target/newman/node_modules/newman/bin/newman.js"), PathBuf::from);
        let output = Command::new("node")
            .arg(newman)
            .args(["run", "collection.json", "--environment", "environment.json"])
            .args(["--export-environment", "environment.json", "--color", "off"])
            .args(["--timeout", "90000", "--timeout-request", "20000", "--reporter-cli-no-banner"])
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        let printed = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(output.status.success(), "{}", printed.concat());
        self.environment =
            serde_json::from_str(&std::fs::read_to_string(path("environment.json")).unwrap()).unwrap();
    }
}

#[test]
fn every_collection_request_gets_expected_response() {
    let program = Program::start();
    let base = program.address().to_owned();
    let described: Value = serde_json::from_str(&program.shell("curl -fsS $API/openapi.json")).unwrap();
    let environment = json!({"name": "test", "values": [{"key": "base_url", "value": base}]});
    let mut runner = Runner { program, folder: tempfile::tempdir().unwrap(), environment };
    let collection = collection();
    assert_eq!(collection["info"]["name"], "ChatBot API");
    let items = items(&collection);
    let mut rest = items.as_slice();
    while !rest.is_empty() {
        runner.operate(description(&rest[0]));
        let until = rest.iter().skip(1).position(|item| description(item).contains(OPERATOR_COMMAND));
        let (now, later) = rest.split_at(until.map_or(rest.len(), |until| until + 1));
        runner.run(now, &collection);
        rest = later;
    }
    runner.program.stop();

    let requested: BTreeSet<&str> = items.iter().flat_map(|item| description(item).split('`')).collect();
    let paths = described["paths"].as_object().unwrap();
    for (path, methods) in paths {
        for method in methods.as_object().unwrap().keys() {
            let operation = format!("{} {path}", method.to_uppercase());
            assert!(requested.contains(operation.as_str()), "the collection has no request for {operation}");
        }
    }
}

#[test]
fn collection_saves_tokens_and_checks_every_response() {
    let items = items(&collection());
    let scripts = |item: &Value| item["event"].to_string();
    for name in ["Register", "Login"] {
        let item = items.iter().find(|item| item["name"] == name).unwrap();
        assert!(scripts(item).contains("pm.environment.set('access_token', body.access_token);"), "{name}");
    }
    for item in &items {
        assert!(scripts(item).contains("pm.response.to.have.status("), "{}", item["name"]);
    }
}
