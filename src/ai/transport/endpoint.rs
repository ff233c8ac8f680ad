//! A server's address and HTTP client: created once per key, shared by all calls.

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

/// Settings of an endpoint.
#[derive(Debug, Clone)]
pub(in crate::ai) struct EndpointSettings {
    /// The service, or the one that the server is compatible with.
    pub(in crate::ai) service: &'static Service,
    /// API key.
    pub(in crate::ai) api_key: ApiKey,
    /// Variable that holds the key.
    pub(in crate::ai) key_variable: &'static str,
    /// Base URL with the API's version; `None` for the service's own.
    pub(in crate::ai) base_url: Option<String>,
    /// Whether plain http is allowed to other machines too.
    pub(in crate::ai) plain_http: bool,
    /// Timeout of connecting.
    pub(in crate::ai) connect: Duration,
}

/// A server that can be called. Creating it sends nothing.
#[derive(Clone)]
pub(in crate::ai) struct Endpoint {
    http: reqwest::Client,
    config: Arc<dyn Config>,
    host: Arc<str>,
    classifier: ErrorClassifier,
    transcriber: Option<&'static str>,
}

/// Shows neither key nor client.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// Creates the client without connecting.
    pub(in crate::ai) fn try_new(settings: EndpointSettings) -> Result<Self, SettingsError> {
        let EndpointSettings { service, api_key, key_variable, base_url, plain_http, connect } = settings;
        let base = base_url.as_deref().unwrap_or(service.base_url);
        let base = BaseUrl::parse(base, service.variables.base_url, plain_http)?;
        let key = api_key.checked(key_variable)?;
        // A redirect would send the conversation (and, within the host, the key) to an unconfigured server.
        let mut http = reqwest::Client::builder()
            .connect_timeout(connect)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never());
        if base.plain {
            // A proxy would see the key of a plain connection, and could not reach loopback or private networks.
            http = http.no_proxy();
        } else {
            http = http.https_only(true);
        }
        let http = http.build().map_err(|_| SettingsError::HttpClient)?;
        // Set organization and project to empty: the crate would otherwise read them from the environment, which only our
        // configuration may do.
        let config =
            OpenAIConfig::new().with_api_base(base.url).with_api_key(key).with_org_id("").with_project_id("");
        Ok(Self {
            http,
            config: Arc::new(config),
            host: base.host.into(),
            classifier: service.classifier,
            transcriber: service.transcriber,
        })
    }

    /// Returns host and port, for log lines.
    pub(in crate::ai) fn host(&self) -> &str {
        &self.host
    }

    /// Returns the service's error classifier.
    pub(in crate::ai) fn classifier(&self) -> ErrorClassifier {
        self.classifier
    }

    /// Returns a client for one call, and the control that links its transport to its stream. Each call has its own client
    /// (two pointers), so that the transport can report errors to this call's stream. Connections are shared.
    pub(in crate::ai) fn client(&self) -> (Client<Arc<dyn Config>>, Arc<CallControl>) {
        let link = Arc::new(CallControl::default());
        let transport = Transport::new(self.http.clone(), self.classifier, Arc::clone(&link));
        let client = Client::build(self.http.clone(), Arc::clone(&self.config)).with_http_service(transport);
        (client, link)
    }

    /// Transcribes a recording, if the service has a model for that.
    pub(in crate::ai) fn transcribe(
        &self,
        recording: Recording,
    ) -> BoxFuture<'static, Result<String, ProviderError>> {
        let Some(model) = self.transcriber else {
            return Box::pin(async { Err(ProviderError::Unsupported) });
        };
        let (http, config, classifier) = (self.http.clone(), Arc::clone(&self.config), self.classifier);
        Box::pin(transcribe::transcribe(http, config, model, classifier, recording))
    }
}
