//! What is read of a conversation item by item: pages, single items, what an answer brought, its title; and what may be wished
//! for an answer.

use std::time::Duration;

use aggregates::ids::{ConversationId, MessageId};
use projections::conversations::query::ConversationRow;
use projections::messages::thread::{self, Entry, Order, ThreadRow};
use projections::{conversations, models};
use uuid::Uuid;

use super::ConversationService;
use crate::ai::Recording;
use crate::app::models::Offered;
use crate::app::{Actor, AppError};

pub use aggregates::conversation::{
    Composed, Enclosed, InputAnswer, InputForm, InputQuestion, Part, Verdict, WantedReply,
};

/// How often a title that is being made is looked for.
const LOOK: Duration = Duration::from_millis(50);
/// How long what an answer brought, or what was answered, may take to be shown.
const SHOWN: Duration = Duration::from_secs(2);

impl ConversationService {
    /// What stands in a conversation of the actor's, from one of its items on, in that order: at most `limit`.
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

    /// One thing that stands in a conversation of the actor's and is shown.
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

    /// What an answer brought besides its text, in order. Waits, for a bounded time, until all of it is shown.
    ///
    /// # Errors
    /// The database's.
    pub async fn brought(
        &self,
        conversation: ConversationId,
        items: &[Uuid],
        position: i64,
    ) -> Result<Vec<ThreadRow>, AppError> {
        let whole = async {
            let mut after = position;
            loop {
                let rows = thread::by_ids(&self.core.pool, conversation.uuid(), items).await?;
                let whole = rows.len() == items.len()
                    && rows.iter().all(|row| !matches!(row.entry, Entry::Quiz(None)));
                if whole {
                    return Ok::<_, AppError>(rows);
                }
                // They stand right behind the answer in the log.
                after += 1;
                self.core.progress.wait(models::THREAD_MODELS, after, LOOK).await;
            }
        };
        match tokio::time::timeout(SHOWN, whole).await {
            Ok(rows) => rows,
            Err(_) => Ok(thread::by_ids(&self.core.pool, conversation.uuid(), items).await?),
        }
    }

    /// Waits, longer than answers do, until threads are shown as they are at `position`.
    pub async fn thread_shows(&self, position: Option<i64>) {
        if let Some(position) = position {
            self.core.progress.wait(models::THREAD_MODELS, position, SHOWN).await;
        }
    }

    /// The actor's conversations in the order in which they were begun, from one of them on.
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

    /// The conversation once it has a title, or as it is after `patience`.
    ///
    /// # Errors
    /// `NotFound`; the database's.
    pub async fn titled(
        &self,
        actor: Actor,
        conversation: ConversationId,
        patience: Duration,
    ) -> Result<ConversationRow, AppError> {
        let until = tokio::time::Instant::now() + patience;
        loop {
            let row = self.conversation(actor, conversation).await?;
            if row.title.is_some() || !self.titles || tokio::time::Instant::now() >= until {
                return Ok(row);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Returns the models that may be requested; the default comes first.
    pub fn models(&self) -> Vec<Offered> {
        self.models.offered()
    }

    /// Writes down what was said. Counts like a message.
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
