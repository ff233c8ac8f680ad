//! Passwords, access tokens and logins: everything secret that stands beside the log.
//!
//! | module | holds |
//! | --- | --- |
//! | [`passwords`] | the password rule, hashing and verification under a cap |
//! | [`administrators`] | the set of administrators, of which one is always left |
//! | [`credentials`] | where the hash of a person's password is kept |
//! | [`lockout`] | failed sign-ins, and for how long an account is locked after them |
//! | [`resets`] | tokens with which a forgotten password is replaced |
//! | [`device`] | the kind of program that somebody signs in with |
//! | [`opaque`] | refresh tokens, tickets and reset tokens: what a client keeps, and the hash that we keep |
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

pub mod administrators;
mod common_passwords;
pub mod credentials;
pub mod device;
pub mod links;
pub mod lockout;
pub mod logins;
pub mod names;
pub mod opaque;
pub mod passwords;
pub mod resets;
pub mod tickets;
pub mod tokens;
pub mod watch;

#[cfg(test)]
mod lockout_tests;
#[cfg(test)]
mod logins_tests;
#[cfg(test)]
mod passwords_tests;
#[cfg(test)]
mod tokens_tests;

pub use credentials::{Credential, Credentials};
pub use links::LinkKey;
pub use lockout::Lockout;
pub use logins::{LoginPolicy, Logins, Rotation};
pub use names::NameKeys;
pub use opaque::{RefreshToken, ResetToken, Ticket};
pub use passwords::{Password, Passwords};
pub use resets::Resets;
pub use tickets::Tickets;
pub use tokens::TokenKeys;
pub use watch::{OpenLogin, OpenLogins};
