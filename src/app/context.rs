//! The authenticated user and the context of a request.

use aggregates::ids::{LoginId, UserId};
use event_store::{CommandKey, Metadata};

use crate::clock::Clock;

/// A signed-in user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Actor {
    /// The user.
    pub user: UserId,
    /// The login behind the request's access token.
    pub login: LoginId,
}

/// Context of a request, independent of the surface.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// Id of the request, as in the response.
    pub request_id: String,
    /// Name of the surface.
    pub surface: &'static str,
    /// The client's idempotency key, with the keyed hash of operation and body.
    pub key: Option<(String, [u8; 32])>,
}

impl RequestContext {
    /// Returns the metadata of events that this request causes.
    pub fn metadata(&self, actor: Option<UserId>, clock: &Clock) -> Metadata {
        Metadata {
            actor: actor.map(UserId::uuid),
            surface: self.surface.to_owned(),
            request_id: Some(self.request_id.clone()),
            correlation_id: Some(self.request_id.clone()),
            causation_id: Some(self.request_id.clone()),
            traceparent: None,
            occurred_at: Some(clock.now()),
            app_version: crate::VERSION.to_owned(),
        }
    }

    /// Returns the idempotency key, scoped to `owner`.
    pub fn key_of(&self, owner: impl ToString) -> Option<CommandKey> {
        if event_store::fault_injection::is_injected(crate::fault_injection::NO_COMMAND_KEY) {
            return None;
        }
        self.key.as_ref().map(|(key, fingerprint)| CommandKey {
            owner: owner.to_string(),
            key: key.clone(),
            fingerprint: *fingerprint,
        })
    }
}
