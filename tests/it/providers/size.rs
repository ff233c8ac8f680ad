//! Replies that are far too large, while whoever reads them is slow: what is kept of them, and what they may take of memory.

use serde_json::json;
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::{Shown, app_at, ask, text};
use crate::support::openai_server::{Act, OpenAiServer};

/// The most text that is kept of a reply.
const KEPT: usize = 64 * 1024;
/// What all of it may take of memory at its height, the server and the clients included: they run in this process too.
const GROWTH: usize = 64 << 20;
/// Memory of this process: now, and at its height so far, in bytes.
fn memory() -> (usize, usize) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let of = |name: &str| -> usize {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    };
    (of("VmRSS:"), of("VmHWM:"))
}

async fn huge_replies_are_cut_and_take_little(db: PgPool, api: &str) {
    let server = OpenAiServer::start([Act::reply(&["warm"])]).await;
    let app = app_at(&db, &server, api, &[]).await;
    let person = app.person().await;
    for _ in 0..4 {
        assert_eq!(Shown::of(&app, &person, "Hello").await.status(), "completed");
    }
    let (before, _) = memory();
    // Pieces that come to 10 MiB soon, one piece of almost the size of an event, one beyond it, and very small ones. None of
    // these has an end.
    let mut hung_up = 0;
    for (bytes, kept, at_once) in [(50_000, KEPT, 4), (900_000, KEPT, 4), (1 << 20, 0, 4), (1, KEPT, 1)] {
        server.set_script([Act::Endless { bytes }]);
        let mut open = Vec::new();
        for _ in 0..at_once {
            // Nobody reads these streams before their replies have ended.
            open.push(ask(&app, &person, &json!({"message": "Hello"})).await);
        }
        let over = "SELECT count(*) = 0 FROM pending_replies";
        app.wait_until("all have ended", async || {
            sqlx::query_scalar(over).fetch_one(&db).await.unwrap_or(false)
        })
        .await;
        hung_up += at_once;
        for (reply, stream) in open {
            let shown = Shown::end(&app, &person, &reply, stream).await;
            assert_eq!(shown.outcome(), ("failed", Some("too_long")), "deltas of {bytes} bytes");
            assert_eq!(shown.attempts().len(), 1);
            assert_eq!(text(&app, &person, &shown).await.len(), kept, "deltas of {bytes} bytes");
        }
    }
    let (_, highest) = memory();
    let growth = highest.saturating_sub(before);
    assert!(growth < GROWTH, "{} MiB", growth >> 20);
    // Everything was hung up on.
    server.until(|log| log.hung_up == hung_up).await;
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn huge_responses_are_cut_and_take_little(db: PgPool) {
    huge_replies_are_cut_and_take_little(db, "responses").await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn huge_chat_completions_are_cut_and_take_little(db: PgPool) {
    huge_replies_are_cut_and_take_little(db, "chat_completions").await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn calls_without_number_that_say_nothing_are_cut(db: PgPool) {
    // Not much on the wire, and nothing in it counts as text.
    let fragments: Vec<_> = (0..50_000).map(|index| json!({"index": index})).collect();
    let chunks = [
        json!({"choices": [{"index": 0, "delta": {"tool_calls": fragments}}]}),
        json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}),
    ];
    let parts = chunks.iter().map(|chunk| format!("data: {chunk}\n\n").into_bytes()).collect();
    let server = OpenAiServer::start([Act::Raw { kind: "text/event-stream", parts }]).await;
    let app = app_at(&db, &server, "chat_completions", &[]).await;
    let person = app.person().await;
    let shown = Shown::of(&app, &person, "Hello").await;
    assert_eq!(shown.outcome(), ("failed", Some("too_long")));
    assert_eq!(shown.attempts().len(), 1);
    app.end().await;
}
