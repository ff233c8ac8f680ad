//! The causes of an error as text that may be logged.

use std::error::Error;

/// Returns the causes of `error`, nearest first, joined by `: `; `None` if it has no cause.
///
/// Uses `Display` only: the `Debug` text of a database error contains the rejected row, which may hold personal text.
pub fn error_chain(error: &dyn Error) -> Option<String> {
    let causes: Vec<String> =
        std::iter::successors(error.source(), |error| (*error).source()).map(ToString::to_string).collect();
    (!causes.is_empty()).then(|| causes.join(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{message}")]
    struct Failure {
        message: &'static str,
        /// Visible in `Debug` only.
        row: &'static str,
        source: Option<Box<Failure>>,
    }

    #[test]
    fn causes_are_displayed_without_their_debug_text() {
        let deepest = Failure { message: "deepest", row: "canary", source: None };
        let middle = Failure { message: "middle", row: "canary", source: Some(Box::new(deepest)) };
        let error = Failure { message: "outer", row: "canary", source: Some(Box::new(middle)) };
        assert!(format!("{error:?}").contains("canary"));
        assert_eq!(error_chain(&error).as_deref(), Some("middle: deepest"));
        assert_eq!(error_chain(&Failure { message: "alone", row: "", source: None }), None);
    }
}
