//! Passwords, access tokens and logins: every secret, in tables outside the log.
//!
//! | module | holds |
//! | --- | --- |
//! | [`passwords`] | the password rule, hashing and verification under a cap |
//! | [`credentials`] | the table of password hashes |
//! | [`lockout`] | failed sign-ins and temporary locks |
//! | [`password_resets`] | tokens that replace a forgotten password |
//! | [`device`] | the kind of program that a user signs in with |
//! | [`opaque_token`] | refresh tokens, tickets and reset tokens: the client's secret and its stored hash |
//! | [`tickets`] | single-use, short-lived tickets that open a socket |
//! | [`logins`] | refresh-token families: start, rotation with reuse detection, end |
//! | [`signed_urls`] | signed links to files, which need no token |
//! | [`login_monitor`] | watches the logins behind open streams and sockets |
//! | [`tokens`] | short-lived access tokens |
//! | [`keyed_hash`] | keyed hashes: claim streams of addresses and names, fingerprints of request bodies |
//!
//! A request with an access token is authenticated when [`tokens::TokenKeys::verify`] accepts the token *and*
//! [`logins::Logins::is_live`] knows its login: the first check alone would accept a signed-out client until the token
//! expires.

pub mod administrators;
mod common_passwords;
pub mod credentials;
pub mod device;
pub mod keyed_hash;
pub mod lockout;
pub mod login_monitor;
pub mod logins;
pub mod opaque_token;
pub mod password_resets;
pub mod passwords;
pub mod signed_urls;
pub mod tickets;
pub mod tokens;

pub use credentials::{Credential, Credentials};
pub use keyed_hash::KeyedHasher;
pub use lockout::Lockout;
pub use login_monitor::{LoginMonitor, WatchedLogin};
pub use logins::{LoginPolicy, Logins, Rotation};
pub use opaque_token::{RefreshToken, ResetToken, Ticket};
pub use password_resets::PasswordResets;
pub use passwords::{Password, Passwords};
pub use signed_urls::UrlSigningKey;
pub use tickets::Tickets;
pub use tokens::TokenKeys;
