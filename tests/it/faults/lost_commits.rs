//! The response to a commit is lost: the outcome is unknown, and a retry with the same idempotency key returns it
//! without executing the command twice.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::proxied::{Proxied, events, events_of};
use super::proxy::CutPoint;
use crate::support::app::{PASSWORD, Person};
use crate::support::client::Answer;
use crate::support::normal_or_soak;

/// Number of lost responses in an ordinary run and under `scripts/soak`.
const ROUNDS: (usize, usize) = (30, 200);

/// A command to send, and the events that it appends.
struct TestCommand {
    method: Method,
    path: String,
    body: Value,
    events: &'static [&'static str],
}

impl TestCommand {
    /// Rotates through a command that starts a conversation, one that changes one, and one with side writes.
    fn number(round: usize, session: &str) -> Self {
        let (method, path, body, events) = match round % 3 {
            0 => (
                Method::POST,
                "/api/chat".to_owned(),
                json!({"message": format!("Message {round}")}),
                &["conversation_started", "message_sent", "reply_requested"][..],
            ),
            1 => (
                Method::PATCH,
                format!("/api/history/{session}"),
                json!({"title": format!("Title {round}")}),
                &["conversation_renamed"][..],
            ),
            _ => (
                Method::POST,
                "/api/auth/register".to_owned(),
                json!({"email": format!("round{round}@mail.example"), "password": PASSWORD}),
                &["claim_taken", "user_registered"][..],
            ),
        };
        Self { method, path, body, events }
    }

    async fn send(&self, scene: &Proxied, person: &Person, key: &str, request_id: &str) -> Answer {
        let call = scene.app.call(self.method.clone(), &self.path).by(person).key(key);
        call.header("x-request-id", request_id).json(&self.body).send().await
    }
}

/// Returns the fields that every acknowledgement of one command must repeat.
fn ids(answer: &Answer) -> Vec<Option<Value>> {
    let body = answer.value();
    ["id", "session_id", "user_message_id", "reply_id", "title"].map(|name| body.get(name).cloned()).into()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn key_recovers_outcome_of_lost_commit_without_repeating_it(db: PgPool) {
    let scene = Proxied::start(&db, &[("REPLY_WAIT_SECONDS", "0")]).await;
    let person = scene.app.person().await;
    let mut sessions = Vec::new();
    let rounds = normal_or_soak(ROUNDS.0, ROUNDS.1);
    for _ in 0..rounds.div_ceil(3) {
        sessions.push(scene.new_session(&person).await);
    }
    // A version conflict would make the lost response that of the rejected append, before the retry. So each conversation
    // is changed once, after its reply has ended.
    let ended = async || events(&db, "reply_completed").await == sessions.len() as i64;
    scene.app.wait_until("the replies have ended", ended).await;
    let mut statuses = BTreeMap::<(CutPoint, u16), usize>::new();
    for round in 0..rounds {
        let command = TestCommand::number(round, &sessions[round / 3]);
        let (key, first, again) =
            (format!("key-{round}"), format!("lost-{round}."), format!("again-{round}."));
        // Mostly after the commit, and often with the database unavailable afterwards; sometimes before the command
        // reaches the server.
        let when =
            [CutPoint::Answered, CutPoint::AnsweredThenDown, CutPoint::AnsweredThenDown, CutPoint::Before]
                [round % 4];
        let cut = scene.proxy.cut();
        scene.proxy.cut_at(&first, when, 1);
        let answer = command.send(&scene, &person, &key, &first).await;
        scene.proxy.refuse(false);
        assert_eq!(scene.proxy.cut(), cut + 1, "no connection was cut");
        *statuses.entry((when, answer.status)).or_default() += 1;
        let repeated = scene.until_served(async || command.send(&scene, &person, &key, &again).await).await;
        assert!((200..300).contains(&repeated.status), "{}", repeated.text);
        if answer.status == 503 {
            assert_eq!(answer.error_code(), "unavailable");
            assert_eq!(answer.header("retry-after"), "1");
        } else {
            assert_eq!(ids(&answer), ids(&repeated), "{}", answer.text);
        }
        let by_request = [events_of(&db, &first).await, events_of(&db, &again).await];
        let [lost, repeated] = &by_request;
        let done = if lost.is_empty() { repeated } else { lost };
        assert_eq!(done, command.events, "round {round}: {by_request:?}");
        assert!(lost.is_empty() || repeated.is_empty(), "executed twice: {by_request:?}");
        assert!(when == CutPoint::Before || !lost.is_empty(), "cut before the commit: {by_request:?}");
    }
    let unknown: usize =
        statuses.iter().filter(|((_, status), _)| *status == 503).map(|(_, count)| count).sum();
    assert!(unknown >= rounds / 3, "too few unknown outcomes: {statuses:?}");
    scene.app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn commands_sharing_a_lost_commit_execute_once_each(db: PgPool) {
    let scene = Proxied::start(&db, &[("REPLY_WAIT_SECONDS", "0")]).await;
    let person = scene.app.person().await;
    for round in 0..5 {
        let sent = async |number: usize, word: &str| {
            let body = json!({"message": format!("Message {number}")});
            let call = scene.app.post("/api/chat").by(&person).key(&format!("{round}-{number}"));
            call.header("x-request-id", &format!("{word}-{round}-{number}")).json(&body).send().await
        };
        let cut = scene.proxy.cut();
        // Cuts every transaction with one of these commands until three connections have been cut.
        scene.proxy.cut_at(&format!("shared-{round}-"), CutPoint::Answered, 3);
        futures::future::join_all((0..12).map(|number| sent(number, "shared"))).await;
        assert!(scene.proxy.cut() > cut, "no connection was cut");
        scene.proxy.cut_at("never", CutPoint::Before, 0);
        for number in 0..12 {
            let answer = scene.until_served(async || sent(number, "again").await).await;
            assert!((200..300).contains(&answer.status), "{}", answer.text);
            let first = events_of(&db, &format!("shared-{round}-{number}")).await;
            let again = events_of(&db, &format!("again-{round}-{number}")).await;
            assert_eq!(first.len() + again.len(), 3, "{first:?} {again:?}");
        }
    }
    scene.app.end().await;
}
