//! An uploaded file: announced, stored, attached to a conversation, deleted.
//!
//! The file store holds the bytes under the file's id; the event holds their hash.

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
