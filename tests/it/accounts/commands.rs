//! Tests the operator's commands in the embedded form, with and without a running server.

use std::process::Output;

use serde_json::{Value, json};

use crate::kill::client::http;
use crate::kill::process::{Installation, PostgresKind, STEP_TIMEOUT};

fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn admin_grant_works_with_and_without_running_server() {
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

    // There is no administrator, and no account, by default.
    let output = place.run_with(&["admin", "grant", "--email", "admin@mail.example", "--role", "admin"]);
    assert!(
        !output.status.success() && printed(&output).contains("No active account"),
        "{}",
        printed(&output)
    );

    let output = place.run_with(&["admin", "grant", "--email", "Ada@Mail.example", "--role", "admin"]);
    let id = ada["id"].as_str().unwrap();
    assert!(
        output.status.success() && printed(&output).contains(&format!("{id} is admin")),
        "{}",
        printed(&output)
    );
    // The running process honours the role at once.
    assert_eq!(users(&base, &token).await, 200);
    assert!(node.stop().await.success());

    let output = place.run_with(&["admin", "grant", "--email", "eve@mail.example", "--role", "auditor"]);
    assert!(output.status.success() && printed(&output).contains("is auditor"), "{}", printed(&output));
    let output = place.run_with(&["admin", "grant", "--email", "ada@mail.example", "--role", "admin"]);
    assert!(
        output.status.success() && printed(&output).contains("was already admin"),
        "{}",
        printed(&output)
    );
    let output = place.run_with(&["admin", "grant", "--email", "ada@mail.example", "--role", "root"]);
    assert!(
        !output.status.success() && printed(&output).contains("user, auditor or admin"),
        "{}",
        printed(&output)
    );

    // Changes made while the server was stopped are there after a restart.
    let (node, base, _) = place.start(&client, STEP_TIMEOUT).await.unwrap();
    let body = json!({"username": "eve@mail.example", "password": "correct horse 7"});
    let answer = client.post(format!("{base}/api/auth/login")).json(&body).send().await.unwrap();
    let eve: Value = answer.json().await.unwrap();
    assert_eq!(eve["user"]["role"], "auditor");
    let lines = place.log_lines();
    assert!(
        lines.iter().any(|line| line.contains("password-reset mails are not sent")),
        "the log says that mail is not configured"
    );
    for line in lines {
        assert!(!line.contains("@mail.example") && !line.contains("correct horse"), "{line}");
    }
    assert!(node.stop().await.success());
    place.remove().await;
}
