//! What an append is charged to a person's allowance: rates per minute and quotas per day.
//!
//! The charge is made by the database in the append's own transaction (its rules stand beside the functions, in the
//! migration of the quotas): a message that was not kept costs nothing, one that was kept costs exactly once, and all
//! nodes share one count. Use cases say what is taken; what replies begin to be owed or end follows from the events.

use std::time::Duration;

use aggregates::quiz::ANSWERS_AS;
use serde_json::{Value, json};
use sqlx::types::Json;
use uuid::Uuid;

use crate::FastPool;
use crate::encryption::PERSONAL;

/// A policy of a rate, under the name that counts: messages with the same name share one count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rate {
    /// Its name, unique among those of one person.
    pub name: String,
    /// How many in a minute.
    pub per_minute: u32,
}

/// What the replies of a person are held against; 0 for no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quotas {
    /// Messages with a reply on one day (UTC).
    pub messages_per_day: u64,
    /// Tokens on one day.
    pub tokens_per_day: u64,
    /// What is set aside for a reply until it ends, in tokens.
    pub reserved_tokens: u64,
    /// The conversations in which replies are owed at the same time.
    pub at_once: u32,
}

/// What a command takes from a person's allowance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaCharge {
    /// Whose.
    pub user: Uuid,
    /// One of each.
    pub rates: Vec<Rate>,
    /// What replies that the command asks for are held against.
    pub quotas: Quotas,
}

/// What is left of one rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateRemaining {
    /// Its place among the rates of the charge.
    pub rate: usize,
    /// How many more may be taken now.
    pub rest: u64,
    /// After how long all of it is there again.
    pub reset: Duration,
}

/// Name of the quota of messages on a day, as the database tells it.
pub const MESSAGES_PER_DAY: &str = "messages_per_day";
/// Name of the quota of tokens on a day.
pub const TOKENS_PER_DAY: &str = "tokens_per_day";
/// Name of the bound on replies that are owed at once.
pub const REPLIES_AT_ONCE: &str = "replies_at_once";

/// A charge that was refused: nothing was written and nothing taken.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("the allowance is used up: {policy}")]
pub struct QuotaExceeded {
    /// The rate's name, or [`MESSAGES_PER_DAY`], [`TOKENS_PER_DAY`], [`REPLIES_AT_ONCE`].
    pub policy: String,
    /// After how long it is worth trying again.
    pub wait: Duration,
    /// What may be had.
    pub bound: u64,
    /// The conversations that it does not hold for.
    pub except: Vec<String>,
}

impl QuotaExceeded {
    /// What refuses replies, in the order in which it is looked at.
    pub(super) const OF_REPLIES: [&'static str; 3] = [REPLIES_AT_ONCE, MESSAGES_PER_DAY, TOKENS_PER_DAY];

    /// As the database tells it: `[policy, seconds, bound, conversations]`, the last where there are any.
    pub(super) fn parse(refused: &Value) -> Option<Self> {
        let policy = refused.get(0)?.as_str()?.to_owned();
        let wait = Duration::try_from_secs_f64(refused.get(1)?.as_f64()?.max(0.0)).ok()?;
        let bound = refused.get(2)?.as_f64()?;
        let except = refused.get(3).and_then(Value::as_array).map_or_else(Vec::new, |owed| {
            owed.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect()
        });
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "bounds are whole, positive and far below 2^53"
        )]
        let bound = bound.max(0.0) as u64;
        Some(Self { policy, wait, bound, except })
    }
}

/// An append's charge as the database takes it: whose row, and what of it.
#[derive(Debug, Clone, PartialEq)]
pub struct QuotaEntries {
    /// Whose.
    pub user: Uuid,
    /// What, see `quota_charge` in the migrations.
    pub entries: Value,
}

impl QuotaEntries {
    /// The charge of a command that led to `events` (type and payload); none when nothing is taken or settled. Without `charge`
    /// nothing is taken; what replies come to is settled all the same, because another process may have reserved it.
    pub(super) fn of<'a>(
        charge: Option<&QuotaCharge>,
        events: impl Iterator<Item = (&'a str, &'a Value)>,
    ) -> Option<Self> {
        let mut user = charge.map(|charge| charge.user);
        let owner = |payload: &Value| payload["owner"].as_str().and_then(|owner| Uuid::parse_str(owner).ok());
        let (mut opens, mut holds, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for (event_type, payload) in events {
            match event_type {
                "reply_requested" if charge.is_some() => {
                    opens.push(json!([payload["reply_id"], payload["conversation_id"], until(payload)]));
                }
                "reply_begun" => {
                    if let Some(tokens) = sent(payload) {
                        user = user.or_else(|| owner(payload));
                        holds.push(json!([payload["reply_id"], tokens]));
                    }
                }
                "reply_completed" | "reply_failed" | "reply_cancelled" => {
                    user = user.or_else(|| owner(payload));
                    ends.push(spent(event_type, payload));
                }
                _ => {}
            }
        }
        let user = user?;
        let mut entries = serde_json::Map::new();
        if !holds.is_empty() {
            entries.insert("holds".to_owned(), holds.into());
        }
        if !ends.is_empty() {
            entries.insert("ends".to_owned(), ends.into());
        }
        if let Some(charge) = charge {
            entries.extend(charge.rates());
            if !opens.is_empty() {
                entries.insert("opens".to_owned(), opens.into());
                let Quotas { messages_per_day, tokens_per_day, reserved_tokens, at_once } = charge.quotas;
                entries.insert(
                    "quota".to_owned(),
                    json!({"messages": messages_per_day, "tokens": tokens_per_day, "reserve": reserved_tokens, "at_once": at_once}),
                );
            }
        }
        (!entries.is_empty()).then(|| Self { user, entries: entries.into() })
    }
}

impl QuotaEntries {
    /// The conversations in which replies are owed from now on.
    pub(super) fn opens(&self) -> Vec<&str> {
        let opens = self.entries["opens"].as_array();
        opens.map_or_else(Vec::new, |opens| opens.iter().filter_map(|open| open[1].as_str()).collect())
    }

    /// Whether replies end.
    pub(super) fn ends(&self) -> bool {
        self.entries.get("ends").is_some()
    }
}

impl QuotaCharge {
    fn rates(&self) -> Option<(String, Value)> {
        let rates: Vec<Value> = self.rates.iter().map(|rate| json!([rate.name, rate.per_minute])).collect();
        (!rates.is_empty()).then(|| ("rates".to_owned(), rates.into()))
    }

    /// Takes what belongs to no append.
    ///
    /// # Errors
    /// `Ok(Err(_))` when it is refused; else the database's.
    pub async fn consume(
        &self,
        pool: &FastPool,
    ) -> Result<Result<Vec<RateRemaining>, QuotaExceeded>, sqlx::Error> {
        let entries: serde_json::Map<String, Value> = self.rates().into_iter().collect();
        let (rest, refused): (Option<Json<Value>>, Option<Json<Value>>) =
            sqlx::query_as("SELECT remaining, rejection FROM quota_consume($1, $2)")
                .bind(self.user)
                .bind(Json(entries))
                .fetch_one(pool)
                .await?;
        Ok(match refused {
            Some(Json(refused)) => Err(parse_exceeded(&refused)?),
            None => Ok(rest.map_or_else(Vec::new, |Json(rest)| parse_remaining(&rest))),
        })
    }
}

/// The refusal that the database tells; one that cannot be read is a defect of ours.
pub(super) fn parse_exceeded(refused: &Value) -> Result<QuotaExceeded, sqlx::Error> {
    QuotaExceeded::parse(refused).ok_or_else(|| sqlx::Error::Decode(format!("no refusal: {refused}").into()))
}

/// What is left, as the database tells it.
pub(super) fn parse_remaining(rest: &Value) -> Vec<RateRemaining> {
    let one = |item: &Value| {
        Some(RateRemaining {
            rate: usize::try_from(item.get(0)?.as_u64()?).ok()?,
            rest: item.get(1)?.as_u64()?,
            reset: Duration::from_secs(item.get(2)?.as_u64()?),
        })
    };
    rest.as_array().map(|items| items.iter().filter_map(one).collect()).unwrap_or_default()
}

/// Until when an owed reply counts as owed, whatever happens: well beyond its deadline, in seconds since 1970.
fn until(payload: &Value) -> i64 {
    const BEYOND: i64 = 600;
    let deadline =
        payload["deadline"].as_str().and_then(|text| chrono::DateTime::parse_from_rfc3339(text).ok());
    deadline.map_or(0, |deadline| deadline.timestamp()).saturating_add(BEYOND)
}

/// The tokens that an attempt is about to send to a provider, as its plan counts them; none where no provider is asked.
fn sent(begun: &Value) -> Option<u64> {
    let parameters = &begun["plan"]["parameters"];
    if parameters["circuit"] == "open" {
        return None;
    }
    parameters["context"]["tokens"]["all"].as_u64()
}

/// What a reply took, as an entry of `ends`. What the provider said, where it said something. Where it was asked and nobody
/// can say what that came to: as many tokens as were reserved, at least those that were sent, and those of the text that
/// came. Nothing when it was never asked, or failed before a word came.
fn spent(event_type: &str, payload: &Value) -> Value {
    let reply = &payload["reply_id"];
    let unknown = || json!([reply, null, estimated(payload)]);
    match event_type {
        "reply_completed" => {
            let count = |name: &str| payload["usage"][name].as_u64().unwrap_or(0);
            match count("prompt_tokens").saturating_add(count("completion_tokens")) {
                0 if payload["model"] != ANSWERS_AS => unknown(),
                tokens => json!([reply, tokens]),
            }
        }
        "reply_cancelled" if payload["attempt"].as_u64().unwrap_or(0) > 0 => unknown(),
        "reply_failed" if !payload["text"].is_null() => unknown(),
        _ => json!([reply, 0]),
    }
}

/// About how many tokens the text of an answer is. Models write some four letters in a token, and fewer of scripts whose
/// letters take more bytes.
fn estimated(payload: &Value) -> u64 {
    const BYTES: u64 = 4;
    let text = payload["text"][PERSONAL].as_str().unwrap_or_default();
    u64::try_from(text.len()).unwrap_or(u64::MAX).div_ceil(BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charge() -> QuotaCharge {
        let quotas = Quotas { messages_per_day: 5, tokens_per_day: 100, reserved_tokens: 10, at_once: 3 };
        let rates = vec![Rate { name: "user".to_owned(), per_minute: 30 }];
        QuotaCharge { user: Uuid::from_u128(1), rates, quotas }
    }

    #[test]
    fn a_message_takes_one_of_each_rate_and_reserves_its_reply() {
        let asked = json!({"reply_id": "r", "conversation_id": "c", "owner": Uuid::from_u128(1), "deadline": "1970-01-01T00:01:00Z"});
        let sent = json!({"message_id": "m"});
        let events = [("message_sent", &sent), ("reply_requested", &asked)];
        let charged = QuotaEntries::of(Some(&charge()), events.into_iter()).unwrap();
        assert_eq!(charged.user, Uuid::from_u128(1));
        assert_eq!(
            charged.entries,
            json!({
                "rates": [["user", 30]], "opens": [["r", "c", 660]],
                "quota": {"messages": 5, "tokens": 100, "reserve": 10, "at_once": 3},
            })
        );
    }

    #[test]
    fn ends_settle_what_is_known_and_else_what_was_reserved() {
        let owner = Uuid::from_u128(7);
        let usage = |prompt: u32, completion: u32| json!({"reply_id": "r", "owner": owner, "usage": {"prompt_tokens": prompt, "completion_tokens": completion}});
        let ended = |attempt: u32, text: Value| json!({"reply_id": "r", "owner": owner, "attempt": attempt, "text": text});
        // No provider was asked.
        let mut quiz = usage(0, 0);
        quiz["model"] = json!(ANSWERS_AS);
        let text = || json!({"$personal": "In May, aft"});
        for (event_type, payload, end) in [
            ("reply_completed", usage(3, 4), json!(["r", 7])),
            ("reply_completed", usage(0, 0), json!(["r", null, 0])),
            ("reply_completed", quiz, json!(["r", 0])),
            ("reply_cancelled", ended(1, Value::Null), json!(["r", null, 0])),
            ("reply_cancelled", ended(1, text()), json!(["r", null, 3])),
            ("reply_cancelled", ended(0, Value::Null), json!(["r", 0])),
            ("reply_failed", ended(4, Value::Null), json!(["r", 0])),
            ("reply_failed", ended(4, text()), json!(["r", null, 3])),
        ] {
            let charged = QuotaEntries::of(None, [(event_type, &payload)].into_iter()).unwrap();
            assert_eq!(charged, QuotaEntries { user: owner, entries: json!({"ends": [end]}) }, "{payload}");
        }
    }

    #[test]
    fn an_attempt_holds_what_it_is_about_to_send() {
        let owner = Uuid::from_u128(7);
        let begun =
            |parameters: Value| json!({"reply_id": "r", "owner": owner, "plan": {"parameters": parameters}});
        let of = |payload: &Value| QuotaEntries::of(None, [("reply_begun", payload)].into_iter());
        let context = json!({"tokens": {"system": 20, "all": 5_928}});
        assert_eq!(
            of(&begun(json!({"context": context}))),
            Some(QuotaEntries { user: owner, entries: json!({"holds": [["r", 5_928]]}) })
        );
        assert_eq!(of(&begun(json!({"context": context, "circuit": "open"}))), None, "nobody is asked");
        assert_eq!(of(&begun(json!({}))), None);
    }

    #[test]
    fn what_takes_nothing_is_not_charged() {
        let payload = json!({"owner": Uuid::from_u128(7)});
        for event_type in ["conversation_renamed", "reply_begun", "reply_requested"] {
            assert_eq!(QuotaEntries::of(None, [(event_type, &payload)].into_iter()), None, "{event_type}");
        }
    }

    #[test]
    fn refusals_and_rests_are_read_as_the_database_tells_them() {
        let refused = QuotaExceeded::parse(&json!(["user", 12.5, 30])).unwrap();
        let wait = Duration::from_millis(12_500);
        assert_eq!(refused, QuotaExceeded { policy: "user".to_owned(), wait, bound: 30, except: Vec::new() });
        let refused = QuotaExceeded::parse(&json!(["replies_at_once", 5, 2, ["a", "b"]])).unwrap();
        assert_eq!(refused.except, ["a", "b"]);
        assert_eq!(QuotaExceeded::parse(&json!("too often")), None);
        let rest = parse_remaining(&json!([[0, 29, 60], [1, 9, 61]]));
        assert_eq!(rest[1], RateRemaining { rate: 1, rest: 9, reset: Duration::from_secs(61) });
    }
}
