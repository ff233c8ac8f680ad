//! Tests every operation of the OpenAPI description with every kind of caller: owner, another user, no token, closed
//! account. An operation without a row here fails the test.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use crate::accounts::grant;
use crate::support::app::{PASSWORD, Person, TestApp};
use crate::support::client::{Answer, Call};

/// Callers that may use an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// Callers without a token too.
    Public,
    /// Every signed-in user, for their own account.
    SignedIn,
    /// The owner of the resource in the path; for other users it does not exist.
    Owner(Resource),
    /// Users with one of these roles; other signed-in users get 403.
    Role(&'static [&'static str]),
    /// Callers with a signed link; tested in `api::files::upload_links`.
    Link,
}

/// The resource that a path's id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resource {
    Session,
    /// A message, preceded by its session.
    Message,
    Reply,
    Quiz,
    File,
    Login,
}

/// An operation: its id, its callers, and a body with which it succeeds for them.
type Row = (&'static str, Access, Option<fn(&Person) -> Value>);

const ADMINS: &[&str] = &["admin"];
const AUDITORS: &[&str] = &["admin", "auditor"];

const ROWS: &[Row] = &[
    ("root", Access::Public, None),
    ("health", Access::Public, None),
    ("livez", Access::Public, None),
    ("readyz", Access::Public, None),
    ("register", Access::Public, Some(|_| json!({"email": "matrix1@mail.example", "password": PASSWORD}))),
    ("login", Access::Public, Some(|person| json!({"username": person.email, "password": PASSWORD}))),
    ("refresh", Access::Public, Some(|person| json!({"refresh_token": person.refresh}))),
    ("sign_up", Access::Public, Some(|_| json!({"email": "matrix2@mail.example", "password": PASSWORD}))),
    ("sign_in", Access::Public, Some(|person| json!({"email": person.email, "password": PASSWORD}))),
    ("auth_me", Access::SignedIn, None),
    ("me", Access::SignedIn, None),
    ("signed_in", Access::SignedIn, None),
    ("logout", Access::SignedIn, None),
    (
        "change_password",
        Access::SignedIn,
        Some(|_| json!({"current_password": PASSWORD, "new_password": "another horse 8"})),
    ),
    ("deactivate", Access::SignedIn, Some(|_| json!({"password": PASSWORD}))),
    (
        "change_username",
        Access::SignedIn,
        Some(|person| json!({"username": format!("{}-x", person.username), "password": PASSWORD})),
    ),
    (
        "change_email",
        Access::SignedIn,
        Some(|person| json!({"email": format!("x{}", person.email), "password": PASSWORD})),
    ),
    ("logins", Access::SignedIn, None),
    ("end_other_logins", Access::SignedIn, None),
    ("end_login", Access::Owner(Resource::Login), None),
    ("models", Access::SignedIn, None),
    ("forgot_password", Access::Public, Some(|person| json!({"email": person.email}))),
    ("admin_users", Access::Role(ADMINS), None),
    ("admin_user", Access::Role(ADMINS), None),
    ("grant_role", Access::Role(ADMINS), Some(|_| json!({"role": "auditor"}))),
    ("admin_deactivate", Access::Role(ADMINS), None),
    ("admin_end_logins", Access::Role(ADMINS), None),
    ("audit_events", Access::Role(AUDITORS), None),
    ("chat", Access::SignedIn, Some(|_| json!({"message": "Hello"}))),
    ("chat_stream", Access::SignedIn, Some(|_| json!({"message": "Hello"}))),
    ("chat_socket_ticket", Access::SignedIn, None),
    ("history", Access::SignedIn, None),
    ("usage", Access::SignedIn, None),
    ("start_quiz", Access::SignedIn, Some(|_| json!({}))),
    ("chatkit", Access::SignedIn, Some(|_| json!({"type": "threads.list", "params": {}}))),
    ("messages", Access::Owner(Resource::Session), None),
    ("change_conversation", Access::Owner(Resource::Session), Some(|_| json!({"title": "Mine"}))),
    ("delete_conversation", Access::Owner(Resource::Session), None),
    ("regenerate", Access::Owner(Resource::Message), None),
    ("edit_message", Access::Owner(Resource::Message), Some(|_| json!({"message": "Goodbye"}))),
    ("branches", Access::Owner(Resource::Session), None),
    ("activate_branch", Access::Owner(Resource::Session), None),
    ("reply", Access::Owner(Resource::Reply), None),
    ("resume_stream", Access::Owner(Resource::Reply), None),
    ("quiz", Access::Owner(Resource::Quiz), None),
    ("file", Access::Owner(Resource::File), None),
    ("delete_file", Access::Owner(Resource::File), None),
    ("fill_file", Access::Link, None),
    ("put_file", Access::Link, None),
    ("file_preview", Access::Link, None),
];

/// Operations that need more than a constant body to succeed; the comments say where success is tested.
const TESTED_ELSEWHERE: &[Row] = &[
    // tests/it/sockets/upgrade.rs: an upgrade.
    ("chat_socket", Access::SignedIn, None),
    // tests/it/api/files: a form with a file.
    ("store_file", Access::SignedIn, None),
    // tests/it/accounts/recovery.rs: a token from a mail.
    ("reset_password", Access::Public, Some(|_| json!({"token": "x", "password": PASSWORD}))),
    // tests/it/api/chat.rs: a reply that has not ended yet.
    ("cancel_reply", Access::Owner(Resource::Reply), None),
    // tests/it/api/quizzes.rs: the open question.
    ("act_on_quiz", Access::Owner(Resource::Quiz), Some(|_| json!({"type": "mcq.next", "question_id": "x"}))),
];

const UNKNOWN: &str = "01960000-0000-7000-8000-000000000001";

/// An operation of the description.
#[derive(Debug, Clone)]
struct Operation {
    id: String,
    method: Method,
    path: String,
}

impl Operation {
    fn call(&self, app: &TestApp, id: &str) -> Call {
        let (id, message) = id.split_once(' ').unwrap_or((id, id));
        let path = self.path.replace("{id}", id).replace("{message_id}", message).replace("{branch}", "0");
        app.call(self.method.clone(), &path)
    }
}

async fn operations(app: &TestApp) -> Vec<Operation> {
    let api = app.get("/openapi.json").send().await.is(200).value();
    let paths = api["paths"].as_object().unwrap();
    let of = |(path, methods): (&String, &Value)| {
        let one = |(method, operation): (&String, &Value)| Operation {
            id: operation["operationId"].as_str().unwrap().to_owned(),
            method: method.to_uppercase().parse().unwrap(),
            path: path.clone(),
        };
        methods.as_object().unwrap().iter().map(one).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of).collect()
}

/// Creates a resource of this user; returns its id.
async fn create(app: &TestApp, person: &Person, resource: Resource) -> String {
    match resource {
        Resource::Session => app.session(person).await,
        Resource::Message => {
            let said = app.say(person, None, "Hello").await;
            format!("{} {}", said["session_id"].as_str().unwrap(), said["user_message_id"].as_str().unwrap())
        }
        Resource::Reply => app.say(person, None, "Hello").await["reply_id"].as_str().unwrap().to_owned(),
        Resource::Quiz => {
            app.post("/api/quizzes").by(person).json(&json!({})).send().await.is(201).field("quiz_id")
        }
        Resource::Login => {
            let logins = app.get("/api/auth/logins").by(person).send().await.is(200).value();
            logins["items"][0]["id"].as_str().unwrap().to_owned()
        }
        Resource::File => {
            let note = [("file", Some("note.txt"), Some("text/plain"), b"a note".as_slice())];
            app.post("/files").by(person).parts(&note).send().await.is(200).field("id")
        }
    }
}

fn with_body(call: Call, body: Option<fn(&Person) -> Value>, person: &Person) -> Call {
    match body {
        Some(body) => call.json(&body(person)),
        None => call,
    }
}

/// Checks the response to a caller without a valid token.
fn assert_unauthenticated(answer: &Answer, what: &str) {
    assert_eq!(answer.status, 401, "{what}: {}", answer.text);
    answer.assert_error(401, "invalid_token");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn every_operation_admits_only_its_callers(db: PgPool) {
    let app = TestApp::start(&db).await;
    let operations = operations(&app).await;
    let ids: BTreeSet<&str> = operations.iter().map(|operation| operation.id.as_str()).collect();
    let rows: BTreeSet<&str> = ROWS.iter().chain(TESTED_ELSEWHERE).map(|(id, ..)| *id).collect();
    assert_eq!(ids, rows, "every operation has a row here, and every row an operation");

    let mut people = BTreeMap::new();
    for role in ["user", "auditor", "admin"] {
        let person = app.person().await;
        grant(&app, &person, role).await;
        people.insert(role, person);
    }
    let (other, gone) = (app.person().await, app.person().await);
    app.post("/api/users/me/deactivate").by(&gone).json(&json!({"password": PASSWORD})).send().await.is(204);
    for (id, who, body) in ROWS.iter().chain(TESTED_ELSEWHERE).copied() {
        let operation = operations.iter().find(|operation| operation.id == id).unwrap();
        let tested_elsewhere = TESTED_ELSEWHERE.iter().any(|(other, ..)| *other == id);
        let owner = app.person().await;
        match who {
            Access::Link => {}
            Access::Role(roles) => {
                for call in [operation.call(&app, UNKNOWN), operation.call(&app, UNKNOWN).by(&gone)] {
                    assert_unauthenticated(&with_body(call, body, &owner).send().await, id);
                }
                let target = owner.id.to_string();
                let events = app.events().await;
                for role in ["user", "auditor", "admin"] {
                    let person = &people[role];
                    let answer =
                        with_body(operation.call(&app, &target).by(person), body, person).send().await;
                    if roles.contains(&role) {
                        assert!(
                            (200..300).contains(&answer.status),
                            "{id}: {} {}",
                            answer.status,
                            answer.text
                        );
                    } else {
                        answer.assert_error(403, "forbidden");
                        assert_eq!(app.events().await, events, "{id}: no event was written");
                    }
                }
            }
            Access::Public if tested_elsewhere => {
                let answer = with_body(operation.call(&app, UNKNOWN), body, &owner).send().await;
                assert!((400..500).contains(&answer.status), "{id}: {} {}", answer.status, answer.text);
            }
            Access::Public => {
                let answer = with_body(operation.call(&app, UNKNOWN), body, &owner).send().await;
                assert!((200..300).contains(&answer.status), "{id}: {} {}", answer.status, answer.text);
            }
            Access::SignedIn => {
                for call in [operation.call(&app, UNKNOWN), operation.call(&app, UNKNOWN).by(&gone)] {
                    assert_unauthenticated(&with_body(call, body, &owner).send().await, id);
                }
                if !tested_elsewhere {
                    let answer =
                        with_body(operation.call(&app, UNKNOWN).by(&owner), body, &owner).send().await;
                    assert!((200..300).contains(&answer.status), "{id}: {} {}", answer.status, answer.text);
                }
            }
            Access::Owner(kind) => {
                let theirs = create(&app, &owner, kind).await;
                let events = app.events().await;
                let ask = async |named: &str, call: fn(Call, &Person) -> Call, person: &Person| {
                    with_body(call(operation.call(&app, named), person), body, person).send().await
                };
                for call in [|call, _: &Person| call, |call: Call, person: &Person| call.by(person)]
                    as [fn(Call, &Person) -> Call; 2]
                {
                    assert_unauthenticated(&ask(&theirs, call, &gone).await, id);
                }
                // Another user's resource looks missing; so do numeric ids, as other systems have them.
                let unknown = ask(UNKNOWN, Call::by, &other).await;
                unknown.assert_error(404, "not_found");
                let foreign = ask(&theirs, Call::by, &other).await;
                assert_eq!(
                    (foreign.status, foreign.without_request_id()),
                    (404, unknown.without_request_id()),
                    "{id}"
                );
                for number in ["1", "42", "0"] {
                    let counted = ask(number, Call::by, &owner).await;
                    assert_eq!(counted.status, 404, "{id} of {number}: {}", counted.text);
                }
                assert_eq!(app.events().await, events, "{id}: no event was written");
                if !tested_elsewhere {
                    let answer = ask(&theirs, Call::by, &owner).await;
                    assert!((200..300).contains(&answer.status), "{id}: {} {}", answer.status, answer.text);
                }
            }
        }
    }
    app.end().await;
}
