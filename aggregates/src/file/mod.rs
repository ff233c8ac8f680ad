//! A file that a person brought: announced, stored, attached to a conversation, deleted.
//!
//! The bytes are not here but in the file store, under the file's id; the event says which bytes they were.

mod aggregate;
mod command;
mod error;
mod event;

pub use aggregate::{File, decide};
pub use command::FileCommand;
pub use error::FileError;
pub use event::{FileEvent, ImageSize};

#[cfg(test)]
mod tests;
