//! Injection into every text of every ChatKit request, and into file names.

use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::{payloads, percent_encoded, send_payload, send_payloads};
use crate::support::app::TestApp;

/// Returns the golden request of each type; another test checks that none is missing.
fn requests() -> Vec<Value> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/chatkit/golden/request");
    let files = std::fs::read_dir(folder).unwrap();
    files.map(|file| serde_json::from_slice(&std::fs::read(file.unwrap().path()).unwrap()).unwrap()).collect()
}

/// Collects the JSON pointers of all strings and nulls.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::String(_) | Value::Null => found.push(at.to_owned()),
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| places(value, &format!("{at}/{name}"), found));
        }
        Value::Array(values) => {
            values.iter().enumerate().for_each(|(n, value)| places(value, &format!("{at}/{n}"), found));
        }
        Value::Bool(_) | Value::Number(_) => {}
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn sql_payloads_in_chatkit_requests_have_no_effect(db: PgPool) {
    let app = TestApp::start(&db).await;
    let (person, payloads) = (app.person().await, payloads());
    let said = app.say(&person, None, "Hello").await;
    let id = |kind: &str, name: &str| format!("{kind}_{}", said[name].as_str().unwrap().replace('-', ""));
    let (thread, item) = (id("thr", "session_id"), id("msg", "message_id"));
    let note = [("file", Some("note.txt"), Some("text/plain"), b"a note".as_slice())];
    let file = app.post("/files").by(&person).parts(&note).send().await.is(200).field("id");
    app.wait_for_projections().await;
    // A quiz card, for the actions.
    let body = json!({"session_id": said["session_id"]});
    let quiz = app.post("/api/quizzes").by(&person).json(&body).send().await.is(201).value();
    app.wait_for_projections().await;
    let list = json!({"type": "items.list", "params": {"thread_id": thread}});
    let items = app.post("/chatkit").by(&person).json(&list).send().await.is(200).value();
    let widget = items["data"].as_array().unwrap().iter().find(|item| item["type"] == "widget").unwrap();
    // Requests that start a reply are slow: several payloads share one.
    let together: Vec<String> = payloads.chunks(5).map(|some| some.join("\n")).collect();
    let mut tried = 0;
    for golden in requests() {
        let own = golden.to_string().replace("thr_1", &thread).replace("atc_1", &file);
        let own = own
            .replace("msg_1", &item)
            .replace("msg_2", &item)
            .replace("msg_9", widget["id"].as_str().unwrap());
        let own = own.replace("q1", quiz["question"]["id"].as_str().unwrap());
        let own: Value = serde_json::from_str(&own).unwrap();
        let mut found = Vec::new();
        places(&own, "", &mut found);
        for place in found {
            let mut request = own.clone();
            // The golden tool, model and file would be rejected, so they are kept only where they are the tried input.
            for name in ["tool_choice", "model"].iter().filter(|name| !place.contains(*name)) {
                if let Some(options) = request.pointer_mut("/params/input/inference_options") {
                    options.as_object_mut().unwrap().remove(*name);
                }
            }
            if let Some(files) =
                request.pointer_mut("/params/input/attachments").filter(|_| !place.contains("attachments"))
            {
                *files = json!([]);
            }
            if let Some(item) = request.pointer_mut("/params/item_id").filter(|item| item.is_null()) {
                *item = widget["id"].clone();
            }
            let call = |payload: &str| {
                let mut request = request.clone();
                *request.pointer_mut(&place).unwrap() = json!(payload);
                app.post("/chatkit").by(&person).json(&request)
            };
            let what = format!("{} {place}", own["type"]);
            if ["/content/", "quoted_text", "/metadata/"].iter().any(|part| place.contains(part)) {
                // One after another, like the replies in a thread.
                for some in &together {
                    send_payload(call(some), &format!("{what}: {some}")).await;
                }
            } else {
                send_payloads(&what, &payloads, call).await;
            }
            tried += 1;
        }
    }
    assert!(tried > 60, "only {tried} places");
    // A title is stored literally.
    for payload in &payloads {
        let body = json!({"type": "threads.update", "params": {"thread_id": thread, "title": payload}});
        let answer = send_payload(app.post("/chatkit").by(&person).json(&body), payload).await;
        if answer.status == 200 {
            assert_eq!(answer.value()["title"], payload.as_str());
        } else {
            answer.assert_error(400, "invalid_value");
        }
    }
    app.end().await;
}

/// File names as browsers write them, and as other clients do.
#[sqlx::test(migrator = "MIGRATOR")]
async fn sql_payloads_in_file_names_have_no_effect(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let upload = |disposition: &str| {
        let body = format!(
            "--cut-here\r\nContent-Disposition: form-data; name=\"file\"; {disposition}\r\n\
             Content-Type: text/plain\r\n\r\na note\r\n--cut-here--\r\n"
        );
        app.post("/files").by(&person).body("multipart/form-data; boundary=cut-here", body.into_bytes())
    };
    let (mut kept, payloads) = (0, payloads());
    for payload in &payloads {
        let one_line = payload.replace('\r', "%0D").replace('\n', "%0A");
        for (disposition, sent) in [
            (format!("filename=\"{}.txt\"", one_line.replace('"', "%22")), one_line.replace('"', "%22")),
            (
                format!("filename=\"{}.txt\"", one_line.replace('\\', "\\\\").replace('"', "\\\"")),
                one_line.clone(),
            ),
            (
                format!("filename=\"x.txt\"; filename*=UTF-8''{}.txt", percent_encoded(payload)),
                payload.clone(),
            ),
        ] {
            let answer = send_payload(upload(&disposition), &disposition).await;
            if answer.status == 200 {
                let name = answer.field("name");
                kept += usize::from(name == format!("{sent}.txt"));
                let file = app.get(&format!("/files/{}", answer.field("id"))).by(&person);
                send_payload(file, &disposition).await.is(200);
            }
        }
    }
    assert!(kept > 100, "only {kept} names were stored literally");
    app.end().await;
}
