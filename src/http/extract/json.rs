//! Parsing of JSON bodies. Errors name the invalid field and never repeat its value.

use serde::Deserialize;

use crate::app::{AppError, Kind};
use crate::http::errors::{ApiError, FieldError};
use crate::http::extract::json_object::Object;

/// Parses a JSON body, which must be an object.
pub(super) fn parse_body<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, ApiError> {
    parse_json(bytes).map(|Object(value)| value)
}

/// Parses JSON text. Rejects U+0000, which no JSON column of the database can hold.
pub(in crate::http) fn parse_json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, ApiError> {
    if has_nul(bytes) {
        return Err(AppError::new(
            Kind::Invalid,
            "invalid_character",
            "The character U+0000 is not allowed.",
        )
        .into());
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| unprocessable(&error.path().to_string(), &error.inner().to_string()))?;
    deserializer.end().map_err(|error| unprocessable(".", &error.to_string()))?;
    Ok(value)
}

/// Parses a part of a body that [`parse_json`] has read. Errors name fields relative to the whole body.
pub(in crate::http) fn parse_part<'a, T: Deserialize<'a>>(place: &str, json: &'a str) -> Result<T, ApiError> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { place.to_owned() } else { format!("{place}.{path}") };
        let message = error.inner().to_string();
        // Drop line and column: they are relative to the part.
        unprocessable(&field, message.split(" at line ").next().unwrap_or_default())
    })
}

/// Returns whether JSON text contains an escaped U+0000. A raw one is invalid JSON anyway.
fn has_nul(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        let escape = &rest[at + 1..];
        if escape.starts_with(b"u0000") {
            return true;
        }
        rest = escape.get(1..).unwrap_or_default();
    }
    false
}

pub(super) fn not_json() -> ApiError {
    unprocessable("Content-Type", "must be application/json")
}

/// Creates the error for a malformed request. The message says what was expected and does not repeat the input.
pub(in crate::http) fn unprocessable(field: &str, message: &str) -> ApiError {
    let what = match message.split_once(' ') {
        // `unknown variant` and `unknown field` quote the input in backquotes.
        Some(("unknown", _)) => message.split_once(" `").map(|(what, _)| what),
        Some(("invalid", _)) => message.split_once(": ").map(|(what, _)| what),
        _ => None,
    };
    let message = match (what, message.rsplit_once(", expected ")) {
        (Some(what), Some((_, expected))) => format!("{what}, expected {expected}"),
        (Some(what), None) => what.to_owned(),
        (None, _) => message.to_owned(),
    };
    let error = AppError::new(
        Kind::Unprocessable,
        "malformed_request",
        format!("The request is malformed: {message}."),
    );
    ApiError::from(error).with_errors(vec![FieldError { field: field.to_owned(), message }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_nul_is_found_unless_the_backslash_is_escaped() {
        assert!(has_nul(br#"{"a":"x\u0000"}"#));
        assert!(has_nul(br#"{"a":"\\\u0000"}"#));
        assert!(!has_nul(br#"{"a":"\\u0000"}"#));
        assert!(!has_nul(br#"{"a":"\n"}"#));
        assert!(!has_nul(br"\"));
    }

    #[test]
    fn errors_do_not_repeat_the_input() {
        #[derive(serde::Deserialize, Debug)]
        struct Body {
            #[expect(dead_code, reason = "only its type matters here")]
            number: u32,
        }
        #[derive(serde::Deserialize, Debug)]
        #[serde(deny_unknown_fields)]
        struct Nothing {}
        #[derive(serde::Deserialize, Debug)]
        enum One {
            A,
        }
        for (error, told) in [
            (parse_json::<Body>(br#"{"number": "hunter2"}"#).unwrap_err(), "invalid type, expected u32"),
            (parse_json::<Nothing>(br#"{"hunter2": 1}"#).unwrap_err(), "unknown field"),
            (
                parse_json::<One>(br#""hunter2 `A`, expected B""#).unwrap_err(),
                "unknown variant, expected `A`",
            ),
        ] {
            let error = error.error();
            assert!(!error.detail.contains("hunter2"), "{}", error.detail);
            assert!(error.detail.contains(told), "{}", error.detail);
            assert_eq!(error.kind, Kind::Unprocessable);
        }
        assert!(matches!(parse_json::<One>(b"\"A\"").unwrap(), One::A));
    }

    #[test]
    fn malformed_json_is_rejected() {
        #[derive(serde::Deserialize, Debug)]
        struct Body {
            #[expect(dead_code, reason = "only its type matters here")]
            text: String,
        }
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        for text in [
            "",
            "{",
            "[]",
            "[\"a\"]",
            "null",
            "{}",
            r#"{"text":1}"#,
            r#"{"text":"a","text":"b"}"#,
            r#"{"text":"\ud800"}"#,
            r#"{"text":"a"} x"#,
            r#"{"text":1e400}"#,
            &deep,
        ] {
            assert!(parse_body::<Body>(text.as_bytes()).is_err(), "{text:.40}");
        }
        assert!(parse_body::<Body>(b"{\"text\":\"\xff\"}").is_err());
    }
}
