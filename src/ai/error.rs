//! What can go wrong with a provider, told apart by what the caller can do about it.

use std::time::Duration;

use thiserror::Error;

/// Which of the time limits ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeoutKind {
    /// No connection was made in time.
    Connect,
    /// Connected, but nothing came back in time.
    FirstByte,
    /// The answer had begun, then nothing more came for too long.
    Idle,
    /// The whole call took too long.
    Total,
}

/// Why a provider gave no, or not the whole, reply.
///
/// No variant carries text from the provider: its error bodies may repeat the prompt or parts of the key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProviderError {
    /// Too many requests; worth another try later.
    #[error("the provider is limiting the rate of requests")]
    RateLimited {
        /// How long the provider asks to wait, as it said it: the caller caps it.
        retry_after: Option<Duration>,
    },
    /// The provider could not be reached, or failed on its side.
    #[error("the provider is not available")]
    Unavailable {
        /// The HTTP status, if there was one.
        status: Option<u16>,
        /// How long the provider asks to wait, as it said it: the caller caps it.
        retry_after: Option<Duration>,
    },
    /// A time limit ran out.
    #[error("the provider took too long ({0:?})")]
    Timeout(TimeoutKind),
    /// The provider got no key.
    #[error("the provider's key is missing")]
    KeyMissing,
    /// The provider does not accept the key, or not for this.
    #[error("the provider does not accept the key")]
    KeyInvalid,
    /// The account has no credit left.
    #[error("the provider account's quota is used up")]
    QuotaExceeded,
    /// There is no such model, or not for this account.
    #[error("the provider does not know the model")]
    ModelUnknown,
    /// The provider's filter refuses what was asked.
    #[error("the provider's filter refused the question")]
    ContentFilter,
    /// The conversation does not fit into what the model reads.
    #[error("the conversation is too long for the model")]
    ContextTooLong,
    /// The request is larger than what this account may send at once; the model itself might have read it.
    #[error("the request is larger than the provider's account may send at once")]
    RequestTooLarge,
    /// The provider refuses the request as it stands.
    #[error("the provider refused the request")]
    BadRequest,
    /// The answer is not what this API answers.
    #[error("the provider's answer could not be understood")]
    BadResponse,
    /// The provider has nothing that could do this.
    #[error("the provider cannot do this")]
    Unsupported,
    /// The stream ended, or the connection broke, before the provider said why it finished.
    #[error("the provider's answer was cut off")]
    Cut,
    /// The reply is longer than the limit; what came before this error is what fits.
    #[error("the provider's reply is too long")]
    TooLong,
}

impl ProviderError {
    /// [`Unavailable`](Self::Unavailable) that asks for no wait.
    #[must_use]
    pub const fn unavailable(status: Option<u16>) -> Self {
        Self::Unavailable { status, retry_after: None }
    }

    /// Whether the same call may go well when it is made again.
    ///
    /// [`BadResponse`](Self::BadResponse) is not among these: an answer in the wrong shape mostly means a
    /// wrong base URL, and every further try may cost money. Nor is [`TimeoutKind::Total`]: the time that a
    /// reply may take is used up.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::RateLimited { .. } | Self::Unavailable { .. } | Self::Cut => true,
            Self::Timeout(kind) => *kind != TimeoutKind::Total,
            Self::KeyMissing
            | Self::KeyInvalid
            | Self::QuotaExceeded
            | Self::ModelUnknown
            | Self::ContentFilter
            | Self::ContextTooLong
            | Self::RequestTooLarge
            | Self::BadRequest
            | Self::BadResponse
            | Self::Unsupported
            | Self::TooLong => false,
        }
    }

    /// Whether another provider, or another key, may do better with the same question: what is wrong lies with this one.
    #[must_use]
    pub fn another_may_do_better(&self) -> bool {
        match self {
            Self::RateLimited { .. }
            | Self::Unavailable { .. }
            | Self::KeyMissing
            | Self::KeyInvalid
            | Self::QuotaExceeded
            | Self::ModelUnknown
            | Self::RequestTooLarge
            | Self::BadResponse
            | Self::Unsupported
            | Self::Cut => true,
            Self::Timeout(kind) => *kind != TimeoutKind::Total,
            Self::ContentFilter | Self::ContextTooLong | Self::BadRequest | Self::TooLong => false,
        }
    }

    /// Whether it counts towards opening the provider's circuit: what is wrong would be wrong for every question.
    #[must_use]
    pub fn speaks_against_the_provider(&self) -> bool {
        // A model that is unknown may be so for one wish only, a smaller request may go well, and what one cannot do others are
        // not asked for.
        self.another_may_do_better()
            && !matches!(self, Self::ModelUnknown | Self::RequestTooLarge | Self::Unsupported)
    }

    /// Whether it stays as it is until somebody changes the configuration or pays.
    #[must_use]
    pub fn needs_somebody(&self) -> bool {
        matches!(self, Self::KeyMissing | Self::KeyInvalid | Self::QuotaExceeded | Self::ModelUnknown)
    }

    /// The stable word for it, in logs and metrics. (What is recorded with a failed reply is coarser.)
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::RateLimited { .. } => "rate_limited",
            Self::Unavailable { .. } => "provider_unavailable",
            Self::Timeout(_) => "timeout",
            Self::KeyMissing => "key_missing",
            Self::KeyInvalid => "key_invalid",
            Self::QuotaExceeded => "quota_exceeded",
            Self::ModelUnknown => "model_unknown",
            Self::ContentFilter => "content_filter",
            Self::ContextTooLong => "context_too_long",
            Self::RequestTooLarge => "request_too_large",
            Self::BadRequest => "bad_request",
            Self::BadResponse => "bad_response",
            Self::Cut => "cut",
            Self::Unsupported => "unsupported",
            Self::TooLong => "too_long",
        }
    }

    /// How long the provider asks to wait before another try.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } | Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_by_itself_is_tried_again() {
        let again = [
            ProviderError::RateLimited { retry_after: None },
            ProviderError::unavailable(Some(500)),
            ProviderError::Timeout(TimeoutKind::Connect),
            ProviderError::Timeout(TimeoutKind::FirstByte),
            ProviderError::Timeout(TimeoutKind::Idle),
            ProviderError::Cut,
        ];
        let never = [
            ProviderError::Timeout(TimeoutKind::Total),
            ProviderError::KeyMissing,
            ProviderError::KeyInvalid,
            ProviderError::QuotaExceeded,
            ProviderError::ModelUnknown,
            ProviderError::ContentFilter,
            ProviderError::ContextTooLong,
            ProviderError::RequestTooLarge,
            ProviderError::BadRequest,
            ProviderError::BadResponse,
            ProviderError::Unsupported,
            ProviderError::TooLong,
        ];
        for error in again {
            assert!(error.is_retryable(), "{error:?}");
        }
        for error in never {
            assert!(!error.is_retryable(), "{error:?}");
        }
    }

    #[test]
    fn what_lies_with_the_question_is_asked_of_nobody_else_and_held_against_nobody() {
        for error in [
            ProviderError::ContentFilter,
            ProviderError::ContextTooLong,
            ProviderError::BadRequest,
            ProviderError::TooLong,
            ProviderError::Timeout(TimeoutKind::Total),
        ] {
            assert!(!error.another_may_do_better() && !error.speaks_against_the_provider(), "{error:?}");
        }
        for error in [
            ProviderError::RateLimited { retry_after: None },
            ProviderError::unavailable(None),
            ProviderError::Timeout(TimeoutKind::Connect),
            ProviderError::KeyInvalid,
            ProviderError::QuotaExceeded,
            ProviderError::BadResponse,
            ProviderError::Cut,
        ] {
            assert!(error.another_may_do_better() && error.speaks_against_the_provider(), "{error:?}");
        }
        for error in [ProviderError::ModelUnknown, ProviderError::RequestTooLarge] {
            assert!(error.another_may_do_better() && !error.speaks_against_the_provider(), "{error:?}");
        }
    }

    #[test]
    fn a_rate_limit_and_a_provider_that_is_away_carry_a_wait() {
        let wait = Duration::from_secs(2);
        assert_eq!(ProviderError::RateLimited { retry_after: Some(wait) }.retry_after(), Some(wait));
        assert_eq!(ProviderError::RateLimited { retry_after: None }.retry_after(), None);
        let away = ProviderError::Unavailable { status: Some(503), retry_after: Some(wait) };
        assert_eq!(away.retry_after(), Some(wait));
        assert_eq!(ProviderError::unavailable(Some(503)).retry_after(), None);
        assert_eq!(ProviderError::Cut.retry_after(), None);
    }
}
