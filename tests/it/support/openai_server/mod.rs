//! A loopback server that speaks OpenAI's Responses API and Chat Completions, streamed, and can be told how to misbehave. It
//! records what it was sent. Used by the tests of the providers and of the reply worker.

mod acts;
mod chat;
mod responses;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use acts::Step;
pub(crate) use acts::{Act, ERROR_TEXT, Ending};

/// The key that the server accepts.
pub(crate) const KEY: &str = "sk-test-canary-key";

/// Another one, for services with two.
pub(crate) const KEY_2: &str = "sk-test-canary-key-2";

/// The model that the server says it answered with, whatever it was asked for.
pub(crate) const MODEL: &str = "gpt-test-2030-01-01";

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    /// When.
    pub(crate) at: Instant,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its body.
    pub(crate) body: Value,
}

impl Recorded {
    /// The key that it came with.
    pub(crate) fn key(&self) -> &str {
        let key = self.headers.get(header::AUTHORIZATION).and_then(|key| key.to_str().ok());
        key.and_then(|key| key.strip_prefix("Bearer ")).unwrap_or_default()
    }
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
    /// What is to be done with requests, by their key.
    next: Mutex<BTreeMap<&'static str, VecDeque<Act>>>,
    log: watch::Sender<Log>,
}

impl OpenAiServer {
    /// Starts a server that acts so, one act a request; the last act is repeated for ever.
    pub(crate) async fn start(acts: impl IntoIterator<Item = Act>) -> Self {
        Self::by_key([(KEY, acts.into_iter().collect())]).await
    }

    /// Starts a server that acts so on requests with these keys, and refuses all others.
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

    /// Acts so from now on.
    pub(crate) fn now(&self, acts: impl IntoIterator<Item = Act>) {
        let mut next = self.script.next.lock().unwrap_or_else(PoisonError::into_inner);
        next.insert(KEY, acts.into_iter().collect());
    }

    /// What `OPENAI_BASE_URL` must be to reach it.
    pub(crate) fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The requests so far.
    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.script.log.borrow().requests.clone()
    }

    /// How long after the one before each request came.
    pub(crate) fn pauses(&self) -> Vec<Duration> {
        let requests = self.requests();
        requests.windows(2).map(|pair| pair[1].at - pair[0].at).collect()
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
    /// What is to be done with a request that has this key; none: the key is not known.
    fn next(&self, key: &str) -> Option<Act> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let acts = next.get_mut(key)?;
        let act = acts.pop_front().expect("the script has an act");
        if acts.is_empty() {
            acts.push_back(act.clone());
        }
        Some(act)
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

async fn respond(
    State(script): State<Arc<Script>>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: String,
) -> Response {
    let mut answer = Answer { script: Arc::clone(&script), finished: false };
    // A form is kept as its text.
    let body: Value = serde_json::from_str(&body).unwrap_or(Value::String(body));
    let recorded = Recorded { at: Instant::now(), headers, body: body.clone() };
    let act = script.next(recorded.key());
    script.log.send_modify(|log| log.requests.push(recorded));
    let chat = uri.path().ends_with("/chat/completions");
    let steps = match act {
        None => {
            answer.finish();
            return refusal(401, &"invalid_api_key".into(), &[]);
        }
        Some(Act::Error { status, code, headers }) => {
            answer.finish();
            return refusal(status, &code, &headers);
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
