//! Tests the security events in the program's log, and that even at level `trace` the log contains no name, password
//! or token.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::mail_server::MailServer;
use crate::kill::client::http;
use crate::kill::process::{Installation, PostgresKind, STEP_TIMEOUT, within};

const PASSWORD: &str = "canary horse 7";
const NEW_PASSWORD: &str = "canary staple 8";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn security_log_names_every_event_and_leaks_no_secret() {
    let server = MailServer::with(json!({"user": "canary-user", "password": "canary-smtp"})).await;
    let mut place = Installation::new(PostgresKind::Server, None).await;
    place.set("LOG_LEVEL", "trace".to_owned());
    place.set("SMTP_URL", server.url("smtp", "canary-user:canary-smtp@"));
    place.set("MAIL_FROM", "chat@verbatim.example".to_owned());
    place.set("LOCKOUT_FAILURES", "3".to_owned());
    let client = http();
    let (node, base, _) = place.start(&client, STEP_TIMEOUT).await.unwrap();
    let call = async |method: &str, path: &str, token: Option<&str>, body: Value| -> (u16, Value) {
        let mut request = client.request(method.parse().unwrap(), format!("{base}{path}"));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    };
    let register = async |name: &str| -> Value {
        let body = json!({"email": format!("{name}@mail.example"), "username": name, "password": PASSWORD});
        call("POST", "/api/auth/register", None, body).await.1
    };
    let text = |value: &Value, field: &str| value[field].as_str().unwrap().to_owned();

    let ada = register("canary-ada").await;
    let eve = register("canary-eve").await;
    let (access, refresh) = (text(&ada, "access_token"), text(&ada, "refresh_token"));
    // A copied refresh token.
    let first = call("POST", "/api/auth/refresh", None, json!({"refresh_token": refresh})).await.1;
    let second = json!({"refresh_token": first["refresh_token"]});
    assert_eq!(call("POST", "/api/auth/refresh", None, second).await.0, 200);
    assert_eq!(call("POST", "/api/auth/refresh", None, json!({"refresh_token": refresh})).await.0, 401);
    // Wrong passwords up to the lockout, for an existing and for an unknown account.
    for email in ["canary-ada@mail.example", "canary-nobody@mail.example"] {
        let body = json!({"username": email, "password": "canary wrong 1"});
        for _ in 0..3 {
            assert_eq!(call("POST", "/api/auth/login", None, body.clone()).await.0, 401);
        }
        assert_eq!(call("POST", "/api/auth/login", None, body).await.0, 429);
    }
    // A reset.
    let body = json!({"email": "canary-ada@mail.example"});
    assert_eq!(call("POST", "/api/auth/password/forgot", None, body).await.0, 202);
    assert!(within(STEP_TIMEOUT, async || server.mails().len() == 1).await);
    let token = server.mails()[0].token();
    let body = json!({"token": token, "password": NEW_PASSWORD});
    assert_eq!(call("POST", "/api/auth/password/reset", None, body).await.0, 204);
    let body = json!({"username": "canary-ada", "password": NEW_PASSWORD});
    let ada = call("POST", "/api/auth/login", None, body).await.1;
    let ada_token = text(&ada, "access_token");
    // Changes with a correct and with a wrong password.
    let body = json!({"email": "canary-new@mail.example", "password": "canary wrong 1"});
    assert_eq!(call("PUT", "/api/users/me/email", Some(&ada_token), body).await.0, 403);
    let body = json!({"email": "canary-new@mail.example", "password": NEW_PASSWORD});
    assert_eq!(call("PUT", "/api/users/me/email", Some(&ada_token), body).await.0, 200);
    let body = json!({"current_password": NEW_PASSWORD, "new_password": PASSWORD});
    assert_eq!(call("POST", "/api/auth/password", Some(&ada_token), body).await.0, 204);
    // Roles.
    assert_eq!(call("GET", "/api/audit/events", Some(&ada_token), Value::Null).await.0, 403);
    let granted =
        place.run_with(&["admin", "grant", "--email", "canary-new@mail.example", "--role", "admin"]);
    assert!(granted.status.success());
    assert_eq!(call("GET", "/api/audit/events", Some(&ada_token), Value::Null).await.0, 200);
    let user = format!("/api/admin/users/{}", text(&eve, "id"));
    for (method, path, body) in [
        ("PUT", "role", json!({"role": "auditor"})),
        ("POST", "logins/end", Value::Null),
        ("POST", "deactivate", Value::Null),
    ] {
        let (status, answer) = call(method, &format!("{user}/{path}"), Some(&ada_token), body).await;
        assert!(status < 300, "{answer}");
    }
    assert!(node.stop().await.success());

    let mut said = place.log_lines();
    said.extend(String::from_utf8(granted.stderr).unwrap().lines().map(str::to_owned));
    let secrets = [
        "canary",
        access.as_str(),
        refresh.as_str(),
        token.as_str(),
        ada_token.as_str(),
        "we received a request to reset",
    ];
    for line in &said {
        let lower_case = line.to_lowercase();
        for secret in secrets {
            assert!(!lower_case.contains(&secret.to_lowercase()), "{line}");
        }
    }
    let lines: Vec<Value> = said
        .iter()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|line: &Value| line["target"] == "security")
        .collect();
    let events: BTreeSet<&str> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    let expected = [
        "access_denied",
        "account_closed",
        "email_changed",
        "log_read",
        "logins_ended",
        "password_changed",
        "password_reset",
        "reauthentication_failed",
        "refresh_token_reused",
        "reset_issued",
        "role_granted",
        "sign_in_failed",
        "sign_ins_locked",
    ];
    assert_eq!(events, expected.into());
    // Lines about one account carry the same pseudonym; existing and unknown accounts look the same.
    let accounts: Vec<&str> = lines
        .iter()
        .filter(|line| line["event"] == "sign_in_failed")
        .map(|line| line["account"].as_str().unwrap())
        .collect();
    assert_eq!(accounts.len(), 6);
    assert_eq!(accounts.iter().collect::<BTreeSet<_>>().len(), 2);
    assert!(accounts.iter().all(|account| account.len() == "email:".len() + 16), "{accounts:?}");
    place.remove().await;
}
