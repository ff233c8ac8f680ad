//! Every operation of the description against everybody who may ask: its owner, somebody else, nobody, and a person whose
//! account is closed. An operation without a row here fails the test.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::bootstrap::database::MIGRATOR;

use crate::accounts::grant;
use crate::support::app::{PASSWORD, Person, TestApp};
use crate::support::client::{Answer, Call};

/// Who may do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// Whoever asks.
    Everybody,
    /// Whoever is signed in, for himself.
    SignedIn,
    /// The owner of the thing that the path names; to everybody else it does not exist.
    Owner(Thing),
    /// Whoever has one of these roles; others who are signed in are told that they may not.
    Role(&'static [&'static str]),
    /// Whoever has the signed link; tested with the links.
    Link,
}

/// What a path's id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Thing {
    Session,
    /// A message, after the session that it stands in.
    Message,
    Reply,
    Quiz,
    File,
    Login,
}

/// An operation: its id, who may do it, and a body with which it succeeds for them.
type Row = (&'static str, Who, Option<fn(&Person) -> Value>);

const ADMINS: &[&str] = &["admin"];
const AUDITORS: &[&str] = &["admin", "auditor"];

const ROWS: &[Row] = &[
    ("root", Who::Everybody, None),
    ("health", Who::Everybody, None),
    ("livez", Who::Everybody, None),
    ("readyz", Who::Everybody, None),
    ("register", Who::Everybody, Some(|_| json!({"email": "matrix1@mail.example", "password": PASSWORD}))),
    ("login", Who::Everybody, Some(|person| json!({"username": person.email, "password": PASSWORD}))),
    ("refresh", Who::Everybody, Some(|person| json!({"refresh_token": person.refresh}))),
    ("sign_up", Who::Everybody, Some(|_| json!({"email": "matrix2@mail.example", "password": PASSWORD}))),
    ("sign_in", Who::Everybody, Some(|person| json!({"email": person.email, "password": PASSWORD}))),
    ("auth_me", Who::SignedIn, None),
    ("me", Who::SignedIn, None),
    ("signed_in", Who::SignedIn, None),
    ("logout", Who::SignedIn, None),
    (
        "change_password",
        Who::SignedIn,
        Some(|_| json!({"current_password": PASSWORD, "new_password": "another horse 8"})),
    ),
    ("deactivate", Who::SignedIn, Some(|_| json!({"password": PASSWORD}))),
    (
        "change_username",
        Who::SignedIn,
        Some(|person| json!({"username": format!("{}-x", person.username), "password": PASSWORD})),
    ),
    (
        "change_email",
        Who::SignedIn,
        Some(|person| json!({"email": format!("x{}", person.email), "password": PASSWORD})),
    ),
    ("logins", Who::SignedIn, None),
    ("end_other_logins", Who::SignedIn, None),
    ("end_login", Who::Owner(Thing::Login), None),
    ("models", Who::SignedIn, None),
    ("forgot_password", Who::Everybody, Some(|person| json!({"email": person.email}))),
    ("admin_users", Who::Role(ADMINS), None),
    ("admin_user", Who::Role(ADMINS), None),
    ("grant_role", Who::Role(ADMINS), Some(|_| json!({"role": "auditor"}))),
    ("admin_deactivate", Who::Role(ADMINS), None),
    ("admin_end_logins", Who::Role(ADMINS), None),
    ("audit_events", Who::Role(AUDITORS), None),
    ("chat", Who::SignedIn, Some(|_| json!({"message": "Hello"}))),
    ("chat_stream", Who::SignedIn, Some(|_| json!({"message": "Hello"}))),
    ("chat_socket_ticket", Who::SignedIn, None),
    ("history", Who::SignedIn, None),
    ("usage", Who::SignedIn, None),
    ("start_quiz", Who::SignedIn, Some(|_| json!({}))),
    ("chatkit", Who::SignedIn, Some(|_| json!({"type": "threads.list", "params": {}}))),
    ("messages", Who::Owner(Thing::Session), None),
    ("change_conversation", Who::Owner(Thing::Session), Some(|_| json!({"title": "Mine"}))),
    ("delete_conversation", Who::Owner(Thing::Session), None),
    ("regenerate", Who::Owner(Thing::Message), None),
    ("edit_message", Who::Owner(Thing::Message), Some(|_| json!({"message": "Goodbye"}))),
    ("branches", Who::Owner(Thing::Session), None),
    ("activate_branch", Who::Owner(Thing::Session), None),
    ("reply", Who::Owner(Thing::Reply), None),
    ("resume_stream", Who::Owner(Thing::Reply), None),
    ("quiz", Who::Owner(Thing::Quiz), None),
    ("file", Who::Owner(Thing::File), None),
    ("delete_file", Who::Owner(Thing::File), None),
    ("fill_file", Who::Link, None),
    ("put_file", Who::Link, None),
    ("file_preview", Who::Link, None),
];

/// Operations whose success takes more than a body that is known beforehand; the comments say where it is tested.
const ELSEWHERE: &[Row] = &[
    // tests/it/sockets/upgrade.rs: an upgrade.
    ("chat_socket", Who::SignedIn, None),
    // tests/it/api/files: a form with a file.
    ("store_file", Who::SignedIn, None),
    // tests/it/accounts/recovery.rs: a token out of a mail.
    ("reset_password", Who::Everybody, Some(|_| json!({"token": "x", "password": PASSWORD}))),
    // tests/it/api/chat.rs: a reply that has not ended yet.
    ("cancel_reply", Who::Owner(Thing::Reply), None),
    // tests/it/api/quizzes.rs: the question that is open.
    ("act_on_quiz", Who::Owner(Thing::Quiz), Some(|_| json!({"type": "mcq.next", "question_id": "x"}))),
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

/// A new thing of this person's.
async fn thing(app: &TestApp, person: &Person, thing: Thing) -> String {
    match thing {
        Thing::Session => app.session(person).await,
        Thing::Message => {
            let said = app.say(person, None, "Hello").await;
            format!("{} {}", said["session_id"].as_str().unwrap(), said["user_message_id"].as_str().unwrap())
        }
        Thing::Reply => app.say(person, None, "Hello").await["reply_id"].as_str().unwrap().to_owned(),
        Thing::Quiz => {
            app.post("/api/quizzes").by(person).json(&json!({})).send().await.is(201).field("quiz_id")
        }
        Thing::Login => {
            let logins = app.get("/api/auth/logins").by(person).send().await.is(200).value();
            logins["items"][0]["id"].as_str().unwrap().to_owned()
        }
        Thing::File => {
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

/// What everybody is told who is not signed in: one wording.
fn assert_unauthenticated(answer: &Answer, what: &str) {
    assert_eq!(answer.status, 401, "{what}: {}", answer.text);
    answer.assert_error(401, "invalid_token");
}

/// S19, S22.
#[sqlx::test(migrator = "MIGRATOR")]
async fn every_operation_is_closed_to_everybody_but_those_it_is_for(db: PgPool) {
    let app = TestApp::start(&db).await;
    let operations = operations(&app).await;
    let ids: BTreeSet<&str> = operations.iter().map(|operation| operation.id.as_str()).collect();
    let rows: BTreeSet<&str> = ROWS.iter().chain(ELSEWHERE).map(|(id, ..)| *id).collect();
    assert_eq!(ids, rows, "every operation has a row here, and every row an operation");

    let mut people = BTreeMap::new();
    for role in ["user", "auditor", "admin"] {
        let person = app.person().await;
        grant(&app, &person, role).await;
        people.insert(role, person);
    }
    let (other, gone) = (app.person().await, app.person().await);
    app.post("/api/users/me/deactivate").by(&gone).json(&json!({"password": PASSWORD})).send().await.is(204);
    for (id, who, body) in ROWS.iter().chain(ELSEWHERE).copied() {
        let operation = operations.iter().find(|operation| operation.id == id).unwrap();
        let elsewhere = ELSEWHERE.iter().any(|(other, ..)| *other == id);
        let owner = app.person().await;
        match who {
            Who::Link => {}
            Who::Role(roles) => {
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
                        assert_eq!(app.events().await, events, "{id}: nothing came of it");
                    }
                }
            }
            Who::Everybody if elsewhere => {
                let answer = with_body(operation.call(&app, UNKNOWN), body, &owner).send().await;
                assert!((400..500).contains(&answer.status), "{id}: {} {}", answer.status, answer.text);
            }
            Who::Everybody => {
                let answer = with_body(operation.call(&app, UNKNOWN), body, &owner).send().await;
                assert!((200..300).contains(&answer.status), "{id}: {} {}", answer.status, answer.text);
            }
            Who::SignedIn => {
                for call in [operation.call(&app, UNKNOWN), operation.call(&app, UNKNOWN).by(&gone)] {
                    assert_unauthenticated(&with_body(call, body, &owner).send().await, id);
                }
                if !elsewhere {
                    let answer =
                        with_body(operation.call(&app, UNKNOWN).by(&owner), body, &owner).send().await;
                    assert!((200..300).contains(&answer.status), "{id}: {} {}", answer.status, answer.text);
                }
            }
            Who::Owner(kind) => {
                let theirs = thing(&app, &owner, kind).await;
                let events = app.events().await;
                let ask = async |named: &str, call: fn(Call, &Person) -> Call, person: &Person| {
                    with_body(call(operation.call(&app, named), person), body, person).send().await
                };
                for call in [|call, _: &Person| call, |call: Call, person: &Person| call.by(person)]
                    as [fn(Call, &Person) -> Call; 2]
                {
                    assert_unauthenticated(&ask(&theirs, call, &gone).await, id);
                }
                // Somebody else's is answered as what is not there; so are ids as other systems have them.
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
                assert_eq!(app.events().await, events, "{id}: nothing came of it");
                if !elsewhere {
                    let answer = ask(&theirs, Call::by, &owner).await;
                    assert!((200..300).contains(&answer.status), "{id}: {} {}", answer.status, answer.text);
                }
            }
        }
    }
    app.end().await;
}
