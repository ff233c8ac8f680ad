//! Tests roles and the operations that only administrators and auditors may use.

use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;
use verbatim::schema::MIGRATOR;

use super::{grant, login, me, program_on_database_of, user_events};
use crate::sockets::client::Socket;
use crate::support::app::{PASSWORD, Person, TestApp, WAIT_TIMEOUT};
use crate::support::client::{Answer, Call};

/// Returns every restricted operation about this user, and whether auditors may use it.
fn operations(app: &TestApp, about: &Person) -> Vec<(Call, bool)> {
    let id = about.id;
    vec![
        (app.get("/api/admin/users"), false),
        (app.get(&format!("/api/admin/users/{id}")), false),
        (app.put(&format!("/api/admin/users/{id}/role")).json(&json!({"role": "admin"})), false),
        (app.post(&format!("/api/admin/users/{id}/deactivate")), false),
        (app.post(&format!("/api/admin/users/{id}/logins/end")), false),
        (app.get("/api/audit/events"), true),
    ]
}

async fn role(app: &TestApp, by: &Person, of: &Person, role: &str) -> Answer {
    app.put(&format!("/api/admin/users/{}/role", of.id)).by(by).json(&json!({"role": role})).send().await
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn admin_and_audit_routes_require_their_roles(db: PgPool) {
    let app = TestApp::start(&db).await;
    let (user, auditor, about) = (app.person().await, app.person().await, app.person().await);
    grant(&app, &auditor, "auditor").await;
    let events = app.events().await;
    for (call, _) in operations(&app, &about) {
        call.send().await.assert_error(401, "invalid_token");
    }
    for (call, _) in operations(&app, &about) {
        call.by(&user).send().await.assert_error(403, "forbidden");
    }
    for (call, for_auditors) in operations(&app, &about) {
        let answer = call.by(&auditor).send().await;
        if for_auditors { drop(answer.is(200)) } else { answer.assert_error(403, "forbidden") }
    }
    // The response does not reveal whether a user exists either.
    app.get(&format!("/api/admin/users/{}", Uuid::from_u128(7)))
        .by(&user)
        .send()
        .await
        .assert_error(403, "forbidden");
    assert_eq!(app.events().await, events);
    me(&app, &about.access).await.is(200);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn role_change_takes_effect_at_once_on_every_node(db: PgPool) {
    let app = TestApp::start(&db).await;
    let node = TestApp::with(&db, &[("ROLES", "api")]).await;
    let (first, person) = (app.person().await, app.person().await);
    let list = async |through: &TestApp| through.get("/api/admin/users").by(&person).send().await.status;
    assert_eq!((list(&app).await, list(&node).await), (403, 403));
    grant(&app, &first, "admin").await;
    let granted = role(&app, &first, &person, "admin").await.is(200);
    assert_eq!(granted.field("role"), "admin");
    // Effective at once, with the token issued before the grant.
    assert_eq!((list(&node).await, list(&app).await), (200, 200));
    assert_eq!(me(&app, &person.access).await.field("role"), "admin");
    role(&node, &first, &person, "user").await.is(200);
    assert_eq!((list(&app).await, list(&node).await), (403, 403));
    let events = user_events(&app, &person).await;
    let by = json!(first.id);
    assert_eq!(
        events.iter().map(|(kind, event)| (kind.as_str(), &event["role"], &event["by"])).collect::<Vec<_>>(),
        [("role_granted", &json!("admin"), &by), ("role_granted", &json!("user"), &by)]
    );
    // The first administrator was appointed with the command.
    assert_eq!(user_events(&app, &first).await[0].1["by"], Value::Null);
    node.stop(WAIT_TIMEOUT).await;
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn users_are_listed_in_pages_and_shown(db: PgPool) {
    let app = TestApp::start(&db).await;
    let admin = app.person().await;
    grant(&app, &admin, "admin").await;
    let mut people = vec![admin.clone()];
    for _ in 0..4 {
        people.push(app.person().await);
    }
    login(&app, &people[2].email, PASSWORD).await.is(200);
    let page = async |query: &str| -> Value {
        app.get(&format!("/api/admin/users{query}")).by(&admin).send().await.is(200).value()
    };
    let all = page("").await;
    assert_eq!(
        (all["items"].as_array().unwrap().len(), &all["has_more"], &all["after"]),
        (5, &json!(false), &Value::Null)
    );
    let mut seen = Vec::new();
    let mut query = "?limit=2".to_owned();
    loop {
        let part = page(&query).await;
        seen.extend(part["items"].as_array().unwrap().clone());
        if part["has_more"] == false {
            break;
        }
        query = format!("?limit=2&after={}", part["after"].as_str().unwrap());
    }
    assert_eq!(json!(seen), all["items"]);
    for person in &people {
        let item = seen.iter().find(|item| item["id"] == json!(person.id)).unwrap();
        assert_eq!((&item["email"], &item["username"]), (&json!(person.email), &json!(person.username)));
    }
    let one = app.get(&format!("/api/admin/users/{}", people[2].id)).by(&admin).send().await.is(200).value();
    assert_eq!(
        (&one["live_logins"], &one["role"], &one["is_active"]),
        (&json!(2), &json!("user"), &json!(true))
    );
    assert!(!one.to_string().contains("argon2"), "{one}");

    for (query, status, code) in [
        ("?limit=0", 400, "out_of_range"),
        ("?limit=101", 400, "out_of_range"),
        ("?limit=x", 422, "malformed_request"),
        ("?after=x", 422, "malformed_request"),
    ] {
        app.get(&format!("/api/admin/users{query}")).by(&admin).send().await.assert_error(status, code);
    }
    for id in [Uuid::from_u128(7).to_string(), "x".to_owned()] {
        app.get(&format!("/api/admin/users/{id}")).by(&admin).send().await.assert_error(404, "not_found");
    }
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn administrator_can_end_logins_and_close_accounts(db: PgPool) {
    let app = TestApp::start(&db).await;
    let (admin, person, other) = (app.person().await, app.person().await, app.person().await);
    grant(&app, &admin, "admin").await;
    let mut socket = Socket::of(&app, &person).await;
    let end = |id: Uuid| app.post(&format!("/api/admin/users/{id}/logins/end")).by(&admin).send();
    end(person.id).await.is(204);
    assert_eq!(socket.closed().await, 4401);
    me(&app, &person.access).await.assert_error(401, "invalid_token");
    // Only the logins ended; the user can sign in again.
    login(&app, &person.email, PASSWORD).await.is(200);
    end(Uuid::from_u128(7)).await.assert_error(404, "not_found");

    let close = |id: Uuid| app.post(&format!("/api/admin/users/{id}/deactivate")).by(&admin).send();
    assert!(close(person.id).await.is(204).position() > 0);
    login(&app, &person.email, PASSWORD).await.assert_error(401, "invalid_credentials");
    close(person.id).await.is(204);
    close(Uuid::from_u128(7)).await.assert_error(404, "not_found");
    role(&app, &admin, &person, "auditor").await.assert_error(404, "not_found");
    me(&app, &other.access).await.is(200);
    let actor: Vec<String> = sqlx::query_scalar(
        "SELECT metadata ->> 'actor' FROM events WHERE event_type = 'user_deactivated' AND aggregate_id = $1",
    )
    .bind(person.id.to_string())
    .fetch_all(&db)
    .await
    .unwrap();
    assert_eq!(actor, [admin.id.to_string()]);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn last_administrator_cannot_lose_role(db: PgPool) {
    let app = TestApp::start(&db).await;
    let (admin, other) = (app.person().await, app.person().await);
    grant(&app, &admin, "admin").await;
    let assert_last_administrator = |answer: Answer| answer.assert_error(409, "last_administrator");
    assert_last_administrator(role(&app, &admin, &admin, "user").await);
    assert_last_administrator(role(&app, &admin, &admin, "auditor").await);
    assert_last_administrator(
        app.post(&format!("/api/admin/users/{}/deactivate", admin.id)).by(&admin).send().await,
    );
    let close =
        || app.post("/api/users/me/deactivate").by(&admin).json(&json!({"password": PASSWORD})).send();
    assert_last_administrator(close().await);
    let mut command = program_on_database_of(&app);
    let output =
        command.args(["admin", "grant", "--email", &admin.email, "--role", "user"]).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("last administrator"), "{said}");
    // Another process appointed the administrator.
    app.wait_for_projections().await;
    assert_eq!(me(&app, &admin.access).await.field("role"), "admin");

    role(&app, &admin, &other, "admin").await.is(200);
    role(&app, &admin, &admin, "user").await.is(200);
    app.get("/api/admin/users").by(&admin).send().await.assert_error(403, "forbidden");
    // A former administrator may close the account.
    close().await.is(204);
    for wrong in ["root", "Admin", ""] {
        role(&app, &other, &other, wrong).await.assert_error(400, "unknown_role");
    }
    app.end().await;
}

/// Two administrators revoke each other's role concurrently: one of them keeps it.
#[sqlx::test(migrator = "MIGRATOR")]
async fn mutual_demotion_leaves_one_administrator(db: PgPool) {
    let app = TestApp::start(&db).await;
    let node = TestApp::with(&db, &[("ROLES", "api")]).await;
    let (one, two) = (app.person().await, app.person().await);
    grant(&app, &one, "admin").await;
    for _ in 0..5 {
        role(&app, &one, &two, "admin").await.is(200);
        let (first, second) = tokio::join!(role(&app, &one, &two, "user"), role(&node, &two, &one, "user"));
        let mut statuses = [first.status, second.status];
        statuses.sort_unstable();
        // The loser is the last administrator, or was deposed before its request.
        assert!(statuses == [200, 403] || statuses == [200, 409], "{statuses:?}");
        let admins: Vec<Uuid> =
            sqlx::query_scalar("SELECT user_id FROM administrators").fetch_all(&db).await.unwrap();
        assert_eq!(admins.len(), 1);
        if admins[0] == two.id {
            role(&app, &two, &one, "admin").await.is(200);
            role(&app, &one, &two, "user").await.is(200);
        }
    }
    node.stop(WAIT_TIMEOUT).await;
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn repeated_role_grant_writes_one_event(db: PgPool) {
    let app = TestApp::start(&db).await;
    let (admin, person) = (app.person().await, app.person().await);
    grant(&app, &admin, "admin").await;
    // The command repeated, as by a script that runs twice.
    grant(&app, &admin, "admin").await;
    assert_eq!(user_events(&app, &admin).await.len(), 1);
    let give = |role: &str| {
        app.put(&format!("/api/admin/users/{}/role", person.id))
            .by(&admin)
            .key("grant-1")
            .json(&json!({"role": role}))
            .send()
    };
    let first = give("auditor").await.is(200);
    let again = give("auditor").await.is(200);
    assert_eq!((first.value(), first.position()), (again.value(), again.position()));
    give("admin").await.assert_error(422, "idempotency_key_reused");
    assert_eq!(user_events(&app, &person).await.len(), 1);
    app.end().await;
}
