//! The domain of Verbatim: commands go in, events come out, nothing else happens.
//!
//! | aggregate | stream | owns |
//! | --- | --- | --- |
//! | [`user`] | one per user | the account: registered, password changed, deactivated |
//! | [`claim`] | one per e-mail address or user name, under its keyed hash | that only one user has it |
//! | [`conversation`] | one per conversation | its messages and branches, the order of replies, the valid attempt, and the one end of each reply |
//! | [`quiz`] | one per quiz | its questions, the open question, the answers and the score |
//! | [`mod@file`] | one per file | whether its bytes are stored, and the one conversation it was sent in |
//!
//! Everything here is pure. Time, ids and randomness come in with the commands; there is no clock, no environment, no
//! input or output and nothing to wait for (`Services = ()`). Each aggregate decides in a plain function `decide`
//! over its state, and its `handle` writes the events into the sink. A repeated command adds no events.
//!
//! Shared by the aggregates: [`ids`] and [`values`] (validated once, then trusted), [`personal`] (text that can be
//! erased), and [`versions`] (the event versions this code reads, and the one list of upcasters).

#![warn(clippy::wildcard_enum_match_arm)]

pub mod claim;
pub mod conversation;
mod event;
mod event_sourced;
pub mod file;
pub mod ids;
pub mod personal;
pub mod quiz;
mod rejection;
pub mod user;
pub mod values;
pub mod versions;

pub use event::{DecodeError, Event};
pub use event_sourced::EventSourced;
pub use personal::Personal;
pub use rejection::Rejection;
pub use versions::{known_version, upcasters};

#[cfg(test)]
mod properties;
