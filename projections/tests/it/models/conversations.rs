//! The `conversations` projection.

use aggregates::Event;
use aggregates::conversation::{MessageEvent, SettingsEvent};
use aggregates::ids::ConversationId;
use projections::conversations::query::{ConversationRow, ReadMark, by_id, page, read_since};
use sqlx::PgPool;
use uuid::Uuid;

use super::{project_all, reset_projection};
use crate::events::{
    ADA, TALK, cancelled, completed, deleted, event, failed, message, minute, registered, renamed, requested,
    sent, started,
};
use crate::support::Log;

fn pinned(conversation: ConversationId, at: i64) -> Event {
    event(conversation, at, SettingsEvent::ConversationPinned {})
}

fn unpinned(conversation: ConversationId, at: i64) -> Event {
    event(conversation, at, SettingsEvent::ConversationUnpinned {})
}

fn archived(conversation: ConversationId, at: i64) -> Event {
    event(conversation, at, SettingsEvent::ConversationArchived {})
}

fn unarchived(conversation: ConversationId, at: i64) -> Event {
    event(conversation, at, SettingsEvent::ConversationUnarchived {})
}

async fn talk(pool: &PgPool) -> ConversationRow {
    by_id(pool, ADA.uuid(), TALK.uuid()).await.unwrap().unwrap()
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn conversation_has_title_marks_and_last_message(pool: PgPool) {
    let log = Log::new(&pool);
    log.append(&[registered(ADA, "ada@example.org", None, 0), started(TALK, Some("first"), 1)]).await;
    project_all(&log).await;
    let fresh = ConversationRow {
        conversation_id: TALK.uuid(),
        owner: ADA.uuid(),
        title: Some("first".to_owned()),
        pinned: false,
        archived: false,
        message_count: 0,
        last_message: None,
        created_at: minute(1),
        updated_at: minute(1),
        read_to: None,
    };
    assert_eq!(talk(&pool).await, fresh);

    log.append(&[renamed("second", 2), pinned(TALK, 3), archived(TALK, 4)]).await;
    project_all(&log).await;
    let marked = ConversationRow { title: Some("second".to_owned()), pinned: true, archived: true, ..fresh };
    assert_eq!(talk(&pool).await, marked);

    log.append(&[
        unpinned(TALK, 5),
        unarchived(TALK, 6),
        sent(TALK, 1, "a question", 7),
        requested(1, None, 7),
    ])
    .await;
    project_all(&log).await;
    let asked = ConversationRow {
        pinned: false,
        archived: false,
        message_count: 1,
        last_message: Some("a question".to_owned()),
        updated_at: minute(7),
        ..marked
    };
    assert_eq!(talk(&pool).await, asked);

    // A reply counts, and a partial one; a reply without text does not.
    log.append(&[completed(1, 1, &"ä".repeat(300), 8)]).await;
    project_all(&log).await;
    let answered = ConversationRow {
        message_count: 2,
        last_message: Some("ä".repeat(200)),
        updated_at: minute(8),
        ..asked
    };
    assert_eq!(talk(&pool).await, answered);
    log.append(&[cancelled(2, Some("half"), 9), failed(3, Some("the rest"), 10)]).await;
    log.append(&[cancelled(4, None, 11), failed(5, None, 12)]).await;
    project_all(&log).await;
    let ended = ConversationRow {
        message_count: 4,
        last_message: Some("the rest".to_owned()),
        updated_at: minute(10),
        ..answered
    };
    assert_eq!(talk(&pool).await, ended);

    log.erase(ADA.uuid()).await;
    reset_projection(&log, "conversations").await;
    project_all(&log).await;
    assert_eq!(talk(&pool).await, ConversationRow { title: None, last_message: None, ..ended });

    log.append(&[deleted(TALK, 13)]).await;
    project_all(&log).await;
    assert_eq!(by_id(&pool, ADA.uuid(), TALK.uuid()).await.unwrap(), None);
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn read_position_is_stored_and_found_by_log_position(pool: PgPool) {
    let log = Log::new(&pool);
    let other = ConversationId::new(Uuid::from_u128(77));
    let read = |conversation, n: u128, message_position, at| -> Event {
        event(conversation, at, MessageEvent::ConversationRead { message_id: message(n), message_position })
    };
    log.append(&[started(TALK, None, 0), sent(TALK, 1, "one", 1), sent(TALK, 2, "two", 2)]).await; // 1, 2, 3
    log.append(&[started(other, None, 3), read(TALK, 1, 2, 4)]).await; // 4, 5
    project_all(&log).await;
    assert_eq!(talk(&pool).await.read_to, Some(message(1).uuid()));
    assert_eq!(talk(&pool).await.updated_at, minute(2), "reading does not update the conversation");

    log.append(&[read(other, 9, 1, 5), read(TALK, 2, 3, 6)]).await; // 6, 7
    project_all(&log).await;
    let mark = |conversation: ConversationId, n, position| ReadMark {
        conversation_id: conversation.uuid(),
        message_id: message(n).uuid(),
        position,
    };
    let owner = ADA.uuid();
    assert_eq!(read_since(&pool, owner, 0, 99, 9).await.unwrap(), [mark(other, 9, 6), mark(TALK, 2, 7)]);
    assert_eq!(read_since(&pool, owner, 0, 99, 1).await.unwrap(), [mark(other, 9, 6)]);
    assert_eq!(read_since(&pool, owner, 6, 99, 9).await.unwrap(), [mark(TALK, 2, 7)]);
    assert_eq!(read_since(&pool, owner, 0, 6, 9).await.unwrap(), [mark(other, 9, 6)]);
    assert_eq!(read_since(&pool, Uuid::from_u128(0xE7E), 0, 99, 9).await.unwrap(), []);
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn pages_list_pinned_then_latest_conversations(pool: PgPool) {
    let log = Log::new(&pool);
    let id = |n: u128| ConversationId::new(Uuid::from_u128(n));
    for n in 1..=5 {
        log.append(&[started(id(n), None, i64::try_from(n).unwrap())]).await;
    }
    log.append(&[pinned(id(2), 10)]).await;
    log.append(&[archived(id(3), 10)]).await;
    log.append(&[sent(id(1), 1, "hello", 20)]).await;
    // Started and deleted within one batch.
    log.append(&[started(id(6), None, 21), deleted(id(6), 22)]).await;
    project_all(&log).await;

    let ids = |rows: Vec<ConversationRow>| {
        rows.into_iter().map(|row| row.conversation_id.as_u128()).collect::<Vec<_>>()
    };
    let owner = ADA.uuid();
    let (all, total) = page(&pool, owner, false, 10, 0).await.unwrap();
    assert_eq!((ids(all), total), (vec![2, 1, 5, 4], 4));
    let (first, total) = page(&pool, owner, false, 2, 0).await.unwrap();
    assert_eq!((ids(first), total), (vec![2, 1], 4));
    let (last, total) = page(&pool, owner, false, 2, 3).await.unwrap();
    assert_eq!((ids(last), total), (vec![4], 4));
    let (beyond, total) = page(&pool, owner, false, 2, 9).await.unwrap();
    assert_eq!((ids(beyond), total), (vec![], 4));
    let (archive, total) = page(&pool, owner, true, 10, 0).await.unwrap();
    assert_eq!((ids(archive), total), (vec![3], 1));
    let (others, total) = page(&pool, Uuid::from_u128(0xE7E), false, 10, 0).await.unwrap();
    assert_eq!((ids(others), total), (vec![], 0));
    assert_eq!(by_id(&pool, Uuid::from_u128(0xE7E), id(1).uuid()).await.unwrap(), None);
}
