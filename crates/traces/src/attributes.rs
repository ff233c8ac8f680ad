//! All span attributes. Names follow OpenTelemetry's semantic conventions where they exist.
//!
//! Values are ids, numbers and words from short lists: never content of users, pages or files, and never an address.

use opentelemetry::{KeyValue, Value};

macro_rules! attributes {
    ($($(#[doc = $doc:literal])+ $attribute:ident = $name:literal,)+) => {
        /// An attribute of a span.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Attribute {
            $($(#[doc = $doc])+ $attribute,)+
        }

        impl Attribute {
            /// Every attribute.
            pub const ALL: &[Self] = &[$(Self::$attribute),+];

            /// Returns the attribute's name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$attribute => $name,)+
                }
            }
        }
    };
}

attributes! {
    /// HTTP method, or `_OTHER` for an unknown one.
    HttpMethod = "http.request.method",
    /// Route as declared; never the path.
    HttpRoute = "http.route",
    /// HTTP status of the response.
    HttpStatus = "http.response.status_code",
    /// Id of the request, as in logs, error bodies and the metadata of events.
    RequestId = "verbatim.request.id",
    /// Type of a WebSocket frame.
    Frame = "verbatim.frame",
    /// API surface, or the part of the system that acts by itself.
    Surface = "verbatim.surface",
    /// Aggregate types of the streams that a command is decided on.
    Aggregates = "verbatim.aggregates",
    /// Number of events appended.
    Events = "verbatim.events",
    /// Position of the last event.
    Position = "verbatim.position",
    /// Outcome, in one word.
    Outcome = "verbatim.outcome",
    /// Kind of failure, in one word.
    ErrorType = "error.type",
    /// Always `postgresql`.
    DbSystem = "db.system.name",
    /// Always `nats`.
    MessagingSystem = "messaging.system",
    /// Always `publish`.
    MessagingOperation = "messaging.operation.name",
    /// Always `send`.
    MessagingOperationType = "messaging.operation.type",
    /// NATS subject.
    MessagingDestination = "messaging.destination.name",
    /// Stream and sequence of the event.
    MessagingMessageId = "messaging.message.id",
    /// Id of the reply.
    ReplyId = "verbatim.reply.id",
    /// Id of the conversation.
    ConversationId = "gen_ai.conversation.id",
    /// Number of the attempt at the reply, from 1.
    Attempt = "verbatim.reply.attempt",
    /// Milliseconds from the request to this attempt, by the clocks of two processes.
    QueuedMs = "verbatim.reply.queued_ms",
    /// Number of turns sent to the provider.
    ContextTurns = "verbatim.context.turns",
    /// Number of files sent to the provider.
    ContextFiles = "verbatim.context.files",
    /// Always `chat`.
    GenAiOperation = "gen_ai.operation.name",
    /// Name of the provider, as in the provenance.
    GenAiProvider = "gen_ai.provider.name",
    /// Requested model.
    GenAiRequestModel = "gen_ai.request.model",
    /// Maximum length of the response in tokens.
    GenAiMaxTokens = "gen_ai.request.max_tokens",
    /// Sampling temperature, if set.
    GenAiTemperature = "gen_ai.request.temperature",
    /// Model that responded.
    GenAiResponseModel = "gen_ai.response.model",
    /// Provider's id of the response.
    GenAiResponseId = "gen_ai.response.id",
    /// Why the provider stopped generating.
    GenAiFinishReasons = "gen_ai.response.finish_reasons",
    /// Seconds from the call to the first text.
    GenAiFirstChunk = "gen_ai.response.time_to_first_chunk",
    /// Input tokens.
    GenAiInputTokens = "gen_ai.usage.input_tokens",
    /// Output tokens.
    GenAiOutputTokens = "gen_ai.usage.output_tokens",
}

impl Attribute {
    pub(super) fn with(self, value: impl Into<Value>) -> KeyValue {
        KeyValue::new(self.name(), value)
    }
}
