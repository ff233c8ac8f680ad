//! Items of a conversation: pages, single items, items of a reply; titles; transcription.

use std::time::Duration;

use aggregates::ids::{ConversationId, MessageId};
use projections::conversations::query::ConversationRow;
use projections::messages::thread::{self, Entry, Order, ThreadRow};
use projections::{conversations, registry};
use uuid::Uuid;

use super::ConversationService;
use crate::ai::Recording;
use crate::app::models::AvailableModel;
use crate::app::{Actor, AppError};

pub use aggregates::conversation::{
    Composed, InputAnswer, InputForm, InputQuestion, MessageContext, Part, ReplyOptions, Verdict,
};

/// Interval of polling for items and titles.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Longest wait for items to appear in the read model.
const ITEMS_TIMEOUT: Duration = Duration::from_secs(2);

impl ConversationService {
    /// Returns at most `limit` items of a conversation in the given order, after the item `after`.
    ///
    /// # Errors
    /// `NotFound` for the conversation or for `after`; the database's.
    pub async fn thread(
        &self,
        actor: Actor,
        conversation: ConversationId,
        order: Order,
        after: Option<MessageId>,
        limit: i64,
    ) -> Result<Vec<ThreadRow>, AppError> {
        self.conversation(actor, conversation).await?;
        let pool = &self.core.pool;
        let from = match after {
            None => None,
            Some(id) => {
                let position = thread::position_of(pool, conversation.uuid(), id.uuid()).await?;
                Some(position.ok_or_else(AppError::not_found)?)
            }
        };
        Ok(thread::page(pool, conversation.uuid(), order, from, limit).await?)
    }

    /// Returns a visible item of a conversation.
    ///
    /// # Errors
    /// `NotFound`; the database's.
    pub async fn item(
        &self,
        actor: Actor,
        conversation: ConversationId,
        item: MessageId,
    ) -> Result<ThreadRow, AppError> {
        self.conversation(actor, conversation).await?;
        let rows = thread::by_ids(&self.core.pool, conversation.uuid(), &[item.uuid()]).await?;
        rows.into_iter().find(|row| !row.is_hidden()).ok_or_else(AppError::not_found)
    }

    /// Returns the items of a reply besides its text, in order. Waits up to `ITEMS_TIMEOUT` for all of them.
    ///
    /// # Errors
    /// The database's.
    pub async fn reply_items(
        &self,
        conversation: ConversationId,
        items: &[Uuid],
        position: i64,
    ) -> Result<Vec<ThreadRow>, AppError> {
        let all_items = async {
            let mut after = position;
            loop {
                let rows = thread::by_ids(&self.core.pool, conversation.uuid(), items).await?;
                let complete = rows.len() == items.len()
                    && rows.iter().all(|row| !matches!(row.entry, Entry::Quiz(None)));
                if complete {
                    return Ok::<_, AppError>(rows);
                }
                // They follow the reply's message in the log.
                after += 1;
                self.core.progress.wait(registry::THREAD_MODELS, after, POLL_INTERVAL).await;
            }
        };
        match tokio::time::timeout(ITEMS_TIMEOUT, all_items).await {
            Ok(rows) => rows,
            Err(_) => Ok(thread::by_ids(&self.core.pool, conversation.uuid(), items).await?),
        }
    }

    /// Waits up to `ITEMS_TIMEOUT` until the read models of items have reached `position`.
    pub async fn wait_for_items(&self, position: Option<i64>) {
        if let Some(position) = position {
            self.core.progress.wait(registry::THREAD_MODELS, position, ITEMS_TIMEOUT).await;
        }
    }

    /// Returns the actor's conversations in order of creation, after `after`.
    ///
    /// # Errors
    /// `NotFound` for `after`; the database's.
    pub async fn conversations_by_creation(
        &self,
        actor: Actor,
        newest_first: bool,
        after: Option<ConversationId>,
        limit: i64,
    ) -> Result<Vec<ConversationRow>, AppError> {
        let after = match after {
            None => None,
            Some(id) => {
                let row = self.conversation(actor, id).await?;
                Some((row.created_at, row.conversation_id))
            }
        };
        let (pool, owner) = (&self.core.pool, actor.user.uuid());
        Ok(conversations::query::by_creation(pool, owner, newest_first, after, limit).await?)
    }

    /// Returns the conversation when it has a title, or as it is after `max_wait`.
    ///
    /// # Errors
    /// `NotFound`; the database's.
    pub async fn wait_for_title(
        &self,
        actor: Actor,
        conversation: ConversationId,
        max_wait: Duration,
    ) -> Result<ConversationRow, AppError> {
        let until = tokio::time::Instant::now() + max_wait;
        loop {
            let row = self.conversation(actor, conversation).await?;
            if row.title.is_some() || !self.titles || tokio::time::Instant::now() >= until {
                return Ok(row);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Returns the models that may be requested; the default comes first.
    pub fn models(&self) -> Vec<AvailableModel> {
        self.models.offered()
    }

    /// Transcribes a recording. Counts like a message.
    ///
    /// # Errors
    /// `Throttled`; `Invalid` when the provider cannot do that or not this; `Unavailable` when it does not answer.
    pub async fn transcribe(
        &self,
        actor: Actor,
        audio: Vec<u8>,
        mime_type: String,
    ) -> Result<String, AppError> {
        self.quotas.count_work(actor).await?;
        self.models.transcribe(Recording { audio, mime_type }).await
    }
}
