//! Passwords, access tokens and logins: everything secret that stands beside the log.
//!
//! | module | holds |
//! | --- | --- |
//! | [`passwords`] | the password rule, hashing and verification under a cap |
//! | [`credentials`] | where the hash of a person's password is kept |
//! | [`opaque`] | refresh tokens and tickets: what a client keeps, and the hash that we keep |
//! | [`tickets`] | tickets: each opens one socket, once, for a short time |
//! | [`logins`] | refresh-token families: start, rotation with detection of copies, end |
//! | [`links`] | signed links to files: one thing, for a while, without a token |
//! | [`watch`] | the logins of open streams and sockets: who is told when one ends |
//! | [`tokens`] | short-lived access tokens |
//! | [`names`] | keyed hashes: claim streams of addresses and names, fingerprints of request bodies |
//!
//! A request with an access token is let in when [`tokens::TokenKeys::verify`] accepts the token *and*
//! [`logins::Logins::is_live`] still knows its login: the first check alone would let a signed-out client in until
//! the token ends.

mod common_passwords;
pub mod credentials;
pub mod links;
pub mod logins;
pub mod names;
pub mod opaque;
pub mod passwords;
pub mod tickets;
pub mod tokens;
pub mod watch;

#[cfg(test)]
mod logins_tests;
#[cfg(test)]
mod passwords_tests;
#[cfg(test)]
mod tokens_tests;

pub use credentials::{Credential, Credentials};
pub use links::LinkKey;
pub use logins::{LoginPolicy, Logins, Rotation};
pub use names::NameKeys;
pub use opaque::{RefreshToken, Ticket};
pub use passwords::{Password, Passwords};
pub use tickets::Tickets;
pub use tokens::TokenKeys;
pub use watch::{OpenLogin, OpenLogins};
