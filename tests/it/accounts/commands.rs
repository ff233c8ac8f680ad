//! The commands of whoever runs the service, in the embedded form: beside the process that serves, and without one.

use std::process::Output;

use serde_json::{Value, json};

use crate::kill::client::http;
use crate::kill::process::{Installation, PostgresKind, STEP_TIMEOUT};

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_administrator_is_made_while_it_runs_and_while_it_does_not() {
    let place = Installation::new(PostgresKind::Embedded, None).await;
    let client = http();
    let (node, base, _) = place.start(&client, STEP_TIMEOUT).await.unwrap();
    let register = async |email: &str| -> Value {
        let body = json!({"email": email, "password": "correct horse 7"});
        let answer = client.post(format!("{base}/api/auth/register")).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 201);
        answer.json().await.unwrap()
    };
    let ada = register("ada@mail.example").await;
    register("eve@mail.example").await;
    let users = async |base: &str, token: &str| {
        let url = format!("{base}/api/admin/users");
        client.get(url).bearer_auth(token).send().await.unwrap().status().as_u16()
    };
    let token = ada["access_token"].as_str().unwrap().to_owned();
    assert_eq!(users(&base, &token).await, 403);

    // S18: nobody is an administrator, or has an account, by default.
    let output = place.run_with(&["admin", "grant", "--email", "admin@mail.example", "--role", "admin"]);
    assert!(!output.status.success() && said(&output).contains("no open account"), "{}", said(&output));

    let output = place.run_with(&["admin", "grant", "--email", "Ada@Mail.example", "--role", "admin"]);
    let id = ada["id"].as_str().unwrap();
    assert!(
        output.status.success() && said(&output).contains(&format!("{id} is admin")),
        "{}",
        said(&output)
    );
    // The running process counts it at once.
    assert_eq!(users(&base, &token).await, 200);
    assert!(node.stop().await.success());

    let output = place.run_with(&["admin", "grant", "--email", "eve@mail.example", "--role", "auditor"]);
    assert!(output.status.success() && said(&output).contains("is auditor"), "{}", said(&output));
    let output = place.run_with(&["admin", "grant", "--email", "ada@mail.example", "--role", "admin"]);
    assert!(output.status.success() && said(&output).contains("was already admin"), "{}", said(&output));
    let output = place.run_with(&["admin", "grant", "--email", "ada@mail.example", "--role", "root"]);
    assert!(
        !output.status.success() && said(&output).contains("user, auditor or admin"),
        "{}",
        said(&output)
    );

    // What was done without it is there when it comes back.
    let (node, base, _) = place.start(&client, STEP_TIMEOUT).await.unwrap();
    let body = json!({"username": "eve@mail.example", "password": "correct horse 7"});
    let answer = client.post(format!("{base}/api/auth/login")).json(&body).send().await.unwrap();
    let eve: Value = answer.json().await.unwrap();
    assert_eq!(eve["user"]["role"], "auditor");
    let lines = place.log_lines();
    assert!(
        lines.iter().any(|line| line.contains("nobody is sent a password reset")),
        "it says that mail is missing"
    );
    for line in lines {
        assert!(!line.contains("@mail.example") && !line.contains("correct horse"), "{line}");
    }
    assert!(node.stop().await.success());
    place.remove().await;
}
