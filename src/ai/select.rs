//! Builds the provider chain from the configuration.

use std::sync::Arc;

use thiserror::Error;

use super::chain::ChainEntry;
use super::chat_completions::ChatCompletions;
use super::models::Catalogue;
use super::openai::Responses;
use super::transport::EndpointSettings;
use super::{
    Api, ApiKey, Chain, CircuitSettings, LimitedProvider, Limits, ModelTable, Provider, Scripted,
    ScriptedSettings, Service,
};

/// Settings of one service. Blank texts count as not set, as an empty line of `.env` makes them.
#[derive(Debug, Clone)]
pub struct ServiceSettings {
    /// The service.
    pub service: &'static Service,
    /// Keys by number; the first variable's has number 1.
    pub keys: Vec<(u32, ApiKey)>,
    /// Base URL, if not the usual one.
    pub base_url: Option<String>,
    /// Whether the base URL may be plain http to another machine.
    pub plain_http: bool,
    /// Protocol.
    pub api: Api,
    /// Model for requests that name none; the service's default if not set.
    pub model: Option<String>,
}

impl ServiceSettings {
    /// Creates settings with one key and nothing else.
    pub fn new(service: &'static Service, key: ApiKey) -> Self {
        Self {
            service,
            keys: vec![(1, key)],
            base_url: None,
            plain_http: false,
            api: service.api,
            model: None,
        }
    }

    fn model(&self) -> String {
        let set = self.model.as_ref().filter(|model| !model.trim().is_empty());
        set.map_or_else(|| self.service.model.to_owned(), String::clone)
    }
}

/// Settings of the AI providers.
#[derive(Debug, Clone, Default)]
pub struct AiSettings {
    /// Services in the order in which they are tried; empty: the built-in script answers.
    pub services: Vec<ServiceSettings>,
    /// Limits of every provider.
    pub limits: Limits,
    /// Settings of the circuit breakers.
    pub circuit: CircuitSettings,
    /// Known models.
    pub table: ModelTable,
    /// Models that a request may name; see [`Catalogue::new`].
    pub allowed: Option<Vec<String>>,
    /// Settings of the built-in script.
    pub scripted: ScriptedSettings,
}

/// An invalid setting. Names the variable, and never shows a key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SettingsError {
    /// The key is blank.
    #[error("{variable} is empty")]
    KeyMissing {
        /// Variable of the key.
        variable: &'static str,
    },
    /// The key has characters that keys do not have.
    #[error("{variable} must be the bare key: no quotes, no blanks, no line breaks")]
    KeyMalformed {
        /// Variable of the key.
        variable: &'static str,
    },
    /// The base URL is invalid.
    #[error("{variable} must be a URL such as https://api.openai.com/v1, without user, query or fragment")]
    BaseUrlMalformed {
        /// Variable of the URL.
        variable: &'static str,
    },
    /// The base URL would send the key unencrypted.
    #[error(
        "{variable} must begin with https:// (http:// is allowed to this machine, and to others with AI_PLAIN_HTTP=true, for networks that you trust)"
    )]
    BaseUrlInsecure {
        /// Variable of the URL.
        variable: &'static str,
    },
    /// The HTTP client could not be created, usually because the system's certificates cannot be read.
    #[error(
        "the HTTPS client for the AI provider could not be set up: are the system's CA certificates installed?"
    )]
    HttpClient,
}

/// Builds the chain of the configured services with each of their keys; the built-in script if there are none. All under
/// the configured limits.
///
/// # Errors
///
/// [`SettingsError`] when a key or base URL is invalid.
pub fn from_settings(settings: AiSettings) -> Result<Chain, SettingsError> {
    let AiSettings { services, limits, circuit, table, allowed, scripted } = settings;
    let mut links = Vec::new();
    let mut servers = Vec::new();
    for settings in services {
        let before = links.len();
        for (number, key) in settings.keys.iter().filter(|(_, key)| !key.is_blank()) {
            links.push(ChainEntry {
                provider: provider(&settings, *number, key.clone(), limits)?,
                key: Some(*number),
            });
        }
        if links.len() > before {
            servers.push((settings.service.name, settings.model()));
        }
    }
    if links.is_empty() {
        let provider: Arc<dyn Provider> = Arc::new(LimitedProvider::new(Scripted::new(scripted), limits));
        servers.push((provider.name(), provider.model().to_owned()));
        links.push(ChainEntry { provider, key: None });
    }
    Ok(Chain::new(links, Catalogue::new(table, servers, allowed), circuit))
}

/// Creates the provider for a service with one of its keys.
fn provider(
    settings: &ServiceSettings,
    number: u32,
    api_key: ApiKey,
    limits: Limits,
) -> Result<Arc<dyn Provider>, SettingsError> {
    let service = settings.service;
    let keys = service.variables.keys;
    let place = usize::try_from(number).unwrap_or(1).saturating_sub(1);
    let endpoint = EndpointSettings {
        service,
        api_key,
        key_variable: keys.get(place).or(keys.first()).copied().unwrap_or_default(),
        base_url: settings.base_url.clone().filter(|url| !url.trim().is_empty()),
        plain_http: settings.plain_http,
        connect: limits.connect,
    };
    Ok(match settings.api {
        Api::Responses => {
            Arc::new(LimitedProvider::new(Responses::try_new(endpoint, settings.model())?, limits))
        }
        Api::ChatCompletions => {
            Arc::new(LimitedProvider::new(ChatCompletions::try_new(endpoint, settings.model())?, limits))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ai::{groq, openai, openrouter};

    fn made(services: Vec<ServiceSettings>) -> Result<Chain, SettingsError> {
        from_settings(AiSettings { services, ..AiSettings::default() })
    }

    fn openai(key: &str) -> ServiceSettings {
        ServiceSettings::new(&openai::SERVICE, ApiKey::new(key))
    }

    #[test]
    fn scripted_provider_answers_without_a_key_and_says_so() {
        for services in [vec![], vec![openai("")], vec![openai("  ")]] {
            let chain = made(services).unwrap();
            let [only] = &chain.all()[..] else { panic!("one provider") };
            assert_eq!((only.provider(), only.model(), only.key()), ("scripted", "scripted-echo-1", None));
            assert!(chain.describe().starts_with("AI: built-in scripted"), "{}", chain.describe());
        }
    }

    #[test]
    fn openai_answers_with_a_key_that_is_never_shown() {
        let settings = AiSettings { services: vec![openai("sk-proj-secret")], ..AiSettings::default() };
        assert!(!format!("{settings:?}").contains("secret"));
        let chain = from_settings(settings).unwrap();
        assert_eq!(chain.describe(), "AI: OpenAI Responses API at api.openai.com, model gpt-4o-mini");
    }

    #[test]
    fn services_and_keys_keep_their_order_and_numbers() {
        let mut router = ServiceSettings::new(&openrouter::SERVICE, ApiKey::new("k1"));
        router.keys = vec![(1, ApiKey::new("k1")), (2, ApiKey::new("k2"))];
        let mut second = router.clone();
        second.keys.remove(0);
        let groq = ServiceSettings::new(&groq::SERVICE, ApiKey::new("g"));
        let chain = made(vec![groq.clone(), router]).unwrap();
        let links = |chain: &Chain| -> Vec<_> {
            chain.all().iter().map(|choice| (choice.provider(), choice.key())).collect()
        };
        assert_eq!(links(&chain), [("groq", Some(1)), ("openrouter", Some(1)), ("openrouter", Some(2))]);
        let described = chain.describe();
        assert!(
            described.starts_with("AI: Groq Chat Completions at api.groq.com")
                && described.ends_with("(2 keys)"),
            "{described}"
        );
        assert_eq!(links(&made(vec![second]).unwrap()), [("openrouter", Some(2))]);
    }

    #[test]
    fn configured_model_and_protocol_are_used_and_blank_is_default() {
        let mut settings = openai("sk-1");
        settings.model = Some("gpt-x".to_owned());
        settings.api = Api::ChatCompletions;
        settings.base_url = Some(" ".to_owned());
        let chain = made(vec![settings]).unwrap();
        assert_eq!(chain.describe(), "AI: OpenAI Chat Completions at api.openai.com, model gpt-x");
        let mut blank = openai("sk-1");
        blank.model = Some(" ".to_owned());
        assert_eq!(made(vec![blank]).unwrap().all()[0].model(), "gpt-4o-mini");
    }

    #[test]
    fn invalid_key_or_base_url_error_names_its_variable() {
        let bad = openai("\"sk-1\"");
        let refused = made(vec![bad]).err();
        assert_eq!(refused, Some(SettingsError::KeyMalformed { variable: "OPENAI_API_KEY" }));
        let mut router = ServiceSettings::new(&openrouter::SERVICE, ApiKey::new("k1"));
        router.keys.push((2, ApiKey::new("k 2")));
        let variable = "AI_SERVICES__OPEN_ROUTER_API_KEY_2";
        assert_eq!(made(vec![router.clone()]).err(), Some(SettingsError::KeyMalformed { variable }));
        router.keys.truncate(1);
        router.base_url = Some("http://models.example/v1".to_owned());
        let variable = "AI_SERVICES__OPEN_ROUTER_BASE_URL";
        assert_eq!(made(vec![router.clone()]).err(), Some(SettingsError::BaseUrlInsecure { variable }));
        router.plain_http = true;
        assert!(made(vec![router]).unwrap().describe().contains("at models.example"));
    }
}
