//! Who writes the replies: the AI providers, their keys, their order, their models, and the limits they keep to.

use std::time::Duration;

use axum::http::Uri;

use super::auth::is_placeholder;
use super::error::ConfigError;
use super::reader::Reader;
use super::secret::Secret;
use crate::ai::models::is_name;
use crate::ai::service::{self, SERVICES, Service};
use crate::ai::{Api, CircuitSettings, FaultPlan, Limits, ModelTable, ScriptedSettings};

/// What `AI_PROVIDERS` calls the built-in script.
const SCRIPTED: &str = "scripted";

/// Limits of retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetrySettings {
    /// Calls of the same provider and key per reply.
    pub max_attempts: u32,
    /// The first back-off; each next one is twice as long.
    pub backoff: Duration,
    /// Longest single wait.
    pub max_wait: Duration,
    /// Longest sum of all waits of a reply.
    pub max_total_wait: Duration,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self {
            max_attempts: 4,
            backoff: Duration::from_secs(1),
            max_wait: Duration::from_secs(20),
            max_total_wait: Duration::from_secs(60),
        }
    }
}

/// The providers and how they are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvidersConfig {
    /// `AI_PROVIDERS`: who is asked, in this order; nobody: the built-in script answers.
    pub chain: Vec<ServiceConfig>,
    /// `AI_PLAIN_HTTP`: whether a base URL may be plain http to another machine than this one.
    pub plain_http: bool,
    /// How the built-in script behaves, for trying out and tests.
    pub scripted: ScriptedSettings,
    /// `PROVIDER_CONNECT_SECONDS`, `PROVIDER_FIRST_BYTE_SECONDS`, `PROVIDER_IDLE_SECONDS`, `PROVIDER_TOTAL_SECONDS`: how
    /// long a provider may take.
    pub limits: Limits,
    /// `REPLY_MAX_ATTEMPTS`, `PROVIDER_BACKOFF_MILLISECONDS`, `PROVIDER_WAIT_SECONDS`, `PROVIDER_WAITS_SECONDS`: how often
    /// and how long it is tried.
    pub retries: RetrySettings,
    /// `CIRCUIT_FAILURES`, `CIRCUIT_PROBE_SECONDS`: when a provider is given up on for a while.
    pub circuit: CircuitSettings,
    /// `MODELS_FILE`: the models that are known, with prices; else the built-in table.
    pub models: ModelTable,
    /// `AI_MODELS`: the models that may be asked for besides the providers' own; not set: those of `MODELS_FILE`.
    pub allowed: Option<Vec<String>>,
}

/// A service with what is set for it.
#[derive(Debug, Clone)]
pub struct ServiceConfig {
    /// Which.
    pub service: &'static Service,
    /// Its keys by their numbers.
    pub keys: Vec<(u32, Secret)>,
    /// Where it is, without a slash at the end; `None`: in its usual place.
    pub base_url: Option<String>,
    /// Which protocol it speaks.
    pub api: Api,
    /// The model that is asked when nobody wishes for one.
    pub model: String,
}

impl PartialEq for ServiceConfig {
    fn eq(&self, other: &Self) -> bool {
        let of = |one: &Self| {
            (one.service.name, one.api, one.keys.clone(), one.base_url.clone(), one.model.clone())
        };
        of(self).eq(&of(other))
    }
}

impl Eq for ServiceConfig {}

impl ProvidersConfig {
    pub(super) fn read(reader: &mut Reader<'_>, deadline: u64) -> Result<Self, ConfigError> {
        let order = order(reader)?;
        let mut services = Vec::new();
        for service in SERVICES {
            services.push(self::service(reader, service)?);
        }
        let scripted = scripted(reader)?;
        let chain = match order {
            None => services.into_iter().filter(|service| !service.keys.is_empty()).collect(),
            Some(order) => ordered(reader, &order, services)?,
        };
        Ok(Self {
            chain,
            plain_http: reader.flag("AI_PLAIN_HTTP", false)?,
            scripted,
            limits: limits(reader, deadline)?,
            retries: retries(reader)?,
            circuit: CircuitSettings {
                failures: Some(reader.count("CIRCUIT_FAILURES", 20, 1..=1000)?),
                probe_every: Duration::from_secs(reader.number("CIRCUIT_PROBE_SECONDS", 5, 1..=300)?),
            },
            models: models_file(reader)?,
            allowed: reader.optional(
                "AI_MODELS",
                "names of models, separated by commas, each of at most 200 visible characters",
                |models: &Vec<String>| models.join(","),
                names,
            )?,
        })
    }
}

/// The names in `AI_PROVIDERS`; none: it is not set.
fn order(reader: &mut Reader<'_>) -> Result<Option<Vec<&'static Service>>, ConfigError> {
    let known: Vec<&str> = SERVICES.iter().map(|service| service.name).collect();
    let expected =
        format!("some of {}, separated by commas, each once; or {SCRIPTED} alone", known.join(", "));
    let show = |order: &Vec<&'static Service>| {
        let names: Vec<&str> = order.iter().map(|service| service.name).collect();
        if names.is_empty() { SCRIPTED.to_owned() } else { names.join(",") }
    };
    reader.optional("AI_PROVIDERS", &expected, show, |text| {
        if text == SCRIPTED {
            return Some(Vec::new());
        }
        let mut order: Vec<&'static Service> = Vec::new();
        for name in text.split(',') {
            let service = service::by_name(name.trim())?;
            if order.iter().any(|other| other.name == service.name) {
                return None;
            }
            order.push(service);
        }
        Some(order)
    })
}

/// The services that `AI_PROVIDERS` names, in its order; each has to have a key.
fn ordered(
    reader: &mut Reader<'_>,
    order: &[&'static Service],
    services: Vec<ServiceConfig>,
) -> Result<Vec<ServiceConfig>, ConfigError> {
    for service in &services {
        let named = order.iter().any(|one| one.name == service.service.name);
        if !named && !service.keys.is_empty() {
            reader.note(format!(
                "{} is not asked, although it has a key: AI_PROVIDERS does not name it.",
                service.service.title
            ));
        }
    }
    let find = |wanted: &&'static Service| {
        let found = services.iter().find(|service| service.service.name == wanted.name);
        found.filter(|service| !service.keys.is_empty()).cloned().ok_or(ConfigError::Missing {
            name: wanted.variables.keys.first().copied().unwrap_or_default(),
            when: "because AI_PROVIDERS names its provider",
            expected: "the key that the provider gave you",
        })
    };
    order.iter().map(find).collect()
}

fn service(reader: &mut Reader<'_>, service: &'static Service) -> Result<ServiceConfig, ConfigError> {
    let mut keys = Vec::new();
    for (number, name) in (1..).zip(service.variables.keys) {
        match reader.secret(name) {
            Some(key) if is_sample_key(key.expose()) => {
                reader
                    .note(format!("{name} holds the placeholder of a sample file, so it counts as not set."));
            }
            Some(key) => keys.push((number, key)),
            None => {}
        }
    }
    let base_url = reader.optional(
        service.variables.base_url,
        &format!("an address such as {}", service.base_url),
        String::clone,
        parse_base_url,
    )?;
    let model = reader.parsed(
        service.variables.model,
        service.model.to_owned(),
        "a model's name of at most 200 visible characters",
        String::clone,
        |text| is_name(text).then(|| text.to_owned()),
    )?;
    let api = match service.variables.api {
        None => service.api,
        Some(variable) => reader.parsed(
            variable,
            service.api,
            "responses or chat_completions",
            |api| api.as_str().to_owned(),
            Api::by_name,
        )?,
    };
    if keys.is_empty() && base_url.is_some() {
        reader.note(format!(
            "{} has no effect without {} (a server that asks for no key takes any word).",
            service.variables.base_url,
            service.variables.keys.join(" or ")
        ));
    }
    Ok(ServiceConfig { service, keys, base_url, api, model })
}

fn scripted(reader: &mut Reader<'_>) -> Result<ScriptedSettings, ConfigError> {
    let words_per_second = reader.count("SCRIPTED_WORDS_PER_SECOND", 40, 0..=100_000)?;
    let faults = reader.parsed(
        "SCRIPTED_FAULT",
        FaultPlan::default(),
        "none, 429, 500, hang, cut, empty or over-long, and may end in `:n` for the first n attempts only",
        FaultPlan::to_string,
        |text| text.parse().ok(),
    )?;
    Ok(ScriptedSettings { words_per_second, faults })
}

fn limits(reader: &mut Reader<'_>, deadline: u64) -> Result<Limits, ConfigError> {
    let seconds = Duration::from_secs;
    let connect = reader.number("PROVIDER_CONNECT_SECONDS", 5, 1..=60)?;
    let first_byte = reader.number("PROVIDER_FIRST_BYTE_SECONDS", 12, 1..=150)?;
    let idle = reader.number("PROVIDER_IDLE_SECONDS", 18, 1..=150)?;
    let total = reader.number("PROVIDER_TOTAL_SECONDS", 150, 1..=150)?;
    if total >= deadline {
        return Err(ConfigError::Order {
            name: "PROVIDER_TOTAL_SECONDS",
            value: total,
            relation: "less than",
            other: "REPLY_DEADLINE_SECONDS",
            limit: deadline,
        });
    }
    Ok(Limits {
        connect: seconds(connect),
        first_byte: seconds(first_byte),
        idle: seconds(idle),
        total: seconds(total),
        ..Limits::default()
    })
}

fn retries(reader: &mut Reader<'_>) -> Result<RetrySettings, ConfigError> {
    let max_attempts = reader.count("REPLY_MAX_ATTEMPTS", 4, 1..=20)?;
    let backoff = reader.number("PROVIDER_BACKOFF_MILLISECONDS", 1000, 10..=10_000)?;
    let longest = reader.number("PROVIDER_WAIT_SECONDS", 20, 1..=60)?;
    let in_all = reader.number("PROVIDER_WAITS_SECONDS", 60, 1..=150)?;
    if longest > in_all {
        return Err(ConfigError::Order {
            name: "PROVIDER_WAIT_SECONDS",
            value: longest,
            relation: "at most",
            other: "PROVIDER_WAITS_SECONDS",
            limit: in_all,
        });
    }
    Ok(RetrySettings {
        max_attempts,
        backoff: Duration::from_millis(backoff),
        max_wait: Duration::from_secs(longest),
        max_total_wait: Duration::from_secs(in_all),
    })
}

fn models_file(reader: &mut Reader<'_>) -> Result<ModelTable, ConfigError> {
    let Some(path) = reader.text("MODELS_FILE") else { return Ok(ModelTable::default()) };
    let refused = |what: String| ConfigError::File { name: "MODELS_FILE", path: path.clone(), what };
    let text = std::fs::read_to_string(&path).map_err(|error| refused(error.to_string()))?;
    ModelTable::parse(&text).map_err(refused)
}

fn names(text: &str) -> Option<Vec<String>> {
    text.split(',').map(str::trim).map(|name| is_name(name).then(|| name.to_owned())).collect()
}

/// `your-api-key-here` and its like.
fn is_sample_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    is_placeholder(&key) || (key.contains("your") && key.contains("key"))
}

fn parse_base_url(text: &str) -> Option<String> {
    let uri: Uri = text.parse().ok()?;
    let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
    let plain = uri.query().is_none() && uri.authority().is_some_and(|host| !host.as_str().contains('@'));
    (scheme && plain).then(|| text.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::Config;

    fn read(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let map = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::from_map(&map.collect::<BTreeMap<_, _>>())
    }

    fn chain(config: &Config) -> Vec<(&'static str, Vec<u32>)> {
        let numbers = |one: &ServiceConfig| one.keys.iter().map(|(number, _)| *number).collect();
        config.providers.chain.iter().map(|one| (one.service.name, numbers(one))).collect()
    }

    const ALL: [(&str, &str); 5] = [
        ("AI_SERVICES__GEMINI_API_KEY", "visible-gemini"),
        ("AI_SERVICES__GROQ_API_KEY", "visible-groq"),
        ("AI_SERVICES__OPEN_ROUTER_API_KEY_1", "visible-one"),
        ("AI_SERVICES__OPEN_ROUTER_API_KEY_2", "visible-two"),
        ("OPENAI_API_KEY", "visible-openai"),
    ];

    #[test]
    fn base_urls_are_web_addresses_without_secrets() {
        assert_eq!(parse_base_url("http://127.0.0.1:9/v1/").as_deref(), Some("http://127.0.0.1:9/v1"));
        for refused in ["api.openai.com", "ftp://x/v1", "https://user:key@x/v1", "https://x/v1?key=1"] {
            assert_eq!(parse_base_url(refused), None, "{refused}");
        }
    }

    #[test]
    fn everybody_with_a_key_is_asked_in_the_usual_order() {
        assert_eq!(chain(&read(&[]).unwrap()), []);
        let config = read(&ALL).unwrap();
        let expected =
            [("openai", vec![1]), ("openrouter", vec![1, 2]), ("groq", vec![1]), ("gemini", vec![1])];
        assert_eq!(chain(&config), expected);
        let shown = format!("{config:?} {:?}", config.effective());
        assert!(!shown.contains("visible"), "{shown}");
        assert_eq!(chain(&read(&ALL[3..4]).unwrap()), [("openrouter", vec![2])]);
    }

    #[test]
    fn another_order_may_be_set_and_needs_the_keys() {
        let set = |order| read(&[&[("AI_PROVIDERS", order)], &ALL[..]].concat());
        let config = set("groq, openai").unwrap();
        assert_eq!(chain(&config), [("groq", vec![1]), ("openai", vec![1])]);
        assert!(
            config.notes.iter().any(|note| note.starts_with("Gemini is not asked")),
            "{:?}",
            config.notes
        );
        assert_eq!(chain(&set("scripted").unwrap()), []);
        for bad in ["grok", "groq,groq", "groq,,openai", "openai,scripted"] {
            assert!(set(bad).unwrap_err().to_string().starts_with("AI_PROVIDERS is"), "{bad}");
        }
        let refused =
            read(&[("AI_PROVIDERS", "openai,groq"), ("OPENAI_API_KEY", "k")]).unwrap_err().to_string();
        assert!(refused.starts_with("AI_SERVICES__GROQ_API_KEY is not set"), "{refused}");
    }

    #[test]
    fn a_server_of_ones_own_may_speak_either_protocol() {
        let base = [("OPENAI_API_KEY", "k"), ("OPENAI_BASE_URL", "http://127.0.0.1:9/v1/")];
        assert_eq!(read(&base).unwrap().providers.chain[0].api, Api::Responses);
        let config = read(&[base[0], base[1], ("OPENAI_API", "chat_completions")]).unwrap();
        let [one] = &config.providers.chain[..] else { panic!("one provider") };
        assert_eq!((one.api, one.base_url.as_deref()), (Api::ChatCompletions, Some("http://127.0.0.1:9/v1")));
        assert!(read(&[("OPENAI_API", "assistants")]).is_err());
        let config = read(&base[1..]).unwrap();
        let note = "OPENAI_BASE_URL has no effect without OPENAI_API_KEY (a server that asks for no key takes any word).";
        assert_eq!(config.notes, [note]);
    }

    #[test]
    fn limits_are_bounded_and_fit_together() {
        let defaults = read(&[]).unwrap().providers;
        assert_eq!((defaults.limits, defaults.retries), (Limits::default(), RetrySettings::default()));
        assert_eq!(defaults.circuit, CircuitSettings::default());
        for (pairs, says) in [
            (&[("PROVIDER_CONNECT_SECONDS", "0")][..], "PROVIDER_CONNECT_SECONDS"),
            (&[("PROVIDER_FIRST_BYTE_SECONDS", "151")], "PROVIDER_FIRST_BYTE_SECONDS"),
            (&[("PROVIDER_IDLE_SECONDS", "x")], "PROVIDER_IDLE_SECONDS"),
            (
                &[("PROVIDER_TOTAL_SECONDS", "60"), ("REPLY_DEADLINE_SECONDS", "60")],
                "PROVIDER_TOTAL_SECONDS (60)",
            ),
            (&[("PROVIDER_BACKOFF_MILLISECONDS", "1")], "PROVIDER_BACKOFF_MILLISECONDS"),
            (
                &[("PROVIDER_WAIT_SECONDS", "30"), ("PROVIDER_WAITS_SECONDS", "20")],
                "PROVIDER_WAIT_SECONDS (30)",
            ),
            (&[("CIRCUIT_FAILURES", "0")], "CIRCUIT_FAILURES"),
            (&[("CIRCUIT_PROBE_SECONDS", "301")], "CIRCUIT_PROBE_SECONDS"),
        ] {
            let refused = read(pairs).unwrap_err().to_string();
            assert!(refused.starts_with(says), "{pairs:?}: {refused}");
        }
    }

    #[test]
    fn models_come_from_a_file_of_ones_own() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        std::fs::write(path, r#"[{"name": "fast", "provider": "groq", "model": "llama"}]"#).unwrap();
        let config = read(&[("MODELS_FILE", path), ("AI_MODELS", "fast, other")]).unwrap();
        assert_eq!(config.providers.models.rows()[0].name, "fast");
        assert_eq!(config.providers.allowed.as_deref(), Some(&["fast".to_owned(), "other".to_owned()][..]));
        std::fs::write(path, "[").unwrap();
        let refused = read(&[("MODELS_FILE", path)]).unwrap_err().to_string();
        assert!(refused.contains("MODELS_FILE") && refused.contains(path), "{refused}");
        assert!(read(&[("AI_MODELS", "a b")]).is_err());
    }
}
