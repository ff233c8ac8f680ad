//! A provider with one of its keys: called through its circuit breaker, measured, with its last failure.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::breaker::{Breaker, Change, CircuitSettings};
use crate::ai::{Prompt, Provider, ProviderError, StreamEvent, StreamEvents};

/// An entry of the chain.
pub(super) struct ProviderSlot {
    /// The provider.
    pub(super) provider: Arc<dyn Provider>,
    /// Number of the key; `None` for a provider without keys.
    pub(super) key: Option<u32>,
    breaker: Breaker,
    /// Code of the last failure, if no call has succeeded since.
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

    /// Returns the number of the key as a metric label.
    pub(super) fn key_label(&self) -> String {
        self.key.map_or_else(|| "none".to_owned(), |key| key.to_string())
    }

    /// Returns the time until a call may pass; `None` while the circuit is closed.
    pub(super) fn opens_in(&self) -> Option<Duration> {
        self.breaker.opens_in(Instant::now())
    }

    /// Returns whether a call may pass now; see [`Breaker::admits`].
    pub(super) fn admits(&self) -> bool {
        self.breaker.admits(Instant::now())
    }

    /// Returns the code of the last failure, if no call has succeeded since.
    pub(super) fn trouble(&self) -> Option<&'static str> {
        *self.trouble.lock()
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
                tracing::error!(provider, key, "provider keeps failing: circuit opened");
            }
            Some(Change::Closed) => {
                self.show(false);
                tracing::info!(provider, key, "provider is back: circuit closed");
            }
        }
    }

    /// Records a successful call.
    fn succeeded(&self) {
        *self.trouble.lock() = None;
        self.changed(self.breaker.succeeded());
    }

    /// Records a failed call.
    fn failed(&self, error: &ProviderError) {
        let (provider, key, code) = (self.name(), self.key, error.code());
        metrics::counter!("verbatim_provider_failures_total", "provider" => provider, "code" => code)
            .increment(1);
        if error.needs_operator() {
            tracing::error!(provider, key, code, "{error}: operator action required");
        }
        if error.is_provider_fault() {
            *self.trouble.lock() = Some(code);
            self.changed(self.breaker.failed(Instant::now()));
        }
    }

    /// Calls the provider, and records the result. A call that is dropped records nothing.
    pub(super) fn stream(self: &Arc<Self>, prompt: Prompt) -> StreamEvents {
        let (member, begun) = (Arc::clone(self), Instant::now());
        let events = self.provider.stream(prompt);
        stream::unfold(Some((events, member, true)), move |state| async move {
            let (mut events, member, first) = state?;
            let event = events.next().await?;
            let provider = member.name();
            match &event {
                Ok(StreamEvent::Text(_) | StreamEvent::Call(_)) => {
                    if first {
                        metrics::histogram!("verbatim_provider_first_token_seconds", "provider" => provider)
                            .record(begun.elapsed().as_secs_f64());
                    }
                    return Some((event, Some((events, member, false))));
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
            Some((event, None))
        })
        .boxed()
    }
}
