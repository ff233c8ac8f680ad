//! Sockets of one user on two nodes, with a real NATS server.

use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::client::{Socket, kind, text};
use crate::nats::server::NatsServer;
use crate::support::app::{PASSWORD, TestApp, WAIT_TIMEOUT};

/// Time in which a sign-out at one node must take effect at the other.
const SIGN_OUT_TIMEOUT: Duration = Duration::from_secs(5);

async fn pair(db: &PgPool, nats: &NatsServer, pace: &str) -> (TestApp, TestApp) {
    let variables = [("NATS_URL", nats.url()), ("SCRIPTED_WORDS_PER_SECOND", pace.to_owned())];
    let variables: Vec<(&str, &str)> =
        variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let one = TestApp::with(db, &variables).await;
    let two = TestApp::with(db, &[variables.as_slice(), &[("ROLES", "api")]].concat()).await;
    (one, two)
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn sockets_on_both_nodes_get_the_same_frames(db: PgPool) {
    let nats = NatsServer::start().await;
    let (one, two) = pair(&db, &nats, "0").await;
    let person = one.person().await;
    let (mut here, mut there) = (Socket::of(&one, &person).await, Socket::of(&two, &person).await);
    for app in [&one, &two] {
        let answer = app.say(&person, None, "told on both").await;
        for socket in [&mut here, &mut there] {
            let asked = socket.next_of("message", &["typing"]).await;
            assert_eq!(asked["message_id"], answer["user_message_id"]);
            let answered = socket.next_of("message", &["typing"]).await;
            assert_eq!(answered["message_id"], answer["message_id"]);
        }
        let session = &answer["session_id"];
        here.send(json!({"type": "typing", "session_id": session, "typing": true})).await;
        assert_eq!(there.next_of("typing", &[]).await["who"], "user");
        there.send(json!({"type": "typing", "session_id": session, "typing": true})).await;
        assert_eq!(here.next_of("typing", &[]).await["who"], "user");
    }
    two.stop(WAIT_TIMEOUT).await;
    one.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn client_resumes_reply_at_other_node(db: PgPool) {
    let nats = NatsServer::start().await;
    let (one, two) = pair(&db, &nats, "30").await;
    let person = one.person().await;
    let mut socket = Socket::of(&one, &person).await;
    socket.send(json!({"message": "word ".repeat(60)})).await;
    let accepted = socket.next_of("accepted", &["message", "typing"]).await;
    let reply = accepted["reply_id"].clone();
    let mut frames = Vec::new();
    while frames.len() < 4 {
        frames.push(socket.next_of("reply.delta", &["message", "typing"]).await);
    }
    let position = &accepted["position"];
    drop(socket);
    let mut socket = Socket::since(&two, &person, &format!("?after={position}")).await;
    let last = frames.last().unwrap()["id"].clone();
    socket.send(json!({"type": "follow", "reply_id": reply, "after": last})).await;
    frames.extend(socket.until_the_end(&reply).await);
    let end = frames.last().unwrap();
    assert_eq!((kind(end), text(&frames).as_str()), ("reply.done", end["text"].as_str().unwrap()));
    let pieces = frames.iter().filter(|frame| kind(frame) == "reply.delta").count();
    assert!(pieces > 20, "only {pieces} deltas");
    let stored: Vec<_> =
        frames.iter().filter(|frame| kind(frame) == "message").map(|frame| &frame["message_id"]).collect();
    let answer = match stored.as_slice() {
        [] => socket.next_of("message", &["typing"]).await["message_id"].clone(),
        [one] => (*one).clone(),
        more => panic!("{more:?}"),
    };
    assert_eq!(answer, accepted["message_id"]);
    two.stop(WAIT_TIMEOUT).await;
    one.end().await;
}

/// S6: a sign-out takes effect on every node within five seconds, for sockets and streams too.
#[sqlx::test(migrator = "MIGRATOR")]
async fn sign_out_takes_effect_at_other_node(db: PgPool) {
    let nats = NatsServer::start().await;
    let (one, two) = pair(&db, &nats, "5").await;
    for how in ["logout", "password", "deactivate"] {
        let person = one.person().await;
        let mut socket = Socket::of(&two, &person).await;
        let body = json!({"message": "word ".repeat(500)});
        let mut stream = two.post("/api/chat/stream").by(&person).json(&body).stream().await;
        let reply = stream.next().await.unwrap().reply();
        // The login that changes the password stays valid, so the socket and the stream use another one.
        let form = [("username", person.email.as_str()), ("password", PASSWORD)];
        let other = one.post("/api/auth/login").form(&form).send().await.is(200).field("access_token");
        let began = Instant::now();
        match how {
            "logout" => drop(one.post("/api/auth/logout").by(&person).send().await.is(204)),
            "password" => {
                let body = json!({"current_password": PASSWORD, "new_password": "another horse 8"});
                one.post("/api/auth/password").bearer(&other).json(&body).send().await.is(204);
            }
            _ => {
                let body = json!({"password": PASSWORD});
                one.post("/api/users/me/deactivate").by(&person).json(&body).send().await.is(204);
            }
        }
        assert_eq!(socket.closed().await, 4401, "{how}");
        while let Some(event) = stream.next().await {
            assert!(!event.is_end(), "{how}: the reply ended before the sign-out");
        }
        let took = began.elapsed();
        assert!(took < SIGN_OUT_TIMEOUT, "{how} took {took:?}");
        let rejected = async || two.get("/api/history").by(&person).send().await.status == 401;
        two.wait_until("requests are rejected too", rejected).await;
        assert!(began.elapsed() < SIGN_OUT_TIMEOUT, "{how}");
        let ended = async || one.reply_events(&reply).await.last().is_some_and(|last| last != "reply_begun");
        if how == "logout" {
            // A reply of 500 words at this pace would take too long.
            one.post(&format!("/api/replies/{reply}/cancel")).bearer(&other).send().await.is(200);
            one.wait_until("the reply has ended", ended).await;
        }
    }
    two.stop(WAIT_TIMEOUT).await;
    one.stop(WAIT_TIMEOUT).await;
}
