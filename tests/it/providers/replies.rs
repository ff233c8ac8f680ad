//! One failing provider and the whole worker, in both protocols: the outcome of the reply, the number of requests, and the
//! recorded events.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::net::TcpListener;
use verbatim::schema::MIGRATOR;

use super::{EndedReply, app_with_provider, ask, assert_no_leak, text};
use crate::support::app::TestApp;
use crate::support::openai_server::{Act, ERROR_TEXT, Ending, KEY, OpenAiServer};

/// Defines a test for each of the two protocols.
macro_rules! in_both_protocols {
    ($($name:ident)+) => {
        mod responses {
            $(#[sqlx::test(migrator = "super::MIGRATOR")]
            async fn $name(db: sqlx::PgPool) {
                super::$name(db, "responses").await;
            })+
        }

        mod chat_completions {
            $(#[sqlx::test(migrator = "super::MIGRATOR")]
            async fn $name(db: sqlx::PgPool) {
                super::$name(db, "chat_completions").await;
            })+
        }
    };
}

in_both_protocols! {
    retry_after_is_honoured_without_delaying_others
    persistent_rate_limit_fails_reply_in_time
    short_outage_costs_attempts_but_no_reply
    long_outage_fails_reply_after_four_attempts
    permanent_errors_are_classified_and_not_retried
    silent_provider_times_out_and_is_retried
    truncated_reply_is_never_complete
    unreadable_response_fails_reply
    unusual_endings_have_defined_outcomes
}

async fn retry_after_is_honoured_without_delaying_others(db: PgPool, api: &str) {
    // The first wait is long, so that the other reply ends during it even on a busy machine.
    let waits = ["5", "2"];
    let acts =
        [Act::limited(waits[0]), Act::reply(&["other"]), Act::limited(waits[1]), Act::reply(&["fine"])];
    let server = OpenAiServer::start(acts).await;
    let app = app_with_provider(&db, &server, api, &[]).await;
    let person = app.person().await;
    let (reply, stream) = ask(&app, &person, &json!({"message": "first"})).await;
    server.until(|log| log.requests.len() == 1).await;
    let other = EndedReply::of(&app, &person, "second").await;
    assert_eq!((other.status(), other.attempts().len()), ("completed", 1));
    assert_eq!(server.requests().len(), 2, "the other reply did not wait");
    let ended = EndedReply::end(&app, &person, &reply, stream).await;
    assert_eq!(ended.status(), "completed");
    assert_eq!(text(&app, &person, &ended).await, "fine");
    let waits = waits.map(|wait| Duration::from_secs(wait.parse().unwrap()));
    let pauses = ended.pauses();
    assert!(pauses.len() == 2 && pauses[0] >= waits[0] && pauses[1] >= waits[1], "{:?}", ended.0);
    // From the server's view; its second request belongs to the other reply.
    let at: Vec<_> = server.requests().iter().map(|request| request.at).collect();
    assert!(at[2] - at[0] >= waits[0] && at[3] - at[2] >= waits[1]);
    app.end().await;
}

async fn persistent_rate_limit_fails_reply_in_time(db: PgPool, api: &str) {
    let server = OpenAiServer::start([Act::limited("1")]).await;
    let short =
        [("PROVIDER_WAIT_SECONDS", "1"), ("PROVIDER_WAITS_SECONDS", "3"), ("REPLY_MAX_ATTEMPTS", "9")];
    let app = app_with_provider(&db, &server, api, &short).await;
    let person = app.person().await;
    for wait in ["86400", "Fri, 31 Dec 9999 23:59:59 GMT"] {
        server.set_script([Act::limited(wait)]);
        let before = server.requests().len();
        let ended = EndedReply::of(&app, &person, "Hello").await;
        assert_eq!(ended.outcome(), ("failed", Some("rate_limited")), "{wait}");
        // Each wait is capped at one second, and all together at three.
        assert_eq!(ended.pauses(), [Duration::from_secs(1); 3], "{wait}");
        let pauses = &server.pauses()[before..];
        assert!(
            pauses.len() == 3 && pauses.iter().all(|pause| *pause >= Duration::from_secs(1)),
            "{pauses:?}"
        );
    }
    // An unusable `Retry-After` falls back to the ordinary back-off.
    let app = restarted(app, &db, &server, api, &[]).await;
    for wait in ["-1", "soon", "Wed, 21 Oct 2015 07:28:00 GMT", "99999999999999999999"] {
        server.set_script([Act::limited(wait)]);
        let ended = EndedReply::of(&app, &person, "Hello").await;
        assert_eq!(ended.outcome(), ("failed", Some("rate_limited")), "{wait}");
        assert_eq!(ended.attempts().len(), 4, "{wait}");
        assert!(ended.pauses().iter().all(|pause| *pause < Duration::from_secs(1)), "{wait}");
    }
    server.set_script([Act::error(429, "insufficient_quota")]);
    let ended = EndedReply::of(&app, &person, "Hello").await;
    assert_eq!((ended.outcome(), ended.attempts().len()), (("failed", Some("quota_exceeded")), 1));
    assert_no_leak(&app).await;
    app.end().await;
}

/// Restarts the app with other settings.
async fn restarted(
    app: TestApp,
    db: &PgPool,
    server: &OpenAiServer,
    api: &str,
    more: &[(&str, &str)],
) -> TestApp {
    app.end().await;
    app_with_provider(db, server, api, more).await
}

async fn short_outage_costs_attempts_but_no_reply(db: PgPool, api: &str) {
    let down = || Act::error(500, "server_error");
    let server = OpenAiServer::start([down(), down(), Act::reply(&["Back", " again."])]).await;
    let app = app_with_provider(&db, &server, api, &[]).await;
    let person = app.person().await;
    let ended = EndedReply::of(&app, &person, "Are you there?").await;
    assert_eq!(ended.status(), "completed");
    assert_eq!(
        ended.asked(),
        [
            ("openai", 1, Some("provider_unavailable")),
            ("openai", 1, Some("provider_unavailable")),
            ("openai", 1, None)
        ]
    );
    let last = &ended.attempts()[2];
    assert!(last["completed_at"].is_string() && last["plan"]["parameters"]["api"] == api, "{last}");
    assert_eq!(text(&app, &person, &ended).await, "Back again.");
    app.end().await;
}

async fn long_outage_fails_reply_after_four_attempts(db: PgPool, api: &str) {
    let server = OpenAiServer::start([Act::error(500, "server_error")]).await;
    let app = app_with_provider(&db, &server, api, &[("PROVIDER_BACKOFF_MILLISECONDS", "100")]).await;
    let person = app.person().await;
    let mut pauses = Vec::new();
    for status in [500, 502, 503] {
        server.set_script([Act::error(status, "whatever")]);
        let before = server.requests().len();
        let ended = EndedReply::of(&app, &person, "Hello").await;
        assert_eq!(ended.outcome(), ("failed", Some("provider_unavailable")), "{status}");
        assert_eq!((ended.attempts().len(), server.requests().len() - before), (4, 4), "{status}");
        pauses.push(ended.pauses());
    }
    // Each back-off is about twice the one before, and jitter makes them differ between replies.
    for (n, backoff) in [100, 200, 400].map(Duration::from_millis).into_iter().enumerate() {
        let seen: Vec<Duration> = pauses.iter().map(|pauses| pauses[n]).collect();
        assert!(seen.iter().all(|pause| (backoff / 2..=backoff * 3 / 2).contains(pause)), "{seen:?}");
        assert!(seen[0] != seen[1] && seen[1] != seen[2] && seen[0] != seen[2], "{seen:?}");
    }
    assert_no_leak(&app).await;
    app.end().await;
    // No server listens on this port.
    let free = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/v1", free.local_addr().unwrap());
    drop(free);
    let variables = [("OPENAI_API_KEY", KEY), ("OPENAI_BASE_URL", &url), ("OPENAI_API", api)];
    let quick = [("PROVIDER_BACKOFF_MILLISECONDS", "20"), ("CHAT_TITLES", "off")];
    let app = TestApp::with(&db, &[&variables[..], &quick[..]].concat()).await;
    let ended = EndedReply::of(&app, &person, "Hello").await;
    assert_eq!((ended.outcome(), ended.attempts().len()), (("failed", Some("provider_unavailable")), 4));
    app.end().await;
}

async fn permanent_errors_are_classified_and_not_retried(db: PgPool, api: &str) {
    let server = OpenAiServer::start([Act::reply(&["fine"])]).await;
    let app = app_with_provider(&db, &server, api, &[]).await;
    let person = app.person().await;
    // The problem that `/health` reports for the provider until a request succeeds.
    let trouble = async || app.get("/health").send().await.is(200).value()["providers"][0]["trouble"].clone();
    let cases = [
        (401, "whatever", "key_invalid", json!("key_invalid")),
        (403, "whatever", "key_invalid", json!("key_invalid")),
        (402, "whatever", "quota_exceeded", json!("quota_exceeded")),
        (400, "invalid_value", "bad_response", Value::Null),
        (404, "model_not_found", "model_unknown", Value::Null),
        (400, "context_length_exceeded", "too_long", Value::Null),
        (400, "content_policy_violation", "content_filter", Value::Null),
    ];
    for (status, code, reason, held) in cases {
        server.set_script([Act::error(status, code)]);
        let before = server.requests().len();
        let ended = EndedReply::of(&app, &person, "Hello").await;
        assert_eq!(ended.outcome(), ("failed", Some(reason)), "{status} {code}");
        assert_eq!(server.requests().len() - before, 1, "{status} {code} was retried");
        assert_eq!(trouble().await, held, "{status} {code}");
        server.set_script([Act::reply(&["fine"])]);
        assert_eq!(EndedReply::of(&app, &person, "Hello").await.status(), "completed");
        assert_eq!(trouble().await, Value::Null);
    }
    server.set_script([Act::error(401, "invalid_api_key")]);
    let answer = app.post("/api/chat").by(&person).json(&json!({"message": "Hello"})).send().await;
    answer.assert_error(500, "reply_failed");
    assert!(answer.text.contains("key_invalid"), "{}", answer.text);
    for secret in [KEY, ERROR_TEXT] {
        assert!(!answer.text.contains(secret), "{}", answer.text);
    }
    assert_no_leak(&app).await;
    app.end().await;
}

async fn silent_provider_times_out_and_is_retried(db: PgPool, api: &str) {
    let server = OpenAiServer::start([Act::reply(&["fine"])]).await;
    let short = [("PROVIDER_FIRST_BYTE_SECONDS", "1"), ("PROVIDER_IDLE_SECONDS", "1")];
    let app = app_with_provider(&db, &server, api, &short).await;
    let person = app.person().await;
    let silent = [Act::HangBeforeHeaders, Act::SilentBody, Act::ending(&["half"], Ending::Silence)];
    for (n, act) in silent.into_iter().enumerate() {
        server.set_script([act.clone(), Act::reply(&["whole"])]);
        let ended = EndedReply::of(&app, &person, "Hello").await;
        assert_eq!(ended.asked(), [("openai", 1, Some("timeout")), ("openai", 1, None)], "{act:?}");
        assert_eq!(text(&app, &person, &ended).await, "whole");
        // The worker hung up on the silent call.
        server.until(|log| log.hung_up == n + 1).await;
    }
    app.end().await;
}

async fn truncated_reply_is_never_complete(db: PgPool, api: &str) {
    let server = OpenAiServer::start([Act::reply(&["fine"])]).await;
    let app = app_with_provider(&db, &server, api, &[]).await;
    let person = app.person().await;
    for ending in [Ending::Nothing, Ending::Reset] {
        server.set_script([Act::ending(&["half"], ending.clone()), Act::reply(&["whole"])]);
        let ended = EndedReply::of(&app, &person, "Hello").await;
        assert_eq!((ended.status(), ended.attempts().len()), ("completed", 2), "{ending:?}");
        assert_eq!(text(&app, &person, &ended).await, "whole");
        server.set_script([Act::ending(&["half"], ending.clone())]);
        let ended = EndedReply::of(&app, &person, "Hello").await;
        assert_eq!(ended.outcome(), ("failed", Some("provider_unavailable")), "{ending:?}");
        assert_eq!(text(&app, &person, &ended).await, "half", "the text so far is kept");
    }
    for ending in [Ending::Unmarked, Ending::HeldOpen] {
        server.set_script([Act::ending(&["all"], ending.clone())]);
        let ended = EndedReply::of(&app, &person, "Hello").await;
        assert_eq!((ended.status(), ended.attempts().len()), ("completed", 1), "{ending:?}");
    }
    app.end().await;
}

async fn unreadable_response_fails_reply(db: PgPool, api: &str) {
    let server = OpenAiServer::start([Act::reply(&["fine"])]).await;
    let app = app_with_provider(&db, &server, api, &[]).await;
    let person = app.person().await;
    let raw = |kind: &'static str, part: &[u8]| Act::Raw { kind, parts: vec![part.to_vec()] };
    let wrong_shape: &[u8] = match api {
        "responses" => b"data: {\"type\": \"response.output_text.delta\", \"delta\": [\"canary\"]}\n\n",
        _ => b"data: {\"choices\": [{\"delta\": {\"content\": [\"canary\"]}}]}\n\n",
    };
    for act in [
        raw("text/event-stream", b"data: {\"canary\": \n\n"),
        raw("text/html", b"<!doctype html><title>canary</title>"),
        raw("text/event-stream", wrong_shape),
        raw("text/event-stream", b"data: {\"type\": \"canary \xff\xfe\"}\n\n"),
    ] {
        server.set_script([act.clone()]);
        let before = server.requests().len();
        let ended = EndedReply::of(&app, &person, "Hello").await;
        assert_eq!(ended.outcome(), ("failed", Some("bad_response")), "{act:?}");
        assert_eq!(server.requests().len() - before, 1, "{act:?}");
    }
    // An error in the middle of a stream is classified like any other.
    for (code, reason, attempts) in
        [("server_error", "provider_unavailable", 4), ("insufficient_quota", "quota_exceeded", 1)]
    {
        server.set_script([Act::ending(&["half"], Ending::Error(code))]);
        let ended = EndedReply::of(&app, &person, "Hello").await;
        assert_eq!((ended.outcome(), ended.attempts().len()), (("failed", Some(reason)), attempts));
    }
    server.set_script([Act::reply(&["a\u{0}b", "\u{1b}[31mc"])]);
    let ended = EndedReply::of(&app, &person, "Hello").await;
    assert_eq!(text(&app, &person, &ended).await, "ab[31mc");
    assert_no_leak(&app).await;
    app.end().await;
}

async fn unusual_endings_have_defined_outcomes(db: PgPool, api: &str) {
    let server = OpenAiServer::start([Act::reply(&["fine"])]).await;
    let app = app_with_provider(&db, &server, api, &[]).await;
    let person = app.person().await;
    let outcome = async |act: Act| {
        server.set_script([act]);
        EndedReply::of(&app, &person, "Hello").await
    };
    // Empty: retried, then failed.
    let ended = outcome(Act::reply(&[])).await;
    assert_eq!((ended.outcome(), ended.attempts().len()), (("failed", Some("empty")), 4));
    // Incomplete: stored as it is, with the reason.
    for (reason, finish) in [("max_output_tokens", "length"), ("content_filter", "content_filter")] {
        let ended = outcome(Act::ending(&["half"], Ending::Incomplete(reason))).await;
        assert_eq!((ended.status(), ended.0["finish_reason"].as_str()), ("completed", Some(finish)));
    }
    // Filtered before any text: not retried, because it would be filtered again.
    let ended = outcome(Act::ending(&[], Ending::Incomplete("content_filter"))).await;
    assert_eq!((ended.outcome(), ended.attempts().len()), (("failed", Some("content_filter")), 1));
    // The output limit was used up before any text: not retried for the same reason.
    let ended = outcome(Act::ending(&[], Ending::Incomplete("max_output_tokens"))).await;
    assert_eq!((ended.outcome(), ended.attempts().len()), (("failed", Some("empty")), 1));
    let ended = outcome(Act::ending(&["all"], Ending::Twice)).await;
    assert_eq!((ended.status(), ended.attempts().len()), ("completed", 1));
    // Missing or invalid usage: zero tokens and an unknown cost.
    for tokens in [None, Some((-5, 3)), Some((5, -3))] {
        let ended = outcome(Act::ending(&["all"], Ending::Tokens(tokens))).await;
        let expected = json!({"tokens": 0, "prompt_tokens": 0, "completion_tokens": 0, "cost_micros": null});
        assert_eq!((ended.status(), &ended.0["usage"]), ("completed", &expected), "{tokens:?}");
    }
    app.end().await;
}
