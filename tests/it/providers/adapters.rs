//! The real adapters against a loopback server that speaks their protocols, in good days and bad.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;
use verbatim::ai::{
    AiSettings, Api, ApiKey, Choice, Completion, Finish, Limits, Parameters, Piece, Prompt, ProviderError,
    Purpose, Role, ServiceSettings, TimeoutKind, TokenUsage, ToolCall, Turn, from_settings, openai,
};

use crate::support::openai_server::{Act, ERROR_TEXT, Ending, KEY, MODEL, OpenAiServer};

/// Both protocols.
const APIS: [Api; 2] = [Api::Responses, Api::ChatCompletions];

fn provider_at(api: Api, base_url: &str, key: &str, limits: Limits) -> Choice {
    let mut service = ServiceSettings::new(&openai::SERVICE, ApiKey::new(key));
    (service.api, service.base_url) = (api, Some(base_url.to_owned()));
    let settings = AiSettings { services: vec![service], limits, ..AiSettings::default() };
    from_settings(settings).expect("good settings").all().remove(0)
}

fn prompt() -> Prompt {
    let turn = |role, text: &str| Turn::said(role, text);
    Prompt {
        model: None,
        system: "Be brief.".to_owned(),
        turns: vec![
            turn(Role::User, "First question"),
            turn(Role::Assistant, "First answer"),
            turn(Role::User, "Second question"),
        ],
        parameters: Parameters { max_output_tokens: 321, temperature: Some(0.5) },
        tools: Vec::new(),
        tool_choice: None,
        purpose: Purpose::Reply,
        attempt: 1,
        reply: Uuid::nil(),
    }
}

/// All text of a stream, and how it ended.
async fn outcome(provider: &Choice) -> (String, Result<Completion, ProviderError>) {
    let mut pieces = provider.stream(prompt());
    let mut text = String::new();
    let ending = loop {
        match pieces.next().await.expect("a stream ends with an end or an error") {
            Ok(Piece::Text(more)) => text.push_str(&more),
            Ok(Piece::Call(call)) => panic!("nobody offered a tool: {call:?}"),
            Ok(Piece::End(end)) => break Ok(end),
            Err(error) => break Err(error),
        }
    };
    assert_eq!(pieces.next().await, None, "nothing follows the end");
    (text, ending)
}

/// What one call makes of a server that acts so.
async fn call(api: Api, act: Act) -> (String, Result<Completion, ProviderError>) {
    call_within(api, act, Limits::default()).await
}

async fn call_within(api: Api, act: Act, limits: Limits) -> (String, Result<Completion, ProviderError>) {
    let server = OpenAiServer::start([act]).await;
    let outcome = outcome(&provider_at(api, &server.base_url(), KEY, limits)).await;
    assert_eq!(server.requests().len(), 1, "nothing is tried twice");
    outcome
}

fn raw(kind: &'static str, parts: &[&[u8]]) -> Act {
    Act::Raw { kind, parts: parts.iter().map(|part| part.to_vec()).collect() }
}

/// An event that says this much text, in the protocol's own form.
fn says(api: Api, text: &str) -> String {
    let event = match api {
        Api::Responses => json!({"type": "response.output_text.delta", "delta": text}),
        Api::ChatCompletions => json!({"choices": [{"index": 0, "delta": {"content": text}}]}),
    };
    format!("data: {event}\n\n")
}

/// Events that end a reply well, in the protocol's own form.
fn ends(api: Api) -> &'static str {
    match api {
        Api::Responses => {
            "data: {\"type\": \"response.completed\", \"response\": {\"usage\": {\"input_tokens\": -5}}}\n\n"
        }
        Api::ChatCompletions => {
            "data: {\"choices\": [{\"delta\": {}, \"finish_reason\": \"stop\"}], \"usage\": {\"prompt_tokens\": -5}}\n\n"
        }
    }
}

#[tokio::test]
async fn a_reply_streams_in_and_ends_with_what_it_cost() {
    for (api, id) in APIS.into_iter().zip(["resp_test_1", "chatcmpl-test-1"]) {
        let (text, end) = call(api, Act::reply(&["Hel", "lo, ", "wörld"])).await;
        assert_eq!(text, "Hello, wörld");
        let expected = Completion {
            finish: Finish::Stop,
            usage: Some(TokenUsage { prompt_tokens: 11, completion_tokens: 3 }),
            model: MODEL.to_owned(),
            provider_reply_id: Some(id.to_owned()),
        };
        assert_eq!(end, Ok(expected));
    }
}

/// What the server is sent for the usual prompt and for the least one.
async fn sent(api: Api) -> [Value; 2] {
    let server = OpenAiServer::start([Act::reply(&["ok"])]).await;
    let provider = provider_at(api, &server.base_url(), KEY, Limits::default());
    outcome(&provider).await.1.expect("a reply");
    let pieces: Vec<_> = provider
        .stream(Prompt {
            model: Some("gpt-other".to_owned()),
            system: String::new(),
            turns: Vec::new(),
            parameters: Parameters { max_output_tokens: 1, temperature: None },
            ..prompt()
        })
        .collect()
        .await;
    assert!(matches!(pieces.last(), Some(Ok(Piece::End(_)))), "{pieces:?}");
    let requests = server.requests();
    for request in &requests {
        assert_eq!(request.headers["authorization"], format!("Bearer {KEY}"));
        assert_eq!(request.headers["content-type"], "application/json");
        assert!(!request.headers.contains_key("openai-organization"));
    }
    [requests[0].body.clone(), requests[1].body.clone()]
}

#[tokio::test]
async fn what_is_sent_is_the_prompt_and_nothing_else() {
    let message = |role: &str, text: &str| json!({"type": "message", "role": role, "content": text});
    let usual = json!({
        "model": "gpt-4o-mini",
        "instructions": "Be brief.",
        "input": [
            message("user", "First question"),
            message("assistant", "First answer"),
            message("user", "Second question"),
        ],
        "max_output_tokens": 321,
        "temperature": 0.5,
        "store": false,
        "stream": true,
    });
    let least =
        json!({"model": "gpt-other", "input": [], "max_output_tokens": 1, "store": false, "stream": true});
    assert_eq!(sent(Api::Responses).await, [usual, least]);
    let usual = json!({
        "model": "gpt-4o-mini",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "First question"},
            {"role": "assistant", "content": "First answer"},
            {"role": "user", "content": "Second question"},
        ],
        "max_tokens": 321,
        "temperature": 0.5,
        "stream": true,
        "stream_options": {"include_usage": true},
    });
    let least = json!({
        "model": "gpt-other", "messages": [], "max_tokens": 1, "stream": true,
        "stream_options": {"include_usage": true},
    });
    assert_eq!(sent(Api::ChatCompletions).await, [usual, least]);
}

#[tokio::test]
async fn a_call_of_a_tool_arrives_whole() {
    for api in APIS {
        let act = Act::Call { name: "look", arguments: "{\"at\": {\"x\": [1, 2]}, \"why\": \"so\"}" };
        let server = OpenAiServer::start([act]).await;
        let provider = provider_at(api, &server.base_url(), KEY, Limits::default());
        let pieces: Vec<_> = provider.stream(prompt()).map(|piece| piece.expect("a piece")).collect().await;
        let [Piece::Call(call), Piece::End(end)] = &pieces[..] else { panic!("{api:?}: {pieces:?}") };
        let arguments = json!({"at": {"x": [1, 2]}, "why": "so"});
        let expected = ToolCall { call_id: "call_test_1".to_owned(), name: "look".to_owned(), arguments };
        assert_eq!((call, end.finish), (&expected, Finish::Stop));
    }
}

#[tokio::test]
async fn each_piece_arrives_when_it_is_said() {
    // The server says one piece and then nothing: it can only be seen if nothing waits for more.
    for api in APIS {
        let server = OpenAiServer::start([Act::ending(&["first"], Ending::Silence)]).await;
        let mut pieces = provider_at(api, &server.base_url(), KEY, Limits::default()).stream(prompt());
        assert_eq!(pieces.next().await, Some(Ok(Piece::Text("first".to_owned()))));
    }
}

#[tokio::test]
async fn a_slow_but_steady_reply_outlives_the_idle_limit_many_times() {
    let deltas: Vec<String> = (0..20).map(|number| format!("{number} ")).collect();
    let limits = Limits { idle: Duration::from_millis(150), ..Limits::default() };
    for api in APIS {
        let pause = Duration::from_millis(15);
        let slow = Act::Reply { deltas: deltas.clone(), pause, ending: Ending::Completed };
        let (text, end) = call_within(api, slow, limits).await;
        assert_eq!(text, deltas.concat());
        assert!(end.is_ok(), "{end:?}");
    }
}

#[tokio::test]
async fn a_provider_that_says_it_is_still_at_it_is_waited_for() {
    let short = Duration::from_millis(150);
    let limits = Limits { first_byte: short, idle: short, ..Limits::default() };
    for api in APIS {
        let act = Act::Comments { count: 20, pause: Duration::from_millis(20) };
        let (text, end) = call_within(api, act, limits).await;
        assert_eq!((text.as_str(), end.is_ok()), ("late", true), "{api:?}");
    }
}

#[tokio::test]
async fn a_whole_reply_needs_no_mark_no_hang_up_and_no_count() {
    for api in APIS {
        let (_, end) = call(api, Act::ending(&["all"], Ending::Unmarked)).await;
        assert!(end.expect("an end").usage.is_some());
        let (text, end) = call(api, Act::ending(&["all"], Ending::HeldOpen)).await;
        assert_eq!((text.as_str(), end.expect("an end").finish), ("all", Finish::Stop));
        for tokens in [None, Some((-3, 4)), Some((3, -4))] {
            let (_, end) = call(api, Act::ending(&["all"], Ending::Tokens(tokens))).await;
            assert_eq!(end.expect("an end").usage, None, "{api:?} {tokens:?}");
        }
        // Nothing comes after the first end; of two reasons in a row the last one counts.
        let (_, end) = call(api, Act::ending(&["all"], Ending::Twice)).await;
        let expected = if api == Api::Responses { Finish::Stop } else { Finish::Length };
        assert_eq!(end.expect("an end").finish, expected);
    }
}

#[tokio::test]
async fn an_incomplete_reply_keeps_its_text_and_says_why() {
    let reasons = [("max_output_tokens", Finish::Length), ("content_filter", Finish::ContentFilter)];
    for ((reason, finish), api) in reasons.into_iter().flat_map(|reason| APIS.map(|api| (reason, api))) {
        let (text, end) = call(api, Act::ending(&["half"], Ending::Incomplete(reason))).await;
        assert_eq!((text.as_str(), end.map(|end| end.finish)), ("half", Ok(finish)), "{reason}");
    }
}

#[tokio::test]
async fn an_empty_reply_is_an_end_without_text() {
    for api in APIS {
        let (text, end) = call(api, Act::reply(&[])).await;
        assert_eq!((text.as_str(), end.map(|end| end.finish)), ("", Ok(Finish::Stop)));
    }
}

#[tokio::test]
async fn refusals_are_told_apart_by_status_and_code() {
    let cases = [
        (400, "invalid_value", ProviderError::BadRequest),
        (400, "invalid_api_key", ProviderError::KeyInvalid),
        (400, "model_not_found", ProviderError::ModelUnknown),
        (400, "context_length_exceeded", ProviderError::ContextTooLong),
        (400, "content_policy_violation", ProviderError::ContentFilter),
        (401, "whatever", ProviderError::KeyInvalid),
        (403, "unsupported_country_region_territory", ProviderError::KeyInvalid),
        (404, "whatever", ProviderError::ModelUnknown),
        (404, "model_not_found", ProviderError::ModelUnknown),
        (429, "rate_limit_exceeded", ProviderError::RateLimited { retry_after: None }),
        (429, "insufficient_quota", ProviderError::QuotaExceeded),
        (500, "server_error", ProviderError::Unavailable { status: Some(500) }),
        (502, "whatever", ProviderError::Unavailable { status: Some(502) }),
        (503, "whatever", ProviderError::Unavailable { status: Some(503) }),
    ];
    for (status, code, error) in cases {
        for api in APIS {
            let got = call(api, Act::error(status, code)).await;
            assert_eq!(got, (String::new(), Err(error.clone())), "{status} {code}");
        }
    }
}

#[tokio::test]
async fn a_wrong_key_is_refused_without_a_second_try() {
    for api in APIS {
        let server = OpenAiServer::start([Act::reply(&["secret"])]).await;
        let got = outcome(&provider_at(api, &server.base_url(), "sk-wrong", Limits::default())).await;
        assert_eq!(got, (String::new(), Err(ProviderError::KeyInvalid)));
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn the_wait_that_a_rate_limit_asks_for_is_passed_on() {
    let cases = [
        ("retry-after", "2", Some(Duration::from_secs(2))),
        ("retry-after", "86400", Some(Duration::from_secs(86_400))),
        ("retry-after", "-1", None),
        ("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT", None),
        ("retry-after-ms", "120", Some(Duration::from_millis(120))),
    ];
    for (name, value, retry_after) in cases {
        for api in APIS {
            let headers = vec![(name, value.to_owned())];
            let limited = Act::Error { status: 429, code: "rate_limit_exceeded".into(), headers };
            let expected = Err(ProviderError::RateLimited { retry_after });
            assert_eq!(call(api, limited).await, (String::new(), expected), "{name}: {value}");
        }
    }
}

#[tokio::test]
async fn a_date_to_wait_for_is_a_time_to_wait() {
    for api in APIS {
        let (_, end) = call(api, Act::limited("Fri, 31 Dec 9999 23:59:59 GMT")).await;
        let Err(ProviderError::RateLimited { retry_after: Some(wait) }) = end else { panic!("{end:?}") };
        assert!(wait > Duration::from_secs(86_400), "{wait:?}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    for (api, path) in APIS.into_iter().zip(["responses", "chat/completions"]) {
        let target = OpenAiServer::start([Act::reply(&["stolen"])]).await;
        let location = format!("{}/{path}", target.base_url());
        let redirect = Act::Error { status: 307, code: Value::Null, headers: vec![("location", location)] };
        assert_eq!(call(api, redirect).await.1, Err(ProviderError::BadResponse));
        assert!(target.requests().is_empty());
    }
}

#[tokio::test]
async fn nobody_listening_is_unavailable() {
    let free = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let base_url = format!("http://{}/v1", free.local_addr().expect("a bound port"));
    drop(free);
    for api in APIS {
        let got = outcome(&provider_at(api, &base_url, KEY, Limits::default())).await;
        assert_eq!(got, (String::new(), Err(ProviderError::Unavailable { status: None })));
    }
}

#[tokio::test]
async fn silence_ends_in_a_timeout_and_hangs_up() {
    let short = Duration::from_millis(100);
    let first = Limits { first_byte: short, ..Limits::default() };
    let idle = Limits { idle: short, ..Limits::default() };
    let cases = [
        (Act::HangBeforeHeaders, first, "", TimeoutKind::FirstByte),
        (Act::SilentBody, first, "", TimeoutKind::FirstByte),
        (Act::ending(&["half"], Ending::Silence), idle, "half", TimeoutKind::Idle),
    ];
    for ((act, limits, text, kind), api) in
        cases.into_iter().flat_map(|case| APIS.map(|api| (case.clone(), api)))
    {
        let server = OpenAiServer::start([act.clone()]).await;
        let got = outcome(&provider_at(api, &server.base_url(), KEY, limits)).await;
        assert_eq!(got, (text.to_owned(), Err(ProviderError::Timeout(kind))), "{act:?}");
        server.until(|log| log.hung_up == 1).await;
    }
}

#[tokio::test]
async fn a_reply_cut_off_is_never_taken_for_a_whole_one() {
    for api in APIS {
        for ending in [Ending::Nothing, Ending::Reset] {
            let got = call(api, Act::ending(&["half"], ending.clone())).await;
            assert_eq!(got, ("half".to_owned(), Err(ProviderError::Cut)), "{ending:?}");
        }
        let unfinished = ends(api).trim_end();
        assert_eq!(
            call(api, raw("text/event-stream", &[unfinished.as_bytes()])).await.1,
            Err(ProviderError::Cut)
        );
        // A mark for the end of the stream is no end of a reply.
        let marked = format!("{}data: [DONE]\n\n", says(api, "half"));
        let got = call(api, raw("text/event-stream", &[marked.as_bytes()])).await;
        assert_eq!(got, ("half".to_owned(), Err(ProviderError::Cut)));
    }
}

#[tokio::test]
async fn an_error_inside_the_stream_is_named_and_what_was_said_is_kept() {
    let cases = [
        ("server_error", ProviderError::Unavailable { status: None }),
        ("rate_limit_exceeded", ProviderError::RateLimited { retry_after: None }),
        ("insufficient_quota", ProviderError::QuotaExceeded),
    ];
    for (code, error) in cases {
        for (ending, api) in [Ending::Failed(code), Ending::Error(code)]
            .into_iter()
            .flat_map(|ending| APIS.map(|api| (ending.clone(), api)))
        {
            let got = call(api, Act::ending(&["half"], ending.clone())).await;
            assert_eq!(got, ("half".to_owned(), Err(error.clone())), "{ending:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_not_of_this_api_is_a_bad_response() {
    let page = raw("text/html", &[b"<!doctype html><title>Sign in to the network</title>"]);
    let whole = raw("application/json", &[br#"{"id": "resp_1", "status": "completed"}"#]);
    let line = raw("text/event-stream", &[b"data: {\"type\": \"response.output_te\n\n"]);
    let utf8 = raw("text/event-stream", &[b"data: {\"type\": \"\xff\xfe\"}\n\n"]);
    for (act, api) in [page, whole, line, utf8].into_iter().flat_map(|act| APIS.map(|api| (act.clone(), api)))
    {
        let got = call(api, act.clone()).await;
        assert_eq!(got, (String::new(), Err(ProviderError::BadResponse)), "{act:?}");
    }
    let shapes: [&[u8]; 2] = [
        b"data: {\"type\": \"response.output_text.delta\", \"delta\": [1]}\n\n",
        b"data: {\"choices\": [{\"delta\": {\"content\": [1]}}]}\n\n",
    ];
    for (api, shape) in APIS.into_iter().zip(shapes) {
        assert_eq!(call(api, raw("text/event-stream", &[shape])).await.1, Err(ProviderError::BadResponse));
    }
}

#[tokio::test]
async fn odd_but_lawful_streams_are_read() {
    for api in APIS {
        // One event over two lines, with a control character and a line break in its text.
        let delta = says(api, "a\u{0}b\n").replacen(",", ",\r\ndata: ", 1).replace("\n\n", "\r\n\r\n");
        let future = ": a comment\n\nevent: x.of_the_future\nid: 7\ndata: {\"type\": \"x.of_the_future\", \"new\": [{}]}\n\n";
        let all = [&delta, future, &delta, ends(api), "data: [DONE]\n\n", &delta, ends(api)].concat();
        let parts: Vec<&[u8]> = all.as_bytes().chunks(7).collect();
        let (text, end) = call(api, raw("text/event-stream", &parts)).await;
        assert_eq!(text, "ab\nab\n");
        let end = end.expect("an end");
        assert_eq!((end.finish, end.usage, end.model.as_str()), (Finish::Stop, None, "gpt-4o-mini"));
    }
}

#[tokio::test]
async fn too_long_a_reply_is_cut_at_the_limit_and_hung_up_on() {
    // Many small pieces, some large ones, and single ones beyond what an event may have.
    let cases = [(7, 64 * 1024), (50_000, 64 * 1024), (900_000, 64 * 1024), (2 << 20, 0)];
    for ((bytes, kept), api) in cases.into_iter().flat_map(|case| APIS.map(|api| (case, api))) {
        let server = OpenAiServer::start([Act::Endless { bytes }]).await;
        let (text, end) = outcome(&provider_at(api, &server.base_url(), KEY, Limits::default())).await;
        assert_eq!((text.len(), end), (kept, Err(ProviderError::TooLong)), "deltas of {bytes} bytes");
        server.until(|log| log.hung_up == 1).await;
    }
}

#[tokio::test]
async fn a_reader_that_stops_reading_holds_the_provider_back() {
    // Only what fits into the sockets' buffers and the HTTP client's may be taken meanwhile.
    const BOUND: usize = 32 << 20;
    for api in APIS {
        let server = OpenAiServer::start([Act::Endless { bytes: 10 }]).await;
        let mut pieces = provider_at(api, &server.base_url(), KEY, Limits::default()).stream(prompt());
        assert!(matches!(pieces.next().await, Some(Ok(Piece::Text(_)))));
        let mut log = server.log();
        let quiet = Duration::from_millis(300);
        while let Ok(changed) = tokio::time::timeout(quiet, log.changed()).await {
            changed.expect("the server runs");
            let sent = log.borrow_and_update().sent;
            assert!(sent < BOUND, "{sent} bytes were taken though nobody reads");
        }
        assert!(matches!(pieces.next().await, Some(Ok(Piece::Text(_)))), "it goes on when reading does");
    }
}

#[tokio::test]
async fn dropping_the_stream_hangs_up_at_any_moment() {
    let acts = [Act::HangBeforeHeaders, Act::SilentBody, Act::ending(&["half"], Ending::Silence)];
    for (act, api) in acts.into_iter().flat_map(|act| APIS.map(|api| (act.clone(), api))) {
        let server = OpenAiServer::start([act.clone()]).await;
        let mut pieces = provider_at(api, &server.base_url(), KEY, Limits::default()).stream(prompt());
        let log = tokio::select! {
            log = server.until(|log| log.requests.len() == 1) => log,
            () = async { while pieces.next().await.is_some() {} } => panic!("{act:?} has no end"),
        };
        assert_eq!(log.hung_up, 0, "{act:?}");
        drop(pieces);
        server.until(|log| log.hung_up == 1).await;
    }
}

#[tokio::test]
async fn a_stream_that_is_never_polled_sends_nothing() {
    for api in APIS {
        let server = OpenAiServer::start([Act::reply(&["ok"])]).await;
        let provider = provider_at(api, &server.base_url(), KEY, Limits::default());
        drop(provider.stream(prompt()));
        outcome(&provider).await.1.expect("a reply");
        assert_eq!(server.requests().len(), 1);
    }
}

/// Where a test's log lines go.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_log_line_of_any_level_shows_the_conversation_the_providers_words_or_the_key() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // For this thread, on which everything of this test runs.
    let _guard = tracing::subscriber::set_default(subscriber);
    tracing::trace!("lines are seen");
    let acts = [
        Act::reply(&["canary"]),
        Act::error(401, "invalid_api_key"),
        Act::error(500, "server_error"),
        Act::error(429, "insufficient_quota"),
        Act::ending(&["canary"], Ending::Failed("server_error")),
        raw("text/html", &[b"<p>canary"]),
        raw("text/event-stream", &[b"data: {\"type\": \"canary\n\n"]),
        raw("text/event-stream", &[b"data: {\"type\": \"canary\", \"delta\": \"\\ud800\"}\n\n"]),
        raw("text/event-stream", &[b"data: {\"type\": \"canary\", \"delta\": \"\xff\"}\n\n"]),
        raw(
            "text/event-stream",
            &[b"data: {\"type\": \"response.completed\", \"response\": \"canary\"}\n\n"],
        ),
        raw("text/event-stream", &[b"data: {\"choices\": \"canary\"}\n\n"]),
    ];
    for (act, api) in acts.into_iter().flat_map(|act| APIS.map(|api| (act.clone(), api))) {
        let server = OpenAiServer::start([act]).await;
        let provider = provider_at(api, &server.base_url(), KEY, Limits::default());
        let mut prompt = prompt();
        prompt.turns[0] = Turn::said(Role::User, "canary");
        provider.stream(prompt).for_each(|_| async {}).await;
        assert_eq!(server.requests().len(), 1);
    }
    let lines = lines.0.lock().unwrap_or_else(PoisonError::into_inner);
    let lines = String::from_utf8_lossy(&lines);
    assert!(lines.contains("lines are seen"));
    assert!(!lines.contains("canary"), "{lines}");
}

#[tokio::test]
async fn no_error_shows_the_providers_words_or_the_key() {
    let acts = [
        Act::error(500, "server_error"),
        Act::error(400, "invalid_value"),
        Act::ending(&["half"], Ending::Failed("server_error")),
        raw("text/event-stream", &[format!("data: {ERROR_TEXT}\n\n").as_bytes()]),
    ];
    for (act, api) in acts.into_iter().flat_map(|act| APIS.map(|api| (act.clone(), api))) {
        let (_, end) = call(api, act).await;
        let error = end.expect_err("an error");
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("canary"), "{shown}");
    }
}
