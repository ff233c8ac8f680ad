//! Who asks, on which way, and with which idempotency key.

use aggregates::ids::{LoginId, UserId};
use event_store::{CommandKey, Metadata};

use crate::clock::Clock;

/// A signed-in person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Actor {
    /// The person.
    pub user: UserId,
    /// The login the request came with.
    pub login: LoginId,
}

/// What is known of a request, whatever door it came through.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// The request's id, as in the answer.
    pub request_id: String,
    /// The door's name.
    pub surface: &'static str,
    /// The client's key for this command, with the keyed hash of operation and body.
    pub key: Option<(String, [u8; 32])>,
}

impl RequestContext {
    /// Metadata of the events that this request causes.
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

    /// The command's key in the name of `owner`.
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
