//! A real mail server in a process of its own: `mail_server.py`, based on aiosmtpd.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinHandle;

use crate::support::app::{TestApp, WAIT_TIMEOUT};
use crate::support::env_var;

/// A running mail server, which ends when dropped.
pub(crate) struct MailServer {
    port: u64,
    certificate: Option<String>,
    reports: Arc<Mutex<Vec<Value>>>,
    _stdin: ChildStdin,
    _child: Child,
    reading: JoinHandle<()>,
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// A mail that the server accepted.
#[derive(Debug, Clone)]
pub(crate) struct Mail(Value);

impl Mail {
    /// Returns the only recipient.
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

    /// Returns a field of the server's report, such as `tls`.
    pub(crate) fn field(&self, name: &str) -> &Value {
        &self.0[name]
    }

    /// Returns the reset token in the text.
    pub(crate) fn token(&self) -> String {
        let begin = self.text().find("vpr_").unwrap_or_else(|| panic!("no token: {}", self.text()));
        self.text()[begin..].split_whitespace().next().unwrap().to_owned()
    }
}

impl MailServer {
    pub(crate) async fn start() -> Self {
        Self::with(json!({})).await
    }

    /// Starts a server with this configuration, see `mail_server.py`.
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
        let first = tokio::time::timeout(WAIT_TIMEOUT, lines.next_line())
            .await
            .expect("the mail server starts in time");
        let first = first
            .unwrap()
            .expect("the mail server starts; is aiosmtpd installed (scripts/lib.sh, need_python)?");
        let ready: Value = serde_json::from_str(&first).unwrap();
        let reports = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&reports);
        #[expect(clippy::disallowed_methods, reason = "the task ends with the server")]
        let reading = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                sink.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        Self {
            port: ready["port"].as_u64().unwrap(),
            certificate: ready["certificate"].as_str().map(str::to_owned),
            reports,
            _stdin: stdin,
            _child: child,
            reading,
        }
    }

    /// Returns the URL for `SMTP_URL`; `login` is `user:password@` or empty.
    pub(crate) fn url(&self, scheme: &str, login: &str) -> String {
        format!("{scheme}://{login}127.0.0.1:{}", self.port)
    }

    /// Returns the server's certificate, which the client has to trust.
    pub(crate) fn certificate(&self) -> &str {
        self.certificate_if_tls().expect("the server uses TLS")
    }

    /// Returns the server's certificate, or `None` if it does not use TLS.
    pub(crate) fn certificate_if_tls(&self) -> Option<&str> {
        self.certificate.as_deref()
    }

    /// Returns all accepted mails.
    pub(crate) fn mails(&self) -> Vec<Mail> {
        let reports = self.reports.lock().unwrap();
        reports.iter().filter(|report| report["event"] == "mail").cloned().map(Mail).collect()
    }

    /// Counts the delivery attempts.
    pub(crate) fn attempts(&self) -> usize {
        self.reports.lock().unwrap().iter().filter(|report| report["event"] == "attempt").count()
    }

    /// Waits for the `number`th accepted mail, counted from 1.
    pub(crate) async fn wait_for_mail(&self, app: &TestApp, number: usize) -> Mail {
        app.wait_until("the server has accepted the mail", async || self.mails().len() >= number).await;
        self.mails()[number - 1].clone()
    }
}
