//! A provider with one of its keys, as a link of the chain: called through its breaker, measured, and remembered.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt, stream};
use tokio::time::Instant;

use super::breaker::{Breaker, Change, CircuitSettings};
use crate::ai::{Prompt, Provider, ProviderError, StreamEvent, StreamEvents};

/// A link of the chain.
pub(super) struct ProviderSlot {
    /// What is called.
    pub(super) provider: Arc<dyn Provider>,
    /// The number of its key; none where there is no key.
    pub(super) key: Option<u32>,
    breaker: Breaker,
    /// The code of its last failure, if nothing has gone well since.
    trouble: Mutex<Option<&'static str>>,
}

impl ProviderSlot {
    pub(super) fn new(provider: Arc<dyn Provider>, key: Option<u32>, circuit: CircuitSettings) -> Self {
        let member = Self { provider, key, breaker: Breaker::new(circuit), trouble: Mutex::new(None) };
        member.show(false);
        member
    }

    pub(super) fn name(&self) -> &'static str {
        self.provider.name()
    }

    /// The number of its key as a label.
    pub(super) fn key_label(&self) -> String {
        self.key.map_or_else(|| "none".to_owned(), |key| key.to_string())
    }

    /// How long until it may be called; none while its circuit is closed.
    pub(super) fn opens_in(&self) -> Option<Duration> {
        self.breaker.opens_in(Instant::now())
    }

    /// Whether it may be called now; see [`Breaker::admits`].
    pub(super) fn admits(&self) -> bool {
        self.breaker.admits(Instant::now())
    }

    /// The code of its last failure, if nothing has gone well since.
    pub(super) fn trouble(&self) -> Option<&'static str> {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, open: bool) {
        let (provider, key) = (self.name(), self.key_label());
        metrics::gauge!("verbatim_provider_circuit_open", "provider" => provider, "key" => key)
            .set(f64::from(u8::from(open)));
    }

    fn changed(&self, change: Option<Change>) {
        let (provider, key) = (self.name(), self.key);
        match change {
            None => {}
            Some(Change::Opened) => {
                self.show(true);
                tracing::error!(provider, key, "the provider fails all the time: its circuit is open");
            }
            Some(Change::Closed) => {
                self.show(false);
                tracing::info!(provider, key, "the provider is back: its circuit is closed");
            }
        }
    }

    /// A call went well.
    fn succeeded(&self) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.changed(self.breaker.succeeded());
    }

    /// A call failed.
    fn failed(&self, error: &ProviderError) {
        let (provider, key, code) = (self.name(), self.key, error.code());
        metrics::counter!("verbatim_provider_failures_total", "provider" => provider, "code" => code)
            .increment(1);
        if error.needs_somebody() {
            tracing::error!(provider, key, code, "{error}: somebody has to see to it");
        }
        if error.speaks_against_the_provider() {
            *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(code);
            self.changed(self.breaker.failed(Instant::now()));
        }
    }

    /// Calls the provider. What comes of it is measured and remembered; a call that is dropped says nothing about it.
    pub(super) fn stream(self: &Arc<Self>, prompt: Prompt) -> StreamEvents {
        let (member, begun) = (Arc::clone(self), Instant::now());
        let pieces = self.provider.stream(prompt);
        stream::unfold(Some((pieces, member, true)), move |state| async move {
            let (mut pieces, member, first) = state?;
            let piece = pieces.next().await?;
            let provider = member.name();
            match &piece {
                Ok(StreamEvent::Text(_) | StreamEvent::Call(_)) => {
                    if first {
                        metrics::histogram!("verbatim_provider_first_token_seconds", "provider" => provider)
                            .record(begun.elapsed().as_secs_f64());
                    }
                    return Some((piece, Some((pieces, member, false))));
                }
                Ok(StreamEvent::End(end)) => {
                    member.succeeded();
                    metrics::counter!("verbatim_provider_answers_total", "provider" => provider).increment(1);
                    let usage = end.usage.map(|usage| (usage.prompt_tokens, usage.completion_tokens));
                    let (prompt, completion) = usage.unwrap_or_default();
                    for (kind, tokens) in [("prompt", prompt), ("completion", completion)] {
                        metrics::counter!("verbatim_provider_tokens_total", "provider" => provider, "kind" => kind)
                            .increment(tokens.into());
                    }
                }
                Err(error) => member.failed(error),
            }
            Some((piece, None))
        })
        .boxed()
    }
}
