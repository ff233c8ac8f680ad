//! The chain: the configured providers with each of their keys, in the order in which they are tried.
//!
//! The chain knows the providers, their models and their circuits. [`crate::replies::retry`] decides which one is tried after a
//! failure, from the recorded attempts.

mod breaker;
mod provider_slot;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use self::provider_slot::ProviderSlot;
use super::models::{AvailableModel, Catalogue, ModelRow};
use super::{Prompt, Provider, ProviderError, Recording, StreamEvents};

pub use breaker::CircuitSettings;

/// An entry of the chain as the retry policy sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Index in the chain.
    pub index: usize,
    /// Name of the provider.
    pub provider: &'static str,
    /// Number of the key.
    pub key: Option<u32>,
    /// While the circuit is open: time until the entry may be called.
    pub opens_in: Option<Duration>,
}

/// State of one entry of the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderStanding {
    /// Name of the provider.
    pub provider: &'static str,
    /// Number of the key.
    pub key: Option<u32>,
    /// True while the circuit is open: only probes are sent.
    pub open: bool,
    /// Code of the last failure, if no call has succeeded since.
    pub trouble: Option<&'static str>,
}

/// A provider with one of its keys.
pub struct ChainEntry {
    /// The provider, with limits.
    pub provider: Arc<dyn Provider>,
    /// Number of the key.
    pub key: Option<u32>,
}

/// The provider chain. It has at least one entry.
pub struct Chain {
    members: Vec<Arc<ProviderSlot>>,
    catalogue: Catalogue,
}

impl Chain {
    /// Creates a chain of these entries, in this order.
    #[must_use]
    pub fn new(links: Vec<ChainEntry>, catalogue: Catalogue, circuit: CircuitSettings) -> Self {
        let members = links.into_iter().map(|ChainEntry { provider, key }| {
            // The built-in script fails only when told to: it needs no circuit breaker.
            let failures = circuit.failures.filter(|_| key.is_some());
            Arc::new(ProviderSlot::new(provider, key, CircuitSettings { failures, ..circuit }))
        });
        Self { members: members.collect(), catalogue }
    }

    /// Describes the providers in one line for the start-up log. Never contains a key.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut lines: Vec<(String, usize)> = Vec::new();
        for member in &self.members {
            let line = member.provider.describe();
            match lines.last_mut() {
                Some((last, keys)) if *last == line => *keys += 1,
                _ => lines.push((line, 1)),
            }
        }
        let with_keys = |(line, keys): (String, usize)| match keys {
            1 => line,
            keys => format!("{line} ({keys} keys)"),
        };
        let lines: Vec<String> = lines.into_iter().map(with_keys).collect();
        format!("AI: {}", lines.join("; then "))
    }

    /// Returns whether a request may name this model.
    #[must_use]
    pub fn offers(&self, model: &str) -> bool {
        self.catalogue.offers(model)
    }

    /// Returns the models that a request may name.
    #[must_use]
    pub fn models(&self) -> Vec<AvailableModel> {
        self.catalogue.available()
    }

    /// Returns the state of each entry.
    #[must_use]
    pub fn standing(&self) -> Vec<ProviderStanding> {
        let of = |member: &Arc<ProviderSlot>| ProviderStanding {
            provider: member.name(),
            key: member.key,
            open: member.opens_in().is_some(),
            trouble: member.trouble(),
        };
        self.members.iter().map(of).collect()
    }

    /// Returns the candidates for a reply in the order in which they are tried: providers that serve the requested model come
    /// first, and the reply's id rotates the keys of each provider.
    #[must_use]
    pub fn candidates(&self, requested: Option<&str>, reply: Uuid) -> Vec<Candidate> {
        let mut providers: Vec<(&'static str, Vec<usize>)> = Vec::new();
        for (index, member) in self.members.iter().enumerate() {
            match providers.iter_mut().find(|(name, _)| *name == member.name()) {
                Some((_, places)) => places.push(index),
                None => providers.push((member.name(), vec![index])),
            }
        }
        for (_, places) in &mut providers {
            // A reply's id is a hash, so every key gets its share, and every process has the same order.
            let turn = reply.as_u128() % u128::try_from(places.len().max(1)).unwrap_or(1);
            places.rotate_left(usize::try_from(turn).unwrap_or(0));
        }
        let serves = |provider: &str| {
            self.catalogue.resolve(provider, requested).is_some_and(|choice| choice.as_requested)
        };
        let (serving, others): (Vec<_>, Vec<_>) =
            providers.into_iter().partition(|(provider, _)| serves(provider));
        serving
            .into_iter()
            .chain(others)
            .flat_map(|(_, places)| places)
            .filter_map(|index| {
                let member = self.members.get(index)?;
                let (provider, key) = (member.name(), member.key);
                Some(Candidate { index, provider, key, opens_in: member.opens_in() })
            })
            .collect()
    }

    /// Returns the entry at `index`, with the model to call.
    #[must_use]
    pub fn choose(&self, index: usize, requested: Option<&str>) -> Option<SelectedProvider> {
        let member = Arc::clone(self.members.get(index)?);
        let choice = self.catalogue.resolve(member.name(), requested)?;
        Some(SelectedProvider { member, model: choice.model, row: choice.row })
    }

    /// Returns the first entry whose circuit is closed. For background calls: the probe of an open circuit is left to a reply.
    #[must_use]
    pub fn first(&self, requested: Option<&str>, reply: Uuid) -> Option<SelectedProvider> {
        let candidates = self.candidates(requested, reply);
        candidates
            .into_iter()
            .filter(|one| one.opens_in.is_none())
            .find_map(|one| self.choose(one.index, requested))
    }

    /// Returns every entry, each with its own default model.
    #[must_use]
    pub fn all(&self) -> Vec<SelectedProvider> {
        (0..self.members.len()).filter_map(|index| self.choose(index, None)).collect()
    }

    /// Transcribes a recording with the first provider that can.
    ///
    /// # Errors
    /// [`ProviderError::Unsupported`] when no provider can transcribe; else the last failure.
    pub async fn transcribe(&self, recording: Recording) -> Result<String, ProviderError> {
        let mut failed = ProviderError::Unsupported;
        for member in &self.members {
            match member.provider.transcribe(recording.clone()).await {
                Err(ProviderError::Unsupported) => {}
                Err(error) if error.another_may_do_better() => failed = error,
                done => return done,
            }
        }
        Err(failed)
    }
}

/// An entry of the chain, with the model to call.
#[derive(Clone)]
pub struct SelectedProvider {
    member: Arc<ProviderSlot>,
    model: String,
    row: Option<ModelRow>,
}

impl SelectedProvider {
    /// Returns the provider's name.
    #[must_use]
    pub fn provider(&self) -> &'static str {
        self.member.name()
    }

    /// Returns the number of the key.
    #[must_use]
    pub fn key(&self) -> Option<u32> {
        self.member.key
    }

    /// Returns the model's name at the provider.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Returns the model's context window in tokens, if the model table has it.
    #[must_use]
    pub fn context_window(&self) -> Option<u32> {
        self.row.as_ref().and_then(|row| row.context_window)
    }

    /// Describes provider and address in one line.
    #[must_use]
    pub fn describe(&self) -> String {
        self.member.provider.describe()
    }

    /// Returns whether the entry may be called now. If its circuit is open, `true` makes this call the probe.
    #[must_use]
    pub fn admits(&self) -> bool {
        self.member.admits()
    }

    /// Adapts a prompt to this entry: the provider's name of the model, and the model's output limit.
    #[must_use]
    pub fn prompt(&self, mut prompt: Prompt) -> Prompt {
        prompt.model = Some(self.model.clone());
        if let Some(most) = self.row.as_ref().and_then(|row| row.max_output_tokens) {
            prompt.parameters.max_output_tokens = prompt.parameters.max_output_tokens.min(most);
        }
        prompt
    }

    /// Returns the parameters that a call sends, for the provenance, with the key's number and the model's price; never with a
    /// key.
    #[must_use]
    pub fn parameters(&self, prompt: &Prompt) -> Map<String, Value> {
        let mut map = self.member.provider.parameters(prompt);
        if let Some(key) = self.member.key {
            map.insert("key".to_owned(), key.into());
        }
        if let Some(price) = self.row.as_ref().and_then(ModelRow::price) {
            map.insert("price".to_owned(), json!(price));
        }
        map
    }

    /// Calls the provider once; the only place that does. Dropping the stream aborts the call.
    #[must_use]
    pub fn stream(&self, prompt: Prompt) -> StreamEvents {
        self.member.stream(prompt)
    }
}

#[cfg(test)]
mod tests;
