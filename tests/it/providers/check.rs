//! `verbatim providers`: what it says about each key, in words an operator can act on.

use std::process::Command;

use crate::support::openai_server::{Act, ERROR_TEXT, KEY, OpenAiServer};

/// Runs it with these variables only; gives whether it was content, and what it said.
async fn check(variables: &[(&str, &str)]) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_verbatim"));
    command.arg("providers").env_clear().current_dir(folder.path());
    command.envs(variables.iter().copied());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let (said, logged) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr).into_owned());
    for secret in [KEY, ERROR_TEXT] {
        assert!(!said.contains(secret) && !logged.contains(secret), "{said}{logged}");
    }
    (output.status.success(), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_key_is_said_plainly() {
    let cases = [
        (Act::reply(&["OK"]), true, "it works; gpt-test-2030-01-01 answered."),
        (Act::error(401, "invalid_api_key"), false, "it does not accept the key: look at OPENAI_API_KEY."),
        (Act::error(429, "insufficient_quota"), false, "the account has no credit left"),
        (Act::error(429, "rate_limit_exceeded"), false, "it limits the rate of requests"),
        (Act::error(404, "model_not_found"), false, "does not know the model `gpt-4o-mini`"),
        (Act::error(503, "overloaded"), false, "it fails on its side (status 503)."),
        (Act::Raw { kind: "text/html", parts: vec![] }, false, "look at OPENAI_BASE_URL."),
    ];
    for (act, good, says) in cases {
        let server = OpenAiServer::start([act.clone()]).await;
        let url = server.base_url();
        let (content, said) = check(&[("OPENAI_API_KEY", KEY), ("OPENAI_BASE_URL", &url)]).await;
        assert_eq!(content, good, "{act:?}: {said}");
        assert!(
            said.starts_with("OpenAI Responses API at 127.0.0.1:") && said.contains(says),
            "{act:?}: {said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_is_tried_and_a_missing_one_is_named() {
    let server = OpenAiServer::start([Act::reply(&["OK"])]).await;
    let url = server.base_url();
    let (content, said) = check(&[
        ("AI_SERVICES__OPEN_ROUTER_API_KEY_1", KEY),
        ("AI_SERVICES__OPEN_ROUTER_API_KEY_2", "another"),
        ("AI_SERVICES__OPEN_ROUTER_BASE_URL", &url),
    ])
    .await;
    let lines: Vec<&str> = said.lines().collect();
    assert!(!content && lines.len() == 2, "{said}");
    assert!(lines[0].contains("key 1: it works"), "{said}");
    assert!(
        lines[1].contains("key 2: it does not accept the key: look at AI_SERVICES__OPEN_ROUTER_API_KEY_2."),
        "{said}"
    );
    let (content, said) = check(&[]).await;
    assert!(
        content && said.starts_with("No provider has a key") && said.contains("OPENAI_API_KEY"),
        "{said}"
    );
}
