//! Tests the ChatKit surface: its formats, against golden files and the types of the official package; the response
//! to each request, as transcripts; rejections, disconnects, and accounts.

mod accounts;
mod attachments;
mod bad_input;
mod cancel;
mod concurrent_streams;
mod examples;
mod formats;
mod isolation;
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
mod support;
mod transcript;
mod widget_examples;
