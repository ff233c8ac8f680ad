//! State and decisions of a claim.

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};

use super::{ClaimCommand, ClaimError, ClaimEvent};
use crate::ids::UserId;

/// Holder of one value, if any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    owner: Option<UserId>,
}

impl Claim {
    /// Returns the current holder.
    #[must_use]
    pub const fn owner(&self) -> Option<UserId> {
        self.owner
    }

    /// Returns the approximate size of the state in memory, for a cache bounded by bytes.
    #[must_use]
    pub const fn approximate_bytes(&self) -> usize {
        size_of::<Self>()
    }
}

/// Returns the events that `command` leads to in `state`. Pure: equal arguments give equal results. A repeated command adds no
/// events.
///
/// # Errors
/// [`ClaimError::Taken`] if another user holds the value.
pub fn decide(state: &Claim, command: ClaimCommand) -> Result<Vec<ClaimEvent>, ClaimError> {
    match command {
        ClaimCommand::Take { owner, at } => match state.owner {
            None => Ok(vec![ClaimEvent::ClaimTaken { owner, at }]),
            Some(holder) if holder == owner => Ok(Vec::new()),
            Some(_) => Err(ClaimError::Taken),
        },
        ClaimCommand::Release { owner, at } if state.owner == Some(owner) => {
            Ok(vec![ClaimEvent::ClaimReleased { owner, at }])
        }
        ClaimCommand::Release { .. } => Ok(Vec::new()),
    }
}

impl Aggregate for Claim {
    const TYPE: &'static str = "claim";
    type Command = ClaimCommand;
    type Event = ClaimEvent;
    type Error = ClaimError;
    type Services = ();

    async fn handle(
        &mut self,
        command: Self::Command,
        (): &Self::Services,
        sink: &EventSink<Self>,
    ) -> Result<(), Self::Error> {
        for event in decide(self, command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: Self::Event) {
        self.owner = match event {
            ClaimEvent::ClaimTaken { owner, .. } => Some(owner),
            ClaimEvent::ClaimReleased { .. } => None,
        };
    }
}
