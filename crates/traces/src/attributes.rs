//! Everything that a span may say. Names are those of OpenTelemetry's semantic conventions where they have one.
//!
//! Values are ids, numbers, and words out of short lists: never what a person, a page or a file said, and no address.

use opentelemetry::{KeyValue, Value};

macro_rules! attributes {
    ($($(#[doc = $doc:literal])+ $attribute:ident = $name:literal,)+) => {
        /// What a span may say.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Attribute {
            $($(#[doc = $doc])+ $attribute,)+
        }

        impl Attribute {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$attribute),+];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$attribute => $name,)+
                }
            }
        }
    };
}

attributes! {
    /// One of the methods that are known, or `_OTHER`.
    HttpMethod = "http.request.method",
    /// The route as it is declared: never the path.
    HttpRoute = "http.route",
    /// The answer's status.
    HttpStatus = "http.response.status_code",
    /// The request's id, as in logs, error bodies and the metadata of events.
    RequestId = "verbatim.request.id",
    /// What a frame of a socket asks for.
    Frame = "verbatim.frame",
    /// The door, or the part of the system that acts on its own.
    Surface = "verbatim.surface",
    /// The types of the streams that a command is decided on.
    Aggregates = "verbatim.aggregates",
    /// How many events are written.
    Events = "verbatim.events",
    /// Position of the last event.
    Position = "verbatim.position",
    /// What came of it, in one word.
    Outcome = "verbatim.outcome",
    /// Why it failed, in one word.
    ErrorType = "error.type",
    /// Always `postgresql`.
    DbSystem = "db.system.name",
    /// Always `nats`.
    MessagingSystem = "messaging.system",
    /// Always `publish`.
    MessagingOperation = "messaging.operation.name",
    /// Always `send`.
    MessagingOperationType = "messaging.operation.type",
    /// The subject.
    MessagingDestination = "messaging.destination.name",
    /// The event's stream and its place in it.
    MessagingMessageId = "messaging.message.id",
    /// The reply.
    ReplyId = "verbatim.reply.id",
    /// The conversation.
    ConversationId = "gen_ai.conversation.id",
    /// Which try of the reply it is, from 1.
    Attempt = "verbatim.reply.attempt",
    /// From the request to this attempt, in milliseconds, by the clocks of two processes.
    WaitedMs = "verbatim.reply.waited_ms",
    /// How many turns of the conversation are sent.
    ContextTurns = "verbatim.context.turns",
    /// How many files are sent.
    ContextFiles = "verbatim.context.files",
    /// Always `chat`.
    GenAiOperation = "gen_ai.operation.name",
    /// The provider, by the name that it has in the provenance.
    GenAiProvider = "gen_ai.provider.name",
    /// The model that is asked.
    GenAiRequestModel = "gen_ai.request.model",
    /// How long the answer may be, in tokens.
    GenAiMaxTokens = "gen_ai.request.max_tokens",
    /// The sampling temperature, when one is set.
    GenAiTemperature = "gen_ai.request.temperature",
    /// The model that has answered.
    GenAiResponseModel = "gen_ai.response.model",
    /// The provider's id of the answer.
    GenAiResponseId = "gen_ai.response.id",
    /// Why the provider stopped.
    GenAiFinishReasons = "gen_ai.response.finish_reasons",
    /// Seconds from the call to the first text.
    GenAiFirstChunk = "gen_ai.response.time_to_first_chunk",
    /// Tokens of what was sent.
    GenAiInputTokens = "gen_ai.usage.input_tokens",
    /// Tokens of the answer.
    GenAiOutputTokens = "gen_ai.usage.output_tokens",
}

impl Attribute {
    pub(super) fn with(self, value: impl Into<Value>) -> KeyValue {
        KeyValue::new(self.name(), value)
    }
}
