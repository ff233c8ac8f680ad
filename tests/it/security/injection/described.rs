//! Injection into every parameter and body text in the OpenAPI description.

use reqwest::Method;
use serde_json::{Map, Value, json};
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::{payloads, percent_encoded, send_payload, send_payloads};
use crate::accounts::grant;
use crate::support::app::{PASSWORD, Person, TestApp};

/// Ids of existing resources, by the path prefixes that name them.
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

/// Returns an operation's path with existing ids, and with `text` for the parameter `name`.
fn address(path: &str, ids: &Ids, name: &str, text: &str) -> String {
    let mut address = path.to_owned();
    while let Some((before, rest)) = address.split_once('{') {
        let (parameter, after) = rest.split_once('}').unwrap();
        let value = match (parameter == name, parameter) {
            (true, _) => text.to_owned(),
            (false, "branch") => "0".to_owned(),
            (false, parameter) => {
                let prefix = &path[..path.find(&format!("{{{parameter}}}")).unwrap() + parameter.len() + 2];
                let named = ids.iter().find(|(of, _)| *of == prefix);
                named.unwrap_or_else(|| panic!("no id is known for {prefix}")).1.clone()
            }
        };
        address = format!("{before}{value}{after}");
    }
    address
}

/// Returns a valid value for a text that is not the one under test. Every new field needs a value here.
fn valid_value(name: &str, person: &Person, ids: &Ids) -> Value {
    let id = |prefix: &str| json!(ids.iter().find(|(of, _)| *of == prefix).unwrap().1);
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
        other => panic!("no value is defined for {other}"),
    }
}

/// Turns a payload into a syntactically valid email address: no spaces and one at sign.
fn as_email(payload: &str) -> String {
    format!("{}@mail.example", payload.split_whitespace().collect::<Vec<_>>().join("/**/"))
}

/// Follows references to the schema itself.
fn resolved<'a>(api: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => resolved(api, api.pointer(&reference[1..]).unwrap()),
        None => schema,
    }
}

/// Returns whether the schema accepts a string.
fn takes_text(api: &Value, schema: &Value) -> bool {
    let schema = resolved(api, schema);
    let kinds = &schema["type"];
    let choices = ["anyOf", "oneOf", "allOf"].into_iter().filter_map(|choice| schema[choice].as_array());
    kinds == "string"
        || kinds.as_array().is_some_and(|kinds| kinds.contains(&json!("string")))
        || choices.flatten().any(|choice| takes_text(api, choice))
}

/// Everything in the description is tried, so that no new input is left out.
#[sqlx::test(migrator = "MIGRATOR")]
async fn sql_payloads_in_described_inputs_have_no_effect(db: PgPool) {
    let app = TestApp::start(&db).await;
    let (person, payloads) = (app.person().await, payloads());
    grant(&app, &person, "admin").await;
    let ids = ids(&app, &person).await;
    app.wait_for_projections().await;
    // Passwords and messages are slow by design: only some payloads are sent there.
    let some: Vec<String> = payloads.iter().step_by(9).cloned().collect();
    let addresses: Vec<String> = some.iter().map(|payload| as_email(payload)).collect();
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
            // The body with this text in this field. Sign-in takes either an email or a username, not both.
            let body = |person: &Person, name: &str, text: &str| {
                let other = if name == "username" { "email" } else { "username" };
                let kept = texts
                    .iter()
                    .filter(|text| **text != other || required(text) || !texts.contains(&"email"));
                let mut body: Map<String, Value> =
                    kept.map(|name| ((*name).to_owned(), valid_value(name, person, &ids))).collect();
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
                // Headers are common to all operations and tested separately.
                .filter(|(place, ..)| *place != "header")
                .collect();
            for &(_, tried, _) in &parameters {
                send_payloads(&format!("{what} {tried}"), &payloads, |payload| {
                    let mut query = Vec::new();
                    for &(_, name, required) in parameters.iter().filter(|(place, ..)| *place == "query") {
                        if name == tried {
                            query.push(format!("{name}={}", percent_encoded(payload)));
                        } else if required {
                            query.push(format!(
                                "{name}={}",
                                valid_value(name, &person, &ids).to_string().trim_matches('"')
                            ));
                        }
                    }
                    let address = format!(
                        "{}?{}",
                        address(path, &ids, tried, &percent_encoded(payload)),
                        query.join("&")
                    );
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
                        // A new account each time, since wrong passwords cause a lockout.
                        let owner = app.person().await;
                        send_payload(call(&owner, payload), &format!("{what}: {payload}")).await;
                    }
                } else if *name == "message" {
                    for payload in &some {
                        send_payload(call(&person, payload), &format!("{what}: {payload}")).await;
                    }
                } else {
                    send_payloads(&what, &payloads, |payload| call(&person, payload)).await;
                }
                if ["email", "username"].contains(name) {
                    send_payloads(&what, &addresses, |payload| call(&person, payload)).await;
                }
                places += 1;
            }
        }
    }
    assert!(places > 60, "only {places} places");
    app.end().await;
}
