//! The domain of Verbatim: commands go in, events come out, nothing else happens.
//!
//! | aggregate | stream | owns |
//! | --- | --- | --- |
//! | [`user`] | one per person | the account: registered, password changed, closed |
//! | [`claim`] | one per e-mail address or user name, under its keyed hash | that only one user has it |
//! | [`conversation`] | one per conversation | its messages, whose turn a reply is, which attempt is valid, and the one end of each reply |
//! | [`quiz`] | one per quiz | its questions, which one is open, the answers and the score |
//! | [`mod@file`] | one per file | that its bytes are stored, and the one conversation it was sent in |
//!
//! Everything here is pure. Time, ids and randomness come in with the commands; there is no clock, no environment, no
//! input or output and nothing to wait for (`Services = ()`). Each aggregate decides in a plain function `decide`
//! over its state, and its `handle` writes what that gives into the sink. A repeated command gives no events.
//!
//! Around the aggregates: [`ids`] and [`values`] (checked once, then trusted), [`personal`] (text that can be
//! erased), and [`versions`] (which event shapes this code reads, and the one list of upcasters).

#![warn(clippy::wildcard_enum_match_arm)]

pub mod claim;
pub mod conversation;
mod event;
mod event_sourced;
pub mod file;
pub mod ids;
pub mod personal;
pub mod quiz;
mod refusal;
pub mod user;
pub mod values;
pub mod versions;

pub use event::{DecodeError, Event};
pub use event_sourced::EventSourced;
pub use personal::Personal;
pub use refusal::Refusal;
pub use versions::{known_version, upcasters};

#[cfg(test)]
mod properties;
