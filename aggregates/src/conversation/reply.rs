//! Plan, cost and end of a reply, as commands and events state them.

use serde::{Deserialize, Serialize};

use crate::ids::MessageId;

/// Provenance of a reply: what a worker is about to send to a provider, without the text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplyPlan {
    /// Worker that makes the attempt.
    pub worker: String,
    /// Provider to call.
    pub provider: String,
    /// Model to call.
    pub model: String,
    /// Parameters as sent (temperature, limits ...), without text; also the number of the key, and the
    /// [`Price`] if known.
    pub parameters: serde_json::Value,
    /// Versions of the prompts used.
    pub prompt_versions: Vec<String>,
    /// Messages sent, in order.
    pub input_message_ids: Vec<MessageId>,
    /// Hashes of the files sent.
    pub file_hashes: Vec<String>,
}

/// Tokens used by a reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// Prompt tokens.
    pub prompt_tokens: u32,
    /// Completion tokens.
    pub completion_tokens: u32,
}

/// A provider's price, in millionths of a dollar per million tokens. Stored as `price` among a plan's parameters, so
/// that the cost of a reply follows from its own events, whatever prices are configured later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Per million prompt tokens.
    pub prompt: u64,
    /// Per million completion tokens.
    pub completion: u64,
}

impl Price {
    /// Returns the price stored in a plan's parameters.
    #[must_use]
    pub fn of(parameters: &serde_json::Value) -> Option<Self> {
        Self::deserialize(&parameters["price"]).ok()
    }

    /// Returns the cost of tokens in millionths of a dollar, rounded to nearest. `None` if no tokens were counted:
    /// some providers do not report usage.
    #[must_use]
    pub fn cost_micros(self, usage: Usage) -> Option<u64> {
        if usage == Usage::default() {
            return None;
        }
        let part = |tokens: u32, price: u64| u128::from(tokens) * u128::from(price);
        let millionths =
            part(usage.prompt_tokens, self.prompt) + part(usage.completion_tokens, self.completion);
        Some(u64::try_from((millionths + 500_000) / 1_000_000).unwrap_or(u64::MAX))
    }
}

/// Time taken by a reply, in milliseconds from the call of the provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timings {
    /// Until the first text; `None` if the provider does not stream.
    pub first_token_ms: Option<u64>,
    /// Until the end.
    pub total_ms: u64,
}

/// Why a provider stopped writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The answer was finished.
    Stop,
    /// The limit of tokens was reached.
    Length,
    /// The provider's filter cut the answer.
    ContentFilter,
}

impl FinishReason {
    /// All reasons.
    pub const ALL: &[Self] = &[Self::Stop, Self::Length, Self::ContentFilter];

    /// The name in events and APIs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ContentFilter => "content_filter",
        }
    }
}

/// Why an attempt, or a whole reply, failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureReason {
    /// The provider asked to slow down.
    RateLimited,
    /// The provider could not be reached or answered with a failure of its own.
    ProviderUnavailable,
    /// The provider took too long.
    Timeout,
    /// No key for the provider is configured.
    KeyMissing,
    /// The provider rejected the key.
    KeyInvalid,
    /// The provider's or the user's quota is used up.
    QuotaExceeded,
    /// The provider does not know the model.
    ModelUnknown,
    /// The provider's filter rejected the question or the answer.
    ContentFilter,
    /// The provider's answer could not be parsed.
    BadResponse,
    /// The provider answered with no text.
    Empty,
    /// The answer exceeds the limit, or the message does not fit the prompt.
    TooLong,
    /// The deadline of the reply passed.
    Deadline,
    /// Every allowed attempt failed.
    AttemptsExhausted,
    /// Internal error.
    Internal,
}

impl FailureReason {
    /// All reasons.
    pub const ALL: &[Self] = &[
        Self::RateLimited,
        Self::ProviderUnavailable,
        Self::Timeout,
        Self::KeyMissing,
        Self::KeyInvalid,
        Self::QuotaExceeded,
        Self::ModelUnknown,
        Self::ContentFilter,
        Self::BadResponse,
        Self::Empty,
        Self::TooLong,
        Self::Deadline,
        Self::AttemptsExhausted,
        Self::Internal,
    ];

    /// The name in events and APIs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RateLimited => "rate_limited",
            Self::ProviderUnavailable => "provider_unavailable",
            Self::Timeout => "timeout",
            Self::KeyMissing => "key_missing",
            Self::KeyInvalid => "key_invalid",
            Self::QuotaExceeded => "quota_exceeded",
            Self::ModelUnknown => "model_unknown",
            Self::ContentFilter => "content_filter",
            Self::BadResponse => "bad_response",
            Self::Empty => "empty",
            Self::TooLong => "too_long",
            Self::Deadline => "deadline",
            Self::AttemptsExhausted => "attempts_exhausted",
            Self::Internal => "internal",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cost_follows_from_price_and_tokens() {
        let parameters =
            json!({"max_output_tokens": 500, "price": {"prompt": 150_000, "completion": 600_000}});
        let price = Price::of(&parameters).unwrap();
        let cost =
            |prompt_tokens, completion_tokens| price.cost_micros(Usage { prompt_tokens, completion_tokens });
        assert_eq!(cost(1_000, 100), Some(210));
        assert_eq!(cost(1, 0), Some(0));
        assert_eq!(cost(3, 1), Some(1), "to the nearest");
        assert_eq!(cost(0, 0), None, "no tokens were counted");
        let most = Price { prompt: u64::MAX, completion: u64::MAX };
        let usage = Usage { prompt_tokens: u32::MAX, completion_tokens: u32::MAX };
        assert_eq!(most.cost_micros(usage), Some(u64::MAX));
    }

    #[test]
    fn incomplete_price_is_none() {
        for parameters in [json!({}), json!({"price": null}), json!({"price": {"prompt": 1}}), json!(null)] {
            assert_eq!(Price::of(&parameters), None, "{parameters}");
        }
        let negative = json!({"price": {"prompt": -1, "completion": 1}});
        assert_eq!(Price::of(&negative), None);
    }
}
