//! Tests the list of a user's logins and how logins are ended.

use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;
use verbatim::schema::MIGRATOR;

use super::{login, me};
use crate::sockets::client::Socket;
use crate::support::app::{PASSWORD, Person, TestApp};
use crate::support::client::Answer;

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

async fn list_logins(app: &TestApp, access: &str) -> Vec<Value> {
    let answer = app.get("/api/auth/logins").bearer(access).send().await.is(200).value();
    answer["items"].as_array().unwrap().clone()
}

async fn end_login(app: &TestApp, access: &str, id: &Value) -> Answer {
    app.delete(&format!("/api/auth/logins/{}", id.as_str().unwrap())).bearer(access).send().await
}

/// Signs the same user in on another device.
async fn sign_in_on_other_device(app: &TestApp, person: &Person) -> Person {
    let answer = login(app, &person.email, PASSWORD).await.is(200);
    Person { access: answer.field("access_token"), refresh: answer.field("refresh_token"), ..person.clone() }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn login_list_shows_device_and_stores_no_user_agent(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let form = [("username", person.email.as_str()), ("password", PASSWORD)];
    for user_agent in [FIREFOX, "curl/8.5.0", "Ada's own <b>program</b>"] {
        app.post("/api/auth/login").header("user-agent", user_agent).form(&form).send().await.is(200);
    }
    app.post("/auth/signin").header("user-agent", FIREFOX).form(&form).send().await.is(200);
    let body = json!({"email": "two@mail.example", "password": PASSWORD});
    let registered = app.post("/api/auth/register").header("user-agent", FIREFOX).json(&body).send().await;
    let other = list_logins(&app, &registered.is(201).field("access_token")).await;
    assert_eq!((other.len(), &other[0]["device"]), (1, &json!("Firefox on Linux")));

    let logins = list_logins(&app, &person.access).await;
    let devices: Vec<&Value> = logins.iter().map(|login| &login["device"]).collect();
    let firefox = json!("Firefox on Linux");
    assert_eq!(devices, [&firefox, &Value::Null, &json!("curl"), &firefox, &Value::Null]);
    let current: Vec<bool> = logins.iter().map(|login| login["current"].as_bool().unwrap()).collect();
    assert_eq!(current, [false, false, false, false, true]);
    for login in &logins {
        let fields: Vec<&String> = login.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["created_at", "current", "device", "id", "last_used_at", "runs_out_at"]);
        for time in ["created_at", "last_used_at", "runs_out_at"] {
            chrono::DateTime::parse_from_rfc3339(login[time].as_str().unwrap()).unwrap();
        }
    }
    // The raw user agent is stored neither in the table nor in the log.
    let stored: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM logins l WHERE to_json(l)::text LIKE '%Mozilla%' OR to_json(l)::text LIKE '%Ada''s%')
             OR EXISTS (SELECT FROM events e WHERE e::text LIKE '%Firefox%')",
    )
    .fetch_one(&db)
    .await
    .unwrap();
    assert!(!stored);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn ending_login_ends_only_its_tokens_and_sockets(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let there = sign_in_on_other_device(&app, &person).await;
    let (mut kept, mut cut) = (Socket::of(&app, &person).await, Socket::of(&app, &there).await);
    let logins = list_logins(&app, &person.access).await;
    let other = logins.iter().find(|login| login["current"] == false).unwrap();
    end_login(&app, &person.access, &other["id"]).await.is(204);

    assert_eq!(cut.closed().await, 4401);
    me(&app, &there.access).await.assert_error(401, "invalid_token");
    let body = json!({"refresh_token": there.refresh});
    app.post("/api/auth/refresh").json(&body).send().await.assert_error(401, "invalid_token");
    kept.is_idle().await;
    me(&app, &person.access).await.is(200);
    assert_eq!(list_logins(&app, &person.access).await.len(), 1);
    end_login(&app, &person.access, &other["id"]).await.assert_error(404, "not_found");

    // Ending the current login is a sign-out.
    end_login(&app, &person.access, &logins.iter().find(|login| login["current"] == true).unwrap()["id"])
        .await
        .is(204);
    assert_eq!(kept.closed().await, 4401);
    me(&app, &person.access).await.assert_error(401, "invalid_token");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn other_users_login_looks_missing(db: PgPool) {
    let app = TestApp::start(&db).await;
    let (person, other) = (app.person().await, app.person().await);
    let theirs = list_logins(&app, &other.access).await[0]["id"].clone();
    let unknown = end_login(&app, &person.access, &json!(Uuid::from_u128(7))).await;
    unknown.assert_error(404, "not_found");
    for id in [&theirs, &json!("not-an-id"), &json!(other.id)] {
        let answer = end_login(&app, &person.access, id).await;
        answer.assert_error(404, "not_found");
        assert_eq!(answer.without_request_id(), unknown.without_request_id());
    }
    me(&app, &other.access).await.is(200);
    app.get("/api/auth/logins").send().await.assert_error(401, "invalid_token");
    app.delete("/api/auth/logins").send().await.assert_error(401, "invalid_token");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn all_other_logins_are_ended_on_every_node(db: PgPool) {
    let app = TestApp::start(&db).await;
    let node = TestApp::with(&db, &[("ROLES", "api")]).await;
    let person = app.person().await;
    let others = [sign_in_on_other_device(&app, &person).await, sign_in_on_other_device(&app, &person).await];
    let mut sockets = [Socket::of(&node, &others[0]).await, Socket::of(&app, &others[1]).await];
    me(&node, &others[0].access).await.is(200);
    app.delete("/api/auth/logins").by(&person).send().await.is(204);
    for socket in &mut sockets {
        assert_eq!(socket.closed().await, 4401);
    }
    for other in &others {
        app.wait_until("the other node rejects the token", async || {
            me(&node, &other.access).await.status == 401
        })
        .await;
        me(&app, &other.access).await.assert_error(401, "invalid_token");
    }
    assert_eq!(list_logins(&app, &person.access).await.len(), 1);
    me(&node, &person.access).await.is(200);
    node.stop(crate::support::app::WAIT_TIMEOUT).await;
    app.end().await;
}
