//! Tests `POST /api/chat/stream` and its resumption: every word once and in order, whatever connection is cut.

use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use crate::support::app::{Person, TestApp};
use crate::support::client::{Event, Sse, displayed_text};

const TEXT: &str = "Grüße, 世界 and 🌍 — one two three";

async fn open(app: &TestApp, person: &Person, message: &str) -> Sse {
    app.post("/api/chat/stream").by(person).json(&json!({"message": message})).stream().await
}

async fn resume(app: &TestApp, person: &Person, reply: &str, last: Option<&str>) -> Sse {
    let call = app.get(&format!("/api/chat/stream/{reply}")).by(person);
    match last {
        Some(last) => call.header("last-event-id", last).stream().await,
        None => call.stream().await,
    }
}

/// Returns the name and text of a stream's last event, which must be an end.
fn end(events: &[Event]) -> (&str, &str) {
    let last = events.last().unwrap();
    assert!(last.is_end(), "{events:?}");
    (&last.name, last.text())
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn stream_sends_ids_then_deltas_then_end(db: PgPool) {
    let app = TestApp::with(&db, &[("SCRIPTED_WORDS_PER_SECOND", "150")]).await;
    let person = app.person().await;
    let stream = open(&app, &person, TEXT).await;
    let position: i64 = stream.header("verbatim-position").parse().unwrap();
    let events = stream.rest().await;
    let reply = events[0].reply();
    assert_eq!(events[0].name, "message");
    assert_eq!(events[0].id(), format!("{reply}:0:0"));
    assert_eq!(events[0].data["position"], position);
    let (deltas, last) = (&events[1..events.len() - 1], &events[events.len() - 1]);
    assert!(deltas.len() > 3, "{} deltas", deltas.len());
    for delta in deltas {
        assert_eq!((delta.name.as_str(), &delta.data["attempt"]), ("reply.delta", &json!(1)));
        assert_eq!(delta.id(), format!("{reply}:1:{}", delta.data["offset"]));
    }
    assert_eq!(end(&events), ("reply.done", displayed_text(&events).as_str()));
    assert!(displayed_text(&events).contains(TEXT));
    assert_eq!(last.id(), deltas[deltas.len() - 1].id());
    assert!(last.data["position"].as_i64().unwrap() > position);
    assert_eq!((&last.data["status"], &last.data["model"]), (&json!("completed"), &json!("scripted-echo-1")));
    // The end is sent only when every query shows it.
    let path = format!("/api/history/{}", events[0].data["session_id"].as_str().unwrap());
    let page = app.get(&path).by(&person).send().await.is(200).value();
    assert_eq!(page["items"][1]["text"], displayed_text(&events));
    assert_eq!(page["items"][1]["message_id"], events[0].data["message_id"]);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn stream_resumes_from_every_id_with_exact_rest(db: PgPool) {
    let app = TestApp::with(&db, &[("SCRIPTED_WORDS_PER_SECOND", "150")]).await;
    let person = app.person().await;
    let whole = open(&app, &person, TEXT).await.rest().await;
    let (reply, text) = (whole[0].reply(), displayed_text(&whole));
    for (index, event) in whole.iter().enumerate() {
        let rest = resume(&app, &person, &reply, Some(event.id())).await.rest().await;
        let had = displayed_text(&whole[..=index]);
        let got: String = rest.iter().filter(|event| event.name == "reply.delta").map(Event::text).collect();
        assert_eq!(format!("{had}{got}"), text, "from {}", event.id());
        assert!(rest.iter().all(|event| event.name != "reply.restart"));
        assert_eq!(end(&rest), ("reply.done", text.as_str()));
    }
    let again = resume(&app, &person, &reply, None).await.rest().await;
    assert_eq!(displayed_text(&again), text);
    // No event has an offset inside a character, so the text restarts.
    let inside = text.find('世').unwrap() + 1;
    let rest = resume(&app, &person, &reply, Some(&format!("{reply}:1:{inside}"))).await.rest().await;
    assert_eq!((rest[0].name.as_str(), displayed_text(&rest)), ("reply.restart", text));
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn running_stream_can_be_joined_midway(db: PgPool) {
    let app = TestApp::with(&db, &[("SCRIPTED_WORDS_PER_SECOND", "40")]).await;
    let person = app.person().await;
    let mut first = open(&app, &person, TEXT).await;
    let mut had = first.until("reply.delta").await;
    had.extend(first.until("reply.delta").await);
    let (reply, last) = (had[0].reply(), had.last().unwrap().id().to_owned());
    let (joined, from_start, rest) = tokio::join!(
        async { resume(&app, &person, &reply, Some(&last)).await.rest().await },
        async { resume(&app, &person, &reply, None).await.rest().await },
        first.rest(),
    );
    let text = end(&rest).1;
    let follow = |more: &[Event]| displayed_text(&[&had[..], more].concat());
    assert_eq!((follow(&rest).as_str(), follow(&joined).as_str()), (text, text));
    assert_eq!(displayed_text(&from_start), text);
    assert!(joined.len() > 2, "joined after the end: {joined:?}");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn unsent_last_event_ids_are_rejected(db: PgPool) {
    let app = TestApp::start(&db).await;
    let (person, stranger) = (app.person().await, app.person().await);
    let reply = open(&app, &person, "Hi").await.rest().await[0].reply();
    let other = open(&app, &person, "Ho").await.rest().await[0].reply();
    let path = format!("/api/chat/stream/{reply}");
    let long = format!("{reply}:1:{}", "1".repeat(10 * 1024));
    let rubbish = [
        "",
        "1",
        "rubbish",
        ":::",
        "null",
        &format!("{other}:1:5"),
        &reply,
        &format!("{reply}:1"),
        &format!("{reply}:1:5:6"),
        &format!("{reply}:-1:5"),
        &format!("{reply}:1:-5"),
        &format!("{reply}:x:y"),
        &format!("{reply}:1:99999999999999999999999"),
        &long,
        "' OR 1=1 --",
    ];
    for last in rubbish {
        let answer = app.get(&path).by(&person).header("last-event-id", last).send().await;
        answer.assert_error(400, "invalid_last_event_id");
    }
    let unknown = app.get(&format!("/api/chat/stream/{}", uuid::Uuid::from_u128(1))).by(&person).send().await;
    unknown.assert_error(404, "not_found");
    for last in [None, Some(format!("{reply}:1:5"))] {
        let mut call = app.get(&path).by(&stranger);
        if let Some(last) = last {
            call = call.header("last-event-id", &last);
        }
        let foreign = call.send().await.is(404);
        assert_eq!(foreign.without_request_id(), unknown.without_request_id());
    }
    // An id of a later attempt is well-formed: the whole text is sent, and the end.
    let events = resume(&app, &person, &reply, Some(&format!("{reply}:9:5"))).await.rest().await;
    assert_eq!(
        (events[0].name.as_str(), displayed_text(&events).as_str()),
        ("reply.restart", end(&events).1)
    );
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn new_attempt_restarts_text(db: PgPool) {
    let paced_and_cut = [("SCRIPTED_FAULT", "cut:1"), ("SCRIPTED_WORDS_PER_SECOND", "100")];
    let app = TestApp::with(&db, &paced_and_cut).await;
    let person = app.person().await;
    let events = open(&app, &person, TEXT).await.rest().await;
    let restart = events
        .iter()
        .position(|event| event.name == "reply.restart")
        .unwrap_or_else(|| panic!("no restart: {events:#?}"));
    assert_eq!(events[restart].data["attempt"], 2);
    let cut = displayed_text(&events[..restart]);
    let (name, text) = end(&events);
    assert_eq!((name, displayed_text(&events).as_str()), ("reply.done", text));
    assert!(!cut.is_empty() && text.starts_with(&cut) && text.len() > cut.len());
    assert!(events[restart + 1..events.len() - 1].iter().all(|event| event.data["attempt"] == 2));
    // Resuming with an id of the first attempt restarts the text as well.
    let (reply, last) = (events[0].reply(), events[restart - 1].id());
    assert!(last.starts_with(&format!("{reply}:1:")));
    let again = resume(&app, &person, &reply, Some(last)).await.rest().await;
    assert_eq!((again[0].name.as_str(), displayed_text(&again).as_str()), ("reply.restart", text));
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn cancel_keeps_partial_text_and_ends_stream(db: PgPool) {
    let app = TestApp::with(&db, &[("SCRIPTED_WORDS_PER_SECOND", "10")]).await;
    let person = app.person().await;
    let mut stream = open(&app, &person, TEXT).await;
    let mut events = stream.until("reply.delta").await;
    events.extend(stream.until("reply.delta").await);
    let reply = events[0].reply();
    let cancel = || app.post(&format!("/api/replies/{reply}/cancel")).by(&person).send();
    let first = cancel().await.is(200).value();
    assert_eq!(first["status"], "cancelled");
    events.extend(stream.rest().await);
    let (name, kept) = end(&events);
    assert_eq!(name, "reply.cancelled");
    let seen = displayed_text(&events);
    assert!(!kept.is_empty() && (seen.starts_with(kept) || kept.starts_with(&seen)), "{kept:?} of {seen:?}");

    let session = events[0].data["session_id"].as_str().unwrap();
    let page = app.get(&format!("/api/history/{session}")).by(&person).send().await.is(200).value();
    assert_eq!((&page["items"][1]["status"], &page["items"][1]["text"]), (&json!("cancelled"), &json!(kept)));
    let log = app.events().await;
    assert_eq!(cancel().await.is(200).value(), first);
    assert_eq!(app.events().await, log);
    let again = resume(&app, &person, &reply, None).await.rest().await;
    assert_eq!((end(&again), displayed_text(&again).as_str()), (("reply.cancelled", kept), kept));
    // The partial text is part of the next message's context.
    let next = app.say(&person, Some(session), "Go on").await;
    assert!(next["reply"].as_str().unwrap().contains("Turns seen: 3 (2 from you, 1 from me)"));
    let done = app.post(&format!("/api/replies/{}/cancel", next["reply_id"].as_str().unwrap()));
    done.by(&person).send().await.assert_error(409, "reply_ended");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn client_disconnect_does_not_cancel_reply(db: PgPool) {
    let app = TestApp::with(&db, &[("SCRIPTED_WORDS_PER_SECOND", "40")]).await;
    let person = app.person().await;
    let mut stream = open(&app, &person, TEXT).await;
    let reply = stream.until("reply.delta").await[0].reply();
    drop(stream);
    app.wait_until("the reply is completed", async || {
        app.reply_events(&reply).await == ["reply_requested", "reply_begun", "reply_completed"]
    })
    .await;
    let events = resume(&app, &person, &reply, None).await.rest().await;
    assert_eq!(end(&events), ("reply.done", displayed_text(&events).as_str()));
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn stream_continues_after_restart(db: PgPool) {
    let first = TestApp::with(&db, &[("SCRIPTED_WORDS_PER_SECOND", "2")]).await;
    let person = first.person().await;
    let mut stream = open(&first, &person, TEXT).await;
    let mut events = stream.until("reply.delta").await;
    events.extend(stream.until("reply.delta").await);
    first.begin_shutdown();
    // The stream closes cleanly, without a final reply event.
    events.extend(stream.rest().await);
    let last = events.last().unwrap();
    assert_eq!(last.name, "reply.delta");
    let (reply, last) = (last.reply(), last.id().to_owned());
    first.end_with_pending(1).await;

    let second = TestApp::start(&db).await;
    let more = resume(&second, &person, &reply, Some(&last)).await.rest().await;
    let (name, text) = end(&more);
    assert_eq!((name, displayed_text(&more).as_str()), ("reply.done", text));
    assert_eq!((more[0].name.as_str(), &more[0].data["attempt"]), ("reply.restart", &json!(2)));
    assert_eq!(
        second.reply_events(&reply).await,
        ["reply_requested", "reply_begun", "reply_begun", "reply_completed"]
    );
    second.end().await;
}

/// Signs out during a stream: the stream must end within five seconds, and the reply must continue.
async fn sign_out_during(app: &TestApp, message: &str) {
    let person = app.person().await;
    let mut stream = open(app, &person, message).await;
    let reply = stream.next().await.unwrap().reply();
    app.post("/api/auth/logout").by(&person).send().await.is(204);
    let signed_out = tokio::time::Instant::now();
    let events = stream.rest().await;
    assert!(signed_out.elapsed().as_secs() < 5, "ended after {:?}", signed_out.elapsed());
    assert!(!events.last().is_some_and(Event::is_end), "{events:?}");
    let body = json!({"username": person.email, "password": crate::support::app::PASSWORD});
    let tokens: Value = app.post("/api/auth/login").json(&body).send().await.is(200).value();
    let cancel = app.post(&format!("/api/replies/{reply}/cancel"));
    cancel.bearer(tokens["access_token"].as_str().unwrap()).send().await.is(200);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn sign_out_ends_silent_stream(db: PgPool) {
    let app = TestApp::with(&db, &[("SCRIPTED_FAULT", "hang")]).await;
    sign_out_during(&app, "Hi").await;
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn sign_out_ends_busy_stream(db: PgPool) {
    let app = TestApp::with(&db, &[("SCRIPTED_WORDS_PER_SECOND", "10")]).await;
    sign_out_during(&app, &"word ".repeat(75)).await;
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn conversation_deletion_ends_its_streams(db: PgPool) {
    let app = TestApp::with(&db, &[("SCRIPTED_FAULT", "hang")]).await;
    let person = app.person().await;
    let mut stream = open(&app, &person, "Hi").await;
    let opening = stream.next().await.unwrap();
    let session = opening.data["session_id"].as_str().unwrap();
    app.delete(&format!("/api/history/{session}")).by(&person).send().await.is(204);
    let end = stream.rest().await.pop().unwrap();
    assert_eq!(end.name, "reply.cancelled");
    let reply = opening.reply();
    let cancelled = json!({"reply_id": reply, "state": "cancelled", "reason": "conversation_deleted"});
    assert_eq!(end.data, cancelled);
    let path = format!("/api/chat/stream/{reply}");
    app.get(&path).by(&person).send().await.assert_error(404, "not_found");
    app.end().await;
}
