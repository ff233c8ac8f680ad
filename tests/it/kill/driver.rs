//! The load: users with several tasks each, which continue after every kill and retry operations of unknown outcome.
//!
//! Of a hundred operations about 60 send a message (half of them by stream), 12 start a conversation, 12 change one,
//! 5 delete one, 5 cancel a reply, 2 register, the rest read. Two of three have an `Idempotency-Key`.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::sync::watch;
use uuid::Uuid;

use super::client;
use super::history::{Answer, History, Ids, Kind, Operation, Outcome, Position, Read};

/// Maximum number of conversations that one user continues.
const MAX_CONVERSATIONS: usize = 6;
/// Number of acknowledged operations that each task repeats after a restart.
const REPEATED_AFTER_RESTART: usize = 2;
/// Share of keyed operations that are sent twice concurrently.
const DUPLICATE_RATIO: f64 = 0.1;
/// Maximum number of retries of unknown outcomes at the end; `busy` and the like are not final.
const MAX_FINAL_RETRIES: usize = 20;
/// Time that an answer waits for the read models; slower reads may be stale.
const CATCH_UP_TIMEOUT_MS: u128 = 300;

/// Phase of the load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stage {
    /// No process serves.
    Down,
    /// A process serves at this base URL.
    Up(Arc<str>),
    /// The last process serves: resolve unknown outcomes, then end.
    Over(Arc<str>),
}

/// A registered user and the ids that its tasks know.
pub(crate) struct Person {
    pub(crate) id: Uuid,
    pub(crate) token: String,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    conversations: Vec<Uuid>,
    replies: Vec<Uuid>,
    /// Conversations with a requested deletion.
    deleting: BTreeSet<Uuid>,
}

/// Registers a user outside of the random load.
pub(crate) async fn register_person(
    history: &History,
    http: &reqwest::Client,
    base: &str,
    name: &str,
) -> Arc<Person> {
    let number = history.begin(register(name, Some(format!("register-{name}"))));
    let (operation, request_id) = history.before(number);
    let answer = client::send(http, base, &operation, &request_id, None, true).await;
    history.after(number, &request_id, &answer);
    assert_eq!(answer.outcome, Outcome::Ok, "{answer:?}");
    let body = json!({"username": format!("{name}@kill.example"), "password": PASSWORD});
    let login = http.post(format!("{base}/api/auth/login")).json(&body).send().await.unwrap();
    let login: Value = login.json().await.unwrap();
    Arc::new(Person {
        id: answer.ids.user.unwrap(),
        token: login["access_token"].as_str().unwrap().to_owned(),
        known: Mutex::default(),
    })
}

/// Password of all users.
pub(crate) const PASSWORD: &str = "seven 7 swans";

fn register(name: &str, key: Option<String>) -> Operation {
    let body = json!({"email": format!("{name}@kill.example"), "password": PASSWORD});
    Operation {
        number: 0,
        kind: Kind::Register,
        user: None,
        key,
        method: "POST",
        path: "/api/auth/register".to_owned(),
        body: Some(body.to_string()),
        tries: Vec::new(),
    }
}

/// One task of one user.
pub(crate) struct Driver {
    name: String,
    history: History,
    http: reqwest::Client,
    stage: watch::Receiver<Stage>,
    random: StdRng,
    person: Arc<Person>,
    /// Operations with a key, by number.
    keyed: Vec<u64>,
    count: u64,
}

impl Driver {
    /// Creates a task; the same `seed` repeats its choices as far as the answers are the same.
    pub(crate) fn new(
        name: String,
        seed: u64,
        history: History,
        http: reqwest::Client,
        stage: watch::Receiver<Stage>,
        person: Arc<Person>,
    ) -> Self {
        let random = StdRng::seed_from_u64(seed);
        Self { name, history, http, stage, random, person, keyed: Vec::new(), count: 0 }
    }

    /// Runs until the load ends and the outcome of every keyed operation is known.
    pub(crate) async fn run(mut self) {
        loop {
            let stage = self.stage.wait_for(|stage| *stage != Stage::Down).await.unwrap().clone();
            match stage {
                Stage::Down => {}
                Stage::Over(base) => {
                    self.retry_unknown(&base, REPEATED_AFTER_RESTART).await;
                    for _ in 0..MAX_FINAL_RETRIES {
                        self.retry_unknown(&base, 0).await;
                    }
                    return;
                }
                Stage::Up(base) => {
                    self.retry_unknown(&base, REPEATED_AFTER_RESTART).await;
                    // Continue until the stage changes.
                    while *self.stage.borrow() == Stage::Up(Arc::clone(&base)) {
                        if !self.step(&base).await {
                            let gone = Stage::Up(Arc::clone(&base));
                            self.stage.wait_for(|stage| *stage != gone).await.unwrap();
                        }
                    }
                }
            }
        }
    }

    /// Retries every keyed operation of unknown outcome, and repeats some acknowledged ones.
    async fn retry_unknown(&mut self, base: &str, others: usize) {
        let mut numbers = Vec::new();
        let mut known = Vec::new();
        for number in self.keyed.clone() {
            match self.history.operation(number).last() {
                Some(Outcome::Unknown | Outcome::NotSent) | None => numbers.push(number),
                // The key of a registration belongs to the address, not to the signed-in user.
                Some(Outcome::Ok) if self.history.operation(number).kind != Kind::Register => {
                    known.push(number);
                }
                Some(Outcome::Ok) => {}
                Some(Outcome::Rejected) => {}
            }
        }
        for _ in 0..others.min(known.len()) {
            // A kill can only have lost the most recent ones.
            let recent = known.len().saturating_sub(8);
            numbers.push(known[self.random.random_range(recent..known.len())]);
        }
        for number in numbers {
            let patient = self.random.random_bool(0.5);
            self.send(base, number, patient).await;
        }
        if others > 0
            && let Some(number) = known.last()
        {
            self.reuse(base, *number).await;
        }
    }

    /// Sends another message under the key of an acknowledged operation.
    async fn reuse(&mut self, base: &str, number: u64) {
        self.count += 1;
        let other = json!({"message": format!("Message {} of {}, under an old key.", self.count, self.name)});
        let number = self.history.begin(Operation {
            number: 0,
            kind: Kind::Reused,
            user: Some(self.person.id),
            method: "POST",
            path: "/api/chat".to_owned(),
            body: Some(other.to_string()),
            tries: Vec::new(),
            key: self.history.operation(number).key,
        });
        self.send(base, number, true).await;
    }

    /// Performs one operation and maybe a read; returns false when no process serves.
    async fn step(&mut self, base: &str) -> bool {
        let operation = self.choose();
        let keyed = operation.key.is_some();
        if operation.kind == Kind::Delete
            && let Some(conversation) = target(&operation)
        {
            let mut known = self.person.known.lock().unwrap();
            known.conversations.retain(|id| *id != conversation);
            known.deleting.insert(conversation);
        }
        let number = self.history.begin(operation);
        if keyed {
            self.keyed.push(number);
        }
        let (patient, twice) =
            (self.random.random_bool(0.5), keyed && self.random.random_bool(DUPLICATE_RATIO));
        let answer = if twice {
            // Both at once, like an impatient client: the second request waits for the first.
            futures::future::join(self.send(base, number, patient), self.send(base, number, patient)).await.0
        } else {
            self.send(base, number, patient).await
        };
        if let (Some(message), Some(conversation), Position::Command(Some(position))) =
            (answer.ids.message, answer.ids.conversation, answer.position)
            && self.random.random_bool(0.4)
        {
            self.read_back(base, conversation, message, position).await;
        }
        answer.status != 0
    }

    async fn send(&self, base: &str, number: u64, patient: bool) -> Answer {
        let (operation, request_id) = self.history.before(number);
        let token = (operation.kind != Kind::Register).then_some(self.person.token.as_str());
        let answer = client::send(&self.http, base, &operation, &request_id, token, patient).await;
        self.history.after(number, &request_id, &answer);
        if answer.outcome == Outcome::Ok && operation.kind != Kind::Register {
            self.remember(&answer.ids);
        }
        answer
    }

    fn remember(&self, ids: &Ids) {
        let mut known = self.person.known.lock().unwrap();
        if let Some(conversation) = ids.conversation
            && !known.deleting.contains(&conversation)
            && !known.conversations.contains(&conversation)
        {
            known.conversations.push(conversation);
            if known.conversations.len() > MAX_CONVERSATIONS {
                known.conversations.remove(0);
            }
        }
        if let Some(reply) = ids.reply {
            known.replies.push(reply);
        }
    }

    /// Reads an acknowledged message back: a user must be able to read its own writes.
    async fn read_back(&mut self, base: &str, conversation: Uuid, message: Uuid, position: i64) {
        let begun = Instant::now();
        let request_id = format!("read-{}-{}", self.name, self.count);
        let answer = self
            .http
            .get(format!("{base}/api/history/{conversation}?limit=100"))
            .header("x-request-id", &request_id)
            .header("verbatim-position", position)
            .bearer_auth(&self.person.token)
            .send()
            .await;
        let page = match answer {
            Ok(answer) if answer.status() != 503 => answer.json::<Value>().await.ok(),
            Ok(_) | Err(_) => None,
        };
        let took = begun.elapsed();
        let found = page.as_ref().is_some_and(|page| {
            let mut items = page["items"].as_array().into_iter().flatten();
            items.any(|item| item["message_id"] == message.to_string())
        });
        let deleting = self.person.known.lock().unwrap().deleting.contains(&conversation);
        let excused = page.is_none() || deleting || took.as_millis() >= CATCH_UP_TIMEOUT_MS;
        self.history.read(Read { request_id, message, found, took, excused });
    }

    /// Chooses the next operation.
    fn choose(&mut self) -> Operation {
        self.count += 1;
        let random = &mut self.random;
        let key = random.random_bool(0.66).then(|| format!("{}-{}", self.name, self.count));
        let dice = random.random_range(0..100);
        if dice < 2 {
            return register(&format!("{}-{}", self.name, self.count), key);
        }
        let (conversation, reply) = {
            let known = self.person.known.lock().unwrap();
            let pick = |random: &mut StdRng, ids: &[Uuid]| {
                (!ids.is_empty()).then(|| ids[random.random_range(0..ids.len())])
            };
            // Only recent replies can still be in progress.
            let recent = known.replies.len().saturating_sub(4);
            (pick(random, &known.conversations), pick(random, &known.replies[recent..]))
        };
        let by_stream = random.random_bool(0.5);
        let text = format!("Message {} of {}.", self.count, self.name);
        let path = if by_stream { "/api/chat/stream" } else { "/api/chat" };
        let (kind, method, path, body) = match (dice, conversation, reply) {
            (2..14, Some(conversation), _) => {
                let body = match random.random_range(0..3) {
                    0 => json!({"title": format!("Title {}", self.count)}),
                    1 => json!({"pinned": random.random_bool(0.5)}),
                    _ => {
                        json!({"archived": random.random_bool(0.5), "title": format!("Archived {}", self.count)})
                    }
                };
                (Kind::Change, "PATCH", format!("/api/history/{conversation}"), Some(body))
            }
            (14..19, Some(conversation), _) => {
                (Kind::Delete, "DELETE", format!("/api/history/{conversation}"), None)
            }
            (19..24, _, Some(reply)) => (Kind::Cancel, "POST", format!("/api/replies/{reply}/cancel"), None),
            (24..86, Some(conversation), _) => {
                let body = json!({"message": text, "session_id": conversation});
                (Kind::Send, "POST", path.to_owned(), Some(body))
            }
            _ => (Kind::Create, "POST", path.to_owned(), Some(json!({"message": text}))),
        };
        Operation {
            number: 0,
            kind,
            user: Some(self.person.id),
            key,
            method,
            path,
            body: body.map(|body| body.to_string()),
            tries: Vec::new(),
        }
    }
}

/// Returns the conversation id in an operation's path.
fn target(operation: &Operation) -> Option<Uuid> {
    operation.path.strip_prefix("/api/history/").and_then(|id| Uuid::parse_str(id).ok())
}
