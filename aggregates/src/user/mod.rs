//! A user: one registered person, from the registration to the end of the account.
//!
//! The password's hash is not here: it lives beside the log, so that a replaced hash is really gone. That e-mail
//! and user name are unique is kept by [`crate::claim`].

mod aggregate;
mod command;
mod error;
mod event;
mod role;

pub use aggregate::{User, decide};
pub use command::UserCommand;
pub use error::UserError;
pub use event::UserEvent;
pub use role::Role;

#[cfg(test)]
mod tests;
