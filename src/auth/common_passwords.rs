//! Common passwords that satisfy the rule of length, letter and digit, in lower case: those among the 3,000 most frequent in
//! published leaks, and some keyboard patterns.
//!
//! `password123` stays allowed, because published examples of the API register with it.

use std::sync::LazyLock;

/// The common passwords, sorted.
pub(super) static COMMON: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| include_str!("common_passwords.txt").lines().collect());
