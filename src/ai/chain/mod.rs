//! The chain: the configured providers, each with each of its keys, in the order in which they are asked.
//!
//! The chain knows who there is, what each is asked for, and whose circuit is open. Who is asked next after a failure is
//! not decided here but by the reply's attempts (`src/replies/policy.rs`): they are recorded, and so is every switch.

mod breaker;
mod provider_slot;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use self::provider_slot::ProviderSlot;
use super::models::{Catalogue, ModelRow, Offered};
use super::{Prompt, Provider, ProviderError, Recording, StreamEvents};

pub use breaker::CircuitSettings;

/// A link of the chain as somebody who chooses sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its index in the chain.
    pub index: usize,
    /// The provider.
    pub provider: &'static str,
    /// The number of its key.
    pub key: Option<u32>,
    /// While its circuit is open: how long until it may be called.
    pub opens_in: Option<Duration>,
}

/// How a link of the chain stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderStanding {
    /// The provider.
    pub provider: &'static str,
    /// The number of its key.
    pub key: Option<u32>,
    /// Its circuit is open: it is not called but for probes.
    pub open: bool,
    /// The code of its last failure, if nothing has gone well since.
    pub trouble: Option<&'static str>,
}

/// A provider that can be put into the chain.
pub struct ChainEntry {
    /// What is called; guarded.
    pub provider: Arc<dyn Provider>,
    /// The number of its key.
    pub key: Option<u32>,
}

/// The chain. It has at least one link.
pub struct Chain {
    members: Vec<Arc<ProviderSlot>>,
    catalogue: Catalogue,
}

impl Chain {
    /// A chain of these, in this order.
    #[must_use]
    pub fn new(links: Vec<ChainEntry>, catalogue: Catalogue, circuit: CircuitSettings) -> Self {
        let members = links.into_iter().map(|ChainEntry { provider, key }| {
            // The built-in script fails when it is told to; nothing is gained by sparing it.
            let failures = circuit.failures.filter(|_| key.is_some());
            Arc::new(ProviderSlot::new(provider, key, CircuitSettings { failures, ..circuit }))
        });
        Self { members: members.collect(), catalogue }
    }

    /// One line for start-up: who answers, and where. Never contains a key.
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

    /// Whether this model may be asked for.
    #[must_use]
    pub fn offers(&self, model: &str) -> bool {
        self.catalogue.offers(model)
    }

    /// The models that may be asked for.
    #[must_use]
    pub fn models(&self) -> Vec<Offered> {
        self.catalogue.offered()
    }

    /// How each link stands.
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

    /// Everybody who can be asked for a reply, in the order in which they are asked: those that serve the model wished for
    /// before those that answer with their own, and the keys of a provider in turns, by the reply.
    #[must_use]
    pub fn candidates(&self, wish: Option<&str>, reply: Uuid) -> Vec<Candidate> {
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
        let serves =
            |provider: &str| self.catalogue.asked(provider, wish).is_some_and(|asked| asked.as_wished);
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

    /// What asking the link at `index` would be like.
    #[must_use]
    pub fn choose(&self, index: usize, wish: Option<&str>) -> Option<SelectedProvider> {
        let member = Arc::clone(self.members.get(index)?);
        let asked = self.catalogue.asked(member.name(), wish)?;
        Some(SelectedProvider { member, model: asked.model, row: asked.row })
    }

    /// The first one whose circuit is closed, for what nobody waits for: the probe of an open one is left to a reply.
    #[must_use]
    pub fn first(&self, wish: Option<&str>, reply: Uuid) -> Option<SelectedProvider> {
        let candidates = self.candidates(wish, reply);
        candidates
            .into_iter()
            .filter(|one| one.opens_in.is_none())
            .find_map(|one| self.choose(one.index, wish))
    }

    /// Everybody, each asked for their own model.
    #[must_use]
    pub fn all(&self) -> Vec<SelectedProvider> {
        (0..self.members.len()).filter_map(|index| self.choose(index, None)).collect()
    }

    /// Writes down what was said in a recording: the first one who can do that and does.
    ///
    /// # Errors
    /// [`ProviderError::Unsupported`] when nobody can do that; else why the last one failed.
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

/// One of the chain, and what it would be asked for.
#[derive(Clone)]
pub struct SelectedProvider {
    member: Arc<ProviderSlot>,
    model: String,
    row: Option<ModelRow>,
}

impl SelectedProvider {
    /// The provider.
    #[must_use]
    pub fn provider(&self) -> &'static str {
        self.member.name()
    }

    /// The number of its key.
    #[must_use]
    pub fn key(&self) -> Option<u32> {
        self.member.key
    }

    /// The model, in the provider's words.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    /// How many tokens the model reads and writes in all, where the table of models says so.
    #[must_use]
    pub fn context_window(&self) -> Option<u32> {
        self.row.as_ref().and_then(|row| row.context_window)
    }

    /// One line: who would be asked, and where.
    #[must_use]
    pub fn describe(&self) -> String {
        self.member.provider.describe()
    }

    /// Whether it may be called now. While its circuit is open, a yes makes this call the probe.
    #[must_use]
    pub fn admits(&self) -> bool {
        self.member.admits()
    }

    /// The prompt as this one gets it: with its own name of the model, and no longer a reply than the model writes.
    #[must_use]
    pub fn prompt(&self, mut prompt: Prompt) -> Prompt {
        prompt.model = Some(self.model.clone());
        if let Some(most) = self.row.as_ref().and_then(|row| row.max_output_tokens) {
            prompt.parameters.max_output_tokens = prompt.parameters.max_output_tokens.min(most);
        }
        prompt
    }

    /// The parameters that a call with this prompt is really made with, for the provenance: with the number of the key and
    /// the price of the model, never with a key.
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

    /// Calls the provider, once: the one index where that is done. Dropping the stream drops the call.
    #[must_use]
    pub fn stream(&self, prompt: Prompt) -> StreamEvents {
        self.member.stream(prompt)
    }
}

#[cfg(test)]
mod tests;
