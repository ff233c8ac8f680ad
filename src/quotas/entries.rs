//! Prices events: the entries of a charge, in the format of the database's charging function.

use aggregates::conversation::{ConversationEvent, EventBody, ReplyEvent, ReplyPlan, Usage};
use aggregates::ids::{ConversationId, ReplyId, UserId};
use aggregates::quiz::ANSWERS_AS;
use aggregates::values::ReplyText;
use aggregates::{Event, Personal};
use chrono::{DateTime, Utc};
use event_store::AppendCharge;
use serde_json::{Map, Value, json};

use super::{QuotaCharge, Quotas};

/// What an event means for a user's quotas.
enum Step<'a> {
    /// A reply is requested: its quotas are checked and tokens are reserved.
    Requested { reply: ReplyId, conversation: ConversationId, deadline: DateTime<Utc> },
    /// An attempt is about to send tokens: the reservation covers at least those.
    Begun { reply: ReplyId, owner: UserId, plan: &'a ReplyPlan },
    /// A reply ends: the reservation is settled.
    Ended { reply: ReplyId, owner: UserId, cost: Cost },
}

/// Cost of a reply.
enum Cost {
    /// Number of tokens.
    Tokens(u64),
    /// Unknown: the reserved tokens, plus the estimated tokens of the text.
    Unknown { text: u64 },
}

/// Returns what an event means for quotas.
fn step(event: &Event) -> Option<Step<'_>> {
    let Event::Conversation(ConversationEvent { conversation_id, owner, body, .. }) = event else {
        return None;
    };
    let EventBody::Reply { reply_id, event, .. } = body else { return None };
    let (reply, owner) = (*reply_id, *owner);
    Some(match event {
        ReplyEvent::ReplyRequested { deadline, .. } => {
            Step::Requested { reply, conversation: *conversation_id, deadline: *deadline }
        }
        ReplyEvent::ReplyBegun { plan, .. } => Step::Begun { reply, owner, plan },
        ReplyEvent::ReplyAttemptFailed { .. } => return None,
        ReplyEvent::ReplyCompleted { usage, model, text, .. } => {
            Step::Ended { reply, owner, cost: completed(usage, model, text) }
        }
        ReplyEvent::ReplyCancelled { attempt, text } => {
            let cost = if *attempt > 0 { unknown(text.as_ref()) } else { Cost::Tokens(0) };
            Step::Ended { reply, owner, cost }
        }
        ReplyEvent::ReplyFailed { text, .. } => {
            let cost = if text.is_some() { unknown(text.as_ref()) } else { Cost::Tokens(0) };
            Step::Ended { reply, owner, cost }
        }
    })
}

/// Returns the charge for `events`; `None` if nothing is charged or settled. Without `charge` only the ends of replies are
/// settled, because another process may have reserved them.
pub(super) fn price(charge: Option<&QuotaCharge>, events: &[&Event]) -> Option<AppendCharge> {
    let mut user = charge.map(|charge| charge.user);
    let (mut opens, mut holds, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    for step in events.iter().filter_map(|event| step(event)) {
        match step {
            Step::Requested { reply, conversation, deadline } => {
                if charge.is_some() {
                    opens.push(json!([reply, conversation, expiry(deadline)]));
                }
            }
            Step::Begun { reply, owner, plan } => {
                if let Some(tokens) = tokens_to_send(plan) {
                    user = user.or(Some(owner.uuid()));
                    holds.push(json!([reply, tokens]));
                }
            }
            Step::Ended { reply, owner, cost } => {
                user = user.or(Some(owner.uuid()));
                ends.push(match cost {
                    Cost::Tokens(tokens) => json!([reply, tokens]),
                    Cost::Unknown { text } => json!([reply, null, text]),
                });
            }
        }
    }
    let user = user?;
    let mut entries = Map::new();
    if !holds.is_empty() {
        entries.insert("holds".to_owned(), holds.into());
    }
    if !ends.is_empty() {
        entries.insert("ends".to_owned(), ends.into());
    }
    if let Some(charge) = charge {
        entries.extend(rates(charge));
        if !opens.is_empty() {
            entries.insert("opens".to_owned(), opens.into());
            let Quotas { messages_per_day, tokens_per_day, reserved_tokens, at_once } = charge.quotas;
            let quota = json!({
                "messages": messages_per_day, "tokens": tokens_per_day, "reserve": reserved_tokens, "at_once": at_once,
            });
            entries.insert("quota".to_owned(), quota);
        }
    }
    (!entries.is_empty()).then(|| AppendCharge { user, entries: entries.into() })
}

/// Returns the entry that counts one request for each rate.
pub(super) fn rates(charge: &QuotaCharge) -> Option<(String, Value)> {
    let rates: Vec<Value> = charge.rates.iter().map(|rate| json!([rate.name, rate.per_minute])).collect();
    (!rates.is_empty()).then(|| ("rates".to_owned(), rates.into()))
}

/// Returns the conversations in which a charge opens a reply.
pub(super) fn opened_conversations(charge: &AppendCharge) -> Vec<&str> {
    let opens = charge.entries["opens"].as_array();
    opens.map_or_else(Vec::new, |opens| opens.iter().filter_map(|open| open[1].as_str()).collect())
}

/// Returns whether a charge settles replies.
pub(super) fn ends_replies(charge: &AppendCharge) -> bool {
    charge.entries.get("ends").is_some()
}

/// Returns when a pending reply stops counting, in seconds since 1970: well beyond its deadline.
fn expiry(deadline: DateTime<Utc>) -> i64 {
    const GRACE_SECONDS: i64 = 600;
    deadline.timestamp().saturating_add(GRACE_SECONDS)
}

/// Returns the tokens that an attempt is about to send; `None` if no provider is called.
fn tokens_to_send(plan: &ReplyPlan) -> Option<u64> {
    if plan.parameters["circuit"] == "open" {
        return None;
    }
    plan.parameters["context"]["tokens"]["all"].as_u64()
}

/// Returns the cost of a completed reply: the provider's usage, or unknown if a provider reported none.
fn completed(usage: &Usage, model: &str, text: &Personal<ReplyText>) -> Cost {
    match u64::from(usage.prompt_tokens).saturating_add(u64::from(usage.completion_tokens)) {
        0 if model != ANSWERS_AS => unknown(Some(text)),
        tokens => Cost::Tokens(tokens),
    }
}

fn unknown(text: Option<&Personal<ReplyText>>) -> Cost {
    Cost::Unknown { text: text.map_or(0, estimated_tokens) }
}

/// Estimates the tokens of a text: models write about four letters per token, and fewer of scripts whose letters take more
/// bytes.
fn estimated_tokens(text: &Personal<ReplyText>) -> u64 {
    const BYTES_PER_TOKEN: u64 = 4;
    let text = text.as_ref().known().map_or("", ReplyText::as_str);
    u64::try_from(text.len()).unwrap_or(u64::MAX).div_ceil(BYTES_PER_TOKEN)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::quotas::Rate;

    const OWNER: Uuid = Uuid::from_u128(7);

    fn reply() -> Value {
        json!(Uuid::from_u128(0xA))
    }

    /// A conversation event from its stored form, with the fields that all reply events share.
    fn event(event_type: &str, mut payload: Value) -> Event {
        payload["type"] = json!(event_type);
        payload["conversation_id"] = json!(Uuid::from_u128(0xC));
        payload["message_id"] = json!(Uuid::from_u128(0xB));
        payload["reply_id"] = reply();
        payload["owner"] = json!(OWNER);
        payload["at"] = json!("1970-01-01T00:00:00Z");
        Event::decode("conversation", payload).unwrap()
    }

    fn requested() -> Event {
        event(
            "reply_requested",
            json!({"model": null, "interactive": false, "deadline": "1970-01-01T00:01:00Z"}),
        )
    }

    fn begun(parameters: &Value) -> Event {
        let plan = json!({
            "worker": "w", "provider": "p", "model": "m", "parameters": parameters, "prompt_versions": [],
            "input_message_ids": [], "file_hashes": [],
        });
        event("reply_begun", json!({"attempt": 1, "plan": plan}))
    }

    fn completed(usage: (u32, u32), model: &str) -> Event {
        event(
            "reply_completed",
            json!({
                "answer_id": Uuid::from_u128(0xD), "attempt": 1, "text": {"$personal": ""}, "items": [], "finish": "stop",
                "usage": {"prompt_tokens": usage.0, "completion_tokens": usage.1},
                "timings": {"first_token_ms": null, "total_ms": 0}, "model": model,
                "provider_reply_id": null,
            }),
        )
    }

    fn ended(event_type: &str, attempt: u32, text: Option<&str>) -> Event {
        let text = text.map(|text| json!({"$personal": text}));
        let mut payload = json!({"attempt": attempt, "text": text});
        if event_type == "reply_failed" {
            payload["reason"] = json!("provider_unavailable");
        }
        event(event_type, payload)
    }

    fn charge() -> QuotaCharge {
        let quotas = Quotas { messages_per_day: 5, tokens_per_day: 100, reserved_tokens: 10, at_once: 3 };
        let rates = vec![Rate { name: "user".to_owned(), per_minute: 30 }];
        QuotaCharge { user: Uuid::from_u128(1), rates, quotas }
    }

    #[test]
    fn message_counts_for_each_rate_and_reserves_its_reply() {
        let charged = price(Some(&charge()), &[&requested()]).unwrap();
        assert_eq!(charged.user, Uuid::from_u128(1));
        assert_eq!(
            charged.entries,
            json!({
                "rates": [["user", 30]], "opens": [[reply(), Uuid::from_u128(0xC), 660]],
                "quota": {"messages": 5, "tokens": 100, "reserve": 10, "at_once": 3},
            })
        );
    }

    #[test]
    fn ended_reply_settles_its_usage_or_its_reservation() {
        for (event, end) in [
            (completed((3, 4), "m"), json!([reply(), 7])),
            (completed((0, 0), "m"), json!([reply(), null, 0])),
            // No provider was called.
            (completed((0, 0), ANSWERS_AS), json!([reply(), 0])),
            (ended("reply_cancelled", 1, None), json!([reply(), null, 0])),
            (ended("reply_cancelled", 1, Some("In May, aft")), json!([reply(), null, 3])),
            (ended("reply_cancelled", 0, None), json!([reply(), 0])),
            (ended("reply_failed", 4, None), json!([reply(), 0])),
            (ended("reply_failed", 4, Some("In May, aft")), json!([reply(), null, 3])),
        ] {
            let charged = price(None, &[&event]).unwrap();
            assert_eq!(charged, AppendCharge { user: OWNER, entries: json!({"ends": [end]}) }, "{event:?}");
        }
    }

    #[test]
    fn attempt_holds_the_tokens_it_is_about_to_send() {
        let context = json!({"tokens": {"system": 20, "all": 5_928}});
        assert_eq!(
            price(None, &[&begun(&json!({"context": context}))]),
            Some(AppendCharge { user: OWNER, entries: json!({"holds": [[reply(), 5_928]]}) })
        );
        let open_circuit = begun(&json!({"context": context, "circuit": "open"}));
        assert_eq!(price(None, &[&open_circuit]), None, "no provider is called");
        assert_eq!(price(None, &[&begun(&json!({}))]), None);
    }

    #[test]
    fn other_events_cost_nothing() {
        assert_eq!(price(None, &[&requested()]), None, "without limits nothing is reserved");
        assert_eq!(price(None, &[]), None);
    }
}
