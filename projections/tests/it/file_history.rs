//! Random but valid histories of files.

use aggregates::file::{self, File, FileCommand};
use aggregates::ids::{ConversationId, FileId, MessageId};
use aggregates::values::FileName;
use aggregates::{Event, Personal};
use cqrs_es::Aggregate as _;
use rand::Rng as _;
use rand::rngs::StdRng;
use uuid::Uuid;

use crate::events::{ADA, minute};

/// Returns random events of six files, grouped by append; some files are attached in the conversations.
pub(crate) fn files(
    random: &mut StdRng,
    conversations: &[ConversationId],
    commands: usize,
) -> Vec<Vec<Event>> {
    let ids: Vec<FileId> = (0..6).map(|_| FileId::new(Uuid::from_u128(random.random()))).collect();
    let mut states = vec![File::default(); ids.len()];
    let mut groups = Vec::new();
    for step in 0..commands {
        let which = random.random_range(0..ids.len());
        let (id, at) = (ids[which], minute(i64::try_from(step).unwrap()));
        let name = Personal::Known(FileName::of(&format!("file {step}.txt")).unwrap());
        let (mime_type, size) = ("text/plain".to_owned(), 9);
        let command = match random.random_range(0..10) {
            0..3 => FileCommand::Announce { id, by: ADA, name, mime_type, size, at },
            3..6 => {
                let sha256 = "ab".repeat(32);
                FileCommand::Store { id, by: ADA, name, mime_type, size, sha256, image: None, at }
            }
            6..9 => FileCommand::Attach {
                by: ADA,
                conversation_id: conversations[which % conversations.len()],
                message_id: MessageId::new(Uuid::from_u128(random.random::<u128>() >> 8)),
                at,
            },
            _ => FileCommand::Delete { by: ADA, at },
        };
        let Ok(events) = file::decide(&states[which], command) else { continue };
        for event in &events {
            states[which].apply(event.clone());
        }
        if !events.is_empty() {
            groups.push(events.into_iter().map(Event::from).collect());
        }
    }
    groups
}
