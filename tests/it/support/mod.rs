//! Helpers shared by the integration tests.

pub(crate) mod app;
pub(crate) mod client;
pub(crate) mod collector;
pub(crate) mod openai_server;

use std::path::PathBuf;

/// Reads an environment variable; no other function of these tests does.
#[expect(clippy::disallowed_methods, reason = "tests are not configured through the program's configuration")]
pub(crate) fn env_var(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Path of the Python interpreter that has the tests' packages; `need_python` in `scripts/lib.sh` installs it.
pub(crate) fn python() -> PathBuf {
    env_var("TEST_PYTHON").map_or_else(|| root().join("target/python/bin/python3"), PathBuf::from)
}

/// Path of the repository.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Returns `normal` in an ordinary run and `soak` under `scripts/soak`.
pub(crate) fn normal_or_soak<T>(normal: T, soak: T) -> T {
    if env_var("SOAK").is_some() { soak } else { normal }
}
