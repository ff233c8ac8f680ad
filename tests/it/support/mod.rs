//! What several tests need.

pub(crate) mod app;
pub(crate) mod client;
pub(crate) mod collector;
pub(crate) mod openai_server;

use std::path::PathBuf;

/// The one place where the environment of these tests is read.
#[expect(clippy::disallowed_methods, reason = "tests are not configured through the program's configuration")]
pub(crate) fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The Python interpreter with the packages that tests need; `need_python` of `scripts/lib.sh` makes it.
pub(crate) fn python() -> PathBuf {
    setting("TEST_PYTHON").map_or_else(|| root().join("target/python/bin/python3"), PathBuf::from)
}

/// The project's folder.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// How often something is done: few times in every run, many times in `scripts/soak`.
pub(crate) fn often<T>(few: T, many: T) -> T {
    if setting("SOAK").is_some() { many } else { few }
}
