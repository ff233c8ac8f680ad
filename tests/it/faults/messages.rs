//! NATS messages that are duplicated, late, reordered or lost, and consumers that an operator changes: each reply is still
//! produced once.

use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::pull::Config;
use async_nats::jetstream::consumer::{AckPolicy, Info, PullConsumer};
use async_nats::jetstream::{Context, stream::Stream};
use futures::future::join_all;
use rand::seq::SliceRandom;
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::proxied::events;
use super::proxy::{CutPoint, Proxy};
use crate::kill::process::within;
use crate::nats::server::NatsServer;
use crate::support::app::{Person, TestApp};

/// Name of the workers' JetStream consumer.
const CONSUMER: &str = "verbatim-replies";
/// Number of conversations, and the minimum number of messages in each.
const CONVERSATIONS: usize = 6;
const MIN_MESSAGES: usize = 4;
/// Minimum number of lost acknowledgements.
const MIN_LOST_ACKS: u64 = 5;
/// Longer than JetStream waits for an acknowledgement before it delivers a message again.
const REDELIVERY_TIMEOUT: Duration = Duration::from_secs(40);
/// Maximum time until a reply is produced when no message announces it.
const FALLBACK_TIMEOUT: Duration = Duration::from_secs(6);

async fn consumer(stream: &Stream) -> Option<Info> {
    let mut consumer: PullConsumer = stream.get_consumer(CONSUMER).await.ok()?;
    consumer.info().await.ok().cloned()
}

async fn stream(nats: &NatsServer) -> Stream {
    nats.stream().await.expect("the stream of public events")
}

/// Waits until workers pull from the consumer.
async fn wait_for_workers(app: &TestApp, nats: &NatsServer) {
    app.wait_until("workers pull from the consumer", async || match nats.stream().await {
        Some(stream) => consumer(&stream).await.is_some_and(|info| info.num_waiting > 0),
        None => false,
    })
    .await;
}

/// Publishes the newest reply messages again, three times each, in random order.
async fn publish_duplicates(context: &Context, stream: &Stream) {
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
async fn duplicated_shuffled_and_unacked_messages_reply_once(db: PgPool) {
    let nats = NatsServer::start().await;
    let server = nats.url().strip_prefix("nats://").unwrap().parse().unwrap();
    let proxy = Proxy::before(server).await;
    let app = TestApp::with(&db, &[("NATS_URL", &format!("nats://{}", proxy.address()))]).await;
    wait_for_workers(&app, &nats).await;
    let person = app.person().await;
    let (context, stream) = (nats.jetstream().await, stream(&nats).await);
    let work = join_all((0..CONVERSATIONS).map(async |_| {
        let session = app.session(&person).await;
        let mut sent = 1;
        while sent < MIN_MESSAGES || proxy.cut() < MIN_LOST_ACKS {
            sent += 1;
            let answer = app.say(&person, Some(&session), &format!("Message {sent}")).await;
            assert_eq!(answer["status"], "completed");
        }
        sent
    }));
    let disturb = async {
        loop {
            publish_duplicates(&context, &stream).await;
            // The connection is cut before the next acknowledgement arrives.
            proxy.cut_at("$JS.ACK", CutPoint::Before, 1);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let sent = tokio::select! {
        sent = work => sent,
        () = disturb => unreachable!("an endless loop"),
    };
    proxy.cut_at("never", CutPoint::Before, 0);
    let replies = i64::try_from(sent.iter().sum::<usize>()).unwrap();
    let counted = async || {
        let mut counts = Vec::new();
        for kind in ["reply_requested", "reply_begun", "reply_completed"] {
            counts.push(events(&db, kind).await);
        }
        counts
    };
    assert_eq!(counted().await, [replies; 3], "requests, attempts and completions");
    let all = app.events().await;
    let acknowledged = async || {
        consumer(&stream).await.is_some_and(|info| info.num_ack_pending == 0 && info.num_pending == 0)
    };
    assert!(within(REDELIVERY_TIMEOUT, acknowledged).await, "{:?}", consumer(&stream).await);
    let published =
        nats.messages().await.iter().filter(|message| message.subject.contains(".reply.")).count();
    let delivered = consumer(&stream).await.unwrap().delivered.consumer_sequence;
    assert!(delivered > published as u64, "{delivered} deliveries of {published} messages: no redelivery");
    assert_eq!(app.events().await, all, "a redelivery appended events");
    app.end().await;
}

/// Sends a message and asserts that the reply arrives in time without a NATS message.
async fn assert_answered(app: &TestApp, person: &Person, session: &str) {
    let begun = Instant::now();
    app.say(person, Some(session), "Is anybody there?").await;
    assert!(begun.elapsed() < FALLBACK_TIMEOUT, "the answer took {:?}", begun.elapsed());
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn changed_consumer_is_left_alone_and_replies_continue(db: PgPool) {
    let nats = NatsServer::start().await;
    let app = TestApp::with(&db, &[("NATS_URL", &nats.url())]).await;
    wait_for_workers(&app, &nats).await;
    let person = app.person().await;
    let session = app.session(&person).await;
    let stream = stream(&nats).await;
    // Another consumer of the same name, which delivers no reply messages.
    let other = Config {
        durable_name: Some(CONSUMER.to_owned()),
        ack_policy: AckPolicy::Explicit,
        filter_subject: "verbatim.events.user.*".to_owned(),
        ..Config::default()
    };
    stream.delete_consumer(CONSUMER).await.unwrap();
    stream.create_consumer(other.clone()).await.unwrap();
    for _ in 0..3 {
        assert_answered(&app, &person, &session).await;
    }
    let found = consumer(&stream).await.unwrap();
    assert_eq!((found.config.filter_subject, found.num_waiting), (other.filter_subject, 0));
    stream.delete_consumer(CONSUMER).await.unwrap();
    wait_for_workers(&app, &nats).await;
    let made = consumer(&stream).await.unwrap().config;
    assert_eq!(made.filter_subject, "verbatim.events.reply.*");
    assert!(made.max_ack_pending > 1);

    // Changed while workers pull from it: at most one unacknowledged message across all conversations.
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
    assert_answered(&app, &person, &session).await;

    // The whole stream is gone.
    nats.jetstream().await.delete_stream("VERBATIM_EVENTS").await.unwrap();
    assert_answered(&app, &person, &session).await;
    wait_for_workers(&app, &nats).await;
    assert_answered(&app, &person, &session).await;
    app.end().await;
}
