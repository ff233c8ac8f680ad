//! Canary test: marked words are put into every private input, and then searched for in every place where they must
//! not appear.
//!
//! The real program is used through its whole API, with every output enabled: logs at level `trace`, traces, metrics,
//! NATS.

mod used;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _, PgConnection, Row as _};
use tokio::task::JoinSet;

use crate::accounts::mail_server::MailServer;
use crate::kill::client::http;
use crate::kill::process::{Installation, PostgresKind, STEP_TIMEOUT, within};
use crate::nats::server::NatsServer;
use crate::support::collector::{Collector, CollectorBehavior};
use crate::support::openai_server::{Act, ERROR_TEXT, KEY, OpenAiServer};
use used::Usage;

/// Part of every canary, and of no other text.
const MARK: &str = "cnry7";
/// Master key of the program under test.
const MASTER_KEY: &str = "7f1e8a03c6d2975b0f3d6e91a7c8245bfe0190d3628b7a5c41e9f6d8072b3a1c";
/// Read models: the only tables that may hold plain text.
const READ_MODELS: [&str; 9] = [
    "users",
    "conversations",
    "messages",
    "items",
    "files",
    "widget_state",
    "replies",
    "pending_replies",
    "usage",
];

/// Texts to search for, ignoring case.
struct Needles(Vec<String>);

impl Needles {
    fn find_in_bytes(&self, haystack: &[u8]) -> Option<&str> {
        self.find_in_text(&String::from_utf8_lossy(haystack))
    }

    fn find_in_text(&self, haystack: &str) -> Option<&str> {
        let haystack = haystack.to_lowercase();
        self.0.iter().map(String::as_str).find(|needle| haystack.contains(*needle))
    }
}

/// Panics if a piece contains a canary; returns the number of pieces.
#[track_caller]
fn assert_clean<'a>(place: &str, needles: &Needles, pieces: impl IntoIterator<Item = &'a [u8]>) -> usize {
    let mut count = 0;
    for piece in pieces {
        count += 1;
        if let Some(needle) = needles.find_in_bytes(piece) {
            panic!("{place} contain {needle}: {}", String::from_utf8_lossy(piece));
        }
    }
    count
}

/// Records every message in NATS from now on: subject, headers, payload.
struct NatsRecorder {
    messages: Arc<Mutex<Vec<Vec<u8>>>>,
    _task: JoinSet<()>,
}

impl NatsRecorder {
    async fn start(nats: &NatsServer) -> Self {
        let client = nats.client().await;
        let mut all = client.subscribe(">").await.unwrap();
        client.flush().await.unwrap();
        let messages: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let (recorded, mut task) = (Arc::clone(&messages), JoinSet::new());
        task.spawn(async move {
            while let Some(message) = all.next().await {
                let mut bytes = format!("{}\n{:?}\n", message.subject, message.headers).into_bytes();
                bytes.extend_from_slice(&message.payload);
                recorded.lock().unwrap().push(bytes);
            }
            drop(client);
        });
        Self { messages, _task: task }
    }

    fn messages(&self) -> Vec<Vec<u8>> {
        self.messages.lock().unwrap().clone()
    }
}

/// Returns the tables that contain a canary.
async fn tables_with_canary(connection: &mut PgConnection, needles: &Needles) -> BTreeSet<String> {
    let names: Vec<String> =
        sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'")
            .fetch_all(&mut *connection)
            .await
            .unwrap();
    assert!(names.len() > 15, "{names:?}");
    let mut found = BTreeSet::new();
    for name in names {
        let rows = connection.fetch_all(format!("SELECT t::text FROM {name} t").as_str()).await.unwrap();
        if rows.iter().any(|row| needles.find_in_text(&row.get::<String, _>(0)).is_some()) {
            found.insert(name);
        }
    }
    found
}

/// Returns the provider's responses in order; the last one is repeated.
fn acts() -> Vec<Act> {
    vec![
        Act::reply(&[&format!("An answer, {MARK}-answer,"), " and more."]),
        Act::error(400, "invalid_request"),
        Act::error(500, "server_error"),
        Act::Raw { kind: "text/html", parts: vec![format!("<p>{MARK}-page</p>").into_bytes()] },
        Act::Raw {
            kind: "text/event-stream",
            parts: vec![
                format!("data: {{\"type\": \"{MARK}-event\", \"{MARK}\": 1}}\n\ndata: {MARK}\n\n")
                    .into_bytes(),
            ],
        },
        // Tool calls in replies where no tool is available.
        tool_calls(),
        tool_calls(),
        Act::reply(&[&format!("Another answer, {MARK}-answer.")]),
    ]
}

/// Returns a reply with two tool calls: one asks the user, one names an unknown tool.
fn tool_calls() -> Act {
    let call = |name: &str, arguments: Value| {
        let item = json!({
            "type": "function_call", "call_id": "call_1", "name": name, "arguments": arguments.to_string(),
        });
        json!({"type": "response.output_item.done", "item": item})
    };
    let question =
        json!({"questions": [{"id": "a", "question": format!("{MARK}-question?"), "options": [MARK, "b"]}]});
    let events = [
        call("ask_user", question),
        call(&format!("{MARK}-tool"), json!({MARK: MARK})),
        json!({"type": "response.completed", "response": {"id": "resp_1", "model": "m"}}),
    ];
    let part =
        |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap()).into_bytes();
    Act::Raw { kind: "text/event-stream", parts: events.iter().map(part).collect() }
}

#[tokio::test]
async fn private_text_and_secrets_leak_into_no_output() {
    let (collector, provider) =
        (Collector::start(CollectorBehavior::Accept).await, OpenAiServer::start(acts()).await);
    let nats = NatsServer::with_password("verbatim", &format!("{MARK}-nats-password")).await;
    let nats_messages = NatsRecorder::start(&nats).await;
    let (mail_user, mail_password) = (format!("{MARK}-mail-user"), format!("{MARK}-smtp-password"));
    let mail = MailServer::with(json!({"user": mail_user, "password": mail_password})).await;
    let mut place = Installation::new(PostgresKind::Server, Some("panic")).await;
    let database = {
        use sqlx::ConnectOptions as _;
        place.options().password(&format!("{MARK}-database-password")).to_url_lossy().to_string()
    };
    assert!(database.contains(MARK));
    for (name, value) in [
        ("DATABASE_URL", database),
        ("NATS_URL", nats.url()),
        ("LOG_LEVEL", "trace".to_owned()),
        ("METRICS_ADDR", "127.0.0.1:0".to_owned()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()),
        ("OTEL_EXPORTER_OTLP_HEADERS", format!("authorization={MARK}-collector")),
        ("PROVIDER_TRACEPARENT", "on".to_owned()),
        ("OPENAI_API_KEY", KEY.to_owned()),
        ("OPENAI_BASE_URL", provider.base_url()),
        ("AI_PROVIDERS", "openai".to_owned()),
        ("AI_SERVICES__GROQ_API_KEY", format!("{MARK}-groq")),
        ("AI_SERVICES__OPEN_ROUTER_API_KEY_1", format!("{MARK}-router")),
        ("AI_SERVICES__GEMINI_API_KEY", format!("{MARK}-gemini")),
        ("SMTP_URL", mail.url("smtp", &format!("{mail_user}:{mail_password}@"))),
        ("MAIL_FROM", "chat@verbatim.example".to_owned()),
        ("EMAIL__GMAIL_APP_PASSWORD", format!("{MARK}-mail-password")),
        ("SYSTEM_PROMPT", format!("{MARK}-prompt")),
        ("JWT_SECRET_KEY", format!("{MARK}-signs-tokens-with-more-than-32-characters")),
        ("MASTER_KEY", MASTER_KEY.to_owned()),
        ("AWS_ACCESS_KEY_ID", format!("{MARK}-aws-id")),
        ("AWS_SECRET_ACCESS_KEY", format!("{MARK}-aws-key")),
        ("REPLY_WAIT_SECONDS", "20".to_owned()),
        ("REPLY_MAX_ATTEMPTS", "2".to_owned()),
        // The password in the URL has no effect: the test's Postgres does not ask for one.
        ("RUST_BACKTRACE", "1".to_owned()),
    ] {
        place.set(name, value);
    }
    let (node, base, _) = place.start(&http(), STEP_TIMEOUT).await.unwrap();
    let usage = Usage::new(&base, &provider, &mail).await;
    usage.use_everything().await;
    let panic_response = usage.panic().await;

    // A projection that fails to write a user's text, and logs why.
    let mut connection = PgConnection::connect_with(&place.options()).await.unwrap();
    connection
        .execute(
            format!("ALTER TABLE messages ADD CHECK (text NOT LIKE '%{MARK}-poison%') NOT VALID").as_str(),
        )
        .await
        .unwrap();
    usage.poison().await;
    let projection_failed = || place.log_lines().iter().any(|line| line.contains("projection failed"));
    assert!(within(STEP_TIMEOUT, async || projection_failed()).await, "{:#?}", place.last_log_lines());

    let metrics = place
        .log_lines()
        .iter()
        .find_map(|line| Some(line.split_once("metrics: ")?.1.split('"').next().unwrap().to_owned()))
        .unwrap();
    let metrics = http().get(metrics).send().await.unwrap().text().await.unwrap();
    assert!(node.stop().await.success(), "{:#?}", place.last_log_lines());

    let mut needles = vec![MARK.to_owned(), KEY.to_owned(), ERROR_TEXT.to_owned(), MASTER_KEY.to_owned()];
    needles.extend(usage.secrets().into_iter().map(|secret| secret.to_lowercase()));
    assert!(needles.iter().all(|needle| needle.len() >= MARK.len()) && needles.len() > 10, "{needles:?}");
    let needles = Needles(needles);

    // The program's own output: logs, spans, metrics.
    let said = place.log_lines();
    let lines = assert_clean("logs", &needles, said.iter().map(String::as_bytes));
    assert!(lines > 1_000, "only {lines} log lines at level trace");
    for line in &said {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["level"].is_string(), "{line}");
        let path = line["http.path"].as_str().unwrap_or_default();
        assert!(!path.contains('?'), "a query is logged: {line}");
    }
    let panicked = said.iter().find(|line| line.contains("thread panicked")).expect("the panic is logged");
    assert!(panicked.contains("src/fault_injection.rs") && panicked.contains("(withheld)"), "{panicked}");
    assert!(said.iter().any(|line| line.contains("check constraint")), "the cause is logged");
    let sent = collector.bodies();
    assert!(assert_clean("spans", &needles, sent.iter().map(AsRef::as_ref)) > 3);
    let names: BTreeSet<String> = collector.spans().into_iter().map(|span| span.name).collect();
    for name in
        ["POST /api/chat", "POST /chatkit", "frame message", "command", "reply.attempt", "reply.title"]
    {
        assert!(names.contains(name), "no span {name}: {names:?}");
    }
    assert!(names.iter().any(|name| name.starts_with("_OTHER ")), "{names:?}");
    assert_clean("metrics", &needles, metrics.lines().map(str::as_bytes));
    assert!(metrics.contains("verbatim_panics_total 1"), "the panic is counted");

    // Messages to other nodes and consumers.
    let nats_messages = nats_messages.messages();
    let messages = assert_clean("messages in NATS", &needles, nats_messages.iter().map(Vec::as_slice));
    assert!(messages > 50, "only {messages} messages in NATS");
    let live = nats_messages.iter().filter(|message| message.starts_with(b"verbatim.live")).count();
    assert!(live > 0, "no message of the live feed in NATS");

    // Error responses.
    let errors = usage.error_responses();
    assert_clean("error responses", &needles, errors.iter().map(String::as_bytes));
    assert!(errors.len() > 100, "only {} error responses", errors.len());
    let object = panic_response.as_object().unwrap();
    assert_eq!(object.keys().map(String::as_str).collect::<Vec<_>>(), ["code", "detail", "request_id"]);
    assert_eq!(object["code"], "internal");
    assert!(
        said.iter().any(|line| line.contains(object["request_id"].as_str().unwrap())),
        "{panic_response}"
    );

    // Stored data: text is encrypted in the log, and in plain only in the read models.
    let found = tables_with_canary(&mut connection, &needles).await;
    // An idempotency key is chosen by the client and stored as sent; the result stored with it must be clean.
    let allowed = READ_MODELS.iter().chain(["command_keys"].iter()).map(|name| (*name).to_owned());
    let allowed: BTreeSet<String> = allowed.collect();
    let results: Vec<String> =
        sqlx::query_scalar("SELECT result::text FROM command_keys").fetch_all(&mut connection).await.unwrap();
    assert!(assert_clean("results of commands", &needles, results.iter().map(String::as_bytes)) > 0);
    let unexpected: Vec<_> = found.difference(&allowed).collect();
    assert!(unexpected.is_empty(), "{unexpected:?} contain private text");
    for model in ["users", "conversations", "messages", "files", "items"] {
        assert!(found.contains(model), "nothing was written to {model}: {found:?}");
    }
    let sealed: i64 = sqlx::query_scalar("SELECT count(*) FROM events WHERE payload::text LIKE '%$sealed%'")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert!(sealed > 20, "only {sealed} events contain encrypted text");
    connection.close().await.unwrap();
    place.remove().await;
}

#[test]
fn canary_search_ignores_case_and_position() {
    let needles = Needles(vec![MARK.to_owned()]);
    for text in ["cnry7", "x CNRY7-y", "{\"a\":\"Cnry7\"}"] {
        assert!(needles.find_in_text(text).is_some(), "{text}");
    }
    assert!(needles.find_in_bytes(b"\xff\x00cnry7\xff").is_some());
    assert!(needles.find_in_text("canary").is_none());
}
