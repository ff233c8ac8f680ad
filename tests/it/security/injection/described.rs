//! Every parameter and every text of a body that the description has.

use reqwest::Method;
use serde_json::{Map, Value, json};
use sqlx::PgPool;
use verbatim::bootstrap::database::MIGRATOR;

use super::{ask, ask_all, coded, payloads};
use crate::accounts::grant;
use crate::support::app::{PASSWORD, Person, TestApp};

/// Ids of things that there are, by the beginnings of the paths that name them.
type Ids = Vec<(&'static str, String)>;

async fn ids(app: &TestApp, person: &Person) -> Ids {
    let said = app.say(person, None, "Hello").await;
    let text = |name: &str| said[name].as_str().unwrap().to_owned();
    let quiz = app.post("/api/quizzes").by(person).json(&json!({})).send().await.is(201).value();
    let quiz = |name: &str| quiz.pointer(name).and_then(Value::as_str).unwrap().to_owned();
    let note = [("file", Some("note.txt"), Some("text/plain"), b"a note".as_slice())];
    let file = app.post("/files").by(person).parts(&note).send().await.is(200).field("id");
    let logins = app.get("/api/auth/logins").by(person).send().await.is(200).value();
    vec![
        ("/api/history/{id}/messages/{message_id}", text("user_message_id")),
        ("/api/history/{id}", text("session_id")),
        ("/api/replies/{id}", text("reply_id")),
        ("/api/chat/stream/{id}", text("reply_id")),
        ("/api/quizzes/{id}", quiz("/quiz_id")),
        ("question_id", quiz("/question/id")),
        ("/files/{id}", file),
        ("/api/auth/logins/{id}", logins["items"][0]["id"].as_str().unwrap().to_owned()),
        ("/api/admin/users/{id}", app.person().await.id.to_string()),
    ]
}

/// The address of an operation with ids that there are, but for the parameter `name`, which is `text`.
fn address(path: &str, ids: &Ids, name: &str, text: &str) -> String {
    let mut address = path.to_owned();
    while let Some((before, rest)) = address.split_once('{') {
        let (parameter, after) = rest.split_once('}').unwrap();
        let value = match (parameter == name, parameter) {
            (true, _) => text.to_owned(),
            (false, "branch") => "0".to_owned(),
            (false, parameter) => {
                let begins = &path[..path.find(&format!("{{{parameter}}}")).unwrap() + parameter.len() + 2];
                let named = ids.iter().find(|(of, _)| *of == begins);
                named.unwrap_or_else(|| panic!("nothing is known that {begins} names")).1.clone()
            }
        };
        address = format!("{before}{value}{after}");
    }
    address
}

/// What a text of a body or a query holds where it is not the one that is tried. A new one has to have its value here.
fn usual(name: &str, person: &Person, ids: &Ids) -> Value {
    let id = |begins: &str| json!(ids.iter().find(|(of, _)| *of == begins).unwrap().1);
    match name {
        "email" => json!(person.email),
        "username" => json!(person.username),
        "password" | "current_password" => json!(PASSWORD),
        "new_password" => json!("another horse 8"),
        "refresh_token" | "token" | "signature" => json!("rubbish"),
        "expires" => json!(1),
        "message" | "title" => json!("Hello"),
        "session_id" => id("/api/history/{id}"),
        "question_id" => id("question_id"),
        "role" => json!("user"),
        "type" => json!("mcq.select"),
        "answer" => json!("a"),
        "topic" | "model" => Value::Null,
        other => panic!("no value is known for {other}"),
    }
}

/// A payload as an address: what has no blanks and one at-sign is one.
fn as_address(payload: &str) -> String {
    format!("{}@mail.example", payload.split_whitespace().collect::<Vec<_>>().join("/**/"))
}

/// What a reference stands for.
fn resolved<'a>(api: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => resolved(api, api.pointer(&reference[1..]).unwrap()),
        None => schema,
    }
}

/// Whether a text may stand there.
fn takes_text(api: &Value, schema: &Value) -> bool {
    let schema = resolved(api, schema);
    let kinds = &schema["type"];
    let choices = ["anyOf", "oneOf", "allOf"].into_iter().filter_map(|choice| schema[choice].as_array());
    kinds == "string"
        || kinds.as_array().is_some_and(|kinds| kinds.contains(&json!("string")))
        || choices.flatten().any(|choice| takes_text(api, choice))
}

/// S26: whatever is described is tried, so that nothing new is left out.
#[sqlx::test(migrator = "MIGRATOR")]
async fn a_hundred_payloads_in_everything_that_is_described_do_nothing(db: PgPool) {
    let app = TestApp::start(&db).await;
    let (person, payloads) = (app.person().await, payloads());
    grant(&app, &person, "admin").await;
    let ids = ids(&app, &person).await;
    app.wait_for_projections().await;
    // What is hashed or answered by a provider takes its time by intent: some of the payloads.
    let some: Vec<String> = payloads.iter().step_by(9).cloned().collect();
    let addresses: Vec<String> = some.iter().map(|payload| as_address(payload)).collect();
    let api = app.get("/openapi.json").send().await.is(200).value();
    let mut places = 0;
    for (path, methods) in api["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let what = format!("{method} {path}");
            let method: Method = method.to_uppercase().parse().unwrap();
            let body = resolved(&api, &operation["requestBody"]);
            let schema = resolved(&api, &body["content"]["application/json"]["schema"]);
            let none = Map::new();
            let texts = schema["properties"].as_object().unwrap_or(&none).iter();
            let texts: Vec<&str> =
                texts.filter(|(_, text)| takes_text(&api, text)).map(|(name, _)| name.as_str()).collect();
            let required =
                |name: &str| schema["required"].as_array().is_some_and(|all| all.contains(&json!(name)));
            // The body with this text in this place. Of the two names of a person one is enough, and two are too many.
            let body = |person: &Person, name: &str, text: &str| {
                let other = if name == "username" { "email" } else { "username" };
                let kept = texts
                    .iter()
                    .filter(|text| **text != other || required(text) || !texts.contains(&"email"));
                let mut body: Map<String, Value> =
                    kept.map(|name| ((*name).to_owned(), usual(name, person, &ids))).collect();
                body.extend((!name.is_empty()).then(|| (name.to_owned(), json!(text))));
                Value::from(body)
            };
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let parameters: Vec<(&str, &str, bool)> = parameters
                .map(|parameter| resolved(&api, parameter))
                .map(|parameter| {
                    let text = |name: &str| parameter[name].as_str().unwrap();
                    (text("in"), text("name"), parameter["required"] == true)
                })
                // Headers are the same everywhere, and tried by themselves.
                .filter(|(place, ..)| *place != "header")
                .collect();
            for &(_, tried, _) in &parameters {
                ask_all(&format!("{what} {tried}"), &payloads, |payload| {
                    let mut query = Vec::new();
                    for &(_, name, required) in parameters.iter().filter(|(place, ..)| *place == "query") {
                        if name == tried {
                            query.push(format!("{name}={}", coded(payload)));
                        } else if required {
                            query.push(format!(
                                "{name}={}",
                                usual(name, &person, &ids).to_string().trim_matches('"')
                            ));
                        }
                    }
                    let address =
                        format!("{}?{}", address(path, &ids, tried, &coded(payload)), query.join("&"));
                    let call = app.call(method.clone(), &address).by(&person);
                    if texts.is_empty() { call } else { call.json(&body(&person, "", "")) }
                })
                .await;
                places += 1;
            }
            for name in &texts {
                let call = |owner: &Person, payload: &str| {
                    let call = app.call(method.clone(), &address(path, &ids, "", "")).by(owner);
                    call.json(&body(owner, name, payload))
                };
                let what = format!("{what} {name}");
                if name.ends_with("password") {
                    for payload in &some {
                        // Whose password is guessed at is locked out after a while.
                        let owner = app.person().await;
                        ask(call(&owner, payload), &format!("{what}: {payload}")).await;
                    }
                } else if *name == "message" {
                    for payload in &some {
                        ask(call(&person, payload), &format!("{what}: {payload}")).await;
                    }
                } else {
                    ask_all(&what, &payloads, |payload| call(&person, payload)).await;
                }
                if ["email", "username"].contains(name) {
                    ask_all(&what, &addresses, |payload| call(&person, payload)).await;
                }
                places += 1;
            }
        }
    }
    assert!(places > 60, "{places}");
    app.end().await;
}
