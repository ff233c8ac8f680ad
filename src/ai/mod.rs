//! AI providers: the one trait that the reply worker speaks, and everything behind it.
//!
//! [`chain`] holds the configured providers in their order. Behind it: [`openai`] (the Responses API),
//! `chat_completions` (the protocol of most others: [`openrouter`], [`groq`], [`gemini`], and whatever `OPENAI_BASE_URL`
//! names), `wire` (what both protocols share), [`scripted`] (the built-in provider that answers without any AI), [`guard`]
//! (the rules that every provider's stream obeys: timeouts, size, control characters). [`service`] lists the services,
//! [`models`] the models with their prices, [`select`] makes the chain at start-up. Called by the reply worker; nothing
//! here touches the log.

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

/// Who said a turn of the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The person.
    User,
    /// The provider, in an earlier reply.
    Assistant,
}

/// How the provider is to answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameters {
    /// The most tokens the reply may have; at least 1.
    pub max_output_tokens: u32,
    /// Sampling temperature; `None` leaves it to the provider.
    pub temperature: Option<f32>,
}

/// Everything a provider is sent for one attempt of one reply.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt {
    /// The model to ask; `None` is the provider's configured one.
    pub model: Option<String>,
    /// Standing instructions; empty for none.
    pub system: String,
    /// The conversation, oldest turn first; the last one is what is to be answered.
    pub turns: Vec<Turn>,
    /// How to answer.
    pub parameters: Parameters,
    /// Tools that may be called instead of, or besides, answering with text.
    pub tools: Vec<Tool>,
    /// The tool that has to be called; one of `tools`.
    pub tool_choice: Option<String>,
    /// What is wanted.
    pub purpose: Purpose,
    /// Which try of the reply this is; the first is 1.
    pub attempt: u32,
    /// The reply that is asked for.
    pub reply: Uuid,
}

/// What a prompt wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Purpose {
    /// An answer.
    #[default]
    Reply,
    /// A title for the conversation.
    Title,
}

/// Something that was said, to be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// The bytes.
    pub audio: Vec<u8>,
    /// Their type, without parameters.
    pub mime_type: String,
}

/// Why a provider stopped writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// It had said what it had to say.
    Stop,
    /// It was cut short, as a rule because `max_output_tokens` was reached.
    Length,
    /// The provider's own content filter stopped it.
    ContentFilter,
}

/// What a call cost, in the provider's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenUsage {
    /// Tokens of everything that was sent.
    pub prompt_tokens: u32,
    /// Tokens of the reply.
    pub completion_tokens: u32,
}

/// What a provider says about a reply when it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// Why it stopped.
    pub finish: Finish,
    /// What it cost; `None` when the provider does not say, or says nonsense such as a negative number.
    pub usage: Option<TokenUsage>,
    /// The model that really answered (a provider may resolve an alias to a dated name).
    pub model: String,
    /// The provider's own id of the reply, for questions to its support.
    pub provider_reply_id: Option<String>,
}

/// One item of a provider's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEvent {
    /// More text. A bare provider may yield empty text as a sign of life; [`guard`] swallows it.
    Text(String),
    /// A tool is to be called.
    Call(ToolCall),
    /// The end. A guarded stream ends after it.
    End(Completion),
}

/// A provider's answer: any number of [`StreamEvent::Text`] and [`StreamEvent::Call`], then one [`StreamEvent::End`] or one error. Dropping it
/// drops the call, and with it the connection to the provider.
pub type StreamEvents = BoxStream<'static, Result<StreamEvent, ProviderError>>;

/// An AI provider.
pub trait Provider: Send + Sync {
    /// The provider's short name, as it stands in a reply's provenance: `openai`, `groq`, `scripted`.
    fn name(&self) -> &'static str;

    /// The model that is asked when a prompt names none.
    fn model(&self) -> &str;

    /// One line for start-up: who answers, and where. Never contains a key.
    fn describe(&self) -> String;

    /// The parameters that a call with this prompt is really made with, for the reply's provenance. Holds
    /// no text of the conversation and no key.
    fn parameters(&self, prompt: &Prompt) -> Map<String, Value>;

    /// Asks for a reply. Nothing is sent before the stream is polled for the first time, and nothing is
    /// tried twice: whether there is another attempt is for the caller to say.
    fn stream(&self, prompt: Prompt) -> StreamEvents;

    /// Writes down what was said in a recording.
    ///
    /// # Errors
    /// [`ProviderError::Unsupported`] when it cannot do that; else why it failed.
    fn transcribe(&self, _recording: Recording) -> BoxFuture<'static, Result<String, ProviderError>> {
        Box::pin(async { Err(ProviderError::Unsupported) })
    }
}

/// The parameters that all providers share, in the form that [`Provider::parameters`] returns.
fn common_parameters(parameters: Parameters) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("max_output_tokens".to_owned(), parameters.max_output_tokens.into());
    if let Some(temperature) = parameters.temperature {
        // Through its text: 0.7 as an f32 would become 0.699999988079071 when it is widened.
        let temperature = temperature.to_string().parse::<f64>().unwrap_or(f64::from(temperature));
        map.insert("temperature".to_owned(), temperature.into());
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_read_as_they_were_set() {
        let map = common_parameters(Parameters { max_output_tokens: 500, temperature: Some(0.7) });
        assert_eq!(Value::Object(map), serde_json::json!({"max_output_tokens": 500, "temperature": 0.7}));
        let map = common_parameters(Parameters { max_output_tokens: 1, temperature: None });
        assert_eq!(Value::Object(map), serde_json::json!({"max_output_tokens": 1}));
    }
}
