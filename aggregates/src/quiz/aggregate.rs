//! The state of a quiz and its decisions.

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};

use super::{QuizCommand, QuizError, QuizEvent};

/// One quiz.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quiz {}

impl Quiz {
    /// What may be shown.
    #[must_use]
    pub fn view(&self) -> Option<super::QuizView> {
        None
    }

    /// About how much memory the state takes, for a cache bounded by bytes.
    #[must_use]
    pub fn approximate_bytes(&self) -> usize {
        size_of::<Self>()
    }
}

/// What `command` leads to in `state`. Pure: the same arguments give the same answer.
///
/// # Errors
/// The refusal, when the command is not allowed now.
pub fn decide(_state: &Quiz, command: QuizCommand) -> Result<Vec<QuizEvent>, QuizError> {
    match command {}
}

impl Aggregate for Quiz {
    const TYPE: &'static str = "quiz";
    type Command = QuizCommand;
    type Event = QuizEvent;
    type Error = QuizError;
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

    fn apply(&mut self, _event: Self::Event) {}
}
