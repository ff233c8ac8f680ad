//! OpenAI's Responses API, streamed, through async-openai. Made by [`select`](super::select).
//!
//! The crate builds the request, makes the call and parses the stream. Three of its habits do not fit here,
//! and its public `middleware` and `byot` features let us change each:
//!
//! - Its default executor tries three times more on 429, 5xx and connection errors. Our own attempts are what
//!   is counted and recorded, so every call goes through our own service, `transport`, which tries once.
//! - It hides the response's headers (`Retry-After`), reads error bodies without limit, and logs them, as it
//!   logs every event that it cannot read; those may hold the conversation. `transport` answers for every
//!   status but success itself, and `sse` lets through only events that cannot fail to parse.
//! - Its event type knows a fixed list of events, with every field required, and fails on anything else, be it
//!   a new event of OpenAI's or a server that leaves out a field we never look at. So events are taken as JSON
//!   values (`create_stream_byot`) and `events` reads the few fields that matter.
//!
//! **What is bounded.** The crate moves events from the connection to us through a channel without bound, in
//! a task of its own that ends when our stream is dropped. `transport` feeds that task only on demand: it
//! reads on from the connection only after we have found the channel empty, so the channel holds the events of
//! two reads at most, however slow the reader is, and the provider feels the back pressure through TCP. One
//! event is at most 1 MiB, the whole body 64 MiB (`sse`), text 64 KiB and time 150 s ([`guard`](super::guard)).
//! Not bounded by us: what the HTTP client itself buffers for one connection (some hundred KiB).

mod events;
mod input;
mod sse;
mod transcribe;
mod transport;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use async_openai::Client;
use async_openai::config::{Config, OpenAIConfig};
use async_openai::types::responses::{CreateResponse, InputParam};
use futures::future::BoxFuture;
use futures::{StreamExt, stream};
use reqwest::Url;
use serde_json::{Map, Value};

use self::transport::{Link, Transport};
use super::{Limits, Pieces, Prompt, Provider, ProviderError, Recording, SettingsError, common_parameters};

/// OpenAI's own base URL.
const DEFAULT_BASE_URL: &str = "https://api.openai.com/v1";

/// A provider's key. Its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// Takes a key as it was configured.
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.0.trim().is_empty()
    }

    /// The key itself, if it can be one.
    fn checked(self) -> Result<String, SettingsError> {
        let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'');
        if self.is_blank() {
            Err(SettingsError::KeyMissing)
        } else if self.0.bytes().all(plain) {
            Ok(self.0)
        } else {
            Err(SettingsError::KeyMalformed)
        }
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(redacted)")
    }
}

/// What is needed to call OpenAI, or a server that speaks the same API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenAiSettings {
    /// The key.
    pub api_key: ApiKey,
    /// The API's base URL with its version; OpenAI's own when `None`.
    pub base_url: Option<String>,
    /// The model to ask when a prompt names none.
    pub model: String,
    /// Of these, only `connect` is kept here; wrap the provider in [`Guarded`](super::Guarded) for the others.
    pub limits: Limits,
}

/// The provider.
pub struct OpenAi {
    http: reqwest::Client,
    endpoint: Arc<dyn Config>,
    host: String,
    model: String,
}

impl fmt::Debug for OpenAi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenAi").field("host", &self.host).field("model", &self.model).finish_non_exhaustive()
    }
}

impl OpenAi {
    /// Makes the provider; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] for a key or base URL that cannot be used.
    pub fn try_new(settings: OpenAiSettings) -> Result<Self, SettingsError> {
        let OpenAiSettings { api_key, base_url, model, limits } = settings;
        let base = BaseUrl::parse(base_url.as_deref().unwrap_or(DEFAULT_BASE_URL))?;
        let key = api_key.checked()?;
        // A redirect would carry the conversation (and, within the host, the key) to where nobody configured.
        let mut http = reqwest::Client::builder()
            .connect_timeout(limits.connect)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never());
        if base.loopback {
            // A proxy would see the key of a plain connection, and could not reach this machine's loopback.
            http = http.no_proxy();
        } else {
            http = http.https_only(true);
        }
        let http = http.build().map_err(|_| SettingsError::HttpClient)?;
        // Organisation and project are set to nothing, as the crate would otherwise look into the process's
        // environment, where only our configuration may.
        let endpoint =
            OpenAIConfig::new().with_api_base(base.url).with_api_key(key).with_org_id("").with_project_id("");
        let endpoint = Arc::new(endpoint);
        Ok(Self { http, endpoint, host: base.host, model })
    }

    fn request(&self, prompt: Prompt) -> CreateResponse {
        CreateResponse {
            model: Some(prompt.model.unwrap_or_else(|| self.model.clone())),
            instructions: Some(prompt.system).filter(|system| !system.is_empty()),
            input: InputParam::Items(prompt.turns.into_iter().flat_map(input::items).collect()),
            max_output_tokens: Some(prompt.parameters.max_output_tokens),
            temperature: prompt.parameters.temperature,
            // Nothing is to stay with the provider: the log is the one place that keeps a conversation.
            store: Some(false),
            tools: (!prompt.tools.is_empty()).then(|| prompt.tools.into_iter().map(input::tool).collect()),
            tool_choice: prompt.tool_choice.map(input::tool_choice),
            stream: Some(true),
            ..CreateResponse::default()
        }
    }
}

impl Provider for OpenAi {
    fn name(&self) -> &'static str {
        "openai"
    }

    fn model(&self) -> &str {
        &self.model
    }

    fn describe(&self) -> String {
        format!("AI: OpenAI Responses API at {}, model {}", self.host, self.model)
    }

    fn parameters(&self, prompt: &Prompt) -> Map<String, Value> {
        let mut map = common_parameters(prompt.parameters);
        map.insert("api".to_owned(), "responses".into());
        map.insert("host".to_owned(), self.host.clone().into());
        map.insert("store".to_owned(), false.into());
        map
    }

    fn stream(&self, prompt: Prompt) -> Pieces {
        // A client is two pointers; each call has its own, so that the transport can tell this call's stream
        // what went wrong. Connections are shared through `http`.
        let link = Arc::new(Link::default());
        let client = Client::build(self.http.clone(), Arc::clone(&self.endpoint))
            .with_http_service(Transport::new(self.http.clone(), Arc::clone(&link)));
        let request = self.request(prompt);
        let asked = request.model.clone().unwrap_or_default();
        stream::once(async move {
            match client.responses().create_stream_byot::<_, Value>(request).await {
                Ok(events) => events::pieces(events, link, asked),
                Err(_) => {
                    // Without a word from the transport it was never called: the request could not be built.
                    let error = link.fault().unwrap_or(ProviderError::BadRequest);
                    stream::once(async { Err(error) }).boxed()
                }
            }
        })
        .flatten()
        .boxed()
    }

    fn transcribe(&self, recording: Recording) -> BoxFuture<'static, Result<String, ProviderError>> {
        Box::pin(transcribe::transcribe(self.http.clone(), Arc::clone(&self.endpoint), recording))
    }
}

/// A base URL that may be called.
#[derive(Debug, PartialEq, Eq)]
struct BaseUrl {
    /// Without a slash at the end, as the API's paths begin with one.
    url: String,
    /// Host and port, for people to read.
    host: String,
    /// It is plain http to this machine.
    loopback: bool,
}

impl BaseUrl {
    fn parse(text: &str) -> Result<Self, SettingsError> {
        let url = Url::parse(text.trim()).map_err(|_| SettingsError::BaseUrlMalformed)?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(SettingsError::BaseUrlMalformed)?;
        let has_user = !url.username().is_empty() || url.password().is_some();
        if has_user || url.query().is_some() || url.fragment().is_some() {
            return Err(SettingsError::BaseUrlMalformed);
        }
        let loopback = match url.scheme() {
            "https" => false,
            "http" if is_loopback(host) => true,
            "http" => return Err(SettingsError::BaseUrlInsecure),
            _ => return Err(SettingsError::BaseUrlMalformed),
        };
        let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        Ok(Self { url: url.as_str().trim_end_matches('/').to_owned(), host, loopback })
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_https_or_this_machine() {
        let good = [
            ("https://api.openai.com/v1", "https://api.openai.com/v1", "api.openai.com", false),
            (" https://example.test:8443/api/ ", "https://example.test:8443/api", "example.test:8443", false),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080", "127.0.0.1:8080", true),
            ("http://127.9.9.9/v1/", "http://127.9.9.9/v1", "127.9.9.9", true),
            ("http://[::1]:1/v1", "http://[::1]:1/v1", "[::1]:1", true),
            ("http://localhost:11434/v1", "http://localhost:11434/v1", "localhost:11434", true),
        ];
        for (text, url, host, loopback) in good {
            let expected = BaseUrl { url: url.to_owned(), host: host.to_owned(), loopback };
            assert_eq!(BaseUrl::parse(text), Ok(expected), "{text}");
        }
        for text in
            ["http://api.openai.com/v1", "http://10.0.0.1", "http://localhost.example.test", "http://[::2]"]
        {
            assert_eq!(BaseUrl::parse(text), Err(SettingsError::BaseUrlInsecure), "{text}");
        }
        for text in [
            "",
            "api.openai.com",
            "ftp://127.0.0.1",
            "https://u:p@a.test",
            "https://a.test?x",
            "https://a.test#x",
        ] {
            assert_eq!(BaseUrl::parse(text), Err(SettingsError::BaseUrlMalformed), "{text}");
        }
    }

    #[test]
    fn no_debug_output_shows_the_key() {
        let settings = OpenAiSettings {
            api_key: ApiKey::new("sk-canary"),
            base_url: None,
            model: "m".to_owned(),
            limits: Limits::default(),
        };
        let provider = OpenAi::try_new(settings.clone()).unwrap();
        let shown = format!("{settings:?} {provider:?}");
        assert!(!shown.contains("canary"), "{shown}");
    }
}
