//! Fake OpenAI server on loopback: streams the Responses API and Chat Completions, follows a script of answers and
//! failures, and records the requests.

mod acts;
mod chat;
mod responses;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use acts::Step;
pub(crate) use acts::{Act, ERROR_TEXT, Ending};

/// API key that the server accepts.
pub(crate) const KEY: &str = "sk-test-canary-key";

/// Second accepted key, for services with two.
pub(crate) const KEY_2: &str = "sk-test-canary-key-2";

/// Model that the server reports in every answer, whichever was requested.
pub(crate) const MODEL: &str = "gpt-test-2030-01-01";

/// One request as received.
#[derive(Debug, Clone)]
pub(crate) struct RecordedRequest {
    /// Time of arrival.
    pub(crate) at: Instant,
    /// Request headers.
    pub(crate) headers: HeaderMap,
    /// JSON body, or its text if it is not JSON.
    pub(crate) body: Value,
}

impl RecordedRequest {
    /// Returns the API key of the request.
    pub(crate) fn key(&self) -> &str {
        let key = self.headers.get(header::AUTHORIZATION).and_then(|key| key.to_str().ok());
        key.and_then(|key| key.strip_prefix("Bearer ")).unwrap_or_default()
    }
}

/// What the server has done so far; tests watch it to wait for a change.
#[derive(Debug, Default, Clone)]
pub(crate) struct ServerLog {
    /// Requests in order of arrival.
    pub(crate) requests: Vec<RecordedRequest>,
    /// Bytes of response bodies handed to the connection.
    pub(crate) sent: usize,
    /// Number of answers that have ended, in any way.
    pub(crate) ended: usize,
    /// Number of answers that the client hung up on.
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
    /// Next acts by API key.
    next: Mutex<BTreeMap<&'static str, VecDeque<Act>>>,
    log: watch::Sender<ServerLog>,
}

impl OpenAiServer {
    /// Starts a server that performs one act per request and repeats the last one.
    pub(crate) async fn start(acts: impl IntoIterator<Item = Act>) -> Self {
        Self::by_key([(KEY, acts.into_iter().collect())]).await
    }

    /// Starts a server with a script for each of these API keys; it rejects other keys.
    pub(crate) async fn by_key(acts: impl IntoIterator<Item = (&'static str, Vec<Act>)>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let next = acts.into_iter().map(|(key, acts)| (key, acts.into())).collect();
        let script = Arc::new(Script { next: Mutex::new(next), log: watch::Sender::default() });
        let router = Router::new()
            .route("/v1/responses", post(respond))
            .route("/v1/chat/completions", post(respond))
            .route("/v1/audio/transcriptions", post(respond))
            .with_state(Arc::clone(&script));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, router).await.expect("the server runs") });
        Self { address, script, _tasks: tasks }
    }

    /// Replaces the script of [`KEY`].
    pub(crate) fn set_script(&self, acts: impl IntoIterator<Item = Act>) {
        let mut next = self.script.next.lock();
        next.insert(KEY, acts.into_iter().collect());
    }

    /// Returns the value for `OPENAI_BASE_URL`.
    pub(crate) fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Returns the requests so far.
    pub(crate) fn requests(&self) -> Vec<RecordedRequest> {
        self.script.log.borrow().requests.clone()
    }

    /// Returns the time between consecutive requests.
    pub(crate) fn pauses(&self) -> Vec<Duration> {
        let requests = self.requests();
        requests.windows(2).map(|pair| pair[1].at - pair[0].at).collect()
    }

    /// Subscribes to the server's log.
    pub(crate) fn log(&self) -> watch::Receiver<ServerLog> {
        self.script.log.subscribe()
    }

    /// Waits until the log satisfies `wanted`; fails after 10 s.
    pub(crate) async fn until(&self, wanted: impl Fn(&ServerLog) -> bool) -> ServerLog {
        let mut log = self.log();
        let seen = tokio::time::timeout(Duration::from_secs(10), log.wait_for(|log| wanted(log))).await;
        seen.expect("timed out waiting for the server's log").expect("the server runs").clone()
    }
}

impl Script {
    /// Returns the act for the next request with this key, or `None` for an unknown key.
    fn next(&self, key: &str) -> Option<Act> {
        let mut next = self.next.lock();
        let acts = next.get_mut(key)?;
        let act = acts.pop_front().expect("the script has an act");
        if acts.is_empty() {
            acts.push_back(act.clone());
        }
        Some(act)
    }
}

/// Counts an answer as ended when dropped, and as hung up on unless it was finished.
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

async fn respond(
    State(script): State<Arc<Script>>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: String,
) -> Response {
    let mut answer = Answer { script: Arc::clone(&script), finished: false };
    // A form is recorded as text.
    let body: Value = serde_json::from_str(&body).unwrap_or(Value::String(body));
    let recorded = RecordedRequest { at: Instant::now(), headers, body: body.clone() };
    let act = script.next(recorded.key());
    script.log.send_modify(|log| log.requests.push(recorded));
    let chat = uri.path().ends_with("/chat/completions");
    let steps = match act {
        None => {
            answer.finish();
            return error_response(401, &"invalid_api_key".into(), &[]);
        }
        Some(Act::Error { status, code, headers }) => {
            answer.finish();
            return error_response(status, &code, &headers);
        }
        Some(Act::HangBeforeHeaders) => std::future::pending().await,
        Some(Act::Raw { kind, parts }) => {
            return streamed(kind, stream::iter(parts).map(Step::Send).boxed(), answer);
        }
        Some(Act::SilentBody) => stream::iter([Step::Hold]).boxed(),
        Some(Act::Reply { deltas, pause, ending }) => reply(chat, &body, &deltas, pause, &ending),
        Some(Act::Call { name, arguments }) if chat => stream::iter(chat::call(name, arguments)).boxed(),
        Some(Act::Call { name, arguments }) => stream::iter(responses::call(&body, name, arguments)).boxed(),
        Some(Act::Endless { bytes }) => {
            let text = "x".repeat(bytes);
            let delta = if chat { chat::delta(&text) } else { responses::delta(4, &text) };
            stream::repeat(delta).boxed()
        }
        Some(Act::Comments { count, pause }) => {
            let comments = (0..count).map(|_| Step::Send(b": still at it\n\n".to_vec()));
            let late = reply(chat, &body, &["late".to_owned()], Duration::ZERO, &Ending::Completed);
            stream::iter(acts::paced(comments, pause)).chain(late).boxed()
        }
    };
    streamed("text/event-stream; charset=utf-8", steps, answer)
}

fn reply(
    chat: bool,
    request: &Value,
    deltas: &[String],
    pause: Duration,
    ending: &Ending,
) -> BoxStream<'static, Step> {
    let steps = if chat {
        chat::reply(deltas, pause, ending)
    } else {
        responses::reply(request, deltas, pause, ending)
    };
    stream::iter(steps).boxed()
}

fn error_response(status: u16, code: &Value, headers: &[(&'static str, String)]) -> Response {
    let error = json!({"error": {"message": ERROR_TEXT, "type": "some_error", "param": null, "code": code}});
    let status = StatusCode::from_u16(status).expect("a status");
    let mut response =
        (status, [(header::CONTENT_TYPE, "application/json")], error.to_string()).into_response();
    for (name, value) in headers {
        response.headers_mut().insert(*name, value.parse().expect("a header value"));
    }
    response
}

/// Builds a response whose body performs these steps; marks `answer` finished at the end.
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
                    // Yields once so that the bytes sent before reach the client.
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
