//! Oversized replies with slow readers: how much text is stored, and how much memory they take.

use serde_json::json;
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::{EndedReply, app_with_provider, ask, text};
use crate::support::openai_server::{Act, OpenAiServer};

/// Maximum stored bytes of a reply.
const MAX_REPLY_BYTES: usize = 64 * 1024;
/// Maximum growth of this process's peak memory, including the fake server and the clients.
const MAX_GROWTH: usize = 64 << 20;
/// Returns the current and the peak memory of this process in bytes.
fn memory() -> (usize, usize) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let of = |name: &str| -> usize {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    };
    (of("VmRSS:"), of("VmHWM:"))
}

async fn assert_huge_reply_is_truncated(db: PgPool, api: &str) {
    let server = OpenAiServer::start([Act::reply(&["warm"])]).await;
    let app = app_with_provider(&db, &server, api, &[]).await;
    let person = app.person().await;
    for _ in 0..4 {
        assert_eq!(EndedReply::of(&app, &person, "Hello").await.status(), "completed");
    }
    let (before, _) = memory();
    // Endless streams: deltas that soon add up to 10 MiB, deltas near the maximum event size, deltas beyond it, and tiny
    // deltas.
    let mut hung_up = 0;
    for (bytes, kept, at_once) in [
        (50_000, MAX_REPLY_BYTES, 4),
        (900_000, MAX_REPLY_BYTES, 4),
        (1 << 20, 0, 4),
        (1, MAX_REPLY_BYTES, 1),
    ] {
        server.set_script([Act::Endless { bytes }]);
        let mut open = Vec::new();
        for _ in 0..at_once {
            // These streams are not read before their replies have ended.
            open.push(ask(&app, &person, &json!({"message": "Hello"})).await);
        }
        let over = "SELECT count(*) = 0 FROM pending_replies";
        app.wait_until("all replies have ended", async || {
            sqlx::query_scalar(over).fetch_one(&db).await.unwrap_or(false)
        })
        .await;
        hung_up += at_once;
        for (reply, stream) in open {
            let ended = EndedReply::end(&app, &person, &reply, stream).await;
            assert_eq!(ended.outcome(), ("failed", Some("too_long")), "deltas of {bytes} bytes");
            assert_eq!(ended.attempts().len(), 1);
            assert_eq!(text(&app, &person, &ended).await.len(), kept, "deltas of {bytes} bytes");
        }
    }
    let (_, highest) = memory();
    let growth = highest.saturating_sub(before);
    assert!(growth < MAX_GROWTH, "{} MiB", growth >> 20);
    // The worker hung up on every stream.
    server.until(|log| log.hung_up == hung_up).await;
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn huge_response_is_truncated_with_bounded_memory(db: PgPool) {
    assert_huge_reply_is_truncated(db, "responses").await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn huge_chat_completion_is_truncated_with_bounded_memory(db: PgPool) {
    assert_huge_reply_is_truncated(db, "chat_completions").await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn excessive_empty_tool_calls_are_rejected(db: PgPool) {
    // Few bytes on the wire, and none of them counts as text.
    let fragments: Vec<_> = (0..50_000).map(|index| json!({"index": index})).collect();
    let chunks = [
        json!({"choices": [{"index": 0, "delta": {"tool_calls": fragments}}]}),
        json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}),
    ];
    let parts = chunks.iter().map(|chunk| format!("data: {chunk}\n\n").into_bytes()).collect();
    let server = OpenAiServer::start([Act::Raw { kind: "text/event-stream", parts }]).await;
    let app = app_with_provider(&db, &server, "chat_completions", &[]).await;
    let person = app.person().await;
    let ended = EndedReply::of(&app, &person, "Hello").await;
    assert_eq!(ended.outcome(), ("failed", Some("too_long")));
    assert_eq!(ended.attempts().len(), 1);
    app.end().await;
}
