//! Cancelling a reply or deleting its conversation before, while and after the provider streams: the provider call is
//! dropped, the reply ends once, and the text so far is kept.

use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::{Info, PullConsumer};
use serde_json::json;
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::{EndedReply, app_with_provider, ask, text};
use crate::nats::server::NatsServer;
use crate::support::app::{Person, TestApp};
use crate::support::client::Sse;
use crate::support::openai_server::{Act, Ending, KEY, OpenAiServer};

/// Maximum time until the provider call is dropped. The tests that assert it run alone (`.config/nextest.toml`).
const CALL_DROP_TIMEOUT: Duration = Duration::from_secs(2);
/// Number of concurrent slow replies; at least one of them is started by its NATS message.
const REPLIES: u64 = 5;
/// Both protocols.
const APIS: [&str; 2] = ["responses", "chat_completions"];

/// State of a reply when it is cancelled.
#[derive(Debug, Clone, Copy, PartialEq)]
enum ReplyState {
    /// The reply waits after a rate limit of the provider.
    Waiting,
    /// The provider has not answered yet.
    Requested,
    /// The provider has streamed some text.
    Streaming,
}

const REPLY_STATES: [ReplyState; 3] = [ReplyState::Waiting, ReplyState::Requested, ReplyState::Streaming];

impl ReplyState {
    fn act(self) -> Act {
        match self {
            Self::Waiting => Act::limited("15"),
            Self::Requested => Act::HangBeforeHeaders,
            Self::Streaming => Act::ending(&["half"], Ending::Silence),
        }
    }
}

/// Brings a reply into this state; returns its id, stream and conversation.
async fn reply_in_state(
    app: &TestApp,
    server: &OpenAiServer,
    person: &Person,
    state: ReplyState,
) -> (String, Sse, String) {
    server.set_script([state.act()]);
    let before = server.requests().len();
    let mut stream = app.post("/api/chat/stream").by(person).json(&json!({"message": "Hi"})).stream().await;
    let opening = stream.next().await.unwrap();
    let session = opening.data["session_id"].as_str().unwrap().to_owned();
    server.until(|log| log.requests.len() > before).await;
    match state {
        ReplyState::Waiting => {
            let failed = async || {
                app.reply_events(&opening.reply()).await.contains(&"reply_attempt_failed".to_owned())
            };
            app.wait_until("the attempt has failed", failed).await;
        }
        ReplyState::Requested => {}
        ReplyState::Streaming => drop(stream.until("reply.delta").await),
    }
    (opening.reply(), stream, session)
}

/// Asserts that the provider call, if any, is dropped in time after `since`.
async fn assert_call_dropped(server: &OpenAiServer, state: ReplyState, hung_up: usize, since: Instant) {
    let expected = hung_up + usize::from(state != ReplyState::Waiting);
    server.until(|log| log.hung_up == expected).await;
    assert!(since.elapsed() < CALL_DROP_TIMEOUT, "{state:?}: {:?}", since.elapsed());
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn cancelled_reply_ends_once_and_its_call_is_dropped(db: PgPool) {
    for api in APIS {
        let server = OpenAiServer::start([Act::reply(&["fine"])]).await;
        let app = app_with_provider(&db, &server, api, &[]).await;
        let person = app.person().await;
        for state in REPLY_STATES {
            let (reply, stream, _) = reply_in_state(&app, &server, &person, state).await;
            let (hung_up, asked) = (server.log().borrow().hung_up, server.requests().len());
            let since = Instant::now();
            let cancel = format!("/api/replies/{reply}/cancel");
            app.post(&cancel).by(&person).send().await.is(200);
            assert_call_dropped(&server, state, hung_up, since).await;
            let ended = EndedReply::end(&app, &person, &reply, stream).await;
            assert_eq!(ended.outcome(), ("cancelled", None), "{state:?}");
            let kept = text(&app, &person, &ended).await;
            assert_eq!(kept, if state == ReplyState::Streaming { "half" } else { "" }, "{state:?}");
            let last = ended.attempts().last().unwrap();
            assert_eq!(last["cancelled_at"].is_string(), state != ReplyState::Waiting, "{last}");
            // A second cancel changes nothing and sends no request.
            app.post(&cancel).by(&person).send().await.is(200);
            assert_eq!(server.requests().len(), asked);
        }
        // A completed reply cannot be cancelled.
        server.set_script([Act::reply(&["fine"])]);
        let ended = EndedReply::of(&app, &person, "Hello").await;
        let reply = ended.0["reply_id"].as_str().unwrap();
        app.post(&format!("/api/replies/{reply}/cancel"))
            .by(&person)
            .send()
            .await
            .assert_error(409, "reply_ended");
        assert_eq!(app.reply_events(reply).await.last().unwrap(), "reply_completed");
        app.end().await;
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn deleting_conversation_drops_call_and_appends_only_end(db: PgPool) {
    for api in APIS {
        let server = OpenAiServer::start([Act::reply(&["fine"])]).await;
        let app = app_with_provider(&db, &server, api, &[]).await;
        let person = app.person().await;
        for state in REPLY_STATES {
            let (reply, stream, session) = reply_in_state(&app, &server, &person, state).await;
            let hung_up = server.log().borrow().hung_up;
            let since = Instant::now();
            app.delete(&format!("/api/history/{session}")).by(&person).send().await.is(204);
            assert_call_dropped(&server, state, hung_up, since).await;
            let events = stream.rest().await;
            assert_eq!(events.last().unwrap().name, "reply.cancelled", "{state:?}");
            assert_eq!(app.reply_events(&reply).await.last().unwrap(), "reply_cancelled");
            let last: String = sqlx::query_scalar(
                "SELECT event_type FROM events WHERE payload ->> 'conversation_id' = $1 ORDER BY position DESC LIMIT 1",
            )
            .bind(&session)
            .fetch_one(&db)
            .await
            .unwrap();
            assert_eq!(last, "conversation_deleted", "{state:?}");
        }
        app.end().await;
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn cancel_at_another_node_drops_call_and_keeps_text(db: PgPool) {
    let nats = NatsServer::start().await;
    for api in APIS {
        let server = OpenAiServer::start([Act::reply(&["fine"])]).await;
        let nats = [("NATS_URL", &*nats.url())];
        let worker = app_with_provider(&db, &server, api, &nats).await;
        let api_node =
            app_with_provider(&db, &server, api, &[&nats[..], &[("ROLES", "api,project")]].concat()).await;
        let person = api_node.person().await;
        for _ in 0..3 {
            let (reply, stream, _) = reply_in_state(&api_node, &server, &person, ReplyState::Streaming).await;
            let hung_up = server.log().borrow().hung_up;
            let since = Instant::now();
            api_node.post(&format!("/api/replies/{reply}/cancel")).by(&person).send().await.is(200);
            assert_call_dropped(&server, ReplyState::Streaming, hung_up, since).await;
            let ended = EndedReply::end(&api_node, &person, &reply, stream).await;
            assert_eq!(ended.outcome(), ("cancelled", None));
            assert_eq!(text(&api_node, &person, &ended).await, "half");
        }
        api_node.stop(Duration::from_secs(10)).await;
        worker.end().await;
    }
}

/// Returns the state of the workers' consumer if it exists.
async fn consumer(nats: &NatsServer) -> Option<Info> {
    let mut consumer: PullConsumer = nats.stream().await?.get_consumer("verbatim-replies").await.ok()?;
    consumer.info().await.ok().cloned()
}

/// Number of reply messages whose subject has this suffix.
async fn message_count(nats: &NatsServer, end: &str) -> u64 {
    let messages = nats.messages().await.into_iter();
    messages
        .filter(|message_count| {
            message_count.subject.contains(".reply.") && message_count.subject.ends_with(end)
        })
        .count() as u64
}

/// Replies that take longer than JetStream's acknowledgement wait: each message is delivered to one worker, once.
#[sqlx::test(migrator = "MIGRATOR")]
async fn slow_reply_is_produced_once_despite_long_ack_wait(db: PgPool) {
    let nats = NatsServer::start().await;
    let words = ["word "; 36];
    let slow = Act::paced(&words, Duration::from_millis(500), Ending::Completed);
    let server = OpenAiServer::start([slow]).await;
    let url = (server.base_url(), nats.url());
    let variables = [
        ("OPENAI_API_KEY", KEY),
        ("OPENAI_BASE_URL", url.0.as_str()),
        ("NATS_URL", url.1.as_str()),
        ("PROVIDER_IDLE_SECONDS", "5"),
        ("CHAT_TITLES", "off"),
    ];
    let one = TestApp::with(&db, &variables).await;
    let two = TestApp::with(&db, &variables).await;
    one.wait_until("workers pull from the consumer", async || {
        consumer(&nats).await.is_some_and(|info| info.num_waiting > 1)
    })
    .await;
    let person = one.person().await;
    let mut asked = Vec::new();
    for _ in 0..REPLIES {
        let (reply, mut stream) = ask(&one, &person, &json!({"message": "Hello"})).await;
        stream.until("reply.delta").await;
        asked.push((reply, stream));
    }
    for _ in 0..words.len() / 3 {
        asked.last_mut().unwrap().1.until("reply.delta").await;
    }
    // The database's queue may have started some first: their messages are already acknowledged.
    let unacknowledged = consumer(&nats).await.unwrap().num_ack_pending;
    assert!((1..=asked.len()).contains(&unacknowledged), "{unacknowledged} messages are unacknowledged");
    for (reply, stream) in asked {
        let ended = EndedReply::end(&one, &person, &reply, stream).await;
        assert_eq!((ended.status(), ended.attempts().len()), ("completed", 1));
        assert_eq!(text(&one, &person, &ended).await, words.concat());
        assert!(ended.0["timings"]["total_ms"].as_u64().is_some_and(|took| took > 15_000), "{}", ended.0);
    }
    assert_eq!(server.requests().len() as u64, REPLIES);
    one.wait_until("every completion is published", async || {
        message_count(&nats, ".completed").await == REPLIES
    })
    .await;
    one.wait_until("every message is acknowledged", async || {
        consumer(&nats).await.is_some_and(|info| info.num_ack_pending == 0 && info.num_pending == 0)
    })
    .await;
    let delivered = consumer(&nats).await.unwrap().delivered.consumer_sequence;
    assert_eq!(delivered, message_count(&nats, "").await, "a message was redelivered");
    two.stop(Duration::from_secs(10)).await;
    one.end().await;
}
