//! Very common passwords that satisfy the rule of length, letter and digit, in lower case: those among the 3,000 that turn up
//! most often in published collections of leaked ones, and some patterns of keyboards besides.
//!
//! Published examples of the API sign up with `password123`, so that one stays allowed: whoever types the documented
//! command must not be refused.

use std::sync::LazyLock;

/// The list, sorted.
pub(super) static COMMON: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| include_str!("common_passwords.txt").lines().collect());
