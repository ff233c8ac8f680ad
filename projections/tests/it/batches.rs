//! Rows do not depend on how events fall into batches.

use std::sync::Arc;

use aggregates::Event;
use aggregates::conversation::ConversationEvent;
use aggregates::ids::ConversationId;
use event_store::RecordedEvent;
use projections::models;
use projections::runner::{BATCH, Projection};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sqlx::PgPool;

use crate::events::{ADA, TALK, deleted, minute, sent, started};
use crate::history::{history, quiz_history};
use crate::support::{Log, read_all, rows_of};

/// Conversations whose branches somebody goes to and fro between, all the time and whatever else happens.
async fn restless(log: &Log, random: &mut StdRng) {
    let mut lives = Vec::new();
    for _ in 0..10 {
        let talk = history(random, 160);
        let Event::Conversation(first) = &talk[0][0] else { panic!("a conversation begins with its start") };
        let id = first.conversation_id();
        // Longer than many a conversation, and in it until after its end.
        lives.push((id, quiz_history(random, id, 40).into_iter(), 0));
        lives.push((id, talk.into_iter(), 1));
    }
    let mut open: Vec<ConversationId> = lives.iter().map(|(id, ..)| *id).collect();
    while !lives.is_empty() {
        let index = random.random_range(0..lives.len());
        let (id, life, branches) = &mut lives[index];
        let id = *id;
        let Some(events) = life.next() else {
            drop(lives.remove(index));
            continue;
        };
        log.append(&events).await;
        for event in &events {
            let Event::Conversation(event) = event else { continue };
            match event {
                ConversationEvent::BranchBegun { .. } | ConversationEvent::ConversationRewound { .. } => {
                    *branches += 1;
                }
                ConversationEvent::ConversationDeleted { .. } => open.retain(|known| *known != id),
                _ => {}
            }
        }
        while *branches > 1 && open.contains(&id) && random.random_ratio(2, 3) {
            let branch = random.random_range(0..*branches);
            let switched = ConversationEvent::BranchSwitched {
                conversation_id: id,
                owner: ADA,
                branch,
                at: minute(1_000),
            };
            log.append(&[switched.into()]).await;
        }
    }
}

/// The rows of all tables of a model that begins empty and gets the log in batches of these lengths.
async fn rows_after(
    pool: &PgPool,
    projection: &dyn Projection,
    log: &[Arc<RecordedEvent>],
    mut length: impl FnMut() -> usize,
) -> Vec<Vec<String>> {
    let mut transaction = pool.begin().await.unwrap();
    let mut rest = log;
    while !rest.is_empty() {
        let (batch, after) = rest.split_at(length().min(rest.len()));
        projection.apply(&mut transaction, batch).await.unwrap();
        rest = after;
    }
    let mut rows = Vec::new();
    for table in projection.tables() {
        rows.push(rows_of(&mut *transaction, table).await);
    }
    transaction.rollback().await.unwrap();
    rows
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn what_comes_after_the_end_of_a_conversation_stands_the_same_wherever_batches_end(pool: PgPool) {
    let log = Log::new(&pool);
    let mut random = StdRng::seed_from_u64(1);
    // A quiz that was begun while its conversation was deleted.
    log.append(&[started(TALK, None, 0), sent(TALK, 1, "Hello", 0)]).await;
    log.append(&[deleted(TALK, 1)]).await;
    log.append(&quiz_history(&mut random, TALK, 1)[0]).await;
    let events = read_all(&log.reader).await;
    for projection in models::all() {
        let whole = rows_after(&pool, projection.as_ref(), &events, || BATCH).await;
        let single = rows_after(&pool, projection.as_ref(), &events, || 1).await;
        assert_eq!(single, whole, "{}", projection.name());
    }
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn rows_are_the_same_wherever_batches_end(pool: PgPool) {
    let log = Log::new(&pool);
    let seed: u64 = rand::rng().random();
    let mut random = StdRng::seed_from_u64(seed);
    restless(&log, &mut random).await;
    let events = read_all(&log.reader).await;
    let switches = events.iter().filter(|event| event.event.event_type() == "branch_switched").count();
    assert!(switches > 100, "seed {seed}: {switches} are too few to tell anything");
    for projection in models::all() {
        let name = projection.name();
        let whole = rows_after(&pool, projection.as_ref(), &events, || BATCH).await;
        let single = rows_after(&pool, projection.as_ref(), &events, || 1).await;
        assert_eq!(single, whole, "seed {seed}: {name}, one by one");
        for most in [3, 12, 60, 300] {
            let any = rows_after(&pool, projection.as_ref(), &events, || random.random_range(1..=most)).await;
            assert_eq!(any, whole, "seed {seed}: {name}, up to {most} at once");
        }
    }
}
