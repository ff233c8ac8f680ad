//! Tests that no prompt contains text of another user or conversation, over ten thousand prompts built as a worker
//! builds them.

use std::collections::BTreeSet;

use futures::future::join_all;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;
use verbatim::ai::{Content, Turn};
use verbatim::replies::ReplySettings;
use verbatim::replies::context::tokens::Counter;
use verbatim::replies::context::{Context, ContextError, Policy};
use verbatim::replies::context_loader::ContextLoader;
use verbatim::schema::MIGRATOR;

use super::support::{Kit, text, thread_of, with_files};
use crate::support::app::{Person, TestApp};

const PEOPLE: usize = 16;
const THREADS: usize = 3;
const MESSAGES: usize = 4;
const PROMPTS: usize = 10_000;

/// A thread, its owner, and the canary that is part of all its content.
struct Talk {
    owner: Uuid,
    conversation: Uuid,
    canary: String,
    messages: Vec<Uuid>,
}

async fn talk(app: &TestApp, person: &Person, canary: String) -> Talk {
    let kit = Kit::new(app, person);
    let (name, content) = (format!("{canary}.txt"), format!("{canary} in a file"));
    let parts = [("file", Some(name.as_str()), Some("text/plain"), content.as_bytes())];
    let file = app.post("/files").by(person).parts(&parts).send().await.is(200).field("id");
    let input = with_files(&format!("{canary} begins"), &[&file]);
    let thread = thread_of(&kit.stream("threads.create", json!({"input": input})).await);
    for n in 1..MESSAGES {
        let mut input = text(&format!("{canary} goes on {n}"));
        input["quoted_text"] = json!(format!("{canary} quoted"));
        kit.stream("threads.add_user_message", json!({"thread_id": thread, "input": input})).await;
    }
    let id =
        |item: &serde_json::Value| item["id"].as_str().unwrap().split_once('_').unwrap().1.parse().unwrap();
    let items = kit.items(&thread).await;
    let messages: Vec<Uuid> = items.iter().filter(|item| item["type"] == "user_message").map(id).collect();
    assert_eq!(messages.len(), MESSAGES);
    let conversation = thread.split_once('_').unwrap().1.parse().unwrap();
    Talk { owner: person.id, conversation, canary, messages }
}

/// Returns all text of a prompt.
fn words(context: &Context) -> String {
    let mut words = context.system.clone();
    for turn in &context.turns {
        match turn {
            Turn::Message { text, files, .. } => {
                words.push_str(text);
                for file in files {
                    words.push_str(&file.name);
                    if let Content::Text(text) = &file.content {
                        words.push_str(text);
                    }
                }
            }
            Turn::ToolCall { arguments, output, .. } => words.push_str(&format!("{arguments}{output}")),
        }
    }
    words
}

fn canaries(words: &str) -> BTreeSet<&str> {
    words.match_indices("canary-").map(|(at, _)| &words[at..at + "canary-00-00".len()]).collect()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn prompts_contain_no_text_of_other_threads(db: PgPool) {
    let app = TestApp::with(&db, &[("CHAT_TITLES", "off")]).await;
    let mut people = Vec::new();
    for _ in 0..PEOPLE {
        people.push(app.person().await);
    }
    let all = (0..PEOPLE).flat_map(|person| (0..THREADS).map(move |thread| (person, thread)));
    let talks =
        all.map(|(person, thread)| talk(&app, &people[person], format!("canary-{person:02}-{thread:02}")));
    let talks = join_all(talks).await;
    app.wait_for_projections().await;

    // Shown in every failure message.
    let seed: u64 = rand::rng().random();
    let mut random = StdRng::seed_from_u64(seed);
    let settings = ReplySettings { system_prompt: String::new(), ..ReplySettings::default() };
    let pool = app.sweep().pool.clone();
    let sources = ContextLoader { pool: &pool, files: app.files(), settings: &settings };
    let policy = Policy::new(&settings, Counter::load("gpt-4o").await, "gpt-4o", &[]);
    let (mut built, mut refused) = (0, 0);
    for _ in 0..PROMPTS {
        let talk = talks.choose(&mut random).unwrap();
        // Some jobs are inconsistent on purpose: another user's message, or files read as another user.
        let (asked, owner) = match random.random_range(0..10) {
            0 => (*talks.choose(&mut random).unwrap().messages.choose(&mut random).unwrap(), talk.owner),
            1 => (*talk.messages.choose(&mut random).unwrap(), talks.choose(&mut random).unwrap().owner),
            _ => (*talk.messages.choose(&mut random).unwrap(), talk.owner),
        };
        let inputs = sources.load(talk.conversation, owner, asked).await.unwrap();
        match policy.build(asked, &inputs) {
            Ok(mut context) => {
                sources.fill(&mut context).await.unwrap();
                let words = words(&context);
                assert_eq!(canaries(&words), BTreeSet::from([talk.canary.as_str()]), "seed {seed}: {words}");
                assert!(owner != talk.owner || words.contains("in a file"), "seed {seed}: {words}");
                built += 1;
            }
            Err(refusal) => {
                assert_eq!(refusal, ContextError::Nothing);
                assert!(!talk.messages.contains(&asked), "seed {seed}");
                refused += 1;
            }
        }
    }
    assert!(built > PROMPTS * 8 / 10 && refused > 0, "{built} built, {refused} refused");
    app.end().await;
}
