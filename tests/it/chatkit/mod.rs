//! The ChatKit door: its formats, against golden files and against the types of the protocol's own package, and accounts.

mod accounts;
mod examples;
mod formats;
mod python;
mod requests;
