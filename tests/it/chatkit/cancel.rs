//! Tests that closing a ChatKit stream cancels the reply: it ends with exactly the text that was sent, the provider
//! call is dropped, and a note that only the model sees records it. A normal end, or a disconnect on another surface,
//! cancels nothing.

use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::sequences::count_events;
use super::support::{
    Kit, OpenStream, answer_of, deltas_of, done, id_of, kind, kinds, session_of, text, thread_of,
};
use crate::support::app::{Person, TestApp};
use crate::support::openai_server::{Act, Ending, KEY, OpenAiServer};

/// Text of the note, which no response may contain.
const NOTE: &str = "stopped the answer";

/// Starts an app whose provider is this server.
async fn app_with_provider(db: &PgPool, server: &OpenAiServer) -> TestApp {
    let url = server.base_url();
    let variables = [("OPENAI_API_KEY", KEY), ("OPENAI_BASE_URL", &url), ("CHAT_TITLES", "off")];
    TestApp::with(db, &variables).await
}

/// Starts an app whose scripted provider writes at this pace.
async fn app_at_pace(db: &PgPool, words_per_second: &str) -> TestApp {
    TestApp::with(db, &[("CHAT_TITLES", "off"), ("SCRIPTED_WORDS_PER_SECOND", words_per_second)]).await
}

/// Builds a message whose reply has many words.
fn long_message() -> Value {
    json!({"input": text(&"one two three four five ".repeat(15))})
}

async fn read_some(stream: &mut OpenStream) {
    stream.read_until(|event| event["update"]["delta"].is_string()).await;
}

/// Waits until the log has this many events of that type.
async fn wait_for_event_count(app: &TestApp, event_type: &str, wanted: i64) {
    app.wait_until(event_type, async || count_events(app, event_type).await == wanted).await;
}

/// Returns the texts of a thread's messages and replies, which both surfaces must show alike.
async fn texts(kit: Kit<'_>, thread: &str) -> Vec<String> {
    let shown: Vec<String> = kit
        .items(thread)
        .await
        .iter()
        .map(|item| item["content"][0]["text"].as_str().unwrap().to_owned())
        .collect();
    let path = format!("/api/history/{}", session_of(thread));
    let history = kit.app.get(&path).by(kit.person).send().await.is(200).value();
    let items = history["items"].as_array().unwrap();
    let same: Vec<&str> = items.iter().map(|item| item["text"].as_str().unwrap()).collect();
    assert_eq!(shown, same);
    shown
}

/// Checks that no response to this user contains the note.
async fn assert_note_is_hidden(kit: Kit<'_>, thread: &str) {
    let of = json!({"thread_id": thread});
    for (kind, params) in [("items.list", &of), ("threads.get_by_id", &of), ("threads.list", &json!({}))] {
        let answer = kit.ask(kind, params.clone()).await.is(200);
        assert!(!answer.text.contains(NOTE) && !answer.text.contains("note"), "{}", answer.text);
    }
    let path = format!("/api/history/{}", session_of(thread));
    let history = kit.app.get(&path).by(kit.person).send().await.is(200);
    assert!(!history.text.contains(NOTE), "{}", history.text);
    let note: uuid::Uuid =
        sqlx::query_scalar("SELECT item_id FROM items WHERE kind = 'note' ORDER BY position DESC")
            .fetch_one(&kit.app.db)
            .await
            .unwrap();
    let feedback =
        json!({"thread_id": thread, "item_ids": [format!("msg_{}", note.simple())], "kind": "positive"});
    kit.ask("items.feedback", feedback).await.assert_error(404, "not_found");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn disconnect_cancels_reply_and_keeps_sent_text(db: PgPool) {
    let said = ["Once upon ", "a time", " there was"].map(str::to_owned).to_vec();
    let quick = |ending| Act::Reply { deltas: said.clone(), pause: Duration::ZERO, ending };
    let server = OpenAiServer::start([quick(Ending::Silence), Act::SilentBody, Act::reply(&["Well."])]).await;
    let app = app_with_provider(&db, &server).await;
    let person = app.person().await;
    let kit = Kit::new(&app, &person);

    // A disconnect in the middle of the text.
    let mut stream = kit.open("threads.create", json!({"input": text("Tell me a story")})).await;
    stream.read_until(|event| deltas_of(std::slice::from_ref(event)).ends_with("was")).await;
    assert_eq!(deltas_of(&stream.events), said.concat());
    let (thread, shown) = (thread_of(&stream.events), id_of(&stream.events[3]["item"]));
    drop(stream);
    wait_for_event_count(&app, "reply_cancelled", 1).await;
    server.until(|log| log.hung_up == 1).await;
    app.wait_for_projections().await;
    assert_eq!(texts(kit, &thread).await, ["Tell me a story", "Once upon a time there was"]);
    assert_eq!(id_of(&kit.items(&thread).await[1]), shown, "the same item as on the screen");
    assert_eq!(count_events(&app, "note_added").await, 1);
    assert_note_is_hidden(kit, &thread).await;

    // A disconnect before any text: no message is kept, but the note is.
    let add = json!({"thread_id": thread, "input": text("Another one")});
    let mut stream = kit.open("threads.add_user_message", add).await;
    stream.read_until(|event| kind(event) == "stream_options").await;
    server.until(|log| log.requests.len() == 2).await;
    drop(stream);
    wait_for_event_count(&app, "reply_cancelled", 2).await;
    server.until(|log| log.hung_up == 2).await;
    app.wait_for_projections().await;
    assert_eq!(texts(kit, &thread).await.len(), 3);
    assert_note_is_hidden(kit, &thread).await;

    // The model gets both notes, and no stream shows them.
    let events = kit.add(&thread, "Go on").await;
    assert_eq!(answer_of(&events), "Well.");
    assert!(!json!(events).to_string().contains(NOTE));
    let asked = server.requests().last().unwrap().body["input"].to_string();
    assert_eq!(asked.matches(NOTE).count(), 2, "{asked}");
    assert_eq!(asked.matches("Once upon a time there was").count(), 1, "{asked}");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn kept_text_is_what_was_sent_at_every_disconnect(db: PgPool) {
    let app = app_at_pace(&db, "200").await;
    let person = app.person().await;
    let kit = Kit::new(&app, &person);
    let whole = answer_of(&kit.stream("threads.create", long_message()).await).to_owned();
    let disconnect_after = async |pieces: usize| {
        let mut stream = kit.open("threads.create", long_message()).await;
        read_some(&mut stream).await;
        while deltas_of(&stream.events).split_inclusive(' ').count() < pieces {
            let have = stream.events.len();
            stream.read_until_more_than(have).await;
        }
        (thread_of(&stream.events), deltas_of(&stream.events))
    };
    let read = join_all([1, 2, 5, 9, 17, 30, 44, 60].map(disconnect_after)).await;
    wait_for_event_count(&app, "reply_cancelled", 8).await;
    app.wait_for_projections().await;
    for (thread, read) in read {
        let texts = texts(kit, &thread).await;
        let kept = &texts[1];
        assert!(
            kept.starts_with(&read),
            "the kept text is shorter than the text read: {kept:?} and {read:?}"
        );
        assert!(whole.starts_with(kept) && *kept != whole, "{kept:?} of {whole:?}");
    }
    assert_eq!(count_events(&app, "note_added").await, 8);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn early_disconnect_leaves_no_pending_reply(db: PgPool) {
    let app = TestApp::with(&db, &[("SCRIPTED_FAULT", "hang"), ("CHAT_TITLES", "off")]).await;
    let person = app.person().await;
    let kit = Kit::new(&app, &person);
    // These delays cover a disconnect before the request is read, while it is recorded, and as the response begins.
    let hurried = (0_u64..60).map(async |n| {
        let call = kit.call("threads.create", &json!({"input": text("Hello")})).open();
        drop(tokio::time::timeout(Duration::from_micros(n * n * 12), call).await);
    });
    join_all(hurried).await;
    app.wait_until("every message is answered for", async || {
        count_events(&app, "reply_requested").await == count_events(&app, "reply_cancelled").await
    })
    .await;
    // The provider hangs, so only a cancellation ends these replies.
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn disconnect_from_chat_api_or_after_end_cancels_nothing(db: PgPool) {
    let app = app_at_pace(&db, "100").await;
    let person = app.person().await;
    let kit = Kit::new(&app, &person);
    let mut plain =
        app.post("/api/chat/stream").by(&person).json(&json!({"message": "Hello"})).stream().await;
    plain.until("reply.delta").await;
    drop(plain);
    wait_for_event_count(&app, "reply_completed", 1).await;

    let mut stream = kit.open("threads.create", json!({"input": text("Hello")})).await;
    stream
        .read_until(|event| kind(event) == "thread.item.done" && event["item"]["type"] == "assistant_message")
        .await;
    drop(stream);
    // Any effect of the disconnect would be visible after this exchange.
    kit.create("And again").await;
    app.wait_for_projections().await;
    assert_eq!(
        (count_events(&app, "reply_completed").await, count_events(&app, "reply_cancelled").await),
        (3, 0)
    );
    assert_eq!(count_events(&app, "note_added").await, 0);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn server_shutdown_cancels_nothing(db: PgPool) {
    let app = app_at_pace(&db, "20").await;
    let person = app.person().await;
    let kit = Kit::new(&app, &person);
    let mut stay = kit.open("threads.create", long_message()).await;
    let mut leave = kit.open("threads.create", long_message()).await;
    read_some(&mut stay).await;
    read_some(&mut leave).await;
    app.begin_shutdown();
    drop(leave);
    let events = stay.rest().await;
    let last = events.last().unwrap();
    assert_eq!((kind(last), &last["code"], &last["allow_retry"]), ("error", &json!("custom"), &json!(false)));
    let said = last["message"].as_str().unwrap();
    assert!(said.contains("restarting"), "{said}");
    let thread = thread_of(&events);
    app.end_with_pending(2).await;

    // The next process completes the replies.
    let app = app_at_pace(&db, "0").await;
    wait_for_event_count(&app, "reply_completed", 2).await;
    app.wait_for_projections().await;
    let texts = texts(Kit::new(&app, &person), &thread).await;
    assert!(texts[1].contains("Turns seen: 1"), "{texts:?}");
    assert_eq!((count_events(&app, "reply_cancelled").await, count_events(&app, "note_added").await), (0, 0));
    app.end().await;
}

/// Starts a long reply; returns its open stream and thread.
async fn start_long_reply(kit: Kit<'_>) -> (OpenStream, String) {
    let mut stream = kit.open("threads.create", long_message()).await;
    read_some(&mut stream).await;
    let thread = thread_of(&stream.events);
    (stream, thread)
}

/// Returns a thread's pending reply.
async fn pending_reply(app: &TestApp, thread: &str) -> String {
    let reply: uuid::Uuid =
        sqlx::query_scalar("SELECT reply_id FROM pending_replies WHERE conversation_id = $1")
            .bind(session_of(thread).parse::<uuid::Uuid>().unwrap())
            .fetch_one(&app.db)
            .await
            .unwrap();
    reply.to_string()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn changes_on_other_connections_end_stream_cleanly(db: PgPool) {
    let app = app_at_pace(&db, "60").await;
    let person = app.person().await;
    let kit = Kit::new(&app, &person);

    // The thread is deleted: the shown item is removed.
    let (stream, thread) = start_long_reply(kit).await;
    assert_eq!(kit.get("threads.delete", json!({"thread_id": thread})).await, json!({}));
    let events = stream.rest().await;
    assert_eq!(kinds(&events)[events.len() - 2..], ["thread.item.removed", "error"]);
    assert_eq!(events.last().unwrap()["message"], "The thread has been deleted.");
    kit.ask("threads.get_by_id", json!({"thread_id": thread})).await.assert_error(404, "not_found");

    // Cancelled through the chat API: the text so far is the reply.
    let (stream, thread) = start_long_reply(kit).await;
    let reply = pending_reply(&app, &thread).await;
    app.post(&format!("/api/replies/{reply}/cancel")).by(&person).send().await.is(200);
    let events = stream.rest().await;
    super::support::assert_well_formed(&events);
    assert_eq!(texts(kit, &thread).await[1], answer_of(&events));
    let last = events.last().unwrap();
    assert_eq!((kind(last), &last["message"]), ("notice", &json!("The answer was stopped.")));

    // A retry during the reply: the older stream ends, the newer one has the reply.
    let (stream, thread) = start_long_reply(kit).await;
    let asked = id_of(done(&stream.events, "user_message")[0]);
    let retry = json!({"thread_id": thread, "item_id": asked});
    let again = kit.open("threads.retry_after_item", retry).await;
    let (older, newer) = futures::join!(stream.rest(), again.rest());
    assert!(kinds(&older).contains(&"stream_options"));
    let answer = done(&newer, "assistant_message")[0];
    let items = kit.items(&thread).await;
    assert_eq!(items.len(), 2);
    assert_eq!(items[1], *answer);
    assert_eq!(count_events(&app, "note_added").await, 0, "no stream was closed by its client so far");

    // A second message is queued; closing its stream cancels only that one.
    let (first, thread) = start_long_reply(kit).await;
    let add = json!({"thread_id": thread, "input": text("Second")});
    let mut second = kit.open("threads.add_user_message", add).await;
    second.read_until(|event| kind(event) == "stream_options").await;
    let completed = count_events(&app, "reply_completed").await;
    drop(second);
    let events = first.rest().await;
    assert!(answer_of(&events).contains("Turns seen"));
    app.wait_for_projections().await;
    assert_eq!(count_events(&app, "reply_completed").await, completed + 1);
    assert_eq!(count_events(&app, "note_added").await, 1);
    assert_eq!(kit.items(&thread).await.len(), 3);

    // Sign-out: the stream ends, and the reply is completed all the same.
    let other = app.person().await;
    signed_out(&app, &other).await;
    app.end().await;
}

async fn signed_out(app: &TestApp, person: &Person) {
    let kit = Kit::new(app, person);
    let cancelled = count_events(app, "reply_cancelled").await;
    let completed = count_events(app, "reply_completed").await;
    let (stream, _) = start_long_reply(kit).await;
    app.post("/api/auth/logout").by(person).send().await.is(204);
    let events = stream.rest().await;
    let last = events.last().unwrap();
    assert_eq!((kind(last), &last["message"]), ("error", &json!("You have been signed out.")));
    wait_for_event_count(app, "reply_completed", completed + 1).await;
    assert_eq!(count_events(app, "reply_cancelled").await, cancelled);
}
