//! `verbatim providers`: its report on each key, with advice for the operator.

use std::process::Command;

use crate::support::openai_server::{Act, ERROR_TEXT, KEY, OpenAiServer};

/// Runs `verbatim providers` with only these variables; returns whether it succeeded, and its output.
async fn check(variables: &[(&str, &str)]) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_verbatim"));
    command.arg("providers").env_clear().current_dir(folder.path());
    command.envs(variables.iter().copied());
    let process = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let (output, logged) =
        (String::from_utf8(process.stdout).unwrap(), String::from_utf8_lossy(&process.stderr).into_owned());
    for secret in [KEY, ERROR_TEXT] {
        assert!(!output.contains(secret) && !logged.contains(secret), "{output}{logged}");
    }
    (process.status.success(), output)
}

#[tokio::test(flavor = "multi_thread")]
async fn problem_of_a_key_is_explained() {
    let cases = [
        (Act::reply(&["OK"]), true, "it works; gpt-test-2030-01-01 answered."),
        (Act::error(401, "invalid_api_key"), false, "the key is rejected: check OPENAI_API_KEY."),
        (Act::error(429, "insufficient_quota"), false, "the account has no credit or quota left"),
        (Act::error(429, "rate_limit_exceeded"), false, "the rate limit is exceeded"),
        (Act::error(404, "model_not_found"), false, "the model `gpt-4o-mini` is unknown"),
        (Act::error(503, "overloaded"), false, "the provider failed (status 503)."),
        (Act::Raw { kind: "text/html", parts: vec![] }, false, "check OPENAI_BASE_URL."),
    ];
    for (act, good, expected) in cases {
        let server = OpenAiServer::start([act.clone()]).await;
        let url = server.base_url();
        let (success, output) = check(&[("OPENAI_API_KEY", KEY), ("OPENAI_BASE_URL", &url)]).await;
        assert_eq!(success, good, "{act:?}: {output}");
        assert!(
            output.starts_with("OpenAI Responses API at 127.0.0.1:") && output.contains(expected),
            "{act:?}: {output}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_is_tried_and_missing_keys_are_named() {
    let server = OpenAiServer::start([Act::reply(&["OK"])]).await;
    let url = server.base_url();
    let (success, output) = check(&[
        ("AI_SERVICES__OPEN_ROUTER_API_KEY_1", KEY),
        ("AI_SERVICES__OPEN_ROUTER_API_KEY_2", "another"),
        ("AI_SERVICES__OPEN_ROUTER_BASE_URL", &url),
    ])
    .await;
    let lines: Vec<&str> = output.lines().collect();
    assert!(!success && lines.len() == 2, "{output}");
    assert!(lines[0].contains("key 1: it works"), "{output}");
    assert!(
        lines[1].contains("key 2: the key is rejected: check AI_SERVICES__OPEN_ROUTER_API_KEY_2."),
        "{output}"
    );
    let (success, output) = check(&[]).await;
    assert!(
        success && output.starts_with("No provider has a key") && output.contains("OPENAI_API_KEY"),
        "{output}"
    );
}
