//! Two checks at the doors that no kill is needed for: a token dies with its login, and conversations are their owner's.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::checker::{Findings, Promise, Violation};
use super::client;
use super::driver::{PASSWORD, person};
use super::history::History;
use super::process::{Form, Place, SOON};

/// Looks at a process of its own, with a defect or without.
pub(crate) async fn check(name: &'static str, planted: Option<&'static str>) -> Vec<Violation> {
    let place = Place::new(Form::Server, planted).await;
    let (http, history) = (client::http(), History::new(name));
    let (node, base, _) = place.start(&http, SOON).await.unwrap();
    let (owner, stranger) =
        (person(&history, &http, &base, "owner").await, person(&history, &http, &base, "stranger").await);
    let mut findings = Findings::default();

    let chat = http.post(format!("{base}/api/chat")).bearer_auth(&owner.token);
    let sent = chat.json(&json!({"message": "Mine alone."})).send().await.unwrap();
    let position = sent.headers()["verbatim-position"].clone();
    let sent: Value = sent.json().await.unwrap();
    let history = format!("{base}/api/history/{}", sent["session_id"].as_str().unwrap());
    let look = async |token: &str| {
        let request = http.get(&history).header("verbatim-position", &position).bearer_auth(token);
        request.send().await.unwrap().status()
    };
    assert_eq!(look(&owner.token).await, StatusCode::OK);
    let foreign = look(&stranger.token).await;
    findings.expect(foreign == StatusCode::NOT_FOUND, Promise::Doors, || {
        format!("a stranger's look at a conversation was answered with {foreign}")
    });

    let login = json!({"username": "owner@kill.example", "password": PASSWORD});
    let login = http.post(format!("{base}/api/auth/login")).json(&login).send().await.unwrap();
    let login: Value = login.json().await.unwrap();
    let token = login["access_token"].as_str().unwrap();
    assert_eq!(look(token).await, StatusCode::OK);
    let ended = http.post(format!("{base}/api/auth/logout")).bearer_auth(token).send().await.unwrap();
    assert_eq!(ended.status(), StatusCode::NO_CONTENT);
    let dead = look(token).await;
    findings.expect(dead == StatusCode::UNAUTHORIZED, Promise::Doors, || {
        format!("the token of an ended login was answered with {dead}")
    });
    assert_eq!(look(&owner.token).await, StatusCode::OK, "another login has nothing to do with it");
    assert!(node.stop().await.success());
    place.remove().await;
    findings.done()
}
