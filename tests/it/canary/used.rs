//! The whole API, used with a canary wherever a client may put something.

use std::sync::Mutex;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;
use verbatim::planted::PANIC;

use super::MARK;
use crate::accounts::mail_server::MailServer;
use crate::kill::client::http;
use crate::kill::process::{SOON, within};
use crate::sockets::client;
use crate::support::client::{Answer, Call};
use crate::support::openai_server::OpenAiServer;

/// The key that every account here has.
const PASSWORD: &str = "cnry7-password-1";

/// Somebody who uses everything.
pub(super) struct Usage<'a> {
    http: reqwest::Client,
    base: String,
    provider: &'a OpenAiServer,
    mail: &'a MailServer,
    token: Mutex<String>,
    /// Tokens, tickets and signatures that were given out.
    secrets: Mutex<Vec<String>>,
    refusals: Mutex<Vec<String>>,
}

impl<'a> Usage<'a> {
    pub(super) async fn new(base: &str, provider: &'a OpenAiServer, mail: &'a MailServer) -> Self {
        let usage = Self {
            http: http(),
            base: base.to_owned(),
            provider,
            mail,
            token: Mutex::default(),
            secrets: Mutex::default(),
            refusals: Mutex::default(),
        };
        let account = json!({
            "email": format!("{MARK}-mail@mail.example"), "username": format!("{MARK}-name"), "password": PASSWORD,
        });
        let signed_up = usage.post("/api/auth/register", &account).await.is(201);
        usage.sign_in(&signed_up);
        usage
    }

    /// Goes on with the tokens of this answer, and keeps them as secrets.
    fn sign_in(&self, answer: &Answer) {
        let mut secrets = self.secrets.lock().unwrap();
        for name in ["access_token", "refresh_token"] {
            let token = answer.field(name);
            // Its parts as well: each of them would do.
            secrets.extend(token.split('.').filter(|part| part.len() > 20).map(str::to_owned));
            secrets.push(token);
        }
        *self.token.lock().unwrap() = answer.field("access_token");
    }

    /// What was given out and must be known to nobody else.
    pub(super) fn secrets(&self) -> Vec<String> {
        self.secrets.lock().unwrap().clone()
    }

    /// What was answered to what was wrong: headers and bodies.
    pub(super) fn refusals(&self) -> Vec<String> {
        self.refusals.lock().unwrap().clone()
    }

    fn call(&self, method: Method, path: &str) -> Call {
        let token = self.token.lock().unwrap().clone();
        let call = Call::new(self.http.request(method, format!("{}{path}", self.base)));
        if token.is_empty() { call } else { call.bearer(&token) }
    }

    async fn sent(&self, call: Call) -> Answer {
        let answer = call.send().await;
        if answer.status >= 400 {
            self.refusals.lock().unwrap().push(format!("{:?}\n{}", answer.headers, answer.text));
        }
        answer
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.sent(self.call(Method::POST, path).json(body)).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.sent(self.call(Method::GET, path)).await
    }

    /// Everything that the API has, well and badly.
    pub(super) async fn everything(&self) {
        self.chat().await;
        self.accounts().await;
        self.socket().await;
        self.files().await;
        self.chatkit().await;
        self.quizzes().await;
        self.sweep().await;
    }

    async fn chat(&self) {
        // The provider answers, refuses, fails twice, answers with a page, with rubbish; then it answers.
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
        // The same key with something else.
        let call = self.call(Method::POST, "/api/chat").key(&format!("{MARK}-key"));
        self.sent(call.json(&json!({"message": format!("{MARK}-other")})))
            .await
            .refused(422, "idempotency_key_reused");
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

    async fn accounts(&self) {
        let (email, name) = (format!("{MARK}-mail@mail.example"), format!("{MARK}-name"));
        for body in [
            json!({"email": email, "username": format!("{MARK}-b"), "password": PASSWORD}),
            json!({"email": MARK, "username": MARK, "password": MARK}),
            json!({"email": format!("{MARK}-b@mail.example"), "username": name, "password": PASSWORD}),
            json!({"email": {MARK: MARK}, "username": MARK, "password": MARK}),
            json!({"email": email, "username": "a b", "password": format!("{MARK}-mail@mail.example1")}),
        ] {
            for path in ["/api/auth/register", "/auth/signup"] {
                assert!(self.post(path, &body).await.status >= 400, "{path}: {body}");
            }
        }
        for (login, password) in [(email.as_str(), "wrong"), (MARK, MARK), (name.as_str(), MARK)] {
            let body = json!({"email": login, "username": login, "password": password});
            assert!(self.post("/api/auth/login", &body).await.status >= 400);
            assert!(self.post("/auth/signin", &body).await.status >= 400);
        }
        let other = json!({
            "email": format!("{MARK}-second@mail.example"), "username": format!("{MARK}-second"),
            "name": format!("{MARK}-second"), "password": PASSWORD,
        });
        let second = self.post("/auth/signup", &other).await;
        assert!(second.status < 300, "{}", second.text);
        self.secrets.lock().unwrap().push(second.field("access_token"));
        let signed_in =
            self.post("/api/auth/login", &json!({"email": email, "password": PASSWORD})).await.is(200);
        self.sign_in(&signed_in);
        let refreshed = self
            .post("/api/auth/refresh", &json!({"refresh_token": signed_in.field("refresh_token")}))
            .await
            .is(200);
        self.sign_in(&refreshed);
        for token in [format!("{MARK}-token"), format!("{}{MARK}", refreshed.field("refresh_token"))] {
            assert_eq!(self.post("/api/auth/refresh", &json!({"refresh_token": token})).await.status, 401);
        }
        for bearer in
            [MARK.to_owned(), format!("{}x", refreshed.field("access_token")), format!("a.{MARK}.b")]
        {
            let call = Call::new(self.http.get(format!("{}/api/auth/me", self.base))).bearer(&bearer);
            assert_eq!(self.sent(call).await.status, 401);
        }
        assert!(self.get("/api/auth/me").await.is(200).text.contains(MARK));
        let change = json!({"old_password": MARK, "new_password": format!("{MARK}-password-2"), "current_password": MARK});
        assert!(self.post("/api/auth/password", &change).await.status >= 400);
        self.recovery().await;
        self.profile().await;
    }

    /// A new password by mail, for the second account.
    async fn recovery(&self) {
        for email in [format!("{MARK}-second@mail.example"), format!("{MARK}-nobody@mail.example")] {
            self.post("/api/auth/password/forgot", &json!({"email": email})).await.is(202);
        }
        assert!(within(SOON, async || !self.mail.mails().is_empty()).await, "no mail came");
        let token = self.mail.mails()[0].token();
        self.secrets.lock().unwrap().push(token.clone());
        for (token, password) in [(MARK, PASSWORD), (token.as_str(), MARK)] {
            let body = json!({"token": token, "password": password, "new_password": password});
            assert!(self.post("/api/auth/password/reset", &body).await.status >= 400);
        }
        let password = format!("{MARK}-password-3");
        let body = json!({"token": token, "password": password, "new_password": password});
        self.post("/api/auth/password/reset", &body).await;
    }

    /// Another address and another name.
    async fn profile(&self) {
        for (path, body) in [
            (
                "/api/users/me/email",
                json!({"email": format!("{MARK}-third@mail.example"), "password": PASSWORD}),
            ),
            (
                "/api/users/me/email",
                json!({"email": format!("{MARK}-second@mail.example"), "password": PASSWORD}),
            ),
            (
                "/api/users/me/email",
                json!({"email": format!("{MARK}-fourth@mail.example"), "password": MARK}),
            ),
            ("/api/users/me/username", json!({"username": format!("{MARK}-third")})),
            ("/api/users/me/username", json!({"username": format!("{MARK}-second")})),
        ] {
            self.sent(self.call(Method::PUT, path).json(&body)).await;
        }
        assert!(self.get("/api/auth/me").await.is(200).text.contains(&format!("{MARK}-third")));
        // Whoever had the old address is told.
        let told =
            async || self.mail.mails().iter().any(|mail| mail.to() == format!("{MARK}-mail@mail.example"));
        assert!(within(SOON, told).await, "the old address was not told");
    }

    async fn socket(&self) {
        let ticket = self.post("/api/chat/ws/ticket", &json!({})).await.is(201).field("ticket");
        self.secrets.lock().unwrap().push(ticket.clone());
        let address = self.base.strip_prefix("http://").unwrap();
        let token = self.token.lock().unwrap().clone();
        for query in
            [format!("?ticket={MARK}"), format!("?token={MARK}"), format!("?token={token}&after={MARK}")]
        {
            let (status, body) = client::open(address, &query, &[]).await.err().expect("a refusal");
            self.refusals.lock().unwrap().push(format!("{status} {body}"));
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
                    self.refusals.lock().unwrap().push(answer.to_string());
                    break;
                }
            }
        }
    }

    async fn files(&self) {
        let content = format!("{MARK}-content of a file\n");
        let name = format!("{MARK}-file.txt");
        let parts = [("file", Some(name.as_str()), Some("text/plain"), content.as_bytes())];
        let brought = self.sent(self.call(Method::POST, "/files").parts(&parts)).await.is(200);
        let id = brought.field("id");
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
            // Whoever has the link may bring the content: its signature is as good as a token.
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

    async fn chatkit(&self) {
        let input = |text: String| {
            json!({
                "content": [
                    {"type": "input_text", "text": text},
                    {"type": "input_tag", "id": format!("{MARK}-tag"), "text": format!("{MARK}-tag"), "data": {MARK: MARK}},
                ],
                "attachments": [], "quoted_text": format!("{MARK}-quote"), "inference_options": {},
            })
        };
        // A first answer is asked for a title as well.
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
        // Every request of the protocol with a canary for each of its words.
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/chatkit/golden/request");
        let mut kinds = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let golden = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            let mut request: Value = serde_json::from_str(&golden).unwrap();
            kinds += 1;
            for id in [None, Some(thread)] {
                fill(&mut request["params"], id);
                self.post("/chatkit", &request).await;
            }
        }
        assert!(kinds > 10, "only {kinds} kinds of requests");
    }

    async fn quizzes(&self) {
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

    /// Every operation that the description lists, with canaries in its query, its headers and its body. What ends the
    /// account comes last of all and does not find the right password.
    async fn sweep(&self) {
        let api = self.get("/openapi.json").await.is(200).value();
        let mut operations = 0;
        for (path, methods) in api["paths"].as_object().unwrap() {
            for method in methods.as_object().unwrap().keys() {
                let Ok(method) = method.to_uppercase().parse::<Method>() else { continue };
                if path.ends_with("/logout") {
                    continue;
                }
                operations += 1;
                for value in [MARK, "01960000-0000-7000-8000-000000000001"] {
                    let filled: String = path
                        .split('/')
                        .map(|part| {
                            if part.starts_with('{') { "01960000-0000-7000-8000-000000000001" } else { part }
                        })
                        .collect::<Vec<_>>()
                        .join("/");
                    let body = json!({
                        "message": MARK, "title": MARK, "password": MARK, "old_password": MARK, "new_password": MARK,
                        "email": MARK, "username": MARK, "session_id": value, "topic": MARK, "name": MARK, "query": MARK,
                    });
                    let call = self
                        .call(
                            method.clone(),
                            &format!(
                                "{filled}?{MARK}={MARK}&q={MARK}&after={value}&expires=1&signature={MARK}"
                            ),
                        )
                        .header("verbatim-position", MARK)
                        .header("accept-language", MARK)
                        .header("user-agent", MARK)
                        .header("cookie", &format!("session={MARK}"))
                        .header("referer", &format!("https://{MARK}.example/{MARK}"));
                    self.sent(if method == Method::GET { call } else { call.json(&body) }).await;
                }
            }
        }
        assert!(operations > 30, "only {operations} operations");
        // A method that there is not, and control characters where they may stand.
        let strange = Method::from_bytes(format!("{}Q", MARK.to_uppercase()).as_bytes()).unwrap();
        assert_eq!(self.sent(self.call(strange, "/api/chat")).await.status, 405);
        self.get("/no/such/place%0d%0a%1b%5b31mred").await.is(404);
        self.sent(self.call(Method::GET, "/health").header("x-request-id", &format!("{MARK} {MARK}"))).await;
    }

    /// Has a handler panic over a message; gives what is answered.
    pub(super) async fn panic(&self) -> Value {
        let message = json!({"message": format!("{MARK}-text, {PANIC}")});
        let answer = self.post("/api/chat", &message).await.is(500);
        answer.value()
    }

    /// Sends a message that the read model refuses.
    pub(super) async fn poison(&self) {
        // Its answer is not waited for: without the model there is none.
        let call =
            self.call(Method::POST, "/api/chat/stream").json(&json!({"message": format!("{MARK}-poison")}));
        let answer = call.open().await;
        assert_eq!(answer.status(), 200);
        let asked = self.provider.requests().len();
        assert!(asked >= 6, "the provider was asked {asked} times");
        tokio::time::timeout(Duration::from_secs(5), answer.bytes()).await.ok();
    }
}

/// Puts a canary in the place of every word; ids become this one.
fn fill(value: &mut Value, id: Option<&str>) {
    match value {
        Value::Object(object) => {
            for (name, inner) in object {
                match (name.as_str(), id) {
                    ("thread_id", Some(id)) => *inner = json!(id),
                    ("type" | "kind" | "order" | "status", _) => {}
                    _ => fill(inner, id),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill(item, id)),
        Value::String(text) => *text = format!("{MARK}-{text}"),
        _ => {}
    }
}
