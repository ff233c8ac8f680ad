//! Streams that stall, break, never end, or are dropped.

use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use verbatim::ai::{Api, Finish, Limits, ProviderError, StreamEvent, TimeoutKind};

use super::{APIS, call, ends, outcome, prompt, provider_at, raw, says};
use crate::support::openai_server::{Act, Ending, KEY, OpenAiServer};

#[tokio::test]
async fn silence_times_out_and_hangs_up() {
    // Long enough for the request to arrive on a busy machine; the hang-up is only counted after that.
    let short = Duration::from_secs(1);
    let first = Limits { first_byte: short, ..Limits::default() };
    let idle = Limits { idle: short, ..Limits::default() };
    let cases = [
        (Act::HangBeforeHeaders, first, "", TimeoutKind::FirstByte),
        (Act::SilentBody, first, "", TimeoutKind::FirstByte),
        (Act::ending(&["half"], Ending::Silence), idle, "half", TimeoutKind::Idle),
    ];
    let cases = cases.into_iter().flat_map(|case| APIS.map(|api| (case.clone(), api)));
    join_all(cases.map(async |((act, limits, text, kind), api)| {
        let server = OpenAiServer::start([act.clone()]).await;
        let got = outcome(&provider_at(api, &server.base_url(), KEY, limits)).await;
        assert_eq!(got, (text.to_owned(), Err(ProviderError::Timeout(kind))), "{act:?}");
        server.until(|log| log.hung_up == 1).await;
    }))
    .await;
}

#[tokio::test]
async fn truncated_reply_is_never_complete() {
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
        // An end-of-stream marker alone does not complete a reply.
        let marked = format!("{}data: [DONE]\n\n", says(api, "half"));
        let got = call(api, raw("text/event-stream", &[marked.as_bytes()])).await;
        assert_eq!(got, ("half".to_owned(), Err(ProviderError::Cut)));
    }
}

#[tokio::test]
async fn error_in_stream_is_classified_and_text_is_kept() {
    let cases = [
        ("server_error", ProviderError::unavailable(None)),
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
async fn answer_of_another_format_is_bad_response() {
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
async fn oversized_reply_is_truncated_and_hung_up_on() {
    // Many small deltas, some large ones, and deltas beyond the maximum event size.
    let cases = [(7, 64 * 1024), (50_000, 64 * 1024), (900_000, 64 * 1024), (2 << 20, 0)];
    for ((bytes, kept), api) in cases.into_iter().flat_map(|case| APIS.map(|api| (case, api))) {
        let server = OpenAiServer::start([Act::Endless { bytes }]).await;
        let (text, end) = outcome(&provider_at(api, &server.base_url(), KEY, Limits::default())).await;
        assert_eq!((text.len(), end), (kept, Err(ProviderError::TooLong)), "deltas of {bytes} bytes");
        server.until(|log| log.hung_up == 1).await;
    }
}

#[tokio::test]
async fn stalled_reader_applies_backpressure() {
    // Bytes that fit into the buffers of the sockets and the HTTP client.
    const MAX_BUFFERED: usize = 32 << 20;
    for api in APIS {
        let server = OpenAiServer::start([Act::Endless { bytes: 10 }]).await;
        let mut pieces = provider_at(api, &server.base_url(), KEY, Limits::default()).stream(prompt());
        assert!(matches!(pieces.next().await, Some(Ok(StreamEvent::Text(_)))));
        let mut log = server.log();
        let quiet = Duration::from_millis(300);
        while let Ok(changed) = tokio::time::timeout(quiet, log.changed()).await {
            changed.expect("the server runs");
            let sent = log.borrow_and_update().sent;
            assert!(sent < MAX_BUFFERED, "{sent} bytes were buffered without a reader");
        }
        assert!(
            matches!(pieces.next().await, Some(Ok(StreamEvent::Text(_)))),
            "the stream continues when reading resumes"
        );
    }
}

#[tokio::test]
async fn dropping_stream_hangs_up_at_any_time() {
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
async fn unpolled_stream_sends_no_request() {
    for api in APIS {
        let server = OpenAiServer::start([Act::reply(&["ok"])]).await;
        let provider = provider_at(api, &server.base_url(), KEY, Limits::default());
        drop(provider.stream(prompt()));
        outcome(&provider).await.1.expect("a reply");
        assert_eq!(server.requests().len(), 1);
    }
}

/// Some servers send a finish reason with the last text, and neither usage nor a marker after it.
#[tokio::test]
async fn finish_reason_with_last_text_completes_reply() {
    let chunk = |text: &str| {
        format!(
            "data: {{\"choices\": [{{\"index\": 0, \"delta\": {{\"content\": \"{text}\"}}, \"finish_reason\": \"stop\"}}]}}\n\n"
        )
    };
    let (one, two) = (chunk("Hel"), chunk("lo"));
    let act = raw("text/event-stream", &[one.as_bytes(), two.as_bytes()]);
    let (text, end) = call(Api::ChatCompletions, act).await;
    assert_eq!((text.as_str(), end.map(|end| end.finish)), ("Hello", Ok(Finish::Stop)));
}
