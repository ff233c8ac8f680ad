//! One provider that fails, through the whole worker, in both protocols: what becomes of the reply, how often the provider is
//! asked, and what is recorded.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::net::TcpListener;
use verbatim::schema::MIGRATOR;

use super::{Shown, app_at, ask, nothing_leaked, text};
use crate::support::app::TestApp;
use crate::support::openai_server::{Act, ERROR_TEXT, Ending, KEY, OpenAiServer};

/// A test for each of the two protocols.
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
    a_limit_is_waited_for_as_long_as_it_asks_and_others_go_on
    a_limit_that_does_not_pass_ends_the_reply_in_time
    a_provider_that_is_back_soon_costs_attempts_and_no_reply
    a_provider_that_stays_away_is_asked_four_times
    what_will_not_pass_is_told_apart_and_asked_once
    silence_costs_an_attempt
    a_cut_reply_is_never_taken_for_a_whole_one
    what_cannot_be_read_ends_the_reply_and_harms_nothing
    every_odd_end_has_its_outcome
}

async fn a_limit_is_waited_for_as_long_as_it_asks_and_others_go_on(db: PgPool, api: &str) {
    // The first wait is long, so that the other reply has ended in it however busy the machine is.
    let waits = ["5", "2"];
    let acts =
        [Act::limited(waits[0]), Act::reply(&["other"]), Act::limited(waits[1]), Act::reply(&["fine"])];
    let server = OpenAiServer::start(acts).await;
    let app = app_at(&db, &server, api, &[]).await;
    let person = app.person().await;
    let (reply, stream) = ask(&app, &person, &json!({"message": "first"})).await;
    server.until(|log| log.requests.len() == 1).await;
    let other = Shown::of(&app, &person, "second").await;
    assert_eq!((other.status(), other.attempts().len()), ("completed", 1));
    assert_eq!(server.requests().len(), 2, "the other reply did not wait");
    let shown = Shown::end(&app, &person, &reply, stream).await;
    assert_eq!(shown.status(), "completed");
    assert_eq!(text(&app, &person, &shown).await, "fine");
    let waits = waits.map(|wait| Duration::from_secs(wait.parse().unwrap()));
    let pauses = shown.pauses();
    assert!(pauses.len() == 2 && pauses[0] >= waits[0] && pauses[1] >= waits[1], "{:?}", shown.0);
    // As the server saw it; its second request is the other reply's.
    let at: Vec<_> = server.requests().iter().map(|request| request.at).collect();
    assert!(at[2] - at[0] >= waits[0] && at[3] - at[2] >= waits[1]);
    app.end().await;
}

async fn a_limit_that_does_not_pass_ends_the_reply_in_time(db: PgPool, api: &str) {
    let server = OpenAiServer::start([Act::limited("1")]).await;
    let short =
        [("PROVIDER_WAIT_SECONDS", "1"), ("PROVIDER_WAITS_SECONDS", "3"), ("REPLY_MAX_ATTEMPTS", "9")];
    let app = app_at(&db, &server, api, &short).await;
    let person = app.person().await;
    for wait in ["86400", "Fri, 31 Dec 9999 23:59:59 GMT"] {
        server.set_script([Act::limited(wait)]);
        let before = server.requests().len();
        let shown = Shown::of(&app, &person, "Hello").await;
        assert_eq!(shown.outcome(), ("failed", Some("rate_limited")), "{wait}");
        // Each wait is cut to a second, and all together to three.
        assert_eq!(shown.pauses(), [Duration::from_secs(1); 3], "{wait}");
        let pauses = &server.pauses()[before..];
        assert!(
            pauses.len() == 3 && pauses.iter().all(|pause| *pause >= Duration::from_secs(1)),
            "{pauses:?}"
        );
    }
    // What cannot be waited for is put off as if nothing had been asked.
    let app = restarted(app, &db, &server, api, &[]).await;
    for wait in ["-1", "soon", "Wed, 21 Oct 2015 07:28:00 GMT", "99999999999999999999"] {
        server.set_script([Act::limited(wait)]);
        let shown = Shown::of(&app, &person, "Hello").await;
        assert_eq!(shown.outcome(), ("failed", Some("rate_limited")), "{wait}");
        assert_eq!(shown.attempts().len(), 4, "{wait}");
        assert!(shown.pauses().iter().all(|pause| *pause < Duration::from_secs(1)), "{wait}");
    }
    server.set_script([Act::error(429, "insufficient_quota")]);
    let shown = Shown::of(&app, &person, "Hello").await;
    assert_eq!((shown.outcome(), shown.attempts().len()), (("failed", Some("quota_exceeded")), 1));
    nothing_leaked(&app).await;
    app.end().await;
}

/// The app once more with other settings.
async fn restarted(
    app: TestApp,
    db: &PgPool,
    server: &OpenAiServer,
    api: &str,
    more: &[(&str, &str)],
) -> TestApp {
    app.end().await;
    app_at(db, server, api, more).await
}

async fn a_provider_that_is_back_soon_costs_attempts_and_no_reply(db: PgPool, api: &str) {
    let down = || Act::error(500, "server_error");
    let server = OpenAiServer::start([down(), down(), Act::reply(&["Back", " again."])]).await;
    let app = app_at(&db, &server, api, &[]).await;
    let person = app.person().await;
    let shown = Shown::of(&app, &person, "Are you there?").await;
    assert_eq!(shown.status(), "completed");
    assert_eq!(
        shown.asked(),
        [
            ("openai", 1, Some("provider_unavailable")),
            ("openai", 1, Some("provider_unavailable")),
            ("openai", 1, None)
        ]
    );
    let last = &shown.attempts()[2];
    assert!(last["completed_at"].is_string() && last["plan"]["parameters"]["api"] == api, "{last}");
    assert_eq!(text(&app, &person, &shown).await, "Back again.");
    app.end().await;
}

async fn a_provider_that_stays_away_is_asked_four_times(db: PgPool, api: &str) {
    let server = OpenAiServer::start([Act::error(500, "server_error")]).await;
    let app = app_at(&db, &server, api, &[("PROVIDER_BACKOFF_MILLISECONDS", "100")]).await;
    let person = app.person().await;
    let mut pauses = Vec::new();
    for status in [500, 502, 503] {
        server.set_script([Act::error(status, "whatever")]);
        let before = server.requests().len();
        let shown = Shown::of(&app, &person, "Hello").await;
        assert_eq!(shown.outcome(), ("failed", Some("provider_unavailable")), "{status}");
        assert_eq!((shown.attempts().len(), server.requests().len() - before), (4, 4), "{status}");
        pauses.push(shown.pauses());
    }
    // Each pause is about twice the one before, and no two replies have the same ones.
    for (n, backoff) in [100, 200, 400].map(Duration::from_millis).into_iter().enumerate() {
        let seen: Vec<Duration> = pauses.iter().map(|pauses| pauses[n]).collect();
        assert!(seen.iter().all(|pause| (backoff / 2..=backoff * 3 / 2).contains(pause)), "{seen:?}");
        assert!(seen[0] != seen[1] && seen[1] != seen[2] && seen[0] != seen[2], "{seen:?}");
    }
    nothing_leaked(&app).await;
    app.end().await;
    // Nobody listens there.
    let free = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/v1", free.local_addr().unwrap());
    drop(free);
    let variables = [("OPENAI_API_KEY", KEY), ("OPENAI_BASE_URL", &url), ("OPENAI_API", api)];
    let quick = [("PROVIDER_BACKOFF_MILLISECONDS", "20"), ("CHAT_TITLES", "off")];
    let app = TestApp::with(&db, &[&variables[..], &quick[..]].concat()).await;
    let shown = Shown::of(&app, &person, "Hello").await;
    assert_eq!((shown.outcome(), shown.attempts().len()), (("failed", Some("provider_unavailable")), 4));
    app.end().await;
}

async fn what_will_not_pass_is_told_apart_and_asked_once(db: PgPool, api: &str) {
    let server = OpenAiServer::start([Act::reply(&["fine"])]).await;
    let app = app_at(&db, &server, api, &[]).await;
    let person = app.person().await;
    // What is held against the provider, so that an operator sees it, until something goes well.
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
        let shown = Shown::of(&app, &person, "Hello").await;
        assert_eq!(shown.outcome(), ("failed", Some(reason)), "{status} {code}");
        assert_eq!(server.requests().len() - before, 1, "{status} {code} was tried again");
        assert_eq!(trouble().await, held, "{status} {code}");
        server.set_script([Act::reply(&["fine"])]);
        assert_eq!(Shown::of(&app, &person, "Hello").await.status(), "completed");
        assert_eq!(trouble().await, Value::Null);
    }
    server.set_script([Act::error(401, "invalid_api_key")]);
    let answer = app.post("/api/chat").by(&person).json(&json!({"message": "Hello"})).send().await;
    answer.assert_error(500, "reply_failed");
    assert!(answer.text.contains("key_invalid"), "{}", answer.text);
    for secret in [KEY, ERROR_TEXT] {
        assert!(!answer.text.contains(secret), "{}", answer.text);
    }
    nothing_leaked(&app).await;
    app.end().await;
}

async fn silence_costs_an_attempt(db: PgPool, api: &str) {
    let server = OpenAiServer::start([Act::reply(&["fine"])]).await;
    let short = [("PROVIDER_FIRST_BYTE_SECONDS", "1"), ("PROVIDER_IDLE_SECONDS", "1")];
    let app = app_at(&db, &server, api, &short).await;
    let person = app.person().await;
    let silent = [Act::HangBeforeHeaders, Act::SilentBody, Act::ending(&["half"], Ending::Silence)];
    for (n, act) in silent.into_iter().enumerate() {
        server.set_script([act.clone(), Act::reply(&["whole"])]);
        let shown = Shown::of(&app, &person, "Hello").await;
        assert_eq!(shown.asked(), [("openai", 1, Some("timeout")), ("openai", 1, None)], "{act:?}");
        assert_eq!(text(&app, &person, &shown).await, "whole");
        // The silent call was hung up on.
        server.until(|log| log.hung_up == n + 1).await;
    }
    app.end().await;
}

async fn a_cut_reply_is_never_taken_for_a_whole_one(db: PgPool, api: &str) {
    let server = OpenAiServer::start([Act::reply(&["fine"])]).await;
    let app = app_at(&db, &server, api, &[]).await;
    let person = app.person().await;
    for ending in [Ending::Nothing, Ending::Reset] {
        server.set_script([Act::ending(&["half"], ending.clone()), Act::reply(&["whole"])]);
        let shown = Shown::of(&app, &person, "Hello").await;
        assert_eq!((shown.status(), shown.attempts().len()), ("completed", 2), "{ending:?}");
        assert_eq!(text(&app, &person, &shown).await, "whole");
        server.set_script([Act::ending(&["half"], ending.clone())]);
        let shown = Shown::of(&app, &person, "Hello").await;
        assert_eq!(shown.outcome(), ("failed", Some("provider_unavailable")), "{ending:?}");
        assert_eq!(text(&app, &person, &shown).await, "half", "what had come is kept");
    }
    for ending in [Ending::Unmarked, Ending::HeldOpen] {
        server.set_script([Act::ending(&["all"], ending.clone())]);
        let shown = Shown::of(&app, &person, "Hello").await;
        assert_eq!((shown.status(), shown.attempts().len()), ("completed", 1), "{ending:?}");
    }
    app.end().await;
}

async fn what_cannot_be_read_ends_the_reply_and_harms_nothing(db: PgPool, api: &str) {
    let server = OpenAiServer::start([Act::reply(&["fine"])]).await;
    let app = app_at(&db, &server, api, &[]).await;
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
        let shown = Shown::of(&app, &person, "Hello").await;
        assert_eq!(shown.outcome(), ("failed", Some("bad_response")), "{act:?}");
        assert_eq!(server.requests().len() - before, 1, "{act:?}");
    }
    // An error inside a stream that began well is named like any other.
    for (code, reason, attempts) in
        [("server_error", "provider_unavailable", 4), ("insufficient_quota", "quota_exceeded", 1)]
    {
        server.set_script([Act::ending(&["half"], Ending::Error(code))]);
        let shown = Shown::of(&app, &person, "Hello").await;
        assert_eq!((shown.outcome(), shown.attempts().len()), (("failed", Some(reason)), attempts));
    }
    server.set_script([Act::reply(&["a\u{0}b", "\u{1b}[31mc"])]);
    let shown = Shown::of(&app, &person, "Hello").await;
    assert_eq!(text(&app, &person, &shown).await, "ab[31mc");
    nothing_leaked(&app).await;
    app.end().await;
}

async fn every_odd_end_has_its_outcome(db: PgPool, api: &str) {
    let server = OpenAiServer::start([Act::reply(&["fine"])]).await;
    let app = app_at(&db, &server, api, &[]).await;
    let person = app.person().await;
    let outcome = async |act: Act| {
        server.set_script([act]);
        Shown::of(&app, &person, "Hello").await
    };
    // Nothing at all: asked again, and then failed.
    let shown = outcome(Act::reply(&[])).await;
    assert_eq!((shown.outcome(), shown.attempts().len()), (("failed", Some("empty")), 4));
    // Cut short: kept as it is, with the reason.
    for (reason, finish) in [("max_output_tokens", "length"), ("content_filter", "content_filter")] {
        let shown = outcome(Act::ending(&["half"], Ending::Incomplete(reason))).await;
        assert_eq!((shown.status(), shown.0["finish_reason"].as_str()), ("completed", Some(finish)));
    }
    // Stopped by the filter before a word: the same question would be stopped again.
    let shown = outcome(Act::ending(&[], Ending::Incomplete("content_filter"))).await;
    assert_eq!((shown.outcome(), shown.attempts().len()), (("failed", Some("content_filter")), 1));
    // All of its length was used up before a word: so it would be again.
    let shown = outcome(Act::ending(&[], Ending::Incomplete("max_output_tokens"))).await;
    assert_eq!((shown.outcome(), shown.attempts().len()), (("failed", Some("empty")), 1));
    let shown = outcome(Act::ending(&["all"], Ending::Twice)).await;
    assert_eq!((shown.status(), shown.attempts().len()), ("completed", 1));
    // Nobody counted, or counted nonsense: no tokens, and no cost that would look like one.
    for tokens in [None, Some((-5, 3)), Some((5, -3))] {
        let shown = outcome(Act::ending(&["all"], Ending::Tokens(tokens))).await;
        let expected = json!({"tokens": 0, "prompt_tokens": 0, "completion_tokens": 0, "cost_micros": null});
        assert_eq!((shown.status(), &shown.0["usage"]), ("completed", &expected), "{tokens:?}");
    }
    app.end().await;
}
