//! AI providers: keys, order, models, and limits.

use std::time::Duration;

use axum::http::Uri;

use super::auth::is_placeholder;
use super::error::ConfigError;
use super::reader::Reader;
use super::secret::Secret;
use crate::ai::models::is_name;
use crate::ai::service::{self, SERVICES, Service};
use crate::ai::{Api, CircuitSettings, FaultPlan, Limits, ModelTable, ScriptedSettings};

/// Name of the built-in script in `AI_PROVIDERS`.
const SCRIPTED: &str = "scripted";

/// Limits of retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetrySettings {
    /// Calls of the same provider and key per reply.
    pub max_attempts: u32,
    /// First back-off; each further one is twice as long.
    pub backoff: Duration,
    /// Longest single wait.
    pub max_wait: Duration,
    /// Longest total wait of a reply.
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

/// The providers and how they are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvidersConfig {
    /// `AI_PROVIDERS`: the services, in the order of calling; empty for the built-in script.
    pub chain: Vec<ServiceConfig>,
    /// `AI_PLAIN_HTTP`: whether the base URL of another machine may be plain http.
    pub plain_http: bool,
    /// Behavior of the built-in script, for demos and tests.
    pub scripted: ScriptedSettings,
    /// `PROVIDER_CONNECT_SECONDS`, `PROVIDER_FIRST_BYTE_SECONDS`, `PROVIDER_IDLE_SECONDS`, `PROVIDER_TOTAL_SECONDS`:
    /// timeouts of a provider.
    pub limits: Limits,
    /// `REPLY_MAX_ATTEMPTS`, `PROVIDER_BACKOFF_MILLISECONDS`, `PROVIDER_WAIT_SECONDS`, `PROVIDER_WAITS_SECONDS`: retries of a
    /// reply.
    pub retries: RetrySettings,
    /// `CIRCUIT_FAILURES`, `CIRCUIT_PROBE_SECONDS`: the circuit breaker of a provider.
    pub circuit: CircuitSettings,
    /// `MODELS_FILE`: known models with their prices; otherwise the built-in table.
    pub models: ModelTable,
    /// `AI_MODELS`: models that clients may request besides the providers' defaults; by default those of `MODELS_FILE`.
    pub allowed: Option<Vec<String>>,
}

/// One service and its settings.
#[derive(Debug, Clone)]
pub struct ServiceConfig {
    /// The service.
    pub service: &'static Service,
    /// API keys by their numbers.
    pub keys: Vec<(u32, Secret)>,
    /// Base URL without a trailing slash; `None` for the service's own.
    pub base_url: Option<String>,
    /// Protocol of the service.
    pub api: Api,
    /// Model for requests that name none.
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

/// Returns the names in `AI_PROVIDERS`; `None` if it is not set.
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

/// Returns the services that `AI_PROVIDERS` names, in order; each must have a key.
fn ordered(
    reader: &mut Reader<'_>,
    order: &[&'static Service],
    services: Vec<ServiceConfig>,
) -> Result<Vec<ServiceConfig>, ConfigError> {
    for service in &services {
        let named = order.iter().any(|one| one.name == service.service.name);
        if !named && !service.keys.is_empty() {
            reader.note(format!(
                "{} has a key but is not used: AI_PROVIDERS does not name it.",
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
    let invalid_file = |what: String| ConfigError::File { name: "MODELS_FILE", path: path.clone(), what };
    let text = std::fs::read_to_string(&path).map_err(|error| invalid_file(error.to_string()))?;
    ModelTable::parse(&text).map_err(invalid_file)
}

fn names(text: &str) -> Option<Vec<String>> {
    text.split(',').map(str::trim).map(|name| is_name(name).then(|| name.to_owned())).collect()
}

/// Returns whether a value is a placeholder like `your-api-key-here`.
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
mod tests;
