//! Every text of every request of ChatKit, and the names of files.

use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::bootstrap::database::MIGRATOR;

use super::{ask, ask_all, coded, payloads};
use crate::support::app::TestApp;

/// Every request, as its golden file shows it; another test sees to it that there is one of each.
fn requests() -> Vec<Value> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/chatkit/golden/request");
    let files = std::fs::read_dir(folder).unwrap();
    files.map(|file| serde_json::from_slice(&std::fs::read(file.unwrap().path()).unwrap()).unwrap()).collect()
}

/// The places that hold a text, or may.
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

/// S26.
#[sqlx::test(migrator = "MIGRATOR")]
async fn a_hundred_payloads_in_every_request_of_chatkit_do_nothing(db: PgPool) {
    let app = TestApp::start(&db).await;
    let (person, payloads) = (app.person().await, payloads());
    let said = app.say(&person, None, "Hello").await;
    let id = |kind: &str, name: &str| format!("{kind}_{}", said[name].as_str().unwrap().replace('-', ""));
    let (thread, item) = (id("thr", "session_id"), id("msg", "message_id"));
    let note = [("file", Some("note.txt"), Some("text/plain"), b"a note".as_slice())];
    let file = app.post("/files").by(&person).parts(&note).send().await.is(200).field("id");
    app.wait_for_projections().await;
    // Something to be answered.
    let body = json!({"session_id": said["session_id"]});
    let quiz = app.post("/api/quizzes").by(&person).json(&body).send().await.is(201).value();
    app.wait_for_projections().await;
    let list = json!({"type": "items.list", "params": {"thread_id": thread}});
    let items = app.post("/chatkit").by(&person).json(&list).send().await.is(200).value();
    let widget = items["data"].as_array().unwrap().iter().find(|item| item["type"] == "widget").unwrap();
    // What begins a reply takes its time: some in one.
    let together: Vec<String> = payloads.chunks(5).map(|some| some.join("\n")).collect();
    let mut asked = 0;
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
            // No model and no tool has the name that is shown, and a file is sent once: only what is tried is named.
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
                // One after the other, as replies in a thread are.
                for some in &together {
                    ask(call(some), &format!("{what}: {some}")).await;
                }
            } else {
                ask_all(&what, &payloads, call).await;
            }
            asked += 1;
        }
    }
    assert!(asked > 60, "{asked}");
    // A title is kept to the letter.
    for payload in &payloads {
        let body = json!({"type": "threads.update", "params": {"thread_id": thread, "title": payload}});
        let answer = ask(app.post("/chatkit").by(&person).json(&body), payload).await;
        if answer.status == 200 {
            assert_eq!(answer.value()["title"], payload.as_str());
        } else {
            answer.assert_error(400, "invalid_value");
        }
    }
    app.end().await;
}

/// S26: as browsers write a name, and as others do.
#[sqlx::test(migrator = "MIGRATOR")]
async fn a_hundred_payloads_as_names_of_files_do_nothing(db: PgPool) {
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
            (format!("filename=\"x.txt\"; filename*=UTF-8''{}.txt", coded(payload)), payload.clone()),
        ] {
            let answer = ask(upload(&disposition), &disposition).await;
            if answer.status == 200 {
                let name = answer.field("name");
                kept += usize::from(name == format!("{sent}.txt"));
                let file = app.get(&format!("/files/{}", answer.field("id"))).by(&person);
                ask(file, &disposition).await.is(200);
            }
        }
    }
    assert!(kept > 100, "{kept}");
    app.end().await;
}
