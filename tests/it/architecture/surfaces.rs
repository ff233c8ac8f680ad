//! What an API surface may use.
//!
//! A surface translates one wire format into use cases (`src/app`). Besides those it uses the modules of `src/http`
//! that surfaces share, row types that queries of read models return, and the live frames of replies. It touches
//! neither SQL, nor events, nor the write side of the event store, nor another surface, nor the inside of providers,
//! relay and workers.

use std::path::Path;

use super::imports::{code, module, references};
use super::{root, sources};

/// Everything outside `src/http` that a file in it may name, with the reason.
const ALLOWED: &[(&str, &str)] = &[
    ("app", "use cases, their inputs, outcomes and errors"),
    ("aggregates::ids", "typed ids"),
    ("aggregates::values", "limits of values, for the schemas of the API's description"),
    ("projections::conversations::query", "rows of a read model"),
    ("projections::files::query", "rows of a read model"),
    ("projections::messages::query", "rows of a read model"),
    ("projections::messages::thread", "rows of a read model"),
    ("projections::replies::query", "rows of a read model"),
    ("projections::usage::query", "rows of a read model"),
    ("projections::users::query", "rows of a read model"),
    ("auth::logins::LoginRow", "rows of a table"),
    ("auth::passwords", "the rule for passwords, for schemas and forms"),
    ("auth::ResetToken", "token of the link in a reset email"),
    ("auth::signed_urls::Purpose", "purpose of a signed URL"),
    ("auth::signed_urls::Signature", "query of a signed URL"),
    ("auth::tickets::TICKET_TTL", "shown to clients"),
    ("auth::tokens::LEEWAY", "leeway for expired tokens, as for requests"),
    ("auth::device", "names the client's program"),
    ("live::FeedItem", "live frames of a user's items"),
    ("live::Frame", "live frames of a reply"),
    ("live::Item", "live frames of a user's items"),
    ("live::ReplyFollower", "live frames of a reply"),
    ("live::Resume", "a place in a reply's stream"),
    ("live::UserFeed", "live frames of a user's items"),
    ("live::stream::Ended", "how a reply ended"),
    ("tools::quiz::quiz_card", "the card that shows a quiz"),
    ("widgets", "the widget language of a surface's clients"),
    ("config::SocketsConfig", "plain settings"),
    ("telemetry::panics::join_error", "a handler that panicked becomes an error"),
    ("traces", "spans around requests and frames"),
];

/// The same for the modules that surfaces share.
const SHARED: &[(&str, &str)] = &[
    ("VERSION", "shown to clients"),
    ("config::ProxyHeader", "plain settings"),
    ("config::ServeLimits", "plain settings"),
    ("lifecycle::Lifecycle", "the listener for metrics stops with the process"),
];

/// Crates of the workspace and others that `src/http` might name.
const CRATES: [&str; 9] = [
    "aggregates",
    "projections",
    "event_store",
    "traces",
    "sqlx",
    "cqrs_es",
    "postgres_es",
    "async_nats",
    "async_openai",
];

fn is_allowed(path: &[String], list: &[(&str, &str)]) -> bool {
    let path = path.join("::");
    list.iter().any(|(allowed, _)| path == *allowed || path.starts_with(&format!("{allowed}::")))
}

/// Returns the surfaces: the modules of `src/http/surfaces`, each of which `SURFACES` must list.
fn surfaces() -> Vec<String> {
    let folder = root().join("src/http/surfaces");
    let list = std::fs::read_to_string(folder.join("mod.rs")).unwrap();
    let mut surfaces = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned();
        if name != "mod" {
            assert!(list.contains(&format!("{name}::routes)")), "SURFACES does not list {name}");
            surfaces.push(name);
        }
    }
    assert!(surfaces.len() > 4, "the surfaces were not found");
    surfaces
}

/// What a file of `src/http` must not refer to, of all that it does.
fn forbidden(file: &str, source: &str, surfaces: &[String]) -> Vec<String> {
    let module = module(Path::new(file));
    let surface = module.get(2).filter(|_| module[1] == "surfaces");
    let mut found = Vec::new();
    for path in references(&code(source), &module, &CRATES) {
        let other = path.get(2).filter(|_| path.starts_with(&["http".to_owned(), "surfaces".to_owned()]));
        let fine = match (path[0].as_str(), other) {
            // The router knows the health surface: a process without the API serves it alone.
            ("http", Some(other)) => {
                surface == Some(other)
                    || !surfaces.contains(other)
                    || (surface.is_none() && other == "health")
            }
            ("http", None) => true,
            _ => is_allowed(&path, ALLOWED) || (surface.is_none() && is_allowed(&path, SHARED)),
        };
        if !fine {
            found.push(format!("src/{file} uses {}", path.join("::")));
        }
    }
    found
}

#[test]
fn surfaces_use_only_what_is_allowed() {
    let surfaces = surfaces();
    let mut found = Vec::new();
    for (path, source) in sources("src/http") {
        let file = path.strip_prefix(root().join("src")).unwrap().to_string_lossy().into_owned();
        if !file.ends_with("tests.rs") {
            found.extend(forbidden(&file, &source, &surfaces));
        }
    }
    assert!(
        found.is_empty(),
        "{found:#?}\nThe lists in tests/it/architecture/surfaces.rs say what is allowed."
    );
}

#[test]
fn every_allowed_entry_is_used_once_in_the_list() {
    let mut uses = Vec::new();
    for (path, source) in sources("src/http") {
        let file = path.strip_prefix(root().join("src")).unwrap().to_path_buf();
        uses.extend(references(&code(&source), &module(&file), &CRATES));
    }
    let entries: Vec<&(&str, &str)> = ALLOWED.iter().chain(SHARED).collect();
    for (number, (entry, reason)) in entries.iter().enumerate() {
        assert!(uses.iter().any(|path| is_allowed(path, &[(*entry, *reason)])), "nothing uses {entry}");
        assert!(entries[..number].iter().all(|(earlier, _)| earlier != entry), "{entry} is listed twice");
    }
}

#[test]
fn forbidden_uses_are_found() {
    let surfaces = ["api", "chatkit", "health"].map(str::to_owned);
    let found = |file, source| forbidden(file, source, &surfaces).len();
    for source in [
        "use event_store::Executor;",
        "use aggregates::{ids::UserId, Event};",
        "use crate::{app::AppError, replies::policy};",
        "use crate::http::surfaces::chatkit::wire::Thread;",
        "use super::super::chatkit::wire::Thread;",
        "fn f() { sqlx::query(x) }",
        "use projections::runner;",
    ] {
        assert_eq!(found("http/surfaces/api/chat.rs", source), 1, "{source}");
    }
    let source = "use super::wire::ChatAnswer; use crate::http::errors::ApiError; use crate::app::AppError; // sqlx::query";
    assert_eq!(found("http/surfaces/api/chat.rs", source), 0);
    assert_eq!(found("http/mod.rs", "use surfaces::health; use crate::http::surfaces::health::routes;"), 0);
    assert_eq!(found("http/transport/sse.rs", "use crate::http::surfaces::api::wire;"), 1);
}
