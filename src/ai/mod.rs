//! AI providers: the trait [`Provider`] that the reply worker calls, and its implementations.
//!
//! * [`chain`]: the configured providers with their keys, in order, each behind a circuit breaker;
//! * [`openai`]: the Responses API; `chat_completions`: the protocol of most others ([`openrouter`], [`groq`], [`gemini`], and
//!   any server at `OPENAI_BASE_URL`); `transport`: what both protocols share;
//! * [`scripted`]: the built-in provider that answers without any AI;
//! * [`limits`]: limits that every provider's stream obeys: timeouts, size, control characters;
//! * [`prompt`]: turns and tools; [`service`]: the known services; [`models`]: models with prices; [`select`]: builds the
//!   chain from the configuration.
//!
//! Nothing here touches the event store.

pub mod chain;
mod chat_completions;
pub mod error;
pub mod gemini;
pub mod groq;
pub mod limits;
pub mod models;
pub mod openai;
pub mod openrouter;
pub mod prompt;
pub mod scripted;
pub mod select;
pub mod service;
mod transport;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use serde_json::{Map, Value};
use uuid::Uuid;

pub use chain::{Candidate, Chain, CircuitSettings, ProviderStanding, SelectedProvider};
pub use error::{ProviderError, TimeoutKind};
pub use limits::{LimitedProvider, Limits};
pub use models::{Catalogue, ModelTable};
pub use prompt::{Attached, Content, Tool, ToolCall, Turn};
pub use scripted::{Fault, FaultPlan, Scripted, ScriptedSettings};
pub use select::{AiSettings, ServiceSettings, SettingsError, from_settings};
pub use service::{Api, SERVICES, Service};
pub use transport::ApiKey;

/// Speaker of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The user.
    User,
    /// The provider, in an earlier reply.
    Assistant,
}

/// Generation parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameters {
    /// Most tokens of the reply; at least 1.
    pub max_output_tokens: u32,
    /// Sampling temperature; `None` leaves it to the provider.
    pub temperature: Option<f32>,
}

/// The input of one provider call.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt {
    /// Model to call; `None` for the provider's configured one.
    pub model: Option<String>,
    /// System prompt; may be empty.
    pub system: String,
    /// Turns, oldest first; the last one is to be answered.
    pub turns: Vec<Turn>,
    /// Generation parameters.
    pub parameters: Parameters,
    /// Tools that the model can call instead of, or besides, answering with text.
    pub tools: Vec<Tool>,
    /// Tool that the model must call; one of `tools`.
    pub tool_choice: Option<String>,
    /// Purpose of the call.
    pub purpose: Purpose,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Id of the reply.
    pub reply: Uuid,
}

/// Purpose of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Purpose {
    /// An answer.
    #[default]
    Reply,
    /// A title for the conversation.
    Title,
}

/// An audio recording to transcribe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// Bytes of the recording.
    pub audio: Vec<u8>,
    /// Media type without parameters.
    pub mime_type: String,
}

/// Why a provider stopped generating.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The answer was complete.
    Stop,
    /// The answer was cut, usually because `max_output_tokens` was reached.
    Length,
    /// The provider's content filter stopped it.
    ContentFilter,
}

/// Usage of a call, in the provider's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenUsage {
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Tokens of the reply.
    pub completion_tokens: u32,
}

/// The end of a provider's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// Why the provider stopped.
    pub finish: Finish,
    /// Usage; `None` when the provider reports none, or an invalid one such as a negative number.
    pub usage: Option<TokenUsage>,
    /// Model that really answered; a provider may resolve an alias to a dated name.
    pub model: String,
    /// The provider's id of the reply, for support requests.
    pub provider_reply_id: Option<String>,
}

/// One event of a provider's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEvent {
    /// More text. A provider may yield empty text as a keep-alive; [`LimitedProvider`] drops it.
    Text(String),
    /// The model calls a tool.
    Call(ToolCall),
    /// The end of the answer; the last event.
    End(Completion),
}

/// A provider's answer: any number of [`StreamEvent::Text`] and [`StreamEvent::Call`], then one [`StreamEvent::End`] or one
/// error. Dropping the stream aborts the call and closes its connection.
pub type StreamEvents = BoxStream<'static, Result<StreamEvent, ProviderError>>;

/// An AI provider.
pub trait Provider: Send + Sync {
    /// Returns the provider's short name in the provenance: `openai`, `groq`, `scripted`.
    fn name(&self) -> &'static str;

    /// Returns the model that is called when the prompt names none.
    fn model(&self) -> &str;

    /// Describes provider, address and model in one line for the start-up log. Never contains a key.
    fn describe(&self) -> String;

    /// Returns the parameters that a call with this prompt sends, for the provenance. Contains no text of the conversation and
    /// no key.
    fn parameters(&self, prompt: &Prompt) -> Map<String, Value>;

    /// Streams a reply. Nothing is sent before the stream is first polled, and nothing is retried: the caller decides about
    /// further attempts.
    fn stream(&self, prompt: Prompt) -> StreamEvents;

    /// Transcribes a recording.
    ///
    /// # Errors
    /// [`ProviderError::Unsupported`] when the provider cannot transcribe; else the failure.
    fn transcribe(&self, _recording: Recording) -> BoxFuture<'static, Result<String, ProviderError>> {
        Box::pin(async { Err(ProviderError::Unsupported) })
    }
}

/// Returns the parameters that all providers share, in the form of [`Provider::parameters`].
fn common_parameters(parameters: Parameters) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("max_output_tokens".to_owned(), parameters.max_output_tokens.into());
    if let Some(temperature) = parameters.temperature {
        // Through its text: as an f64, the f32 0.7 would become 0.699999988079071.
        let temperature = temperature.to_string().parse::<f64>().unwrap_or(f64::from(temperature));
        map.insert("temperature".to_owned(), temperature.into());
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_keep_their_decimal_form() {
        let map = common_parameters(Parameters { max_output_tokens: 500, temperature: Some(0.7) });
        assert_eq!(Value::Object(map), serde_json::json!({"max_output_tokens": 500, "temperature": 0.7}));
        let map = common_parameters(Parameters { max_output_tokens: 1, temperature: None });
        assert_eq!(Value::Object(map), serde_json::json!({"max_output_tokens": 1}));
    }
}
