//! The stored form of an event: one flat JSON object, with the shared fields beside the fields of the event itself.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::de::value::MapDeserializer;
use serde::de::{DeserializeOwned, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Error, Value};

use super::{BranchEvent, ConversationEvent, EventBody, ItemEvent, MessageEvent, ReplyEvent, SettingsEvent};
use crate::ids::{ConversationId, UserId};

#[derive(Serialize)]
struct Stored<'a> {
    conversation_id: ConversationId,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<UserId>,
    at: DateTime<Utc>,
    #[serde(flatten)]
    body: &'a EventBody,
}

/// Whether the owner is stored as `author`.
const fn is_sent(body: &EventBody) -> bool {
    matches!(body, EventBody::Message(MessageEvent::MessageSent { .. }))
}

impl Serialize for ConversationEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { conversation_id, owner, at, ref body } = *self;
        let (owner, author) = if is_sent(body) { (None, Some(owner)) } else { (Some(owner), None) };
        Stored { conversation_id, owner, author, at, body }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ConversationEvent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields::default())
    }
}

/// The fields of a stored event, as they are read.
#[derive(Default)]
struct Fields {
    conversation_id: Option<ConversationId>,
    owner: Option<UserId>,
    author: Option<UserId>,
    at: Option<DateTime<Utc>>,
    /// The fields of the event itself, with its `type`.
    own: Vec<(String, Value)>,
}

impl<'de> Visitor<'de> for Fields {
    type Value = ConversationEvent;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an event of a conversation")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<ConversationEvent, A::Error> {
        while let Some(field) = map.next_key::<String>()? {
            match field.as_str() {
                "conversation_id" => self.conversation_id = Some(map.next_value()?),
                "owner" => self.owner = Some(map.next_value()?),
                "author" => self.author = Some(map.next_value()?),
                "at" => self.at = Some(map.next_value()?),
                _ => self.own.push((field, map.next_value()?)),
            }
        }
        self.into_event().map_err(A::Error::custom)
    }
}

impl Fields {
    fn into_event(mut self) -> Result<ConversationEvent, Error> {
        let body = self.take_body()?;
        let owner = match (is_sent(&body), self.owner, self.author) {
            (false, Some(owner), None) | (true, None, Some(owner)) => owner,
            _ => return Err(Error::missing_field("owner")),
        };
        Ok(ConversationEvent {
            conversation_id: self.conversation_id.ok_or_else(|| Error::missing_field("conversation_id"))?,
            owner,
            at: self.at.ok_or_else(|| Error::missing_field("at"))?,
            body,
        })
    }

    /// Reads the fields of the event itself. The group rejects fields that the event does not have.
    fn take_body(&mut self) -> Result<EventBody, Error> {
        let named = self.own.iter().find(|(field, _)| field == "type").and_then(|(_, name)| name.as_str());
        let is_in = |types: &[(&str, u32)]| types.iter().any(|(known, _)| Some(*known) == named);
        if is_in(ReplyEvent::TYPES) {
            let (message_id, reply_id) = (self.take("message_id")?, self.take("reply_id")?);
            Ok(EventBody::Reply { message_id, reply_id, event: self.take_group()? })
        } else if is_in(MessageEvent::TYPES) {
            self.take_group().map(EventBody::Message)
        } else if is_in(ItemEvent::TYPES) {
            self.take_group().map(EventBody::Item)
        } else if is_in(BranchEvent::TYPES) {
            self.take_group().map(EventBody::Branch)
        } else if is_in(SettingsEvent::TYPES) {
            self.take_group().map(EventBody::Settings)
        } else {
            // Refuses a name that no group has.
            self.take_group().map(EventBody::Lifecycle)
        }
    }

    fn take<T: DeserializeOwned>(&mut self, name: &'static str) -> Result<T, Error> {
        let at = self.own.iter().position(|(field, _)| field == name);
        let (_, value) = self.own.swap_remove(at.ok_or_else(|| Error::missing_field(name))?);
        T::deserialize(value)
    }

    fn take_group<T: DeserializeOwned>(&mut self) -> Result<T, Error> {
        T::deserialize(MapDeserializer::new(std::mem::take(&mut self.own).into_iter()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn decode(more: &Value) -> Result<ConversationEvent, Error> {
        let id = "00000000-0000-0000-0000-000000000001";
        let mut payload = json!({"conversation_id": id, "at": "2025-06-15T15:06:40Z"});
        let fields = payload.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        // Also from text, where nothing is buffered.
        let read = serde_json::from_str(&payload.to_string());
        assert_eq!(read.is_ok(), serde_json::from_value::<ConversationEvent>(payload).is_ok());
        read
    }

    #[test]
    fn owner_is_named_author_in_message_sent_only() {
        let id = "00000000-0000-0000-0000-000000000002";
        let sent = json!({
            "type": "message_sent", "message_id": id, "text": {"$personal": "Hello"},
            "enclosed": {"files": [], "composed": null, "tool_choice": null},
        });
        for (fields, owner, accepted) in [
            (&sent, json!({"author": id}), true),
            (&sent, json!({"owner": id}), false),
            (&sent, json!({"author": id, "owner": id}), false),
            (&json!({"type": "conversation_pinned"}), json!({"owner": id}), true),
            (&json!({"type": "conversation_pinned"}), json!({"author": id}), false),
            (&json!({"type": "conversation_pinned"}), json!({"author": id, "owner": id}), false),
            (&json!({"type": "conversation_pinned"}), json!({}), false),
        ] {
            let mut fields = fields.clone();
            fields.as_object_mut().unwrap().extend(owner.as_object().unwrap().clone());
            assert_eq!(decode(&fields).is_ok(), accepted, "{fields}");
        }
    }

    #[test]
    fn fields_of_other_events_are_rejected() {
        let id = "00000000-0000-0000-0000-000000000002";
        for more in [json!({"message_id": id}), json!({"reply_id": id}), json!({"title": null})] {
            let mut fields = json!({"type": "conversation_pinned", "owner": id});
            fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            assert!(decode(&fields).is_err(), "{fields}");
        }
    }

    #[test]
    fn unknown_event_type_is_rejected() {
        let id = "00000000-0000-0000-0000-000000000002";
        for fields in [json!({"type": "message_eaten", "owner": id}), json!({"owner": id}), json!({})] {
            assert!(decode(&fields).is_err(), "{fields}");
        }
    }
}
