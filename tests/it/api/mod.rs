//! The API over real sockets, one file per subject.

mod accounts;
mod allowances;
mod attempts;
mod bad_input;
mod branch_commands;
mod branches;
mod chat;
mod erasure;
mod faults;
mod files;
mod history;
mod idempotency;
mod limits;
mod logins;
mod openai;
mod positions;
mod quizzes;
mod quotas;
mod sealed;
mod service;
mod snapshots;
mod streams;
mod together;
mod tokens;
