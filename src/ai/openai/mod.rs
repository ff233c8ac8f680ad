//! OpenAI through its Responses API; also any compatible server.

mod events;
mod input;

use async_openai::types::responses::{CreateResponse, InputParam};
use futures::future::BoxFuture;
use futures::{StreamExt, stream};
use serde_json::{Map, Value};

use self::events::Events;
use super::service::{Api, LengthField, Service, Variables, no_classifier};
use super::transport::{Endpoint, EndpointSettings, stream_events};
use super::{Prompt, Provider, ProviderError, Recording, SettingsError, StreamEvents, common_parameters};

/// OpenAI, or a compatible server.
pub static SERVICE: Service = Service {
    name: "openai",
    title: "OpenAI",
    variables: Variables {
        keys: &["OPENAI_API_KEY"],
        base_url: "OPENAI_BASE_URL",
        model: "OPENAI_MODEL",
        api: Some("OPENAI_API"),
    },
    base_url: "https://api.openai.com/v1",
    model: "gpt-4o-mini",
    api: Api::Responses,
    length: LengthField::MaxCompletionTokens,
    length_elsewhere: LengthField::MaxTokens,
    documents: true,
    transcriber: Some("gpt-4o-mini-transcribe"),
    classifier: no_classifier,
};

/// A server of the Responses API.
#[derive(Debug)]
pub(super) struct Responses {
    name: &'static str,
    title: &'static str,
    endpoint: Endpoint,
    model: String,
}

impl Responses {
    /// Creates the provider without connecting.
    pub(super) fn try_new(settings: EndpointSettings, model: String) -> Result<Self, SettingsError> {
        let (name, title) = (settings.service.name, settings.service.title);
        Ok(Self { name, title, endpoint: Endpoint::try_new(settings)?, model })
    }

    fn request(&self, prompt: Prompt) -> CreateResponse {
        CreateResponse {
            model: Some(prompt.model.unwrap_or_else(|| self.model.clone())),
            instructions: Some(prompt.system).filter(|system| !system.is_empty()),
            input: InputParam::Items(prompt.turns.into_iter().flat_map(input::items).collect()),
            max_output_tokens: Some(prompt.parameters.max_output_tokens),
            temperature: prompt.parameters.temperature,
            // Store nothing at the provider: conversations are stored in the log only.
            store: Some(false),
            tools: (!prompt.tools.is_empty()).then(|| prompt.tools.into_iter().map(input::tool).collect()),
            tool_choice: prompt.tool_choice.map(input::tool_choice),
            stream: Some(true),
            ..CreateResponse::default()
        }
    }
}

impl Provider for Responses {
    fn name(&self) -> &'static str {
        self.name
    }

    fn model(&self) -> &str {
        &self.model
    }

    fn describe(&self) -> String {
        format!("{} Responses API at {}, model {}", self.title, self.endpoint.host(), self.model)
    }

    fn parameters(&self, prompt: &Prompt) -> Map<String, Value> {
        let mut map = common_parameters(prompt.parameters);
        map.insert("api".to_owned(), Api::Responses.as_str().into());
        map.insert("host".to_owned(), self.endpoint.host().into());
        map.insert("store".to_owned(), false.into());
        map
    }

    fn stream(&self, prompt: Prompt) -> StreamEvents {
        let (client, link) = self.endpoint.client();
        let request = self.request(prompt);
        let requested = request.model.clone().unwrap_or_default();
        let reader = Events { requested, classifier: self.endpoint.classifier() };
        stream::once(async move {
            match client.responses().create_stream_byot::<_, Value>(request).await {
                Ok(events) => stream_events(events, link, reader),
                Err(_) => {
                    // Without an error from the transport nothing was sent: the request could not be built.
                    let error = link.fault().unwrap_or(ProviderError::BadRequest);
                    stream::once(async { Err(error) }).boxed()
                }
            }
        })
        .flatten()
        .boxed()
    }

    fn transcribe(&self, recording: Recording) -> BoxFuture<'static, Result<String, ProviderError>> {
        self.endpoint.transcribe(recording)
    }
}
