//! Reads variables one by one, typed, and records each effective value for `verbatim config`.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;

use super::error::ConfigError;
use super::secret::{REDACTED, Secret};

/// Source of an effective value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The process' environment.
    Environment,
    /// The file `.env`.
    DotEnv,
    /// The built-in default.
    Default,
}

impl Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Environment => "environment",
            Self::DotEnv => ".env",
            Self::Default => "default",
        })
    }
}

/// One line of `verbatim config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// Name of the variable.
    pub name: &'static str,
    /// Effective value, secrets redacted.
    pub value: String,
    /// Source of the value.
    pub source: Source,
}

/// The given variables, and a record of those that were read.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    environment: &'a BTreeMap<String, String>,
    dot_env: &'a BTreeMap<String, String>,
    pub(super) effective: Vec<Effective>,
    pub(super) notes: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        environment: &'a BTreeMap<String, String>,
        dot_env: &'a BTreeMap<String, String>,
    ) -> Self {
        Self { environment, dot_env, effective: Vec::new(), notes: Vec::new() }
    }

    /// Returns the value of `name`; an empty value counts as not set.
    fn raw(&self, name: &str) -> Option<(&'a str, Source)> {
        let layers = [(self.environment, Source::Environment), (self.dot_env, Source::DotEnv)];
        // A variable that is empty in the environment hides the one in the file; that is how to unset it.
        let (value, source) =
            layers.into_iter().find_map(|(layer, source)| layer.get(name).map(|value| (value, source)))?;
        let value = value.trim();
        (!value.is_empty()).then_some((value, source))
    }

    fn record(&mut self, name: &'static str, value: impl Display, source: Source) {
        self.effective.push(Effective { name, value: value.to_string(), source });
    }

    /// Replaces the recorded value of the last variable, when it depends on others.
    pub(super) fn show(&mut self, name: &'static str, value: impl Display) {
        if let Some(line) = self.effective.iter_mut().find(|line| line.name == name) {
            line.value = value.to_string();
        }
    }

    /// Reads a value with `parse`; `expected` completes "it must be …".
    pub(super) fn parsed<T>(
        &mut self,
        name: &'static str,
        default: T,
        expected: &str,
        show: impl Fn(&T) -> String,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, ConfigError> {
        let Some((text, source)) = self.raw(name) else {
            self.record(name, show(&default), Source::Default);
            return Ok(default);
        };
        let value = parse(text).ok_or_else(|| invalid(name, text, expected))?;
        self.record(name, show(&value), source);
        Ok(value)
    }

    /// Reads a value like [`Reader::parse`], without a default.
    pub(super) fn optional<T>(
        &mut self,
        name: &'static str,
        expected: &str,
        show: impl Fn(&T) -> String,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let show = |value: &Option<T>| value.as_ref().map_or_else(|| "(not set)".to_owned(), &show);
        self.parsed(name, None, expected, show, |text| parse(text).map(Some))
    }

    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        let value = self.raw(name);
        self.record(
            name,
            value.map_or("(not set)", |(text, _)| text),
            value.map_or(Source::Default, |(_, source)| source),
        );
        value.map(|(text, _)| text.to_owned())
    }

    pub(super) fn secret(&mut self, name: &'static str) -> Option<Secret> {
        let value = self.raw(name);
        self.record(
            name,
            value.map_or("(not set)", |_| REDACTED),
            value.map_or(Source::Default, |(_, source)| source),
        );
        value.map(|(text, _)| Secret::new(text))
    }

    pub(super) fn number(
        &mut self,
        name: &'static str,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> Result<u64, ConfigError> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        self.parsed(name, default, &expected, u64::to_string, |text| {
            text.parse().ok().filter(|number| range.contains(number))
        })
    }

    /// Reads a count or size like [`Reader::number`]; the range must fit the type.
    pub(super) fn count<T: TryFrom<u64>>(
        &mut self,
        name: &'static str,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> Result<T, ConfigError> {
        let number = self.number(name, default, range)?;
        T::try_from(number).map_err(|_| invalid(name, &number.to_string(), "a smaller number"))
    }

    pub(super) fn flag(&mut self, name: &'static str, default: bool) -> Result<bool, ConfigError> {
        self.parsed(
            name,
            default,
            "on or off",
            |on| (if *on { "on" } else { "off" }).to_owned(),
            |text| match text.to_ascii_lowercase().as_str() {
                "on" | "true" | "yes" | "1" => Some(true),
                "off" | "false" | "no" | "0" => Some(false),
                _ => None,
            },
        )
    }

    pub(super) fn note(&mut self, sentence: String) {
        self.notes.push(sentence);
    }
}

pub(super) fn invalid(name: &'static str, value: &str, expected: &str) -> ConfigError {
    ConfigError::Invalid { name, value: value.to_owned(), expected: expected.to_owned() }
}
