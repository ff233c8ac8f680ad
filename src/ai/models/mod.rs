//! Models: the table of those that are known, with prices and sizes, and which of them may be asked for.
//!
//! The table is `default.json`, or the operator's `MODELS_FILE` in its place. The prices in `default.json` are what the
//! services charged when it was written; operators must check them.

mod catalogue;

use serde::Deserialize;

use super::service;
use aggregates::conversation::Price;

pub use catalogue::{Asked, Catalogue, Offered};

/// How many rows a table may have.
const MOST: usize = 1_000;
/// The highest price that makes sense: a thousand dollars for a token.
const HIGHEST: u64 = 1_000_000_000_000_000;

/// One model at one provider.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRow {
    /// What clients ask for.
    pub name: String,
    /// Who serves it: the service's short name.
    pub provider: String,
    /// What the provider calls it.
    pub model: String,
    /// Millionths of a dollar for a million tokens read.
    #[serde(default)]
    pub prompt_price: Option<u64>,
    /// Millionths of a dollar for a million tokens written.
    #[serde(default)]
    pub completion_price: Option<u64>,
    /// How many tokens it reads and writes in all.
    #[serde(default)]
    pub context_window: Option<u32>,
    /// How many tokens it writes at most.
    #[serde(default)]
    pub max_output_tokens: Option<u32>,
}

impl ModelRow {
    /// What it costs, where that is known.
    #[must_use]
    pub fn price(&self) -> Option<Price> {
        let (prompt, completion) = self.prompt_price.zip(self.completion_price)?;
        Some(Price { prompt, completion })
    }
}

/// Models that are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelTable {
    rows: Vec<ModelRow>,
    /// The operator's own.
    own: bool,
}

impl Default for ModelTable {
    /// The built-in table.
    fn default() -> Self {
        let rows = parse(include_str!("default.json")).unwrap_or_default();
        Self { rows, own: false }
    }
}

impl ModelTable {
    /// Reads an operator's table: a JSON array of rows.
    ///
    /// # Errors
    /// What is wrong with it, for a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        Ok(Self { rows: parse(text)?, own: true })
    }

    /// The rows, in their order.
    #[must_use]
    pub fn rows(&self) -> &[ModelRow] {
        &self.rows
    }
}

fn parse(text: &str) -> Result<Vec<ModelRow>, String> {
    let rows: Vec<ModelRow> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if rows.len() > MOST {
        return Err(format!("it has more than {MOST} models"));
    }
    for (n, row) in rows.iter().enumerate() {
        if !is_name(&row.name) || !is_name(&row.model) {
            return Err(format!(
                "model {} has a `name` or `model` that is not 1 to 200 visible characters",
                n + 1
            ));
        }
        let at = format!("`{}` at `{}`", row.name, row.provider);
        if service::by_name(&row.provider).is_none() {
            let known: Vec<&str> = service::SERVICES.iter().map(|service| service.name).collect();
            return Err(format!("{at}: the provider is none of {}", known.join(", ")));
        }
        if row.prompt_price.is_some() != row.completion_price.is_some() {
            return Err(format!("{at} has one of `prompt_price` and `completion_price` only"));
        }
        if row.prompt_price.max(row.completion_price).is_some_and(|price| price > HIGHEST) {
            return Err(format!("{at} has a price beyond {HIGHEST}"));
        }
        if row.context_window == Some(0) || row.max_output_tokens == Some(0) {
            return Err(format!("{at} can read or write nothing"));
        }
        if rows[..n].iter().any(|other| (&other.name, &other.provider) == (&row.name, &row.provider)) {
            return Err(format!("{at} stands there twice"));
        }
    }
    Ok(rows)
}

/// Whether this can be a model's name.
#[must_use]
pub fn is_name(text: &str) -> bool {
    (1..=200).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_table_is_whole_and_has_every_services_own_model() {
        let table = ModelTable::default();
        assert!(table.rows.len() > 10 && !table.own);
        for service in service::SERVICES {
            let own = |row: &&ModelRow| row.provider == service.name && row.model == service.model;
            let row = table.rows.iter().find(own).unwrap_or_else(|| panic!("{}", service.name));
            assert!(row.price().is_some() && row.context_window.is_some(), "{row:?}");
        }
        assert!(table.rows.iter().all(|row| row.price().is_some_and(|price| price.prompt < 1_000_000_000)));
    }

    #[test]
    fn an_operators_table_is_read_and_a_wrong_one_named() {
        let good = r#"[{"name": "fast", "provider": "groq", "model": "llama-3.1-8b-instant"}]"#;
        let table = ModelTable::parse(good).unwrap();
        assert_eq!((table.rows[0].price(), table.own), (None, true));
        let row = |more: &str| format!(r#"[{{"name": "a", "provider": "groq", "model": "b"{more}}}]"#);
        for (text, says) in [
            ("{}".to_owned(), "expected a sequence"),
            (row(r#", "x": 1"#), "unknown field"),
            (row(r#", "prompt_price": 1"#), "one of `prompt_price`"),
            (row(r#", "prompt_price": -1, "completion_price": 1"#), "invalid value"),
            (row(r#", "context_window": 0"#), "nothing"),
            (row("").replace("groq", "grok"), "the provider is none of openai, openrouter, groq, gemini"),
            (row("").replace("\"a\"", "\"a b\""), "model 1 has a `name`"),
            (format!("[{0}, {0}]", row("").trim_matches(['[', ']'])), "twice"),
        ] {
            let refused = ModelTable::parse(&text).unwrap_err();
            assert!(refused.contains(says), "{text}: {refused}");
        }
    }
}
