//! Why something failed, in words that may be logged.

use std::error::Error;

/// The causes of an error, the nearest first, each in its own words. Never their `Debug`: that of a database error holds
/// the row that the database refused, and with it what somebody wrote.
pub fn cause(error: &dyn Error) -> Option<String> {
    let causes: Vec<String> =
        std::iter::successors(error.source(), |error| (*error).source()).map(ToString::to_string).collect();
    (!causes.is_empty()).then(|| causes.join(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{said}")]
    struct Failure {
        said: &'static str,
        /// What only `Debug` shows.
        row: &'static str,
        source: Option<Box<Failure>>,
    }

    #[test]
    fn causes_are_told_in_their_own_words_and_nothing_else_of_them() {
        let deepest = Failure { said: "deepest", row: "canary", source: None };
        let middle = Failure { said: "middle", row: "canary", source: Some(Box::new(deepest)) };
        let error = Failure { said: "outer", row: "canary", source: Some(Box::new(middle)) };
        assert!(format!("{error:?}").contains("canary"));
        assert_eq!(cause(&error).as_deref(), Some("middle: deepest"));
        assert_eq!(cause(&Failure { said: "alone", row: "", source: None }), None);
    }
}
