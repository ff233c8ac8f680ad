//! Models: the table of known models, with prices and sizes, and which of them clients may request.
//!
//! The table is `default.json` or the operator's `MODELS_FILE`. The prices in `default.json` are those of the services
//! when it was written; operators must check them.

mod catalogue;

use serde::Deserialize;

use super::service;
use aggregates::conversation::Price;

pub use catalogue::{AvailableModel, Catalogue, ModelChoice};

/// Most rows of a table.
const MAX_MODELS: usize = 1_000;
/// Highest plausible price: a thousand dollars per token.
const MAX_PRICE: u64 = 1_000_000_000_000_000;

/// One model at one provider.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRow {
    /// Name for clients.
    pub name: String,
    /// Short name of the service.
    pub provider: String,
    /// The provider's name for the model.
    pub model: String,
    /// Input price, in millionths of a dollar per million tokens.
    #[serde(default)]
    pub prompt_price: Option<u64>,
    /// Output price, in millionths of a dollar per million tokens.
    #[serde(default)]
    pub completion_price: Option<u64>,
    /// Context window: input and output tokens together.
    #[serde(default)]
    pub context_window: Option<u32>,
    /// Most output tokens.
    #[serde(default)]
    pub max_output_tokens: Option<u32>,
}

impl ModelRow {
    /// Returns the price, if known.
    #[must_use]
    pub fn price(&self) -> Option<Price> {
        let (prompt, completion) = self.prompt_price.zip(self.completion_price)?;
        Some(Price { prompt, completion })
    }
}

/// The known models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelTable {
    rows: Vec<ModelRow>,
    /// Whether the table is the operator's.
    own: bool,
}

impl Default for ModelTable {
    /// Returns the built-in table.
    fn default() -> Self {
        let rows = parse(include_str!("default.json")).unwrap_or_default();
        Self { rows, own: false }
    }
}

impl ModelTable {
    /// Parses an operator's table: a JSON array of rows.
    ///
    /// # Errors
    /// What is wrong with it, for an error sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        Ok(Self { rows: parse(text)?, own: true })
    }

    /// Returns the rows in order.
    #[must_use]
    pub fn rows(&self) -> &[ModelRow] {
        &self.rows
    }
}

fn parse(text: &str) -> Result<Vec<ModelRow>, String> {
    let rows: Vec<ModelRow> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if rows.len() > MAX_MODELS {
        return Err(format!("it has more than {MAX_MODELS} models"));
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
            return Err(format!("{at}: the provider must be one of {}", known.join(", ")));
        }
        if row.prompt_price.is_some() != row.completion_price.is_some() {
            return Err(format!("{at} has only one of `prompt_price` and `completion_price`"));
        }
        if row.prompt_price.max(row.completion_price).is_some_and(|price| price > MAX_PRICE) {
            return Err(format!("{at} has a price above {MAX_PRICE}"));
        }
        if row.context_window == Some(0) || row.max_output_tokens == Some(0) {
            return Err(format!("{at} has a size of zero tokens"));
        }
        if rows[..n].iter().any(|other| (&other.name, &other.provider) == (&row.name, &row.provider)) {
            return Err(format!("{at} is listed twice"));
        }
    }
    Ok(rows)
}

/// Returns whether `text` is a valid model name.
#[must_use]
pub fn is_name(text: &str) -> bool {
    (1..=200).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests;
