//! The state of a claim and its decisions.

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};

use super::{ClaimCommand, ClaimError, ClaimEvent};
use crate::ids::UserId;

/// Who holds one value, if anybody does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    owner: Option<UserId>,
}

impl Claim {
    /// Who holds the value now.
    #[must_use]
    pub const fn owner(&self) -> Option<UserId> {
        self.owner
    }

    /// About how much memory the state takes, for a cache bounded by bytes.
    #[must_use]
    pub const fn approximate_bytes(&self) -> usize {
        size_of::<Self>()
    }
}

/// What `command` leads to in `state`. Pure: the same arguments give the same answer. A repeated command gives no
/// events.
///
/// # Errors
/// [`ClaimError::Taken`] when the value is wanted by one user and held by another.
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
