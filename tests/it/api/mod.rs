//! Tests of the HTTP API over real sockets, one file per subject.

mod accounts;
mod bad_input;
mod branch_commands;
mod branches;
mod chat;
mod encryption;
mod erasure;
mod files;
mod group_commit;
mod history;
mod idempotency;
mod logins;
mod message_limits;
mod openai;
mod positions;
mod provider_failures;
mod quizzes;
mod quota_sql;
mod quotas;
mod request_limits;
mod service;
mod snapshots;
mod streams;
mod tokens;
