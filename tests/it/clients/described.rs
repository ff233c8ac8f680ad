//! Schemathesis: requests are made out of the API's description, right ones and wrong ones, one by one and in walks, and every
//! answer is held against it.
//!
//! `SCHEMATHESIS_EXAMPLES=200 SCHEMATHESIS_SEED=7 cargo nextest run clients::described` looks longer and elsewhere: the seed makes
//! the choices. What it is told about this API stands in `schemathesis`: settings, and ids of things that are there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;

use super::{here, python, run, said};
use crate::kill::process::{Installation, PostgresKind, STEP_TIMEOUT};
use crate::support::{env_var, root};

/// How many requests of each kind are made for each operation.
const EXAMPLES: u32 = 25;
/// What makes the choices when nobody says otherwise: always the same, so that the outcome depends on the code alone.
const SEED: u32 = 7;
/// How long a run may take at that count.
const BOUND: Duration = Duration::from_secs(420);
/// The two people who must not see each other's things.
const PEOPLE: &str = r#"
[auth.wfc]
path = "${SCHEMATHESIS_USERS}"
user = "owner"
peers = ["owner", "stranger"]
"#;

/// An operation of the description.
struct Operation {
    name: String,
    /// Whether one has to be signed in.
    closed: bool,
    /// Whether it succeeds by an upgrade, which this tool cannot ask for.
    upgrade: bool,
}

fn operations(description: &Value) -> Vec<Operation> {
    let paths = description["paths"].as_object().unwrap().values();
    paths
        .flat_map(|item| item.as_object().unwrap().values())
        .map(|operation| Operation {
            name: operation["operationId"].as_str().unwrap().to_owned(),
            closed: operation.get("security").is_some(),
            upgrade: operation["responses"].get("101").is_some(),
        })
        .collect()
}

/// Each operation with the statuses it was answered with. Requests at `/chatkit` are told apart: `chatkit:threads.list`.
fn answered(path: &Path) -> BTreeMap<String, BTreeSet<u16>> {
    let mut answered: BTreeMap<String, BTreeSet<u16>> = BTreeMap::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let (name, status) = line.split_once(' ').unwrap();
        answered.entry(name.to_owned()).or_default().insert(status.parse().unwrap());
    }
    answered
}

/// Every `type` that a request of ChatKit may have, each of which `hooks.py` tells apart.
fn requests_of_chatkit() -> BTreeSet<String> {
    let golden = std::fs::read_dir(root().join("tests/it/chatkit/golden/request")).unwrap();
    let read = |path| serde_json::from_slice::<Value>(&std::fs::read(path).unwrap()).unwrap();
    golden.map(|entry| read(entry.unwrap().path())["type"].as_str().unwrap().to_owned()).collect()
}

fn has_succeeded(statuses: &BTreeSet<u16>) -> bool {
    statuses.range(200..300).next().is_some()
}

/// The program, its description, two people, and tokens with which others may replace their passwords.
struct Service {
    base: String,
    description: Value,
    /// Ids and access tokens: of an administrator, and of somebody.
    people: [(String, String); 2],
    resets: Vec<String>,
}

impl Service {
    async fn of(place: &Installation, base: String, http: &reqwest::Client) -> Self {
        let description = http.get(format!("{base}/openapi.json")).send().await.unwrap();
        let register = async |name: &str| {
            let account = json!({"email": format!("{name}@mail.example"), "password": "correct horse 1"});
            let made = http.post(format!("{base}/api/auth/register")).json(&account).send().await.unwrap();
            let made: Value = made.json().await.unwrap();
            let field = |name: &str| made[name].as_str().unwrap().to_owned();
            (field("id"), field("access_token"))
        };
        let people = [register("owner").await, register("stranger").await];
        let command = |arguments: &[&str]| {
            let output = place.run_with(arguments);
            assert!(output.status.success(), "{}", said(&output));
            String::from_utf8(output.stdout).unwrap().lines().next().unwrap_or_default().to_owned()
        };
        command(&["admin", "grant", "--email", "owner@mail.example", "--role", "admin"]);
        let mut resets = Vec::new();
        for name in ["forgetful", "careless", "hasty"] {
            register(name).await;
            resets.push(command(&["accounts", "reset", "--email", &format!("{name}@mail.example")]));
        }
        Self { description: description.json().await.unwrap(), people, resets, base }
    }

    /// Lets the tool look at all of it.
    async fn look(&self, folder: &Path, signed_in: bool, seed: u32) {
        let examples = number("SCHEMATHESIS_EXAMPLES").unwrap_or(EXAMPLES);
        let mut settings = std::fs::read_to_string(here("schemathesis/schemathesis.toml")).unwrap();
        if signed_in {
            settings.push_str(PEOPLE);
        }
        let [(owner_id, owner), (stranger_id, stranger)] = &self.people;
        let user = |name: &str, token: &str| json!({"name": name, "fixedHeaders": [{"name": "Authorization", "value": format!("Bearer {token}")}]});
        let users = json!({"auth": [user("owner", owner), user("stranger", stranger)]});
        let path = |name: &str| folder.join(name);
        std::fs::write(path("schemathesis.toml"), settings).unwrap();
        std::fs::write(path("users.json"), users.to_string()).unwrap();
        let bound = BOUND * examples.div_ceil(EXAMPLES);
        let output = run(
            Command::new(python())
                .args(["-m", "schemathesis.cli"])
                .arg("--config-file")
                .arg(path("schemathesis.toml"))
                .arg("run")
                .arg(format!("{}/openapi.json", self.base))
                .args([
                    "--phases",
                    "examples,coverage,fuzzing,stateful",
                    "--mode",
                    "all",
                    "--checks",
                    "all",
                    "--no-color",
                    "--workers",
                    "1",
                ])
                .args(["--max-examples", &examples.to_string(), "--seed", &seed.to_string()])
                .env("SCHEMATHESIS_HOOKS", here("schemathesis/hooks.py"))
                .env("SCHEMATHESIS_USERS", path("users.json"))
                .env("SCHEMATHESIS_ANSWERED", path("answered"))
                .env("SCHEMATHESIS_API", &self.base)
                .env("SCHEMATHESIS_OWNER", owner)
                .env("SCHEMATHESIS_CARRIERS", format!("{owner_id},{stranger_id}"))
                .env("SCHEMATHESIS_RESETS", self.resets.join(","))
                .env("SCHEMATHESIS_SIGNED_IN", if signed_in { "yes" } else { "no" })
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .current_dir(folder),
            bound,
        )
        .await;
        assert!(output.status.success(), "SCHEMATHESIS_SEED={seed}\n{}", said(&output));
    }
}

async fn place() -> Installation {
    let mut place = Installation::new(PostgresKind::Server, None).await;
    place.set("SCRIPTED_WORDS_PER_SECOND", "1000".to_owned());
    place
}

fn number(name: &str) -> Option<u32> {
    env_var(name).map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

fn seed() -> u32 {
    number("SCHEMATHESIS_SEED").unwrap_or(SEED)
}

#[tokio::test]
async fn every_answer_is_as_described_and_every_operation_succeeds() {
    let (seed, place, http) = (seed(), place().await, reqwest::Client::new());
    let (node, base, _) = place.start(&http, STEP_TIMEOUT).await.unwrap();
    let service = Service::of(&place, base, &http).await;
    let folder = tempfile::tempdir().unwrap();
    service.look(folder.path(), true, seed).await;

    let answered = answered(&folder.path().join("answered"));
    for operation in operations(&service.description) {
        if operation.upgrade {
            continue;
        }
        let requests = format!("{}:", operation.name);
        let has_succeeded = answered.iter().any(|(name, statuses)| {
            (*name == operation.name || name.starts_with(&requests)) && has_succeeded(statuses)
        });
        assert!(has_succeeded, "{} never succeeded: {answered:?}", operation.name);
    }
    // What waits for a tool of the page, or for an ear, finds neither here.
    let refused = ["threads.add_client_tool_output", "input.transcribe"];
    for kind in requests_of_chatkit() {
        let Some(statuses) = answered.get(&format!("chatkit:{kind}")) else { panic!("{kind} was not asked") };
        assert_eq!(has_succeeded(statuses), !refused.contains(&kind.as_str()), "{kind}: {statuses:?}");
    }
    assert!(node.stop().await.success());
    place.remove().await;
}

#[tokio::test]
async fn nothing_that_is_closed_opens_without_a_token() {
    let (seed, place, http) = (seed(), place().await, reqwest::Client::new());
    let (node, base, _) = place.start(&http, STEP_TIMEOUT).await.unwrap();
    let service = Service::of(&place, base, &http).await;
    let folder = tempfile::tempdir().unwrap();
    service.look(folder.path(), false, seed).await;

    let answered = answered(&folder.path().join("answered"));
    for operation in operations(&service.description) {
        let requests = format!("{}:", operation.name);
        let of_it =
            answered.iter().filter(|(name, _)| **name == operation.name || name.starts_with(&requests));
        let statuses: BTreeSet<u16> = of_it.flat_map(|(_, statuses)| statuses).copied().collect();
        assert!(!statuses.is_empty(), "{} was not asked", operation.name);
        if operation.closed {
            assert!(statuses.contains(&401) && !has_succeeded(&statuses), "{}: {statuses:?}", operation.name);
        }
    }
    assert!(node.stop().await.success());
    place.remove().await;
}
