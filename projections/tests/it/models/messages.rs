//! The `messages` projection.

use aggregates::ids::{ConversationId, MessageId};
use projections::messages::query::{MessageRow, before, by_id, count_since, of_owner, since};
use sqlx::PgPool;
use uuid::Uuid;

use super::{project_all, reset_projection};
use crate::events::{
    ADA, TALK, begun, cancelled, completed, deleted, failed, message, minute, reply, requested, sent, started,
};
use crate::support::Log;

fn question(n: u128, position: i64, text: &str, asked: bool, at: i64) -> MessageRow {
    MessageRow {
        message_id: message(n).uuid(),
        conversation_id: TALK.uuid(),
        position,
        role: "user".to_owned(),
        status: "complete".to_owned(),
        text: Some(text.to_owned()),
        reply_id: asked.then(|| reply(n).uuid()),
        in_reply_to: None,
        model: None,
        created_at: minute(at),
    }
}

fn answer(n: u128, position: i64, status: &str, text: &str, model: Option<&str>, at: i64) -> MessageRow {
    MessageRow {
        message_id: MessageId::answering(reply(n)).uuid(),
        conversation_id: TALK.uuid(),
        position,
        role: "assistant".to_owned(),
        status: status.to_owned(),
        text: Some(text.to_owned()),
        reply_id: Some(reply(n).uuid()),
        in_reply_to: Some(message(n).uuid()),
        model: model.map(str::to_owned),
        created_at: minute(at),
    }
}

/// Returns the conversation's messages, oldest first.
async fn whole(pool: &PgPool) -> Vec<MessageRow> {
    let mut rows = before(pool, TALK.uuid(), i64::MAX, 100).await.unwrap();
    rows.reverse();
    rows
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn messages_and_replies_are_in_log_order(pool: PgPool) {
    let log = Log::new(&pool);
    log.append(&[started(TALK, None, 0), sent(TALK, 1, "one", 1), requested(1, None, 1)]).await; // 1..=3
    log.append(&[begun(1, 1, 1), completed(1, 1, "answer one", 2)]).await; // 4, 5
    log.append(&[sent(TALK, 2, "two", 3)]).await; // 6
    project_all(&log).await;
    // Requested in a later batch than the message.
    log.append(&[requested(2, None, 3), begun(2, 1, 3), cancelled(2, Some("answer tw"), 4)]).await; // 7, 8, 9
    log.append(&[sent(TALK, 3, "three", 5), requested(3, None, 5), failed(3, Some("ans"), 6)]).await; // 10, 11, 12
    log.append(&[sent(TALK, 4, "four", 7), requested(4, None, 7), cancelled(4, None, 8)]).await; // 13, 14, 15
    log.append(&[sent(TALK, 5, "five", 9), requested(5, None, 9), failed(5, None, 10)]).await; // 16, 17, 18
    project_all(&log).await;

    let all = [
        question(1, 2, "one", true, 1),
        answer(1, 5, "complete", "answer one", Some("scripted-1b"), 2),
        question(2, 6, "two", true, 3),
        answer(2, 9, "cancelled", "answer tw", None, 4),
        question(3, 10, "three", true, 5),
        answer(3, 12, "failed", "ans", None, 6),
        question(4, 13, "four", true, 7),
        question(5, 16, "five", true, 9),
    ];
    let talk = TALK.uuid();
    assert_eq!(whole(&pool).await, all);
    let mut newest: Vec<_> = before(&pool, talk, i64::MAX, 3).await.unwrap();
    newest.reverse();
    assert_eq!(newest, all[5..]);
    assert_eq!(before(&pool, talk, 5, 3).await.unwrap(), all[..1]);
    assert_eq!(by_id(&pool, message(3).uuid()).await.unwrap().as_ref(), Some(&all[4]));
    assert_eq!(by_id(&pool, Uuid::nil()).await.unwrap(), None);

    log.erase(ADA.uuid()).await;
    reset_projection(&log, "messages").await;
    project_all(&log).await;
    let erased = all.map(|row| MessageRow { text: None, ..row });
    assert_eq!(whole(&pool).await, erased);

    log.append(&[deleted(TALK, 20)]).await;
    project_all(&log).await;
    assert_eq!(whole(&pool).await, []);
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn missed_messages_are_returned_in_log_order(pool: PgPool) {
    let log = Log::new(&pool);
    let other = ConversationId::new(Uuid::from_u128(77));
    log.append(&[started(TALK, None, 0), started(other, None, 0)]).await; // 1, 2
    log.append(&[sent(TALK, 1, "one", 1)]).await; // 3
    log.append(&[sent(other, 2, "two", 2)]).await; // 4
    log.append(&[sent(TALK, 3, "three", 3)]).await; // 5
    project_all(&log).await;
    let (owner, stranger) = (ADA.uuid(), Uuid::from_u128(0xE7E));
    let positions = async |owner, after, until, limit| -> Vec<i64> {
        let found = since(&pool, owner, (after, until), (limit, 1000)).await.unwrap();
        assert_eq!(found.min_position, 5);
        found.rows.into_iter().map(|row| row.position).collect()
    };
    assert_eq!(positions(owner, 0, 99, 10).await, [3, 4, 5]);
    assert_eq!(positions(owner, 3, 99, 10).await, [4, 5]);
    assert_eq!(positions(owner, 0, 4, 10).await, [3, 4]);
    assert_eq!(positions(owner, 0, 99, 2).await, [3, 4]);
    assert_eq!(positions(stranger, 0, 99, 10).await, [] as [i64; 0]);

    // Limited by bytes of text, but at least one message.
    for (bytes, expected) in [(1, 1), (3, 1), (4, 2), (6, 2), (7, 3)] {
        let found = since(&pool, owner, (0, 99), (10, bytes)).await.unwrap();
        assert_eq!(found.rows.len(), expected, "{bytes} bytes");
    }
    assert_eq!(count_since(&pool, owner, 0, 99, 10).await.unwrap(), 3);
    assert_eq!(count_since(&pool, owner, 3, 4, 10).await.unwrap(), 1);
    assert_eq!(count_since(&pool, owner, 0, 99, 2).await.unwrap(), 2);
    assert_eq!(count_since(&pool, stranger, 0, 99, 10).await.unwrap(), 0);

    let one = async |owner, conversation: ConversationId| {
        of_owner(&pool, owner, conversation.uuid(), message(1).uuid()).await.unwrap().map(|row| row.position)
    };
    assert_eq!(one(owner, TALK).await, Some(3));
    assert_eq!(one(owner, other).await, None, "the message is in another conversation");
    assert_eq!(one(stranger, TALK).await, None);
}
