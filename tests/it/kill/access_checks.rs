//! Two access checks that need no kill: a token ends with its login, and only its owner can read a conversation.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::checker::{Findings, Guarantee, Violation};
use super::client;
use super::driver::{PASSWORD, register_person};
use super::history::History;
use super::process::{Installation, PostgresKind, STEP_TIMEOUT};

/// Runs the checks against a new process, with an injected fault or without.
pub(crate) async fn check(name: &'static str, fault: Option<&'static str>) -> Vec<Violation> {
    let installation = Installation::new(PostgresKind::Server, fault).await;
    let (http, history) = (client::http(), History::new(name));
    let (node, base, _) = installation.start(&http, STEP_TIMEOUT).await.unwrap();
    let (owner, stranger) = (
        register_person(&history, &http, &base, "owner").await,
        register_person(&history, &http, &base, "stranger").await,
    );
    let mut findings = Findings::default();

    let chat = http.post(format!("{base}/api/chat")).bearer_auth(&owner.token);
    let sent = chat.json(&json!({"message": "Mine alone."})).send().await.unwrap();
    let position = sent.headers()["verbatim-position"].clone();
    let sent: Value = sent.json().await.unwrap();
    let history = format!("{base}/api/history/{}", sent["session_id"].as_str().unwrap());
    let read = async |token: &str| {
        let request = http.get(&history).header("verbatim-position", &position).bearer_auth(token);
        request.send().await.unwrap().status()
    };
    assert_eq!(read(&owner.token).await, StatusCode::OK);
    let foreign = read(&stranger.token).await;
    findings.expect(foreign == StatusCode::NOT_FOUND, Guarantee::AccessControl, || {
        format!("a stranger's read of a conversation was answered with {foreign}")
    });

    let login = json!({"username": "owner@kill.example", "password": PASSWORD});
    let login = http.post(format!("{base}/api/auth/login")).json(&login).send().await.unwrap();
    let login: Value = login.json().await.unwrap();
    let token = login["access_token"].as_str().unwrap();
    assert_eq!(read(token).await, StatusCode::OK);
    let ended = http.post(format!("{base}/api/auth/logout")).bearer_auth(token).send().await.unwrap();
    assert_eq!(ended.status(), StatusCode::NO_CONTENT);
    let dead = read(token).await;
    findings.expect(dead == StatusCode::UNAUTHORIZED, Guarantee::AccessControl, || {
        format!("the token of an ended login was answered with {dead}")
    });
    assert_eq!(read(&owner.token).await, StatusCode::OK, "the first login stays valid");
    assert!(node.stop().await.success());
    installation.remove().await;
    findings.done()
}
