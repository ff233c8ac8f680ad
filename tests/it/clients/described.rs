//! Runs schemathesis: it generates valid and invalid requests from the OpenAPI description, single ones and
//! sequences, and validates every response against the description.
//!
//! `SCHEMATHESIS_EXAMPLES=200 SCHEMATHESIS_SEED=7 cargo nextest run clients::described` generates more requests, from
//! another seed. The folder `schemathesis` has its settings, and hooks that insert ids of existing resources.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;

use super::{in_this_folder, printed, python, run};
use crate::kill::process::{Installation, PostgresKind, STEP_TIMEOUT};
use crate::support::{env_var, root};

/// Default number of requests of each kind for each operation.
const DEFAULT_EXAMPLES: u32 = 25;
/// Default seed; constant, so that the outcome depends only on the code.
const DEFAULT_SEED: u32 = 7;
/// Time limit of a run with the default number of examples.
const RUN_TIMEOUT: Duration = Duration::from_secs(420);
/// Configuration of two users who must not see each other's resources.
const USERS_CONFIG: &str = r#"
[auth.wfc]
path = "${SCHEMATHESIS_USERS}"
user = "owner"
peers = ["owner", "stranger"]
"#;

/// An operation of the description.
struct Operation {
    name: String,
    /// Whether it requires a token.
    requires_token: bool,
    /// Whether it succeeds only with an upgrade, which schemathesis cannot request.
    upgrade: bool,
}

fn operations(description: &Value) -> Vec<Operation> {
    let paths = description["paths"].as_object().unwrap().values();
    paths
        .flat_map(|item| item.as_object().unwrap().values())
        .map(|operation| Operation {
            name: operation["operationId"].as_str().unwrap().to_owned(),
            requires_token: operation.get("security").is_some(),
            upgrade: operation["responses"].get("101").is_some(),
        })
        .collect()
}

/// Returns the response statuses of each operation. Requests at `/chatkit` are listed by type: `chatkit:threads.list`.
fn response_statuses(path: &Path) -> BTreeMap<String, BTreeSet<u16>> {
    let mut statuses: BTreeMap<String, BTreeSet<u16>> = BTreeMap::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let (name, status) = line.split_once(' ').unwrap();
        statuses.entry(name.to_owned()).or_default().insert(status.parse().unwrap());
    }
    statuses
}

/// Returns every type of ChatKit request; `hooks.py` reports them separately.
fn chatkit_request_types() -> BTreeSet<String> {
    let golden = std::fs::read_dir(root().join("tests/it/chatkit/golden/request")).unwrap();
    let read = |path| serde_json::from_slice::<Value>(&std::fs::read(path).unwrap()).unwrap();
    golden.map(|entry| read(entry.unwrap().path())["type"].as_str().unwrap().to_owned()).collect()
}

fn has_succeeded(statuses: &BTreeSet<u16>) -> bool {
    statuses.range(200..300).next().is_some()
}

/// The program's URL and description, two users, and password-reset tokens of other users.
struct Service {
    base: String,
    description: Value,
    /// Ids and access tokens of an administrator and of an ordinary user.
    users: [(String, String); 2],
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
        let users = [register("owner").await, register("stranger").await];
        let command = |arguments: &[&str]| {
            let output = place.run_with(arguments);
            assert!(output.status.success(), "{}", printed(&output));
            String::from_utf8(output.stdout).unwrap().lines().next().unwrap_or_default().to_owned()
        };
        command(&["admin", "grant", "--email", "owner@mail.example", "--role", "admin"]);
        let mut resets = Vec::new();
        for name in ["forgetful", "careless", "hasty"] {
            register(name).await;
            resets.push(command(&["accounts", "reset", "--email", &format!("{name}@mail.example")]));
        }
        Self { description: description.json().await.unwrap(), users, resets, base }
    }

    /// Runs schemathesis on every operation.
    async fn run_schemathesis(&self, folder: &Path, signed_in: bool, seed: u32) {
        let examples = number("SCHEMATHESIS_EXAMPLES").unwrap_or(DEFAULT_EXAMPLES);
        let mut settings = std::fs::read_to_string(in_this_folder("schemathesis/schemathesis.toml")).unwrap();
        if signed_in {
            settings.push_str(USERS_CONFIG);
        }
        let [(owner_id, owner), (stranger_id, stranger)] = &self.users;
        let user = |name: &str, token: &str| json!({"name": name, "fixedHeaders": [{"name": "Authorization", "value": format!("Bearer {token}")}]});
        let users = json!({"auth": [user("owner", owner), user("stranger", stranger)]});
        let path = |name: &str| folder.join(name);
        std::fs::write(path("schemathesis.toml"), settings).unwrap();
        std::fs::write(path("users.json"), users.to_string()).unwrap();
        let timeout = RUN_TIMEOUT * examples.div_ceil(DEFAULT_EXAMPLES);
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
                .env("SCHEMATHESIS_HOOKS", in_this_folder("schemathesis/hooks.py"))
                .env("SCHEMATHESIS_USERS", path("users.json"))
                .env("SCHEMATHESIS_ANSWERED", path("answered"))
                .env("SCHEMATHESIS_API", &self.base)
                .env("SCHEMATHESIS_OWNER", owner)
                .env("SCHEMATHESIS_PROTECTED", format!("{owner_id},{stranger_id}"))
                .env("SCHEMATHESIS_RESETS", self.resets.join(","))
                .env("SCHEMATHESIS_SIGNED_IN", if signed_in { "yes" } else { "no" })
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .current_dir(folder),
            timeout,
        )
        .await;
        assert!(output.status.success(), "SCHEMATHESIS_SEED={seed}\n{}", printed(&output));
    }
}

async fn new_place() -> Installation {
    let mut place = Installation::new(PostgresKind::Server, None).await;
    place.set("SCRIPTED_WORDS_PER_SECOND", "1000".to_owned());
    place
}

fn number(name: &str) -> Option<u32> {
    env_var(name).map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

fn seed() -> u32 {
    number("SCHEMATHESIS_SEED").unwrap_or(DEFAULT_SEED)
}

#[tokio::test]
async fn every_response_matches_openapi_and_operations_succeed() {
    let (seed, place, http) = (seed(), new_place().await, reqwest::Client::new());
    let (node, base, _) = place.start(&http, STEP_TIMEOUT).await.unwrap();
    let service = Service::of(&place, base, &http).await;
    let folder = tempfile::tempdir().unwrap();
    service.run_schemathesis(folder.path(), true, seed).await;

    let answered = response_statuses(&folder.path().join("answered"));
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
    // These need a client tool or a transcription model, which are not available here.
    let refused = ["threads.add_client_tool_output", "input.transcribe"];
    for kind in chatkit_request_types() {
        let Some(statuses) = answered.get(&format!("chatkit:{kind}")) else {
            panic!("{kind} was not requested")
        };
        assert_eq!(has_succeeded(statuses), !refused.contains(&kind.as_str()), "{kind}: {statuses:?}");
    }
    assert!(node.stop().await.success());
    place.remove().await;
}

#[tokio::test]
async fn protected_operations_reject_requests_without_token() {
    let (seed, place, http) = (seed(), new_place().await, reqwest::Client::new());
    let (node, base, _) = place.start(&http, STEP_TIMEOUT).await.unwrap();
    let service = Service::of(&place, base, &http).await;
    let folder = tempfile::tempdir().unwrap();
    service.run_schemathesis(folder.path(), false, seed).await;

    let answered = response_statuses(&folder.path().join("answered"));
    for operation in operations(&service.description) {
        let requests = format!("{}:", operation.name);
        let matching =
            answered.iter().filter(|(name, _)| **name == operation.name || name.starts_with(&requests));
        let statuses: BTreeSet<u16> = matching.flat_map(|(_, statuses)| statuses).copied().collect();
        assert!(!statuses.is_empty(), "{} was not requested", operation.name);
        if operation.requires_token {
            assert!(statuses.contains(&401) && !has_succeeded(&statuses), "{}: {statuses:?}", operation.name);
        }
    }
    assert!(node.stop().await.success());
    place.remove().await;
}
