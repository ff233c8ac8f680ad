//! The ChatKit door: its formats, against golden files and against the types of the protocol's own package; what follows
//! on each request, as transcripts; what it refuses, and what happens when somebody hangs up; accounts.

mod accounts;
mod attachments;
mod bad_input;
mod cancel;
mod examples;
mod formats;
mod isolation;
mod many;
mod paging;
mod promises;
mod provider;
mod python;
mod quiz;
mod repeated;
mod requests;
mod scope;
mod sequences;
mod session;
mod shown;
mod support;
mod transcript;
