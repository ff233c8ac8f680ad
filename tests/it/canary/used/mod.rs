//! Uses the whole API with a canary in every input: accounts and every operation of the OpenAPI description here,
//! chat and everything else with user text in `talk`.

mod talk;

use std::sync::Mutex;

use reqwest::Method;
use serde_json::{Value, json};
use verbatim::fault_injection::PANIC_SUFFIX;

use super::MARK;
use crate::accounts::mail_server::MailServer;
use crate::kill::client::http;
use crate::kill::process::{STEP_TIMEOUT, within};
use crate::support::client::{Answer, Call};
use crate::support::openai_server::OpenAiServer;

/// Password of every account here.
const PASSWORD: &str = "cnry7-password-1";

/// A client that uses the whole API, and what it must keep secret.
pub(super) struct Usage<'a> {
    http: reqwest::Client,
    base: String,
    provider: &'a OpenAiServer,
    mail: &'a MailServer,
    token: Mutex<String>,
    /// Tokens, tickets and signatures that the program has issued.
    secrets: Mutex<Vec<String>>,
    error_responses: Mutex<Vec<String>>,
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
            error_responses: Mutex::default(),
        };
        let account = json!({
            "email": format!("{MARK}-mail@mail.example"), "username": format!("{MARK}-name"), "password": PASSWORD,
        });
        let signed_up = usage.post("/api/auth/register", &account).await.is(201);
        usage.sign_in(&signed_up);
        usage
    }

    /// Continues with the tokens of this response, and records them as secrets.
    fn sign_in(&self, answer: &Answer) {
        let mut secrets = self.secrets.lock().unwrap();
        for name in ["access_token", "refresh_token"] {
            let token = answer.field(name);
            // Each part of a token is secret as well.
            secrets.extend(token.split('.').filter(|part| part.len() > 20).map(str::to_owned));
            secrets.push(token);
        }
        *self.token.lock().unwrap() = answer.field("access_token");
    }

    /// Returns the issued secrets.
    pub(super) fn secrets(&self) -> Vec<String> {
        self.secrets.lock().unwrap().clone()
    }

    /// Returns headers and bodies of all error responses.
    pub(super) fn error_responses(&self) -> Vec<String> {
        self.error_responses.lock().unwrap().clone()
    }

    fn call(&self, method: Method, path: &str) -> Call {
        let token = self.token.lock().unwrap().clone();
        let call = Call::new(self.http.request(method, format!("{}{path}", self.base)));
        if token.is_empty() { call } else { call.bearer(&token) }
    }

    async fn sent(&self, call: Call) -> Answer {
        let answer = call.send().await;
        if answer.status >= 400 {
            self.error_responses.lock().unwrap().push(format!("{:?}\n{}", answer.headers, answer.text));
        }
        answer
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.sent(self.call(Method::POST, path).json(body)).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.sent(self.call(Method::GET, path)).await
    }

    /// Uses every operation, with valid and invalid requests.
    pub(super) async fn use_everything(&self) {
        self.chat().await;
        self.accounts().await;
        self.socket().await;
        self.files().await;
        self.chatkit().await;
        self.quizzes().await;
        self.sweep().await;
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

    /// Resets the second account's password by mail.
    async fn recovery(&self) {
        for email in [format!("{MARK}-second@mail.example"), format!("{MARK}-nobody@mail.example")] {
            self.post("/api/auth/password/forgot", &json!({"email": email})).await.is(202);
        }
        assert!(within(STEP_TIMEOUT, async || !self.mail.mails().is_empty()).await, "no mail was sent");
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

    /// Changes email and username.
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
        // The old address gets a notice.
        let notified =
            async || self.mail.mails().iter().any(|mail| mail.to() == format!("{MARK}-mail@mail.example"));
        assert!(within(STEP_TIMEOUT, notified).await, "the old address got no notice");
    }

    /// Calls every operation of the description with canaries in query, headers and body. Operations that would close
    /// the account come last and get a wrong password.
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
        // An unknown method, and control characters in path and header.
        let strange = Method::from_bytes(format!("{}Q", MARK.to_uppercase()).as_bytes()).unwrap();
        assert_eq!(self.sent(self.call(strange, "/api/chat")).await.status, 405);
        self.get("/no/such/place%0d%0a%1b%5b31mred").await.is(404);
        self.sent(self.call(Method::GET, "/health").header("x-request-id", &format!("{MARK} {MARK}"))).await;
    }

    /// Makes a handler panic on a message; returns the response body.
    pub(super) async fn panic(&self) -> Value {
        let message = json!({"message": format!("{MARK}-text, {PANIC_SUFFIX}")});
        let answer = self.post("/api/chat", &message).await.is(500);
        answer.value()
    }

    /// Sends a message that the read model's constraint rejects.
    pub(super) async fn poison(&self) {
        let calls = self.provider.requests().len();
        assert!(calls >= 6, "the provider was called {calls} times");
        // Do not wait for the reply: without the read model there is none.
        let call =
            self.call(Method::POST, "/api/chat/stream").json(&json!({"message": format!("{MARK}-poison")}));
        assert_eq!(call.open().await.status(), 200);
    }
}
