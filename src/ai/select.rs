//! Makes the chain at start-up.

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

/// A service that is to be asked. Blank texts count as not set, as an empty line of `.env` makes them.
#[derive(Debug, Clone)]
pub struct ServiceSettings {
    /// Which.
    pub service: &'static Service,
    /// Its keys by their numbers; the first variable's has number 1.
    pub keys: Vec<(u32, ApiKey)>,
    /// Where it is; in its usual place when not set.
    pub base_url: Option<String>,
    /// Whether that may be plain http to another machine.
    pub plain_http: bool,
    /// Which protocol it speaks.
    pub api: Api,
    /// The model to ask for when nobody wishes for one; the service's usual one when not set.
    pub model: Option<String>,
}

impl ServiceSettings {
    /// A service with one key and nothing else set.
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

/// What the configuration says about AI.
#[derive(Debug, Clone, Default)]
pub struct AiSettings {
    /// Who is asked, in this order; nobody: the built-in script answers.
    pub services: Vec<ServiceSettings>,
    /// What every provider must keep to.
    pub limits: Limits,
    /// When a circuit opens.
    pub circuit: CircuitSettings,
    /// The models that are known.
    pub table: ModelTable,
    /// The models that may be asked for; see [`Catalogue::new`].
    pub allowed: Option<Vec<String>>,
    /// How the scripted provider behaves, when it is the one.
    pub scripted: ScriptedSettings,
}

/// The configuration cannot be used; each says which variable is at fault and never shows a key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SettingsError {
    /// The key is blank.
    #[error("{variable} is empty")]
    KeyMissing {
        /// Where the key should be.
        variable: &'static str,
    },
    /// The key has characters that no key has.
    #[error("{variable} must be the bare key: no quotes, no blanks, no line breaks")]
    KeyMalformed {
        /// Where the key is.
        variable: &'static str,
    },
    /// The base URL is none, or has parts that make no sense in one.
    #[error("{variable} must be a URL such as https://api.openai.com/v1, without user, query or fragment")]
    BaseUrlMalformed {
        /// Where the URL is.
        variable: &'static str,
    },
    /// The base URL would send the key in the open.
    #[error(
        "{variable} must begin with https:// (http:// is taken to this machine; to others with AI_PLAIN_HTTP=true, where nobody else is on the way)"
    )]
    BaseUrlInsecure {
        /// Where the URL is.
        variable: &'static str,
    },
    /// The HTTP client could not be made, as a rule because the system's certificates cannot be read.
    #[error(
        "the HTTPS client for the AI provider could not be set up: are the system's CA certificates installed?"
    )]
    HttpClient,
}

/// The chain of the services that are set, each with each of its keys; the built-in script when there are none, and only
/// then. All under the limits that are set.
///
/// # Errors
///
/// [`SettingsError`] when a key is set that cannot be one, or a base URL that cannot be used.
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

/// A service called with one of its keys.
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
    fn without_a_key_it_is_the_scripted_provider_and_says_so() {
        for services in [vec![], vec![openai("")], vec![openai("  ")]] {
            let chain = made(services).unwrap();
            let [only] = &chain.all()[..] else { panic!("one provider") };
            assert_eq!((only.provider(), only.model(), only.key()), ("scripted", "scripted-echo-1", None));
            assert!(chain.describe().starts_with("AI: built-in scripted"), "{}", chain.describe());
        }
    }

    #[test]
    fn with_a_key_it_is_openai_and_the_key_is_not_shown() {
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
    fn the_configured_model_and_protocol_are_taken_and_a_blank_is_none() {
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
    fn a_bad_key_or_base_url_is_refused_under_its_own_name() {
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
