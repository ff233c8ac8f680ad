//! Messages that come twice, late, in another order or not at all, and consumers that an operator changes: each reply is
//! made once all the same.

use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::pull::Config;
use async_nats::jetstream::consumer::{AckPolicy, Info, PullConsumer};
use async_nats::jetstream::{Context, stream::Stream};
use futures::future::join_all;
use rand::seq::SliceRandom;
use sqlx::PgPool;
use verbatim::bootstrap::database::MIGRATOR;

use super::proxied::events;
use super::proxy::{Proxy, When};
use crate::kill::process::within;
use crate::nats::server::NatsServer;
use crate::support::app::{Person, TestApp};

/// What the workers read from.
const CONSUMER: &str = "verbatim-replies";
/// Conversations, and messages in each at least.
const CONVERSATIONS: usize = 6;
const MESSAGES: usize = 4;
/// How many acknowledgements are lost at least.
const LOST: u64 = 5;
/// Longer than JetStream waits for an acknowledgement before it delivers a message again.
const DELIVERED_AGAIN: Duration = Duration::from_secs(40);
/// How soon a reply is made when no message tells of it.
const FOUND: Duration = Duration::from_secs(6);

async fn consumer(stream: &Stream) -> Option<Info> {
    let mut consumer: PullConsumer = stream.get_consumer(CONSUMER).await.ok()?;
    consumer.info().await.ok().cloned()
}

async fn stream(nats: &NatsServer) -> Stream {
    nats.stream().await.expect("the stream of public events")
}

/// Waits until workers read from the consumer.
async fn listens(app: &TestApp, nats: &NatsServer) {
    app.until("workers listen", async || match nats.stream().await {
        Some(stream) => consumer(&stream).await.is_some_and(|info| info.num_waiting > 0),
        None => false,
    })
    .await;
}

/// Publishes the newest messages about replies again, three times each and in any order.
async fn double(context: &Context, stream: &Stream) {
    let last = stream.get_info().await.map_or(0, |info| info.state.last_sequence);
    let mut again = Vec::new();
    for sequence in last.saturating_sub(12).max(1)..=last {
        let Ok(message) = stream.get_raw_message(sequence).await else { continue };
        if message.subject.contains(".reply.") {
            again.extend(vec![(message.subject, message.payload); 3]);
        }
    }
    again.shuffle(&mut rand::rng());
    for (subject, payload) in again {
        context.publish(subject, payload).await.unwrap().await.unwrap();
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn doubled_shuffled_and_unacknowledged_messages_make_each_reply_once(db: PgPool) {
    let nats = NatsServer::start().await;
    let server = nats.url().strip_prefix("nats://").unwrap().parse().unwrap();
    let proxy = Proxy::before(server).await;
    let app = TestApp::with(&db, &[("NATS_URL", &format!("nats://{}", proxy.address()))]).await;
    listens(&app, &nats).await;
    let person = app.person().await;
    let (context, stream) = (nats.jetstream().await, stream(&nats).await);
    let work = join_all((0..CONVERSATIONS).map(async |_| {
        let session = app.session(&person).await;
        let mut sent = 1;
        while sent < MESSAGES || proxy.cut() < LOST {
            sent += 1;
            let answer = app.say(&person, Some(&session), &format!("Message {sent}")).await;
            assert_eq!(answer["status"], "completed");
        }
        sent
    }));
    let disturb = async {
        loop {
            double(&context, &stream).await;
            // The next acknowledgement does not arrive, nor does anything else on that connection.
            proxy.cut_at("$JS.ACK", When::Before, 1);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let sent = tokio::select! {
        sent = work => sent,
        () = disturb => unreachable!("it goes on for ever"),
    };
    proxy.cut_at("never", When::Before, 0);
    let replies = i64::try_from(sent.iter().sum::<usize>()).unwrap();
    let counted = async || {
        let mut counts = Vec::new();
        for kind in ["reply_requested", "reply_begun", "reply_completed"] {
            counts.push(events(&db, kind).await);
        }
        counts
    };
    assert_eq!(counted().await, [replies; 3], "requests, attempts and ends");
    let all = app.events().await;
    let acknowledged = async || {
        consumer(&stream).await.is_some_and(|info| info.num_ack_pending == 0 && info.num_pending == 0)
    };
    assert!(within(DELIVERED_AGAIN, acknowledged).await, "{:?}", consumer(&stream).await);
    let told = nats.messages().await.iter().filter(|message| message.subject.contains(".reply.")).count();
    let delivered = consumer(&stream).await.unwrap().delivered.consumer_sequence;
    assert!(delivered > told as u64, "{delivered} deliveries of {told} messages: nothing came again");
    assert_eq!(app.events().await, all, "what came again has left something");
    app.end().await;
}

/// Says something, and asserts that the answer comes although no message tells of it.
async fn is_answered(app: &TestApp, person: &Person, session: &str) {
    let begun = Instant::now();
    app.say(person, Some(session), "Is anybody there?").await;
    assert!(begun.elapsed() < FOUND, "the answer took {:?}", begun.elapsed());
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_consumer_that_an_operator_changes_is_left_alone_and_replies_are_made_without_it(db: PgPool) {
    let nats = NatsServer::start().await;
    let app = TestApp::with(&db, &[("NATS_URL", &nats.url())]).await;
    listens(&app, &nats).await;
    let person = app.person().await;
    let session = app.session(&person).await;
    let stream = stream(&nats).await;
    // Another one under its name, which brings nothing about replies.
    let other = Config {
        durable_name: Some(CONSUMER.to_owned()),
        ack_policy: AckPolicy::Explicit,
        filter_subject: "verbatim.events.user.*".to_owned(),
        ..Config::default()
    };
    stream.delete_consumer(CONSUMER).await.unwrap();
    stream.create_consumer(other.clone()).await.unwrap();
    for _ in 0..3 {
        is_answered(&app, &person, &session).await;
    }
    let found = consumer(&stream).await.unwrap();
    assert_eq!((found.config.filter_subject, found.num_waiting), (other.filter_subject, 0));
    stream.delete_consumer(CONSUMER).await.unwrap();
    listens(&app, &nats).await;
    let made = consumer(&stream).await.unwrap().config;
    assert_eq!(made.filter_subject, "verbatim.events.reply.*");
    assert!(made.max_ack_pending > 1);

    // Changed under the workers that read from it: one message in hand at a time, of all conversations.
    let narrow = Config {
        durable_name: made.durable_name,
        description: made.description,
        deliver_policy: made.deliver_policy,
        ack_policy: made.ack_policy,
        ack_wait: made.ack_wait,
        filter_subject: made.filter_subject,
        max_ack_pending: 1,
        ..Config::default()
    };
    stream.create_consumer(narrow).await.unwrap();
    join_all((0..4).map(async |_| app.session(&person).await)).await;
    is_answered(&app, &person, &session).await;

    // All of it is gone.
    nats.jetstream().await.delete_stream("VERBATIM_EVENTS").await.unwrap();
    is_answered(&app, &person, &session).await;
    listens(&app, &nats).await;
    is_answered(&app, &person, &session).await;
    app.end().await;
}
