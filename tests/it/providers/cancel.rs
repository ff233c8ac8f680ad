//! Cancelling, and deleting the conversation, before, while and after the provider writes: its call is dropped, there is one
//! end, and what had come is kept.

use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::{Info, PullConsumer};
use serde_json::json;
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::{Shown, app_at, ask, text};
use crate::nats::server::NatsServer;
use crate::support::app::{Person, TestApp};
use crate::support::client::Sse;
use crate::support::openai_server::{Act, Ending, KEY, OpenAiServer};

/// How soon the provider's call has to be dropped. The tests that hold it to that run alone (`.config/nextest.toml`).
const DROPPED: Duration = Duration::from_secs(2);
/// Replies that are slow at the same time: one of them at least is begun because of its message.
const REPLIES: u64 = 5;
/// Both protocols.
const APIS: [&str; 2] = ["responses", "chat_completions"];

/// Where a reply stands when it is no longer wanted.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Moment {
    /// The provider has limited the rate; the reply waits.
    Waiting,
    /// The provider has not answered yet.
    Asked,
    /// Something has been written.
    Writing,
}

const MOMENTS: [Moment; 3] = [Moment::Waiting, Moment::Asked, Moment::Writing];

impl Moment {
    fn act(self) -> Act {
        match self {
            Self::Waiting => Act::limited("15"),
            Self::Asked => Act::HangBeforeHeaders,
            Self::Writing => Act::ending(&["half"], Ending::Silence),
        }
    }
}

/// A reply that has come to this moment: its id, its stream, its conversation.
async fn brought_to(
    app: &TestApp,
    server: &OpenAiServer,
    person: &Person,
    moment: Moment,
) -> (String, Sse, String) {
    server.set_script([moment.act()]);
    let before = server.requests().len();
    let mut stream = app.post("/api/chat/stream").by(person).json(&json!({"message": "Hi"})).stream().await;
    let opening = stream.next().await.unwrap();
    let session = opening.data["session_id"].as_str().unwrap().to_owned();
    server.until(|log| log.requests.len() > before).await;
    match moment {
        Moment::Waiting => {
            let failed = async || {
                app.reply_events(&opening.reply()).await.contains(&"reply_attempt_failed".to_owned())
            };
            app.wait_until("the attempt has failed", failed).await;
        }
        Moment::Asked => {}
        Moment::Writing => drop(stream.until("reply.delta").await),
    }
    (opening.reply(), stream, session)
}

/// The provider's call, if there is one, is dropped in time after `since`.
async fn dropped(server: &OpenAiServer, moment: Moment, hung_up: usize, since: Instant) {
    let expected = hung_up + usize::from(moment != Moment::Waiting);
    server.until(|log| log.hung_up == expected).await;
    assert!(since.elapsed() < DROPPED, "{moment:?}: {:?}", since.elapsed());
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_cancelled_reply_ends_once_and_its_call_is_dropped(db: PgPool) {
    for api in APIS {
        let server = OpenAiServer::start([Act::reply(&["fine"])]).await;
        let app = app_at(&db, &server, api, &[]).await;
        let person = app.person().await;
        for moment in MOMENTS {
            let (reply, stream, _) = brought_to(&app, &server, &person, moment).await;
            let (hung_up, asked) = (server.log().borrow().hung_up, server.requests().len());
            let since = Instant::now();
            let cancel = format!("/api/replies/{reply}/cancel");
            app.post(&cancel).by(&person).send().await.is(200);
            dropped(&server, moment, hung_up, since).await;
            let shown = Shown::end(&app, &person, &reply, stream).await;
            assert_eq!(shown.outcome(), ("cancelled", None), "{moment:?}");
            let kept = text(&app, &person, &shown).await;
            assert_eq!(kept, if moment == Moment::Writing { "half" } else { "" }, "{moment:?}");
            let last = shown.attempts().last().unwrap();
            assert_eq!(last["cancelled_at"].is_string(), moment != Moment::Waiting, "{last}");
            // Once more is the same, and nobody is asked again.
            app.post(&cancel).by(&person).send().await.is(200);
            assert_eq!(server.requests().len(), asked);
        }
        // After the end it is too late.
        server.set_script([Act::reply(&["fine"])]);
        let shown = Shown::of(&app, &person, "Hello").await;
        let reply = shown.0["reply_id"].as_str().unwrap();
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
async fn a_deleted_conversation_drops_the_call_and_gets_nothing_but_its_end(db: PgPool) {
    for api in APIS {
        let server = OpenAiServer::start([Act::reply(&["fine"])]).await;
        let app = app_at(&db, &server, api, &[]).await;
        let person = app.person().await;
        for moment in MOMENTS {
            let (reply, stream, session) = brought_to(&app, &server, &person, moment).await;
            let hung_up = server.log().borrow().hung_up;
            let since = Instant::now();
            app.delete(&format!("/api/history/{session}")).by(&person).send().await.is(204);
            dropped(&server, moment, hung_up, since).await;
            let events = stream.rest().await;
            assert_eq!(events.last().unwrap().name, "reply.cancelled", "{moment:?}");
            assert_eq!(app.reply_events(&reply).await.last().unwrap(), "reply_cancelled");
            let last: String = sqlx::query_scalar(
                "SELECT event_type FROM events WHERE payload ->> 'conversation_id' = $1 ORDER BY position DESC LIMIT 1",
            )
            .bind(&session)
            .fetch_one(&db)
            .await
            .unwrap();
            assert_eq!(last, "conversation_deleted", "{moment:?}");
        }
        app.end().await;
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_cancel_through_another_node_reaches_the_call_and_keeps_the_text(db: PgPool) {
    let nats = NatsServer::start().await;
    for api in APIS {
        let server = OpenAiServer::start([Act::reply(&["fine"])]).await;
        let nats = [("NATS_URL", &*nats.url())];
        let writes = app_at(&db, &server, api, &nats).await;
        let serves = app_at(&db, &server, api, &[&nats[..], &[("ROLES", "api,project")]].concat()).await;
        let person = serves.person().await;
        for _ in 0..3 {
            let (reply, stream, _) = brought_to(&serves, &server, &person, Moment::Writing).await;
            let hung_up = server.log().borrow().hung_up;
            let since = Instant::now();
            serves.post(&format!("/api/replies/{reply}/cancel")).by(&person).send().await.is(200);
            dropped(&server, Moment::Writing, hung_up, since).await;
            let shown = Shown::end(&serves, &person, &reply, stream).await;
            assert_eq!(shown.outcome(), ("cancelled", None));
            assert_eq!(text(&serves, &person, &shown).await, "half");
        }
        serves.stop(Duration::from_secs(10)).await;
        writes.end().await;
    }
}

/// How the workers' consumer stands, when there is one.
async fn consumer(nats: &NatsServer) -> Option<Info> {
    let mut consumer: PullConsumer = nats.stream().await?.get_consumer("verbatim-replies").await.ok()?;
    consumer.info().await.ok().cloned()
}

/// How many messages about replies there are that end so.
async fn told(nats: &NatsServer, end: &str) -> u64 {
    let messages = nats.messages().await.into_iter();
    messages.filter(|told| told.subject.contains(".reply.") && told.subject.ends_with(end)).count() as u64
}

/// Replies that take longer than a message about them may be unacknowledged: it is delivered to one worker, once.
#[sqlx::test(migrator = "MIGRATOR")]
async fn a_slow_reply_is_made_once_although_its_message_waits_long(db: PgPool) {
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
    one.wait_until("workers listen", async || consumer(&nats).await.is_some_and(|info| info.num_waiting > 1))
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
    // The database's queue may have been quicker with some: their messages are acknowledged already.
    let in_hand = consumer(&nats).await.unwrap().num_ack_pending;
    assert!((1..=asked.len()).contains(&in_hand), "{in_hand} messages wait for the end of their replies");
    for (reply, stream) in asked {
        let shown = Shown::end(&one, &person, &reply, stream).await;
        assert_eq!((shown.status(), shown.attempts().len()), ("completed", 1));
        assert_eq!(text(&one, &person, &shown).await, words.concat());
        assert!(shown.0["timings"]["total_ms"].as_u64().is_some_and(|took| took > 15_000), "{}", shown.0);
    }
    assert_eq!(server.requests().len() as u64, REPLIES);
    one.wait_until("every end is told", async || told(&nats, ".completed").await == REPLIES).await;
    one.wait_until("every message is acknowledged", async || {
        consumer(&nats).await.is_some_and(|info| info.num_ack_pending == 0 && info.num_pending == 0)
    })
    .await;
    let delivered = consumer(&nats).await.unwrap().delivered.consumer_sequence;
    assert_eq!(delivered, told(&nats, "").await, "a message came again");
    two.stop(Duration::from_secs(10)).await;
    one.end().await;
}
