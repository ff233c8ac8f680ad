//! Sends an operation and classifies its answer.

use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;
use uuid::Uuid;

use super::history::{Answer, Ids, Kind, Operation, Outcome, Position};

/// Request timeout; a request that takes this long is a violation.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a stream is followed after the acknowledgement; queued replies may take longer.
const FOLLOW_TIMEOUT: Duration = Duration::from_secs(2);
/// Code of an answer that timed out.
pub(crate) const TIMED_OUT: &str = "timed out";

/// Builds an HTTP client without retries and redirects.
pub(crate) fn http() -> reqwest::Client {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .build()
        .unwrap()
}

/// Sends `operation` with this request id. Follows a stream to its end if `patient`, else only to its first frame.
pub(crate) async fn send(
    http: &reqwest::Client,
    base: &str,
    operation: &Operation,
    request_id: &str,
    token: Option<&str>,
    patient: bool,
) -> Answer {
    let method: Method = operation.method.parse().unwrap();
    let mut request =
        http.request(method, format!("{base}{}", operation.path)).header("x-request-id", request_id);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    if let Some(key) = &operation.key {
        request = request.header("idempotency-key", key);
    }
    if let Some(body) = &operation.body {
        request = request.header("content-type", "application/json").body(body.clone());
    }
    if operation.path.ends_with("/stream") {
        return stream(request, patient).await;
    }
    match request.timeout(REQUEST_TIMEOUT).send().await {
        Err(error) => lost(&error),
        Ok(response) => {
            let (status, position) = (response.status().as_u16(), position(&response));
            match response.json::<Value>().await {
                Ok(body) => classify(operation.kind, status, position, &body),
                // 204 has no body; any other incomplete answer leaves the outcome unknown.
                Err(_) if status == 204 => classify(operation.kind, status, position, &Value::Null),
                Err(error) => Answer { status, ..lost(&error) },
            }
        }
    }
}

/// Classifies a request without a usable answer.
fn lost(error: &reqwest::Error) -> Answer {
    if error.is_connect() {
        Answer::none(Outcome::NotSent, "not connected")
    } else if error.is_timeout() {
        Answer::none(Outcome::Unknown, TIMED_OUT)
    } else {
        Answer::none(Outcome::Unknown, "broken off")
    }
}

fn position(response: &Response) -> Option<i64> {
    response.headers().get("verbatim-position")?.to_str().ok()?.parse().ok()
}

/// Classifies a complete answer.
pub(crate) fn classify(kind: Kind, status: u16, position: Option<i64>, body: &Value) -> Answer {
    let code = body["code"].as_str().map(str::to_owned);
    let id = |name: &str| body[name].as_str().and_then(|id| Uuid::parse_str(id).ok());
    let ids = match kind {
        Kind::Register => Ids { user: id("id"), ..Ids::default() },
        Kind::Create | Kind::Send | Kind::Reused => Ids {
            user: None,
            conversation: id("session_id"),
            message: id("user_message_id"),
            reply: id("reply_id"),
        },
        Kind::Change => Ids { conversation: id("session_id"), ..Ids::default() },
        Kind::Cancel => Ids { reply: id("reply_id"), ..Ids::default() },
        Kind::Delete | Kind::Slow => Ids::default(),
    };
    let (outcome, position) = match (status, code.as_deref()) {
        // The command was executed; the answer tells the later fate of the reply or conversation.
        (409, Some("reply_cancelled" | "conversation_deleted")) | (500, Some("reply_failed")) => {
            (Outcome::Ok, Position::NotGiven)
        }
        (200, _) if matches!(kind, Kind::Create | Kind::Send) && body["status"] == "completed" => {
            (Outcome::Ok, position.map_or(Position::Command(None), Position::ReplyEnd))
        }
        (200..=299, _) => (Outcome::Ok, Position::Command(position)),
        (400..=499, _) => (Outcome::Rejected, Position::NotGiven),
        _ => (Outcome::Unknown, Position::NotGiven),
    };
    Answer { outcome, status, code, ids, position }
}

/// Sends a message by stream; its first frame is the acknowledgement.
async fn stream(request: RequestBuilder, patient: bool) -> Answer {
    let begun = Instant::now();
    let mut response = match tokio::time::timeout(REQUEST_TIMEOUT, request.send()).await {
        Err(_) => return Answer::none(Outcome::Unknown, TIMED_OUT),
        Ok(Err(error)) => return lost(&error),
        Ok(Ok(response)) => response,
    };
    let (status, position) = (response.status().as_u16(), position(&response));
    if status != 200 {
        return match response.json::<Value>().await {
            Ok(body) => classify(Kind::Send, status, position, &body),
            Err(error) => Answer { status, ..lost(&error) },
        };
    }
    let mut answer = Answer { status, ..Answer::none(Outcome::Unknown, "no first frame") };
    let mut text = String::new();
    loop {
        let left = (if answer.outcome == Outcome::Ok { FOLLOW_TIMEOUT } else { REQUEST_TIMEOUT })
            .saturating_sub(begun.elapsed());
        match tokio::time::timeout(left, response.chunk()).await {
            Ok(Ok(Some(chunk))) => text.push_str(&String::from_utf8_lossy(&chunk)),
            Err(_) if answer.outcome != Outcome::Ok => return Answer::none(Outcome::Unknown, TIMED_OUT),
            Ok(Ok(None) | Err(_)) | Err(_) => return answer,
        }
        while let Some((frame, rest)) = text.split_once("\n\n") {
            let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            let (event, data) = (field("event:"), field("data:"));
            if event == Some("message") {
                let body: Value = serde_json::from_str(data.unwrap()).unwrap();
                let position_in_frame = body["position"].as_i64();
                assert_eq!(position_in_frame, position, "the first frame and the header disagree");
                answer = classify(Kind::Send, status, position_in_frame, &body);
            }
            let over = matches!(event, Some("reply.done" | "reply.failed" | "reply.cancelled"));
            text = rest.to_owned();
            if over || (answer.outcome == Outcome::Ok && !patient) {
                return answer;
            }
        }
    }
}
