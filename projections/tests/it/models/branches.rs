//! Branches: the displayed messages, the messages of other branches, and the counts in the list.

use aggregates::Event;
use aggregates::conversation::{BranchEvent, EventBody, ItemEvent, ReplyEvent};
use aggregates::ids::{MessageId, ReplyId};
use projections::conversations::query as list;
use projections::messages::branch_queries::{self, BranchRow};
use projections::messages::query::{before, by_id, of_owner};
use projections::messages::thread;
use sqlx::PgPool;
use uuid::Uuid;

use super::project_all;
use crate::events::{
    ADA, TALK, begun, completed, deleted, event, message, minute, reply, requested, sent, started,
};
use crate::support::{Log, rows_of};

fn begun_branch(branch: u32, parent: u32, n: u128, edited: bool, fork: i64, messages: u32, at: i64) -> Event {
    event(
        TALK,
        at,
        BranchEvent::BranchBegun {
            branch,
            parent,
            message_id: message(n),
            edited,
            fork_position: fork,
            messages,
        },
    )
}

fn switched(branch: u32, at: i64) -> Event {
    event(TALK, at, BranchEvent::BranchSwitched { branch })
}

fn rewound(n: u128, position: i64, at: i64) -> Event {
    event(TALK, at, BranchEvent::ConversationRewound { message_id: message(n), message_position: position })
}

fn note(n: u128, at: i64) -> Event {
    event(
        TALK,
        at,
        ItemEvent::NoteAdded {
            item_id: message(100 + n),
            note: aggregates::Personal::Known("note".to_owned()),
        },
    )
}

/// Events of another reply to message `n`.
fn answered_again(n: u128, round: u32, text: &str, at: i64) -> Vec<Event> {
    let again = |event: Event| {
        let Event::Conversation(mut event) = event else { panic!("an event of a conversation") };
        let EventBody::Reply { reply_id, event: of_reply, .. } = &mut event.body else {
            panic!("an event of a reply");
        };
        *reply_id = ReplyId::again(message(n), round);
        if let ReplyEvent::ReplyCompleted { answer_id, .. } = of_reply {
            *answer_id = MessageId::answering(*reply_id);
        }
        Event::from(event)
    };
    [requested(n, None, at), begun(n, 1, at), completed(n, 1, text, at)].map(again).to_vec()
}

fn turn(n: u128, question: &str, answer: &str, at: i64) -> Vec<Event> {
    vec![sent(TALK, n, question, at), requested(n, None, at), begun(n, 1, at), completed(n, 1, answer, at)]
}

/// Returns the displayed texts, oldest first.
async fn shown(pool: &PgPool) -> Vec<String> {
    let mut rows = before(pool, TALK.uuid(), i64::MAX, 100).await.unwrap();
    rows.reverse();
    rows.into_iter().map(|row| row.text.unwrap()).collect()
}

/// Returns the texts on the path of a branch, oldest first, read in pages of two.
async fn on_branch(pool: &PgPool, branch: u32) -> Vec<String> {
    let (mut texts, mut position) = (Vec::new(), i64::MAX);
    loop {
        let page = branch_queries::page(pool, ADA.uuid(), (TALK.uuid(), branch), position, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        position = last.position;
        texts.extend(page.into_iter().map(|row| row.text.unwrap()));
    }
    texts.reverse();
    texts
}

/// Returns the reply id of the oldest message on the path of a branch.
async fn reply_of_first_message(pool: &PgPool, branch: u32) -> Uuid {
    let page = branch_queries::page(pool, ADA.uuid(), (TALK.uuid(), branch), i64::MAX, 100).await.unwrap();
    page.last().unwrap().reply_id.unwrap()
}

async fn listed(pool: &PgPool) -> (i64, Option<String>) {
    let row = list::by_id(pool, ADA.uuid(), TALK.uuid()).await.unwrap().unwrap();
    (row.message_count, row.last_message)
}

fn first_branch(count: i64, last: &str, active: bool) -> BranchRow {
    BranchRow {
        branch: 0,
        parent: None,
        forked_after: None,
        message_id: None,
        edited: false,
        first_id: Some(message(1).uuid()),
        first_role: Some("user".to_owned()),
        first_reply_id: Some(reply(1).uuid()),
        last_message: Some(last.to_owned()),
        message_count: count,
        created_at: None,
        active,
    }
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn regenerated_reply_makes_a_switchable_branch(pool: PgPool) {
    let log = Log::new(&pool);
    log.append(&[started(TALK, None, 0)]).await; // 1
    log.append(&turn(1, "q1", "a1", 1)).await; // 2..=5
    log.append(&turn(2, "q2", "a2", 2)).await; // 6..=9
    log.append(&[note(1, 3)]).await; // 10
    project_all(&log).await;
    assert_eq!(branch_queries::branches(&pool, TALK.uuid()).await.unwrap(), [first_branch(4, "a2", true)]);
    assert!(branch_queries::is_active(&pool, TALK.uuid(), 0).await.unwrap());

    // q1 gets another reply, and the conversation continues from there.
    log.append(&[begun_branch(1, 0, 1, false, 2, 1, 4)]).await; // 11
    project_all(&log).await;
    assert_eq!((shown(&pool).await, listed(&pool).await), (vec!["q1".to_owned()], (1, None)));
    log.append(&answered_again(1, 1, "b1", 5)).await;
    log.append(&turn(3, "q3", "a3", 6)).await;
    project_all(&log).await;
    let (old, new) = (["q1", "a1", "q2", "a2"], ["q1", "b1", "q3", "a3"]);
    assert_eq!(shown(&pool).await, new);
    assert_eq!(
        (on_branch(&pool, 0).await, on_branch(&pool, 1).await),
        (old.map(str::to_owned).to_vec(), new.map(str::to_owned).to_vec())
    );
    assert_eq!(listed(&pool).await, (4, Some("a3".to_owned())));
    let again = ReplyId::again(message(1), 1);
    let second = BranchRow {
        branch: 1,
        parent: Some(0),
        forked_after: Some(message(1).uuid()),
        message_id: Some(message(1).uuid()),
        edited: false,
        first_id: Some(MessageId::answering(again).uuid()),
        first_role: Some("assistant".to_owned()),
        first_reply_id: Some(again.uuid()),
        last_message: Some("a3".to_owned()),
        message_count: 4,
        created_at: Some(minute(4)),
        active: true,
    };
    let branches = async || branch_queries::branches(&pool, TALK.uuid()).await.unwrap();
    // The shared message has a different reply id on each branch.
    assert_eq!(branches().await, [first_branch(4, "a2", false), second.clone()]);
    let replies = [reply(1).uuid(), again.uuid()];
    assert_eq!([reply_of_first_message(&pool, 0).await, reply_of_first_message(&pool, 1).await], replies);
    assert!(of_owner(&pool, ADA.uuid(), TALK.uuid(), message(2).uuid()).await.unwrap().is_none());
    for (n, elsewhere) in [(1, false), (2, true), (9, false), (101, false)] {
        let found =
            branch_queries::is_on_inactive_branch(&pool, TALK.uuid(), message(n).uuid()).await.unwrap();
        assert_eq!(found, elsewhere, "{n}");
    }
    assert_eq!(branch_queries::place(&pool, TALK.uuid(), message(2).uuid()).await.unwrap(), None);
    let third = branch_queries::place(&pool, TALK.uuid(), message(3).uuid()).await.unwrap();
    assert_eq!(third.map(|(_, before)| before), Some(2));

    // Switch back to the first branch, which continues with its note in the model's history.
    log.append(&[switched(0, 7)]).await;
    project_all(&log).await;
    assert_eq!(
        (shown(&pool).await, listed(&pool).await),
        (old.map(str::to_owned).to_vec(), (4, Some("a2".to_owned())))
    );
    let told = thread::newest(&pool, TALK.uuid(), 10).await.unwrap();
    assert_eq!(told.len(), 5, "four messages and the note");
    log.append(&turn(4, "q4", "a4", 8)).await;
    project_all(&log).await;
    assert_eq!(shown(&pool).await, ["q1", "a1", "q2", "a2", "q4", "a4"]);
    assert_eq!(on_branch(&pool, 1).await, new);
    assert_eq!([reply_of_first_message(&pool, 0).await, reply_of_first_message(&pool, 1).await], replies);
    assert_eq!(branches().await, [first_branch(6, "a4", true), BranchRow { active: false, ..second }]);
    for (branch, active) in [(0, true), (1, false), (2, false)] {
        assert_eq!(branch_queries::is_active(&pool, TALK.uuid(), branch).await.unwrap(), active, "{branch}");
        assert_eq!(
            branch_queries::is_known(&pool, TALK.uuid(), branch).await.unwrap(),
            branch < 2,
            "{branch}"
        );
    }

    // Switch there and back: the same rows. A client that resumes from a position in between has missed a switch.
    let there = log.append(&[switched(1, 9)]).await[0];
    let back = log.append(&[switched(0, 10)]).await[0];
    project_all(&log).await;
    for (after, missed) in [(there - 1, true), (there, true), (back, false)] {
        assert_eq!(list::rewound_since(&pool, ADA.uuid(), after).await.unwrap(), missed, "{after}");
    }
    assert_eq!(shown(&pool).await, ["q1", "a1", "q2", "a2", "q4", "a4"]);
    assert_eq!(listed(&pool).await, (6, Some("a4".to_owned())));

    // Another owner and an unknown branch get no rows.
    for (owner, branch) in [(Uuid::nil(), 1), (ADA.uuid(), 2)] {
        assert_eq!(branch_queries::page(&pool, owner, (TALK.uuid(), branch), i64::MAX, 9).await.unwrap(), []);
    }
    log.append(&[deleted(TALK, 20)]).await;
    project_all(&log).await;
    for table in ["messages", "items", "branches", "reply_requests", "conversations", "conversation_branches"]
    {
        assert_eq!(rows_of(&pool, table).await, [""; 0], "{table}");
    }
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn edited_message_replaces_old_one_on_nested_branch(pool: PgPool) {
    let log = Log::new(&pool);
    // All events in one batch.
    log.append(&[started(TALK, None, 0)]).await; // 1
    log.append(&turn(1, "q1", "a1", 1)).await; // 2..=5
    log.append(&turn(2, "q2", "a2", 2)).await; // 6..=9
    log.append(&[begun_branch(1, 0, 1, false, 2, 1, 3)]).await; // 10
    log.append(&answered_again(1, 1, "b1", 4)).await; // 11..=13
    log.append(&turn(3, "q3", "a3", 5)).await; // 14..=17
    log.append(&[begun_branch(2, 1, 3, true, 13, 2, 6)]).await; // 18
    log.append(&turn(4, "q3'", "a3'", 6)).await; // 19..=22
    // Edit the first message of the conversation.
    log.append(&[begun_branch(3, 0, 1, true, 1, 0, 7)]).await; // 23
    log.append(&turn(5, "q1'", "a1'", 7)).await; // 24..=27
    project_all(&log).await;
    let paths: [&[&str]; 4] =
        [&["q1", "a1", "q2", "a2"], &["q1", "b1", "q3", "a3"], &["q1", "b1", "q3'", "a3'"], &["q1'", "a1'"]];
    for (branch, path) in (0..).zip(paths) {
        assert_eq!(on_branch(&pool, branch).await, path, "{branch}");
    }
    assert_eq!(
        (shown(&pool).await, listed(&pool).await),
        (vec!["q1'".to_owned(), "a1'".to_owned()], (2, Some("a1'".to_owned())))
    );
    let rows = branch_queries::branches(&pool, TALK.uuid()).await.unwrap();
    let forks: Vec<_> =
        rows.iter().map(|row| (row.parent, row.forked_after, row.edited, row.message_count)).collect();
    let b1 = MessageId::answering(ReplyId::again(message(1), 1)).uuid();
    assert_eq!(
        forks,
        [
            (None, None, false, 4),
            (Some(0), Some(message(1).uuid()), false, 4),
            (Some(1), Some(b1), true, 4),
            (Some(0), None, true, 2),
        ]
    );
    for (branch, path) in (0..4).zip(paths) {
        log.append(&[switched(branch, 10)]).await;
        project_all(&log).await;
        assert_eq!(shown(&pool).await, path, "{branch}");
        assert_eq!(listed(&pool).await, (path.len() as i64, path.last().map(|text| (*text).to_owned())));
    }
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn shared_message_has_reply_of_the_active_path(pool: PgPool) {
    let log = Log::new(&pool);
    log.append(&[started(TALK, None, 0)]).await; // 1
    log.append(&turn(1, "q1", "a1", 1)).await; // 2..=5
    log.append(&[begun_branch(1, 0, 1, false, 2, 1, 2)]).await; // 6
    // A regenerated reply that does not end, then a message that is edited; the edit forks from the first branch.
    log.append(&answered_again(1, 1, "b1", 3)[..2]).await; // 7, 8
    log.append(&turn(2, "q2", "a2", 4)).await; // 9..=12
    project_all(&log).await;
    let named = async || by_id(&pool, message(1).uuid()).await.unwrap().unwrap().reply_id.unwrap();
    let (first, again) = (reply(1).uuid(), ReplyId::again(message(1), 1).uuid());
    assert_eq!(named().await, again);
    log.append(&[begun_branch(2, 0, 2, true, 2, 1, 5)]).await; // 13
    log.append(&turn(3, "q2'", "a2'", 6)).await;
    project_all(&log).await;
    assert_eq!(named().await, first, "no regeneration on this path");
    assert_eq!(
        [
            reply_of_first_message(&pool, 0).await,
            reply_of_first_message(&pool, 1).await,
            reply_of_first_message(&pool, 2).await
        ],
        [first, again, first]
    );
    for (branch, reply) in [(1, again), (2, first), (0, first), (1, again)] {
        log.append(&[switched(branch, 7)]).await;
        project_all(&log).await;
        assert_eq!(named().await, reply, "{branch}");
    }
}

/// Appends a log from before branches existed, with two rewinds.
async fn append_legacy_log(log: &Log) {
    log.append(&[started(TALK, None, 0)]).await; // 1
    log.append(&turn(1, "q1", "a1", 1)).await; // 2..=5
    log.append(&turn(2, "q2", "a2", 2)).await; // 6..=9
    log.append(&[note(1, 2)]).await; // 10
    log.append(&[rewound(1, 2, 3)]).await; // 11
    log.append(&answered_again(1, 1, "b1", 3)).await; // 12..=14
    log.append(&turn(3, "q3", "a3", 4)).await; // 15..=18
    log.append(&[rewound(3, 15, 5)]).await; // 19
    log.append(&answered_again(3, 1, "b3", 5)).await; // 20..=22
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn legacy_rewinds_become_switchable_branches(pool: PgPool) {
    let log = Log::new(&pool);
    append_legacy_log(&log).await;
    project_all(&log).await;
    assert_eq!(shown(&pool).await, ["q1", "b1", "q3", "b3"]);
    assert_eq!(on_branch(&pool, 0).await, ["q1", "a1", "q2", "a2"]);
    assert_eq!(on_branch(&pool, 1).await, ["q1", "b1", "q3", "a3"]);
    assert_eq!(listed(&pool).await, (8, Some("b3".to_owned())), "counts as before branches");
    log.append(&[switched(0, 9)]).await;
    project_all(&log).await;
    assert_eq!(
        (shown(&pool).await, listed(&pool).await.1),
        (["q1", "a1", "q2", "a2"].map(str::to_owned).to_vec(), Some("a2".to_owned()))
    );
}
