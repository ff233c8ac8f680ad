//! Chat Completions, streamed: the protocol of most services and servers. Differences between services are details, listed
//! in [`Service`].

mod calls;
mod chunks;
mod input;

use async_openai::types::chat::{ChatCompletionStreamOptions, CreateChatCompletionRequest};
use futures::future::BoxFuture;
use futures::{StreamExt, stream};
use serde_json::{Map, Value};

use self::chunks::Chunks;
use super::service::{Api, LengthField, Service};
use super::transport::{Endpoint, EndpointSettings, stream_events};
use super::{Prompt, Provider, ProviderError, Recording, SettingsError, StreamEvents, common_parameters};

/// A server of Chat Completions.
#[derive(Debug)]
pub(super) struct ChatCompletions {
    service: &'static Service,
    endpoint: Endpoint,
    length: LengthField,
    model: String,
}

impl ChatCompletions {
    /// Creates the provider without connecting.
    pub(super) fn try_new(settings: EndpointSettings, model: String) -> Result<Self, SettingsError> {
        let service = settings.service;
        let elsewhere = settings.base_url.as_deref().is_some_and(|url| url != service.base_url);
        let length = if elsewhere { service.length_elsewhere } else { service.length };
        Ok(Self { service, endpoint: Endpoint::try_new(settings)?, length, model })
    }

    #[expect(deprecated, reason = "the old name of the limit is the one that most servers know")]
    fn request(&self, prompt: Prompt) -> CreateChatCompletionRequest {
        let most = Some(prompt.parameters.max_output_tokens);
        let (max_tokens, max_completion_tokens) = match self.length {
            LengthField::MaxTokens => (most, None),
            LengthField::MaxCompletionTokens => (None, most),
        };
        CreateChatCompletionRequest {
            messages: input::messages(prompt.system, prompt.turns, self.service.documents),
            model: prompt.model.unwrap_or_else(|| self.model.clone()),
            max_tokens,
            max_completion_tokens,
            temperature: prompt.parameters.temperature,
            tools: (!prompt.tools.is_empty()).then(|| prompt.tools.into_iter().map(input::tool).collect()),
            tool_choice: prompt.tool_choice.map(input::tool_choice),
            stream: Some(true),
            stream_options: Some(ChatCompletionStreamOptions {
                include_usage: Some(true),
                ..ChatCompletionStreamOptions::default()
            }),
            ..CreateChatCompletionRequest::default()
        }
    }
}

impl Provider for ChatCompletions {
    fn name(&self) -> &'static str {
        self.service.name
    }

    fn model(&self) -> &str {
        &self.model
    }

    fn describe(&self) -> String {
        format!("{} Chat Completions at {}, model {}", self.service.title, self.endpoint.host(), self.model)
    }

    fn parameters(&self, prompt: &Prompt) -> Map<String, Value> {
        let mut map = common_parameters(prompt.parameters);
        map.insert("api".to_owned(), Api::ChatCompletions.as_str().into());
        map.insert("host".to_owned(), self.endpoint.host().into());
        map
    }

    fn stream(&self, prompt: Prompt) -> StreamEvents {
        let (client, link) = self.endpoint.client();
        let request = self.request(prompt);
        let reader = Chunks::new(request.model.clone(), self.endpoint.classifier());
        stream::once(async move {
            match client.chat().create_stream_byot::<_, Value>(request).await {
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
