//! Uses chat, sockets, files, ChatKit and quizzes with a canary in every text.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Usage;
use crate::canary::{MARK, tool_calls};
use crate::sockets::client;
use crate::support::client::{Answer, Call};
use crate::support::openai_server::Act;

impl Usage<'_> {
    pub(super) async fn chat(&self) {
        // The provider answers, rejects, fails, returns an HTML page, then garbage; then it answers.
        let message = json!({"message": format!("Good morning, {MARK}-text")});
        let call = self.call(Method::POST, "/api/chat").key(&format!("{MARK}-key"));
        let first = self.sent(call.json(&message)).await.is(200);
        let session = first.field("session_id");
        for _ in 0..3 {
            self.post("/api/chat", &message).await;
        }
        let streamed = json!({"message": format!("{MARK}-text"), "session_id": session});
        let answer = self.post("/api/chat/stream", &streamed).await.is(200);
        assert!(answer.text.contains("reply."), "{}", answer.text);
        let reply = first.field("reply_id");
        for id in [format!("{MARK}:1:0"), reply.clone()] {
            let call = self.call(Method::GET, &format!("/api/chat/stream/{reply}?{MARK}={MARK}"));
            self.sent(call.header("last-event-id", &id)).await;
        }
        self.post(&format!("/api/replies/{reply}/cancel"), &json!({"reason": MARK})).await;
        self.get(&format!("/api/replies/{reply}?{MARK}={MARK}")).await.is(200);
        let path = format!("/api/history/{session}");
        let title = json!({"title": format!("{MARK}-title"), "pinned": true});
        self.sent(self.call(Method::PATCH, &path).json(&title)).await.is(200);
        assert!(self.get(&path).await.is(200).text.contains(MARK));
        self.get(&format!("/api/history?after={MARK}&limit={MARK}")).await;
        // The same key with another body.
        let call = self.call(Method::POST, "/api/chat").key(&format!("{MARK}-key"));
        self.sent(call.json(&json!({"message": format!("{MARK}-other")})))
            .await
            .assert_error(422, "idempotency_key_reused");
        for body in [
            format!("{{\"message\": \"{MARK}\"").into_bytes(),
            format!("{{\"{MARK}\": \"{MARK}\"}}").into_bytes(),
            format!("{{\"message\": {{\"{MARK}\": 1}}}}").into_bytes(),
            format!("{{\"message\": \"{MARK}\u{0}\"}}").into_bytes(),
            format!("{{\"message\": \"{MARK}\", \"session_id\": \"{MARK}\"}}").into_bytes(),
            format!("{{\"message\": \"{}\"}}", MARK.repeat(8_000)).into_bytes(),
            [MARK.as_bytes(), b"\xff"].concat(),
        ] {
            for path in ["/api/chat", "/api/chat/stream"] {
                let answer =
                    self.sent(self.call(Method::POST, path).body("application/json", body.clone())).await;
                assert!(answer.status >= 400, "{path}: {}", answer.text);
            }
        }
    }

    pub(super) async fn socket(&self) {
        let ticket = self.post("/api/chat/ws/ticket", &json!({})).await.is(201).field("ticket");
        self.secrets.lock().unwrap().push(ticket.clone());
        let address = self.base.strip_prefix("http://").unwrap();
        let token = self.token.lock().unwrap().clone();
        for query in
            [format!("?ticket={MARK}"), format!("?token={MARK}"), format!("?token={token}&after={MARK}")]
        {
            let (status, body) = client::open(address, &query, &[]).await.err().expect("a rejected upgrade");
            self.error_responses.lock().unwrap().push(format!("{status} {body}"));
        }
        drop(client::open(address, &format!("?token={token}"), &[]).await.unwrap());
        let mut socket = client::open(address, &format!("?ticket={ticket}"), &[]).await.unwrap();
        socket
            .send(json!({"type": "message", "message": format!("{MARK}-text"), "ref": "sent", "key": MARK}))
            .await;
        let mut session = None;
        loop {
            let frame = socket.next().await.expect("the socket stays open");
            let text = |name: &str| frame[name].as_str().map(str::to_owned);
            session = session.or_else(|| text("session_id"));
            if frame["type"].as_str().is_some_and(|kind| {
                ["reply.done", "reply.failed", "reply.cancelled"]
                    .iter()
                    .any(|end| kind == *end || kind == end.replace('.', "_"))
            }) {
                break;
            }
        }
        for frame in [
            json!({"type": MARK, "ref": "a"}),
            json!({"type": "message", "message": MARK, "session_id": MARK, "ref": "b"}),
            json!({"type": "follow", "reply_id": MARK, "after": MARK, "ref": "c"}),
            json!({"type": "cancel", "reply_id": MARK, "ref": "d"}),
            json!({"type": "read", "session_id": session, "message_id": MARK, "ref": "e"}),
            json!({"type": "auth", "token": MARK, "ref": "f"}),
            json!({"type": "typing", "session_id": MARK, "typing": true, "ref": "g"}),
        ] {
            let reference = frame["ref"].clone();
            socket.send(frame).await;
            loop {
                let answer = socket.next().await.expect("the socket stays open");
                if answer["ref"] == reference {
                    assert_eq!(answer["type"], "error", "{answer}");
                    self.error_responses.lock().unwrap().push(answer.to_string());
                    break;
                }
            }
        }
    }

    pub(super) async fn files(&self) {
        let content = format!("{MARK}-content of a file\n");
        let name = format!("{MARK}-file.txt");
        let parts = [("file", Some(name.as_str()), Some("text/plain"), content.as_bytes())];
        let uploaded = self.sent(self.call(Method::POST, "/files").parts(&parts)).await.is(200);
        let id = uploaded.field("id");
        let file = Uuid::parse_str(id.strip_prefix("atc_").unwrap()).unwrap();
        assert!(self.get(&format!("/files/{file}")).await.is(200).text.contains(MARK));
        for (name, kind, content) in [
            (format!("{MARK}.exe"), "text/plain", content.clone()),
            (format!("{MARK}.png"), "image/png", content.clone()),
            (format!("../{MARK}.txt"), MARK, content.clone()),
            (format!("{MARK}.txt"), "text/plain", String::new()),
        ] {
            let parts = [("file", Some(name.as_str()), Some(kind), content.as_bytes())];
            self.sent(self.call(Method::POST, "/files").parts(&parts)).await;
        }
        let announced = self
            .kit(
                "attachments.create",
                json!({"name": format!("{MARK}-two.txt"), "size": 20, "mime_type": "text/plain"}),
            )
            .await;
        if let Some(url) = announced.value()["upload_descriptor"]["url"].as_str() {
            // The link alone permits the upload, so its signature is as secret as a token.
            let (_, query) = url.split_once('?').unwrap();
            let signature = query.rsplit('=').next().unwrap();
            assert!(signature.len() > 20, "{url}");
            self.secrets.lock().unwrap().push(signature.to_owned());
            let forged = url.replace(signature, MARK);
            for (url, body) in [(forged.as_str(), content.as_str()), (url, MARK)] {
                let call = Call::new(self.http.put(url)).body("text/plain", body.as_bytes().to_vec());
                self.sent(call).await;
            }
        }
        self.sent(self.call(Method::DELETE, &format!("/files/{file}?{MARK}={MARK}"))).await;
    }

    async fn kit(&self, kind: &str, params: Value) -> Answer {
        self.post("/chatkit", &json!({"type": kind, "params": params})).await
    }

    pub(super) async fn chatkit(&self) {
        let input = |text: String| {
            json!({
                "content": [
                    {"type": "input_text", "text": text},
                    {"type": "input_tag", "id": format!("{MARK}-tag"), "text": format!("{MARK}-tag"), "data": {MARK: MARK}},
                ],
                "attachments": [], "quoted_text": format!("{MARK}-quote"), "inference_options": {},
            })
        };
        // The first reply of a thread also requests a title, which ignores tool calls. Of two threads one is deleted.
        let last = Act::reply(&[&format!("Another answer, {MARK}-answer.")]);
        self.provider.set_script([tool_calls(), tool_calls(), tool_calls(), tool_calls(), last]);
        self.kit("threads.create", json!({"input": input(format!("{MARK}-thread"))})).await.is(200);
        let created =
            self.kit("threads.create", json!({"input": input(format!("{MARK}-thread"))})).await.is(200);
        let first = created.text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap().to_owned();
        let thread: Value = serde_json::from_str(&first).unwrap();
        let thread = thread["thread"]["id"].as_str().unwrap();
        let more = json!({"thread_id": thread, "input": input(format!("a quiz about {MARK}, please"))});
        self.kit("threads.add_user_message", more).await.is(200);
        self.kit("threads.update", json!({"thread_id": thread, "title": format!("{MARK}-title")})).await;
        let items =
            self.kit("items.list", json!({"thread_id": thread, "limit": 50, "order": "asc"})).await.is(200);
        let items = items.value()["data"].as_array().unwrap().clone();
        for item in &items {
            let (id, action) =
                (&item["id"], json!({"type": MARK, "payload": {MARK: MARK, "questionId": MARK}}));
            self.kit("items.feedback", json!({"thread_id": thread, "item_ids": [id], "kind": "negative"}))
                .await;
            self.kit("threads.custom_action", json!({"thread_id": thread, "item_id": id, "action": action}))
                .await;
            let answers = json!({"status": "answered", "answers": {MARK: {"values": [MARK]}}});
            self.kit(
                "threads.add_structured_input",
                json!({"thread_id": thread, "item_id": id, "input": answers}),
            )
            .await;
        }
        self.kit("threads.add_client_tool_output", json!({"thread_id": thread, "result": {MARK: MARK}}))
            .await;
        // Every request of the protocol with a canary in each text.
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/chatkit/golden/request");
        let mut kinds = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let golden = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            let mut request: Value = serde_json::from_str(&golden).unwrap();
            kinds += 1;
            for id in [None, Some(thread)] {
                insert_canaries(&mut request["params"], id);
                self.post("/chatkit", &request).await;
            }
        }
        assert!(kinds > 10, "only {kinds} kinds of requests");
    }

    pub(super) async fn quizzes(&self) {
        let quiz = self.post("/api/quizzes", &json!({"topic": "rust"})).await.is(201).value();
        let path = format!("/api/quizzes/{}", quiz["quiz_id"].as_str().unwrap());
        for body in [
            json!({"type": "answer", "question_id": MARK, "choice": MARK}),
            json!({"action": MARK, "question_id": quiz["question"]["id"], "choice": MARK}),
            json!({MARK: MARK}),
        ] {
            self.post(&format!("{path}/actions"), &body).await;
        }
        self.get(&path).await.is(200);
        self.post("/api/quizzes", &json!({"topic": MARK})).await;
    }
}

/// Replaces every text by a canary, and thread ids by `id` if given.
fn insert_canaries(value: &mut Value, id: Option<&str>) {
    match value {
        Value::Object(object) => {
            for (name, inner) in object {
                match (name.as_str(), id) {
                    ("thread_id", Some(id)) => *inner = json!(id),
                    ("type" | "kind" | "order" | "status", _) => {}
                    _ => insert_canaries(inner, id),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| insert_canaries(item, id)),
        Value::String(text) => *text = format!("{MARK}-{text}"),
        _ => {}
    }
}
