//! The answer of a commit that is lost on its way: nobody knows whether the command was carried out, and the same key
//! tells, without doing it twice.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::bootstrap::database::MIGRATOR;

use super::proxied::{Proxied, events, events_of};
use super::proxy::When;
use crate::support::app::{PASSWORD, Person};
use crate::support::client::Answer;
use crate::support::often;

/// How often the connection is cut in the ordinary run.
const ROUNDS: (usize, usize) = (30, 200);

/// A command to send, and the events that it is to leave.
struct Wish {
    method: Method,
    path: String,
    body: Value,
    events: &'static [&'static str],
}

impl Wish {
    /// Of each kind in turn: one that begins a conversation, one that changes one, one with rows beside the log.
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

/// What must be the same in every acknowledgement of one command.
fn ids(answer: &Answer) -> Vec<Option<Value>> {
    let body = answer.value();
    ["id", "session_id", "user_message_id", "reply_id", "title"].map(|name| body.get(name).cloned()).into()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_commit_whose_answer_is_lost_is_told_by_its_key_and_done_once(db: PgPool) {
    let scene = Proxied::start(&db, &[("REPLY_WAIT_SECONDS", "0")]).await;
    let person = scene.app.person().await;
    let mut sessions = Vec::new();
    let rounds = often(ROUNDS.0, ROUNDS.1);
    for _ in 0..rounds.div_ceil(3) {
        sessions.push(scene.new_session(&person).await);
    }
    // A command to a conversation in which something has happened unseen is rightly refused first and decided again: then
    // the lost answer would be the refusal. So each is changed once, when its reply has ended.
    let ended = async || events(&db, "reply_completed").await == sessions.len() as i64;
    scene.app.until("their replies have ended", ended).await;
    let mut told = BTreeMap::<(When, u16), usize>::new();
    for round in 0..rounds {
        let wish = Wish::number(round, &sessions[round / 3]);
        let (key, first, again) =
            (format!("key-{round}"), format!("lost-{round}."), format!("again-{round}."));
        // Mostly after the commit, and then often so that it cannot be asked for at once either; sometimes the command
        // does not even come to the server.
        let when = [When::Answered, When::AnsweredThenAway, When::AnsweredThenAway, When::Before][round % 4];
        let cut = scene.proxy.cut();
        scene.proxy.cut_at(&first, when, 1);
        let answer = wish.send(&scene, &person, &key, &first).await;
        scene.proxy.refuse(false);
        assert_eq!(scene.proxy.cut(), cut + 1, "nothing was cut");
        *told.entry((when, answer.status)).or_default() += 1;
        let repeated = scene.until_served(async || wish.send(&scene, &person, &key, &again).await).await;
        assert!((200..300).contains(&repeated.status), "{}", repeated.text);
        if answer.status == 503 {
            assert_eq!(answer.refusal(), "unavailable");
            assert_eq!(answer.header("retry-after"), "1");
        } else {
            assert_eq!(ids(&answer), ids(&repeated), "{}", answer.text);
        }
        let by_request = [events_of(&db, &first).await, events_of(&db, &again).await];
        let [lost, repeated] = &by_request;
        let done = if lost.is_empty() { repeated } else { lost };
        assert_eq!(done, wish.events, "round {round}: {by_request:?}");
        assert!(lost.is_empty() || repeated.is_empty(), "done twice: {by_request:?}");
        assert!(when == When::Before || !lost.is_empty(), "it was cut too early: {by_request:?}");
    }
    let unknown: usize = told.iter().filter(|((_, status), _)| *status == 503).map(|(_, count)| count).sum();
    assert!(unknown >= rounds / 3, "hardly anything was unknown: {told:?}");
    scene.app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn commands_that_share_a_lost_commit_are_each_done_once(db: PgPool) {
    let scene = Proxied::start(&db, &[("REPLY_WAIT_SECONDS", "0")]).await;
    let person = scene.app.person().await;
    for round in 0..5 {
        let sent = async |number: usize, word: &str| {
            let body = json!({"message": format!("Message {number}")});
            let call = scene.app.post("/api/chat").by(&person).key(&format!("{round}-{number}"));
            call.header("x-request-id", &format!("{word}-{round}-{number}")).json(&body).send().await
        };
        let cut = scene.proxy.cut();
        // Each transaction in which one of them is, until three connections have been cut.
        scene.proxy.cut_at(&format!("shared-{round}-"), When::Answered, 3);
        futures::future::join_all((0..12).map(|number| sent(number, "shared"))).await;
        assert!(scene.proxy.cut() > cut, "nothing was cut");
        scene.proxy.cut_at("never", When::Before, 0);
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
