//! Read model of files: metadata, state, and the conversation each was sent in.
//!
//! A row stays when its file is deleted, by itself or with its conversation, so that the sweep of the file store knows
//! which bytes to remove. The name is removed at once.

pub mod query;

use std::sync::Arc;

use aggregates::Event;
use aggregates::conversation::{EventBody, LifecycleEvent};
use aggregates::file::FileEvent;
use aggregates::ids::ConversationId;
use sqlx::PgConnection;

use crate::runner::{ApplyFuture, Projection};
use event_store::RecordedEvent;

/// Writes the table `files`.
#[derive(Debug)]
pub struct Files;

impl Projection for Files {
    fn name(&self) -> &'static str {
        "files"
    }

    fn handles(&self, event: &Event) -> bool {
        match event {
            Event::File(_) => true,
            Event::Conversation(event) => {
                matches!(event.body, EventBody::Lifecycle(LifecycleEvent::ConversationDeleted {}))
            }
            Event::User(_) | Event::Claim(_) | Event::Quiz(_) => false,
        }
    }

    fn tables(&self) -> &'static [&'static str] {
        &["files"]
    }

    fn apply<'a>(
        &'a self,
        connection: &'a mut PgConnection,
        events: &'a [Arc<RecordedEvent>],
    ) -> ApplyFuture<'a> {
        Box::pin(async move {
            for recorded in events {
                match &recorded.event {
                    Event::File(event) => apply(connection, recorded.position, event).await?,
                    Event::Conversation(event) => {
                        if event.body == EventBody::Lifecycle(LifecycleEvent::ConversationDeleted {}) {
                            delete_all_of(connection, recorded.position, event.conversation_id).await?;
                        }
                    }
                    Event::User(_) | Event::Claim(_) | Event::Quiz(_) => {}
                }
            }
            Ok(())
        })
    }
}

async fn delete_all_of(
    connection: &mut PgConnection,
    position: i64,
    conversation: ConversationId,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE files SET state = 'deleted', name = NULL, position = $2 WHERE conversation_id = $1")
        .bind(conversation.uuid())
        .bind(position)
        .execute(connection)
        .await?;
    Ok(())
}

async fn apply(connection: &mut PgConnection, position: i64, event: &FileEvent) -> Result<(), sqlx::Error> {
    let query = match event {
        FileEvent::FileAnnounced { file_id, owner, name, mime_type, size, at } => sqlx::query(
            "INSERT INTO files (file_id, owner, state, name, mime_type, size, created_at, position)
             VALUES ($1, $2, 'announced', $4, $5, $6, $7, $3)",
        )
        .bind(file_id.uuid())
        .bind(owner.uuid())
        .bind(position)
        .bind(name.as_ref().known().map(|name| name.as_str()))
        .bind(mime_type)
        .bind(whole(*size))
        .bind(*at),
        FileEvent::FileStored { file_id, owner, name, mime_type, size, sha256, image, at } => sqlx::query(
            "INSERT INTO files (file_id, owner, state, name, mime_type, size, created_at, position, sha256, width, height)
             VALUES ($1, $2, 'stored', $4, $5, $6, $7, $3, $8, $9, $10)
             ON CONFLICT (file_id) DO UPDATE SET
                 state = 'stored', name = $4, mime_type = $5, size = $6, position = $3, sha256 = $8, width = $9, height = $10",
        )
        .bind(file_id.uuid())
        .bind(owner.uuid())
        .bind(position)
        .bind(name.as_ref().known().map(|name| name.as_str()))
        .bind(mime_type)
        .bind(whole(*size))
        .bind(*at)
        .bind(sha256)
        .bind(image.map(|image| pixels(image.width)))
        .bind(image.map(|image| pixels(image.height))),
        FileEvent::FileAttached { file_id, conversation_id, .. } => {
            sqlx::query("UPDATE files SET conversation_id = $3, position = $2 WHERE file_id = $1")
                .bind(file_id.uuid())
                .bind(position)
                .bind(conversation_id.uuid())
        }
        FileEvent::FileDeleted { file_id, .. } => {
            sqlx::query("UPDATE files SET state = 'deleted', name = NULL, position = $2 WHERE file_id = $1")
                .bind(file_id.uuid())
                .bind(position)
        }
    };
    query.execute(connection).await?;
    Ok(())
}

/// Converts a size to the column's type; no file comes near the limit.
fn whole(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn pixels(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
