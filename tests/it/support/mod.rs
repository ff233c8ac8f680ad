//! What several tests need.

pub(crate) mod app;
pub(crate) mod client;
pub(crate) mod collector;
pub(crate) mod openai_server;

/// The one place where the environment of these tests is read.
#[expect(clippy::disallowed_methods, reason = "tests are not configured through the program's configuration")]
pub(crate) fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// How often something is done: few times in every run, many times in `scripts/soak`.
pub(crate) fn often<T>(few: T, many: T) -> T {
    if setting("SOAK").is_some() { many } else { few }
}
