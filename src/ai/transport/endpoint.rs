//! Where a server is, and the client that calls it: made once for each key, shared by all calls.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_openai::Client;
use async_openai::config::{Config, OpenAIConfig};
use futures::future::BoxFuture;

use super::base_url::BaseUrl;
use super::http::{CallControl, Transport};
use super::key::ApiKey;
use super::transcribe;
use crate::ai::service::{ErrorClassifier, Service};
use crate::ai::{ProviderError, Recording, SettingsError};

/// What is needed to call a server.
#[derive(Debug, Clone)]
pub(in crate::ai) struct EndpointSettings {
    /// The service that it is, or passes for.
    pub(in crate::ai) service: &'static Service,
    /// The key.
    pub(in crate::ai) api_key: ApiKey,
    /// The variable that the key stands in.
    pub(in crate::ai) key_variable: &'static str,
    /// The API's base URL with its version; the service's own when `None`.
    pub(in crate::ai) base_url: Option<String>,
    /// Whether plain http is taken to other machines too.
    pub(in crate::ai) plain_http: bool,
    /// Until a connection stands.
    pub(in crate::ai) connect: Duration,
}

/// A server that can be called. Nothing is sent before it is.
#[derive(Clone)]
pub(in crate::ai) struct Endpoint {
    http: reqwest::Client,
    config: Arc<dyn Config>,
    host: Arc<str>,
    words: ErrorClassifier,
    transcriber: Option<&'static str>,
}

/// Shows neither key nor client.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// Makes the client; nothing is sent yet.
    pub(in crate::ai) fn try_new(settings: EndpointSettings) -> Result<Self, SettingsError> {
        let EndpointSettings { service, api_key, key_variable, base_url, plain_http, connect } = settings;
        let base = base_url.as_deref().unwrap_or(service.base_url);
        let base = BaseUrl::parse(base, service.variables.base_url, plain_http)?;
        let key = api_key.checked(key_variable)?;
        // A redirect would carry the conversation (and, within the host, the key) to where nobody configured.
        let mut http = reqwest::Client::builder()
            .connect_timeout(connect)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never());
        if base.plain {
            // A proxy would see the key of a plain connection, and could not reach this machine's loopback or a network of ours.
            http = http.no_proxy();
        } else {
            http = http.https_only(true);
        }
        let http = http.build().map_err(|_| SettingsError::HttpClient)?;
        // Organisation and project are set to nothing, as the crate would otherwise look into the process's
        // environment, where only our configuration may.
        let config =
            OpenAIConfig::new().with_api_base(base.url).with_api_key(key).with_org_id("").with_project_id("");
        Ok(Self {
            http,
            config: Arc::new(config),
            host: base.host.into(),
            words: service.words,
            transcriber: service.transcriber,
        })
    }

    /// Host and port, for people to read.
    pub(in crate::ai) fn host(&self) -> &str {
        &self.host
    }

    /// The service's own words for errors.
    pub(in crate::ai) fn words(&self) -> ErrorClassifier {
        self.words
    }

    /// A client for one call, and the link between its transport and its stream. A client is two pointers; each call has
    /// its own, so that the transport can tell this call's stream what went wrong. Connections are shared.
    pub(in crate::ai) fn client(&self) -> (Client<Arc<dyn Config>>, Arc<CallControl>) {
        let link = Arc::new(CallControl::default());
        let transport = Transport::new(self.http.clone(), self.words, Arc::clone(&link));
        let client = Client::build(self.http.clone(), Arc::clone(&self.config)).with_http_service(transport);
        (client, link)
    }

    /// Writes down what was said in a recording, where the service has a model for that.
    pub(in crate::ai) fn transcribe(
        &self,
        recording: Recording,
    ) -> BoxFuture<'static, Result<String, ProviderError>> {
        let Some(model) = self.transcriber else {
            return Box::pin(async { Err(ProviderError::Unsupported) });
        };
        let (http, config, words) = (self.http.clone(), Arc::clone(&self.config), self.words);
        Box::pin(transcribe::transcribe(http, config, model, words, recording))
    }
}
