//! A real mail server in a process of its own: `mail_server.py`, made of aiosmtpd.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinHandle;

use crate::support::app::{TestApp, WAIT_TIMEOUT};
use crate::support::env_var;

/// A running mail server. Dropped: it ends.
pub(crate) struct MailServer {
    port: u64,
    certificate: Option<String>,
    told: Arc<Mutex<Vec<Value>>>,
    _stdin: ChildStdin,
    _child: Child,
    reading: JoinHandle<()>,
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// A mail that was taken over.
#[derive(Debug, Clone)]
pub(crate) struct Mail(Value);

impl Mail {
    /// Whom it was sent to.
    pub(crate) fn to(&self) -> &str {
        let [to] = self.0["envelope_to"].as_array().unwrap().as_slice() else { panic!("{}", self.0) };
        to.as_str().unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.0["headers"][name].as_str().unwrap_or_else(|| panic!("no {name}: {}", self.0))
    }

    pub(crate) fn text(&self) -> &str {
        self.0["text"].as_str().unwrap()
    }

    /// What the server knows of the connection.
    pub(crate) fn field(&self, name: &str) -> &Value {
        &self.0[name]
    }

    /// The token that it carries.
    pub(crate) fn token(&self) -> String {
        let begin = self.text().find("vpr_").unwrap_or_else(|| panic!("no token: {}", self.text()));
        self.text()[begin..].split_whitespace().next().unwrap().to_owned()
    }
}

impl MailServer {
    pub(crate) async fn start() -> Self {
        Self::with(json!({})).await
    }

    /// A server with this configuration, see `mail_server.py`.
    pub(crate) async fn with(config: Value) -> Self {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let python =
            env_var("TEST_PYTHON").map_or_else(|| root.join("target/python/bin/python3"), PathBuf::from);
        let mut child = Command::new(python)
            .arg(root.join("tests/it/accounts/mail_server.py"))
            .arg(config.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = tokio::time::timeout(WAIT_TIMEOUT, lines.next_line()).await.expect("it is ready in time");
        let first = first.unwrap().expect("it starts; is aiosmtpd installed (scripts/lib.sh, need_python)?");
        let ready: Value = serde_json::from_str(&first).unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let telling = Arc::clone(&told);
        #[expect(clippy::disallowed_methods, reason = "it ends with the server")]
        let reading = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                telling.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        Self {
            port: ready["port"].as_u64().unwrap(),
            certificate: ready["certificate"].as_str().map(str::to_owned),
            told,
            _stdin: stdin,
            _child: child,
            reading,
        }
    }

    /// Its address, for `SMTP_URL`; `login` is `user:password@` or nothing.
    pub(crate) fn url(&self, scheme: &str, login: &str) -> String {
        format!("{scheme}://{login}127.0.0.1:{}", self.port)
    }

    /// The certificate to be trusted.
    pub(crate) fn certificate(&self) -> &str {
        self.any_certificate().expect("it speaks TLS")
    }

    /// The same; none when it does not speak TLS.
    pub(crate) fn any_certificate(&self) -> Option<&str> {
        self.certificate.as_deref()
    }

    /// Every mail that it has taken over.
    pub(crate) fn mails(&self) -> Vec<Mail> {
        let told = self.told.lock().unwrap();
        told.iter().filter(|what| what["event"] == "mail").cloned().map(Mail).collect()
    }

    /// How often somebody tried to give it one.
    pub(crate) fn tried(&self) -> usize {
        self.told.lock().unwrap().iter().filter(|what| what["event"] == "tried").count()
    }

    /// Waits for the `number`th mail, counted from 1.
    pub(crate) async fn mail(&self, app: &TestApp, number: usize) -> Mail {
        app.wait_until("a mail", async || self.mails().len() >= number).await;
        self.mails()[number - 1].clone()
    }
}
