//! Times, as this protocol writes them.

use chrono::{DateTime, SecondsFormat, SubsecRound as _, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

/// A time in UTC with `Z` and at most six fractional digits, as many as the clients' parsers accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp(pub DateTime<Utc>);

impl From<DateTime<Utc>> for Timestamp {
    fn from(at: DateTime<Utc>) -> Self {
        Self(at)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.trunc_subsecs(6).to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "date-time",
            "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?Z$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fraction_is_truncated_to_six_digits() {
        for (nanos, text) in [
            (0, "2026-01-02T03:04:05Z"),
            (120_000_000, "2026-01-02T03:04:05.120Z"),
            (123_456_000, "2026-01-02T03:04:05.123456Z"),
            (999_999_999, "2026-01-02T03:04:05.999999Z"),
            (1, "2026-01-02T03:04:05Z"),
        ] {
            let at = DateTime::from_timestamp(1_767_323_045, nanos).unwrap();
            assert_eq!(serde_json::to_value(Timestamp(at)).unwrap(), text);
        }
    }
}
