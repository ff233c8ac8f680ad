//! Failures of a provider, classified by what the caller can do about them.

use std::time::Duration;

use thiserror::Error;

/// Time limit that was exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeoutKind {
    /// No connection was established in time.
    Connect,
    /// Connected, but no response in time.
    FirstByte,
    /// The response had begun, then paused for too long.
    Idle,
    /// The whole call took too long.
    Total,
}

/// Why a provider returned no reply, or only a part of it.
///
/// No variant carries text from the provider: its error bodies may repeat the prompt or parts of the key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProviderError {
    /// Too many requests; a later retry may succeed.
    #[error("the provider is limiting the rate of requests")]
    RateLimited {
        /// Wait that the provider asks for; the caller caps it.
        retry_after: Option<Duration>,
    },
    /// The provider could not be reached, or failed on its side.
    #[error("the provider is not available")]
    Unavailable {
        /// HTTP status, if any.
        status: Option<u16>,
        /// Wait that the provider asks for; the caller caps it.
        retry_after: Option<Duration>,
    },
    /// A time limit was exceeded.
    #[error("the provider took too long ({0:?})")]
    Timeout(TimeoutKind),
    /// No key was sent.
    #[error("the provider's key is missing")]
    KeyMissing,
    /// The provider rejects the key, or the key lacks a permission.
    #[error("the provider does not accept the key")]
    KeyInvalid,
    /// The account has no credit left.
    #[error("the provider account's quota is used up")]
    QuotaExceeded,
    /// The model does not exist, or not for this account.
    #[error("the provider does not know the model")]
    ModelUnknown,
    /// The provider's content filter rejects the question.
    #[error("the provider's content filter rejected the question")]
    ContentFilter,
    /// The conversation exceeds the model's context window.
    #[error("the conversation is too long for the model")]
    ContextTooLong,
    /// The request is larger than this account may send at once; the model itself might accept it.
    #[error("the request is larger than the provider's account may send at once")]
    RequestTooLarge,
    /// The provider rejects the request.
    #[error("the provider rejected the request")]
    BadRequest,
    /// The response does not follow the API.
    #[error("the provider's response could not be parsed")]
    BadResponse,
    /// The provider does not support this.
    #[error("the provider does not support this")]
    Unsupported,
    /// The stream ended, or the connection broke, before the end of the answer.
    #[error("the provider's answer was cut off")]
    Cut,
    /// The reply exceeds the limit; the text before this error is what fits.
    #[error("the provider's reply is too long")]
    TooLong,
}

impl ProviderError {
    /// Returns [`Unavailable`](Self::Unavailable) without a requested wait.
    #[must_use]
    pub const fn unavailable(status: Option<u16>) -> Self {
        Self::Unavailable { status, retry_after: None }
    }

    /// Returns whether the same call may succeed when it is repeated.
    ///
    /// [`BadResponse`](Self::BadResponse) is excluded: a malformed response usually means a wrong base URL, and every retry may
    /// cost money. So is [`TimeoutKind::Total`]: the reply's time is used up.
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

    /// Returns whether another provider or key may succeed with the same question: the failure is specific to this one.
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

    /// Returns whether it counts towards opening the circuit: every question would fail in the same way.
    #[must_use]
    pub fn is_provider_fault(&self) -> bool {
        // An unknown model may concern one request only, a smaller request may succeed, and unsupported calls are not sent to
        // other providers.
        self.another_may_do_better()
            && !matches!(self, Self::ModelUnknown | Self::RequestTooLarge | Self::Unsupported)
    }

    /// Returns whether it persists until an operator changes the configuration or pays.
    #[must_use]
    pub fn needs_operator(&self) -> bool {
        matches!(self, Self::KeyMissing | Self::KeyInvalid | Self::QuotaExceeded | Self::ModelUnknown)
    }

    /// Returns the stable code for logs and metrics. (The recorded reason of a failed reply is coarser.)
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

    /// Returns the wait that the provider asks for.
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
    fn only_transient_failures_are_retryable() {
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
    fn failure_caused_by_the_question_blames_no_provider() {
        for error in [
            ProviderError::ContentFilter,
            ProviderError::ContextTooLong,
            ProviderError::BadRequest,
            ProviderError::TooLong,
            ProviderError::Timeout(TimeoutKind::Total),
        ] {
            assert!(!error.another_may_do_better() && !error.is_provider_fault(), "{error:?}");
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
            assert!(error.another_may_do_better() && error.is_provider_fault(), "{error:?}");
        }
        for error in [ProviderError::ModelUnknown, ProviderError::RequestTooLarge] {
            assert!(error.another_may_do_better() && !error.is_provider_fault(), "{error:?}");
        }
    }

    #[test]
    fn rate_limited_and_unavailable_carry_the_requested_wait() {
        let wait = Duration::from_secs(2);
        assert_eq!(ProviderError::RateLimited { retry_after: Some(wait) }.retry_after(), Some(wait));
        assert_eq!(ProviderError::RateLimited { retry_after: None }.retry_after(), None);
        let away = ProviderError::Unavailable { status: Some(503), retry_after: Some(wait) };
        assert_eq!(away.retry_after(), Some(wait));
        assert_eq!(ProviderError::unavailable(Some(503)).retry_after(), None);
        assert_eq!(ProviderError::Cut.retry_after(), None);
    }
}
