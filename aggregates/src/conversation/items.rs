//! Decisions about items other than messages and answers.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::aggregate::{ConversationState, PendingKind};
use super::decide::Decision;
use super::{
    ConversationError as Error, ConversationEvent as Event, InputAnswer, ItemEvent, ReplyItem, ReplyOptions,
};
use crate::ids::{MessageId, ReplyId, UserId};
use crate::personal::Personal;

/// Options of a requested reply, and its deadline.
type Wanted = (ReplyOptions, DateTime<Utc>);

impl ConversationState {
    /// Rejects items whose ids are in use or repeated.
    pub(super) fn require_unused_ids(&self, items: &[ReplyItem]) -> Result<(), Error> {
        for (n, item) in items.iter().enumerate() {
            let id = item.item_id();
            if self.entry(id).is_some() || items[..n].iter().any(|other| other.item_id() == id) {
                return Err(Error::MessageIdTaken);
            }
        }
        Ok(())
    }

    /// Returns the event of an answer's item; `None` for a quiz, which has its own stream.
    pub(super) fn item_event(&self, reply_id: ReplyId, item: ReplyItem, at: DateTime<Utc>) -> Option<Event> {
        let event = match item {
            ReplyItem::ClientToolCall { item_id, call_id, name, arguments } => {
                ItemEvent::ClientToolCalled { item_id, reply_id, call_id, name, arguments }
            }
            ReplyItem::InputRequest { item_id, questions } => {
                ItemEvent::InputRequested { item_id, reply_id, questions }
            }
            ReplyItem::Widget { item_id, widget, copy_text } => {
                ItemEvent::WidgetShown { item_id, reply_id, widget, copy_text }
            }
            ReplyItem::Quiz { .. } => return None,
        };
        Some(self.event(event, at))
    }

    pub(super) fn answer_client_tool(
        &self,
        by: UserId,
        item_id: MessageId,
        output: Personal<Value>,
        wanted: Wanted,
        at: DateTime<Utc>,
    ) -> Decision {
        self.require_active_owner(by)?;
        self.check_pending(item_id, PendingKind::ClientTool)?;
        let mut events = vec![self.event(ItemEvent::ClientToolAnswered { item_id, output }, at)];
        let others = self
            .pending
            .values()
            .filter(|pending| pending.kind == PendingKind::ClientTool && pending.item_id != item_id)
            .filter(|pending| self.entry(pending.item_id).is_some_and(|entry| self.is_shown(entry)));
        events.extend(
            others.map(|pending| self.event(ItemEvent::ClientToolDropped { item_id: pending.item_id }, at)),
        );
        events.push(self.request(item_id, ReplyId::of(item_id), wanted, at)?);
        Ok(events)
    }

    pub(super) fn answer_input(
        &self,
        by: UserId,
        item_id: MessageId,
        (skipped, answers): (bool, Personal<Vec<InputAnswer>>),
        wanted: Wanted,
        at: DateTime<Utc>,
    ) -> Decision {
        self.require_active_owner(by)?;
        self.check_pending(item_id, PendingKind::Input)?;
        Ok(vec![
            self.event(ItemEvent::InputAnswered { item_id, skipped, answers }, at),
            self.request(item_id, ReplyId::of(item_id), wanted, at)?,
        ])
    }

    /// Rejects an item that does not wait for `kind`. A repeated answer is rejected too: the state does not hold answers, so it
    /// cannot tell whether they are equal.
    fn check_pending(&self, item_id: MessageId, kind: PendingKind) -> Result<(), Error> {
        let entry = self.entry(item_id).filter(|entry| entry.item).ok_or(Error::UnknownItem)?;
        let waits = self.pending.get(&entry.number).is_some_and(|pending| pending.kind == kind);
        match (waits, self.is_shown(entry)) {
            (true, true) => Ok(()),
            (true, false) => Err(Error::OtherBranch),
            (false, _) => Err(Error::NotPending),
        }
    }
}
