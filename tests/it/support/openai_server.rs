//! A loopback server that speaks OpenAI's Responses API, streamed, and can be told how to misbehave. It
//! records what it was sent. Used by the tests of the provider and of the reply worker.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The key that the server accepts.
pub(crate) const KEY: &str = "sk-test-canary-key";

/// The model that the server says it answered with, whatever it was asked for.
pub(crate) const MODEL: &str = "gpt-test-2030-01-01";

/// What every error of the server says, so that tests can look for it where it must not be.
pub(crate) const ERROR_TEXT: &str = "canary text of a provider's error";

/// What the server does with one request.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Answers with these deltas, this long apart, and ends as said.
    Reply {
        /// The pieces of text.
        deltas: Vec<String>,
        /// The pause before each piece.
        pause: Duration,
        /// How it ends.
        ending: Ending,
    },
    /// Answers with this status and error object, and these headers.
    Error {
        /// The HTTP status.
        status: u16,
        /// The error's code.
        code: Value,
        /// Further headers.
        headers: Vec<(&'static str, String)>,
    },
    /// Takes the request and never answers.
    HangBeforeHeaders,
    /// Sends the headers, then nothing.
    SilentBody,
    /// Sends this as the body, with this content type, and ends.
    Raw {
        /// The content type.
        kind: &'static str,
        /// The body's parts, sent one by one.
        parts: Vec<Vec<u8>>,
    },
    /// Sends deltas without end, as fast as they are taken, each of this many bytes.
    Endless {
        /// The bytes of text in each delta.
        bytes: usize,
    },
}

/// How a reply ends.
#[derive(Debug, Clone)]
pub(crate) enum Ending {
    /// `response.completed`.
    Completed,
    /// `response.incomplete` for this reason.
    Incomplete(&'static str),
    /// `response.failed` with this code.
    Failed(&'static str),
    /// A bare `error` event with this code.
    Error(&'static str),
    /// The body ends as if all were well, without a last event.
    Nothing,
    /// The connection breaks in the middle of an event.
    Reset,
    /// It stays open and says nothing more.
    Silence,
}

impl Act {
    /// A good reply without pauses.
    pub(crate) fn reply(deltas: &[&str]) -> Self {
        Self::ending(deltas, Ending::Completed)
    }

    /// A reply without pauses that ends so.
    pub(crate) fn ending(deltas: &[&str], ending: Ending) -> Self {
        let deltas = deltas.iter().map(|&delta| delta.to_owned()).collect();
        Self::Reply { deltas, pause: Duration::ZERO, ending }
    }

    /// An error with this status and code.
    pub(crate) fn error(status: u16, code: &str) -> Self {
        Self::Error { status, code: code.into(), headers: Vec::new() }
    }
}

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its body.
    pub(crate) body: Value,
}

/// What has happened so far; watched, so that tests can wait for it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Log {
    /// The requests, in order.
    pub(crate) requests: Vec<Recorded>,
    /// How many bytes of bodies have been sent, or at least given to the connection.
    pub(crate) sent: usize,
    /// How many answers are over, whichever way.
    pub(crate) ended: usize,
    /// How many of these the client hung up on before they were over.
    pub(crate) hung_up: usize,
}

/// The server; it stops when dropped.
#[derive(Debug)]
pub(crate) struct OpenAiServer {
    address: SocketAddr,
    script: Arc<Script>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Script {
    next: Mutex<VecDeque<Act>>,
    log: watch::Sender<Log>,
}

impl OpenAiServer {
    /// Starts a server that acts so, one act a request; the last act is repeated for ever.
    pub(crate) async fn start(acts: impl IntoIterator<Item = Act>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let next = Mutex::new(acts.into_iter().collect());
        let script = Arc::new(Script { next, log: watch::Sender::default() });
        let router = Router::new()
            .route("/v1/responses", post(respond))
            .route("/v1/audio/transcriptions", post(respond))
            .with_state(Arc::clone(&script));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, router).await.expect("the server runs") });
        Self { address, script, _tasks: tasks }
    }

    /// What `OPENAI_BASE_URL` must be to reach it.
    pub(crate) fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The requests so far.
    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.script.log.borrow().requests.clone()
    }

    /// What happens, to follow it.
    pub(crate) fn log(&self) -> watch::Receiver<Log> {
        self.script.log.subscribe()
    }

    /// Waits until what has happened is as wanted; fails after 10 s.
    pub(crate) async fn until(&self, wanted: impl Fn(&Log) -> bool) -> Log {
        let mut log = self.log();
        let seen = tokio::time::timeout(Duration::from_secs(10), log.wait_for(|log| wanted(log))).await;
        seen.expect("it happens in time").expect("the server runs").clone()
    }
}

impl Script {
    fn next(&self) -> Act {
        let mut acts = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let act = acts.pop_front().expect("the script has an act");
        if acts.is_empty() {
            acts.push_back(act.clone());
        }
        act
    }
}

/// Counts an answer as over when dropped: as hung up on, unless it was finished before.
struct Answer {
    script: Arc<Script>,
    finished: bool,
}

impl Answer {
    fn finish(&mut self) {
        self.finished = true;
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.script.log.send_modify(|log| {
            log.ended += 1;
            log.hung_up += usize::from(!self.finished);
        });
    }
}

async fn respond(State(script): State<Arc<Script>>, headers: HeaderMap, body: String) -> Response {
    let mut answer = Answer { script: Arc::clone(&script), finished: false };
    // A form is kept as its text.
    let body: Value = serde_json::from_str(&body).unwrap_or(Value::String(body));
    let authorized = headers.get(header::AUTHORIZATION).is_some_and(|key| key == &format!("Bearer {KEY}"));
    script.log.send_modify(|log| log.requests.push(Recorded { headers, body: body.clone() }));
    if !authorized {
        answer.finish();
        return refusal(401, &"invalid_api_key".into(), &[]);
    }
    let steps = match script.next() {
        Act::Error { status, code, headers } => {
            answer.finish();
            return refusal(status, &code, &headers);
        }
        Act::HangBeforeHeaders => std::future::pending().await,
        Act::Raw { kind, parts } => {
            return streamed(kind, stream::iter(parts).map(Step::Send).boxed(), answer);
        }
        Act::SilentBody => stream::iter([Step::Hold]).boxed(),
        Act::Reply { deltas, pause, ending } => stream::iter(reply(&body, &deltas, pause, &ending)).boxed(),
        Act::Endless { bytes } => {
            stream::repeat(delta(4, &"x".repeat(bytes))).map(|delta| Step::event(&delta)).boxed()
        }
    };
    streamed("text/event-stream; charset=utf-8", steps, answer)
}

fn refusal(status: u16, code: &Value, headers: &[(&'static str, String)]) -> Response {
    let error = json!({"error": {"message": ERROR_TEXT, "type": "some_error", "param": null, "code": code}});
    let status = StatusCode::from_u16(status).expect("a status");
    let mut response =
        (status, [(header::CONTENT_TYPE, "application/json")], error.to_string()).into_response();
    for (name, value) in headers {
        response.headers_mut().insert(*name, value.parse().expect("a header value"));
    }
    response
}

/// A step of a body.
#[derive(Clone)]
enum Step {
    Send(Vec<u8>),
    Pause(Duration),
    /// Nothing more, but the connection stays.
    Hold,
    /// The connection breaks.
    Break,
}

impl Step {
    fn event(event: &Value) -> Self {
        let kind = event["type"].as_str().unwrap_or("message");
        Self::Send(format!("event: {kind}\ndata: {event}\n\n").into_bytes())
    }
}

/// A response whose body makes these steps; `answer` learns whether it came to its end.
fn streamed(kind: &'static str, steps: BoxStream<'static, Step>, answer: Answer) -> Response {
    let body = stream::unfold((steps, answer), |(mut steps, mut answer)| async move {
        loop {
            match steps.next().await {
                Some(Step::Send(bytes)) => {
                    answer.script.log.send_modify(|log| log.sent += bytes.len());
                    return Some((Ok(bytes), (steps, answer)));
                }
                Some(Step::Pause(pause)) => tokio::time::sleep(pause).await,
                Some(Step::Hold) => std::future::pending().await,
                Some(Step::Break) => {
                    // One pause, in which what was sent before leaves for the client.
                    tokio::task::yield_now().await;
                    answer.finish();
                    return Some((Err("the connection breaks"), (steps, answer)));
                }
                None => {
                    answer.finish();
                    return None;
                }
            }
        }
    });
    ([(header::CONTENT_TYPE, kind)], Body::from_stream(body)).into_response()
}

/// The steps of a reply: the events that OpenAI sends around the deltas, and the ending.
fn reply(request: &Value, deltas: &[String], pause: Duration, ending: &Ending) -> Vec<Step> {
    let mut steps: Vec<Step> = opening(request).iter().map(Step::event).collect();
    for (number, text) in (4..).zip(deltas) {
        if !pause.is_zero() {
            steps.push(Step::Pause(pause));
        }
        steps.push(Step::event(&delta(number, text)));
    }
    let last = deltas.len() + 4;
    match ending {
        Ending::Completed => steps.extend(closing(request, deltas).iter().map(Step::event)),
        Ending::Incomplete(reason) => {
            let mut response = response(request, "incomplete", deltas);
            response["incomplete_details"] = json!({"reason": reason});
            steps.push(Step::event(&json!({
                "type": "response.incomplete", "sequence_number": last, "response": response,
            })));
        }
        Ending::Failed(code) => {
            let mut response = response(request, "failed", deltas);
            response["error"] = json!({"code": code, "message": ERROR_TEXT});
            steps.push(Step::event(&json!({
                "type": "response.failed", "sequence_number": last, "response": response,
            })));
        }
        Ending::Error(code) => steps.push(Step::event(&json!({
            "type": "error", "sequence_number": last, "code": code, "message": ERROR_TEXT, "param": null,
        }))),
        Ending::Nothing => {}
        Ending::Reset => {
            steps.push(Step::Send(b"event: response.completed\ndata: {\"type\": \"response.comp".to_vec()));
            steps.push(Step::Break);
        }
        Ending::Silence => steps.push(Step::Hold),
    }
    steps
}

/// The response object as OpenAI repeats it in several events.
fn response(request: &Value, status: &str, deltas: &[String]) -> Value {
    let done = status != "in_progress";
    let output = if done { json!([message(status, deltas)]) } else { json!([]) };
    let usage = json!({
        "input_tokens": 11, "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": deltas.len(), "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": deltas.len() + 11,
    });
    json!({
        "id": "resp_test_1", "object": "response", "created_at": 1_893_456_000, "status": status,
        "error": null, "incomplete_details": null, "instructions": request["instructions"],
        "max_output_tokens": request["max_output_tokens"], "model": MODEL, "output": output,
        "parallel_tool_calls": true, "previous_response_id": null, "store": request["store"],
        "temperature": 1.0, "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [],
        "top_p": 1.0, "truncation": "disabled", "usage": if done { usage } else { Value::Null },
        "metadata": {},
    })
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": []})
}

fn message(status: &str, deltas: &[String]) -> Value {
    let status = if status == "failed" { "incomplete" } else { status };
    let content = if deltas.is_empty() { json!([]) } else { json!([part(&deltas.concat())]) };
    json!({"type": "message", "id": "msg_test_1", "status": status, "role": "assistant", "content": content})
}

fn opening(request: &Value) -> [Value; 4] {
    let response = response(request, "in_progress", &[]);
    [
        json!({"type": "response.created", "sequence_number": 0, "response": response}),
        json!({"type": "response.in_progress", "sequence_number": 1, "response": response}),
        json!({
            "type": "response.output_item.added", "sequence_number": 2, "output_index": 0,
            "item": message("in_progress", &[]),
        }),
        json!({
            "type": "response.content_part.added", "sequence_number": 3, "item_id": "msg_test_1",
            "output_index": 0, "content_index": 0, "part": part(""),
        }),
    ]
}

fn delta(number: usize, text: &str) -> Value {
    json!({
        "type": "response.output_text.delta", "sequence_number": number, "item_id": "msg_test_1",
        "output_index": 0, "content_index": 0, "delta": text, "logprobs": [], "obfuscation": "x7Gh2",
    })
}

fn closing(request: &Value, deltas: &[String]) -> [Value; 4] {
    let text = deltas.concat();
    let number = deltas.len() + 4;
    [
        json!({
            "type": "response.output_text.done", "sequence_number": number, "item_id": "msg_test_1",
            "output_index": 0, "content_index": 0, "text": text, "logprobs": [],
        }),
        json!({
            "type": "response.content_part.done", "sequence_number": number + 1, "item_id": "msg_test_1",
            "output_index": 0, "content_index": 0, "part": part(&text),
        }),
        json!({
            "type": "response.output_item.done", "sequence_number": number + 2, "output_index": 0,
            "item": message("completed", deltas),
        }),
        json!({
            "type": "response.completed", "sequence_number": number + 3,
            "response": response(request, "completed", deltas),
        }),
    ]
}

/// async-openai's own types, written from OpenAI's published description, can read every event that this
/// server sends: so what the adapter is tested against is the API, and not what we take it for.
#[test]
fn the_servers_events_are_those_of_the_api() {
    use async_openai::types::responses::ResponseStreamEvent;

    let request = json!({"instructions": "Be brief.", "max_output_tokens": 5, "store": false});
    let deltas = ["one ".to_owned(), "two".to_owned()];
    let endings = [
        Ending::Completed,
        Ending::Incomplete("max_output_tokens"),
        Ending::Failed("server_error"),
        Ending::Error("rate_limit_exceeded"),
    ];
    for ending in endings {
        for step in reply(&request, &deltas, Duration::ZERO, &ending) {
            let Step::Send(bytes) = step else { panic!("{ending:?} only sends") };
            let text = String::from_utf8(bytes).expect("text");
            let data = text.lines().find_map(|line| line.strip_prefix("data: ")).expect("an event has data");
            let read = serde_json::from_str::<ResponseStreamEvent>(data);
            assert!(read.is_ok(), "{:?} of {data}", read.err());
        }
    }
}
