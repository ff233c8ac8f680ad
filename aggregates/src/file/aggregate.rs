//! The state of a file and its decisions.

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};

use super::{FileCommand, FileError, FileEvent};

/// One file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {}

impl File {
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
pub fn decide(_state: &File, command: FileCommand) -> Result<Vec<FileEvent>, FileError> {
    match command {}
}

impl Aggregate for File {
    const TYPE: &'static str = "file";
    type Command = FileCommand;
    type Event = FileEvent;
    type Error = FileError;
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
