//! The `files` projection.

use aggregates::file::{FileEvent, ImageSize};
use aggregates::ids::{ConversationId, FileId, UserId};
use aggregates::values::FileName;
use aggregates::{Event, Personal};
use projections::files::query::{
    FileRow, Usage, by_id, deleted_since, known, last_deleted, overdue, owned, usage,
};
use sqlx::PgPool;
use uuid::Uuid;

use super::{project_all, reset_projection};
use crate::events::{ADA, TALK, deleted, message, minute, registered, started};
use crate::support::Log;

const EVE: UserId = UserId::new(Uuid::from_u128(0xE7E));

fn file(n: u128) -> FileId {
    FileId::new(Uuid::from_u128(0xF11E_0000 + n))
}

fn name(text: &str) -> Personal<FileName> {
    Personal::Known(FileName::of(text).unwrap())
}

fn announced(n: u128, owner: UserId, size: u64, at: i64) -> Event {
    let mime_type = "image/png".to_owned();
    FileEvent::FileAnnounced { file_id: file(n), owner, name: name("a.png"), mime_type, size, at: minute(at) }
        .into()
}

fn stored(n: u128, owner: UserId, size: u64, at: i64) -> Event {
    FileEvent::FileStored {
        file_id: file(n),
        owner,
        name: name("b.png"),
        mime_type: "image/png".to_owned(),
        size,
        sha256: "ab".repeat(32),
        image: Some(ImageSize { width: 30, height: 20 }),
        at: minute(at),
    }
    .into()
}

fn attached(n: u128, conversation: ConversationId, at: i64) -> Event {
    FileEvent::FileAttached {
        file_id: file(n),
        owner: ADA,
        conversation_id: conversation,
        message_id: message(1),
        at: minute(at),
    }
    .into()
}

fn removed(n: u128, at: i64) -> Event {
    FileEvent::FileDeleted { file_id: file(n), owner: ADA, at: minute(at) }.into()
}

async fn row(pool: &PgPool, n: u128) -> FileRow {
    by_id(pool, file(n).uuid()).await.unwrap().unwrap()
}

fn ids(rows: Vec<FileRow>) -> Vec<u128> {
    rows.into_iter().map(|row| row.file_id.as_u128() - 0xF11E_0000).collect()
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn file_row_follows_announcement_upload_and_attachment(pool: PgPool) {
    let log = Log::new(&pool);
    log.append(&[registered(ADA, "ada@example.org", None, 0), announced(1, ADA, 9, 1)]).await; // 1, 2
    project_all(&log).await;
    let fresh = FileRow {
        file_id: file(1).uuid(),
        owner: ADA.uuid(),
        state: "announced".to_owned(),
        name: Some("a.png".to_owned()),
        mime_type: "image/png".to_owned(),
        size: 9,
        sha256: None,
        width: None,
        height: None,
        conversation_id: None,
        created_at: minute(1),
        position: 2,
    };
    assert_eq!(row(&pool, 1).await, fresh);
    assert!(!fresh.is_stored() && !fresh.is_deleted());

    log.append(&[stored(1, ADA, 11, 2)]).await; // 3
    project_all(&log).await;
    let whole = FileRow {
        state: "stored".to_owned(),
        name: Some("b.png".to_owned()),
        size: 11,
        sha256: Some("ab".repeat(32)),
        width: Some(30),
        height: Some(20),
        position: 3,
        ..fresh
    };
    assert_eq!(row(&pool, 1).await, whole);
    assert!(whole.is_stored());

    log.append(&[started(TALK, None, 3), attached(1, TALK, 4)]).await; // 4, 5
    project_all(&log).await;
    let sent = FileRow { conversation_id: Some(TALK.uuid()), position: 5, ..whole };
    assert_eq!(row(&pool, 1).await, sent);

    log.erase(ADA.uuid()).await;
    reset_projection(&log, "files").await;
    project_all(&log).await;
    assert_eq!(row(&pool, 1).await, FileRow { name: None, ..sent });
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn deleting_conversation_deletes_only_its_files(pool: PgPool) {
    let log = Log::new(&pool);
    let other = ConversationId::new(Uuid::from_u128(77));
    log.append(&[started(TALK, None, 0), started(other, None, 0)]).await; // 1, 2
    for n in 1..=3 {
        log.append(&[stored(n, ADA, 5, 1)]).await; // 3, 4, 5
    }
    log.append(&[attached(1, TALK, 2), attached(2, other, 2)]).await; // 6, 7
    log.append(&[deleted(TALK, 3)]).await; // 8
    project_all(&log).await;
    let states = async || {
        let mut states = Vec::new();
        for n in 1..=3 {
            states.push(row(&pool, n).await.state);
        }
        states
    };
    assert_eq!(states().await, ["deleted", "stored", "stored"]);
    let gone = row(&pool, 1).await;
    assert!(gone.is_deleted() && gone.name.is_none());
    assert_eq!(gone.position, 8);
    let start = (0, Uuid::nil());
    assert_eq!(last_deleted(&pool).await.unwrap(), (8, file(1).uuid()));
    assert_eq!(ids(deleted_since(&pool, start, 9).await.unwrap()), [1]);
    assert_eq!(ids(deleted_since(&pool, (8, file(1).uuid()), 9).await.unwrap()), [0_u128; 0]);

    log.append(&[removed(3, 4)]).await; // 9
    project_all(&log).await;
    assert_eq!(states().await, ["deleted", "stored", "deleted"]);
    assert_eq!(ids(deleted_since(&pool, start, 1).await.unwrap()), [1]);
    assert_eq!(ids(deleted_since(&pool, (8, file(1).uuid()), 9).await.unwrap()), [3]);
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn usage_counts_only_own_existing_files(pool: PgPool) {
    let log = Log::new(&pool);
    assert_eq!(last_deleted(&pool).await.unwrap(), (0, Uuid::nil()));
    log.append(&[announced(1, ADA, 100, 1)]).await;
    log.append(&[stored(2, ADA, 20, 2)]).await;
    log.append(&[stored(3, EVE, 7, 3)]).await;
    log.append(&[stored(4, ADA, 1000, 4), removed(4, 5)]).await;
    project_all(&log).await;
    let all: Vec<Uuid> = [4, 3, 2, 9, 1].map(|n| file(n).uuid()).to_vec();
    assert_eq!(ids(owned(&pool, ADA.uuid(), &all).await.unwrap()), [2, 1], "in the requested order");
    assert_eq!(ids(owned(&pool, EVE.uuid(), &all).await.unwrap()), [3]);
    let mut there = ids(known(&pool, &all).await.unwrap());
    there.sort_unstable();
    assert_eq!(there, [1, 2, 3, 4]);

    let ada = ADA.uuid();
    assert_eq!(usage(&pool, ada, None).await.unwrap(), Usage { files: 2, bytes: 120 });
    assert_eq!(usage(&pool, ada, Some(file(1).uuid())).await.unwrap(), Usage { files: 1, bytes: 20 });
    assert_eq!(usage(&pool, Uuid::from_u128(5), None).await.unwrap(), Usage::default());

    assert_eq!(ids(overdue(&pool, minute(2), 9).await.unwrap()), [1]);
    assert_eq!(ids(overdue(&pool, minute(1), 9).await.unwrap()), [0_u128; 0]);
    assert_eq!(by_id(&pool, file(9).uuid()).await.unwrap(), None);
}
