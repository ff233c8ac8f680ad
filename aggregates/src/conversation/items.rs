//! Decisions about what stands in a conversation besides messages and answers.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::aggregate::{PendingKind, Started};
use super::decide::Decision;
use super::{
    Brought, ConversationError as Error, ConversationEvent as Event, InputAnswer, ItemEvent, WantedReply,
};
use crate::ids::{MessageId, ReplyId, UserId};
use crate::personal::Personal;

/// A reply that is wished for, and until when it must have ended.
type Wanted = (WantedReply, DateTime<Utc>);

impl Started {
    /// Whether the ids of what an answer brings are new, each of them.
    pub(super) fn free(&self, brought: &[Brought]) -> Result<(), Error> {
        for (n, item) in brought.iter().enumerate() {
            let id = item.item_id();
            if self.entry(id).is_some() || brought[..n].iter().any(|other| other.item_id() == id) {
                return Err(Error::MessageIdTaken);
            }
        }
        Ok(())
    }

    /// What an answer brings, as an event; a quiz has its own stream.
    pub(super) fn bring(&self, reply_id: ReplyId, brought: Brought, at: DateTime<Utc>) -> Option<Event> {
        let event = match brought {
            Brought::ClientToolCall { item_id, call_id, name, arguments } => {
                ItemEvent::ClientToolCalled { item_id, reply_id, call_id, name, arguments }
            }
            Brought::InputRequest { item_id, questions } => {
                ItemEvent::InputRequested { item_id, reply_id, questions }
            }
            Brought::Widget { item_id, widget, copy_text } => {
                ItemEvent::WidgetShown { item_id, reply_id, widget, copy_text }
            }
            Brought::Quiz { .. } => return None,
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
        self.alive_for(by)?;
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
        self.alive_for(by)?;
        self.check_pending(item_id, PendingKind::Input)?;
        Ok(vec![
            self.event(ItemEvent::InputAnswered { item_id, skipped, answers }, at),
            self.request(item_id, ReplyId::of(item_id), wanted, at)?,
        ])
    }

    /// Whether the item still waits for that. One that was answered does not: what was answered is not kept here, so nobody
    /// can say that it was the same.
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
