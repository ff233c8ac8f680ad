//! The permissions in docs/deploy/nats.conf let each kind of process do its work and no more.

use serde_json::json;
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::server::NatsServer;
use crate::support::app::{TestApp, WAIT_TIMEOUT};

const USERS: [&str; 4] = ["api", "worker", "relay", "analyst"];

#[sqlx::test(migrator = "MIGRATOR")]
async fn each_role_works_with_its_own_nats_user(db: PgPool) {
    let nats = NatsServer::with_users().await;
    let node = async |role: &str, user: &str| {
        let variables = [("NATS_URL", nats.url_of(user)), ("ROLES", role.to_owned())];
        let variables: Vec<(&str, &str)> =
            variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        TestApp::with(&db, &[variables.as_slice(), &[("SCRIPTED_WORDS_PER_SECOND", "50")]].concat()).await
    };
    let relay = node("relay", "relay").await;
    let api = node("api,project", "api").await;
    let worker = node("worker", "worker").await;
    let person = api.person().await;
    let body = json!({"message": "one two three four five six seven eight"});
    let events = api.post("/api/chat/stream").by(&person).json(&body).stream().await.rest().await;
    assert_eq!(events.last().unwrap().name, "reply.done");
    let deltas = events.iter().filter(|event| event.name == "reply.delta").count();
    assert!(deltas > 5, "only {deltas} deltas");
    // JetStream delivered the messages, and all are acknowledged.
    let stream = nats.jetstream_of("analyst").await.get_stream("VERBATIM_EVENTS").await.unwrap();
    api.wait_until("all messages are acknowledged", async || {
        let consumer = stream.consumer_info("verbatim-replies").await.unwrap();
        consumer.num_pending == 0 && consumer.num_ack_pending == 0 && consumer.delivered.stream_sequence > 0
    })
    .await;
    worker.stop(WAIT_TIMEOUT).await;
    api.stop(WAIT_TIMEOUT).await;
    relay.stop(WAIT_TIMEOUT).await;
}

#[tokio::test]
async fn users_cannot_exceed_their_permissions() {
    let nats = NatsServer::with_users().await;
    assert!(async_nats::connect(nats.url()).await.is_err(), "an anonymous connection is accepted");
    // Create the stream.
    let relay = nats.jetstream_of("relay").await;
    let stream = async_nats::jetstream::stream::Config {
        name: "VERBATIM_EVENTS".to_owned(),
        subjects: vec!["verbatim.events.>".to_owned()],
        ..Default::default()
    };
    relay.create_stream(stream.clone()).await.unwrap();
    relay.publish("verbatim.events.reply.requested", "{}".into()).await.unwrap().await.unwrap();
    for user in USERS {
        let mut context = nats.jetstream_of(user).await;
        // A request without permission gets no answer.
        context.set_timeout(std::time::Duration::from_millis(300));
        assert!(context.delete_stream("VERBATIM_EVENTS").await.is_err(), "{user} removes the stream");
        let purge = context.request("STREAM.PURGE.VERBATIM_EVENTS", &json!({})).await;
        assert!(purge.map(|_: serde_json::Value| ()).is_err(), "{user} empties the stream");
        assert!(context.update_stream(stream.clone()).await.is_err(), "{user} changes the stream");
        if user != "relay" {
            let published = context.publish("verbatim.events.reply.requested", "{}".into()).await.unwrap();
            assert!(published.await.is_err(), "{user} publishes events");
        }
    }
    let mut stream = relay.get_stream("VERBATIM_EVENTS").await.unwrap();
    assert_eq!(stream.info().await.unwrap().state.messages, 1);
}
