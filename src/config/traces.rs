//! Trace export, with OpenTelemetry's own variables. Without an endpoint no traces are recorded.

use axum::http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use reqwest::Url;

use super::error::ConfigError;
use super::reader::Reader;
use super::secret::Secret;

/// Path that OTLP over HTTP appends to the endpoint for traces.
const TRACES_PATH: &str = "v1/traces";
/// 100 %, in millionths.
const ALL_TRACES: u32 = 1_000_000;

/// Trace export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracesConfig {
    /// `OTEL_EXPORTER_OTLP_ENDPOINT` with the path for traces: destination of the spans.
    pub endpoint: String,
    /// `OTEL_EXPORTER_OTLP_HEADERS`: headers of the export; the values stay percent-encoded.
    pub headers: Vec<(String, Secret)>,
    /// `OTEL_SERVICE_NAME`: name of this service.
    pub service: String,
    /// `OTEL_RESOURCE_ATTRIBUTES`: attributes of every span of this process.
    pub resource: Vec<(String, String)>,
    /// `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`: the sampler.
    pub sampling: Sampling,
    /// `PROVIDER_TRACEPARENT`: whether trace ids are sent to AI providers.
    pub send_to_provider: bool,
}

/// Which traces are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling {
    /// Whether the decision in an incoming `traceparent` is kept.
    pub parent_decides: bool,
    /// Share of the other traces, in millionths.
    pub millionths: u32,
}

impl TracesConfig {
    /// Returns whether the collector is on this machine.
    pub fn is_local(&self) -> bool {
        is_local(&self.endpoint)
    }

    /// Reads the settings; `None` without an endpoint.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, ConfigError> {
        let endpoint = reader.optional(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "the http:// or https:// URL of a collector that takes OTLP over HTTP, such as http://127.0.0.1:4318, \
             without user, query or fragment",
            Clone::clone,
            endpoint,
        )?;
        let headers = match reader.secret("OTEL_EXPORTER_OTLP_HEADERS") {
            None => Vec::new(),
            Some(given) => headers(given.expose()).ok_or_else(|| ConfigError::InvalidSecret {
                name: "OTEL_EXPORTER_OTLP_HEADERS",
                expected:
                    "NAME=VALUE, or several with commas between, values percent-encoded where they hold \
                           commas, blanks or the like"
                        .to_owned(),
            })?,
        };
        let service = reader.parsed(
            "OTEL_SERVICE_NAME",
            "verbatim".to_owned(),
            "1 to 200 characters without control characters",
            Clone::clone,
            |text| is_plain(text).then(|| text.to_owned()),
        )?;
        let resource = reader.parsed(
            "OTEL_RESOURCE_ATTRIBUTES",
            Vec::new(),
            "NAME=VALUE, or several with commas between",
            |pairs| if pairs.is_empty() { "(not set)".to_owned() } else { shown(pairs) },
            attributes,
        )?;
        let rule = reader.parsed(
            "OTEL_TRACES_SAMPLER",
            Rule { parent_decides: true, share: Share::All },
            "always_on, always_off, traceidratio, or one of them with parentbased_ before it",
            Rule::to_string,
            Rule::parse,
        )?;
        let ratio = reader.parsed(
            "OTEL_TRACES_SAMPLER_ARG",
            ALL_TRACES,
            "a share from 0 to 1",
            |millionths| (f64::from(*millionths) / f64::from(ALL_TRACES)).to_string(),
            millionths,
        )?;
        let send_to_provider = reader.flag("PROVIDER_TRACEPARENT", false)?;
        let Some(endpoint) = endpoint else { return Ok(None) };
        if !headers.is_empty() && endpoint.starts_with("http://") && !is_local(&endpoint) {
            reader.note(
                "OTEL_EXPORTER_OTLP_HEADERS go to the collector without TLS: anyone on the network path can read them."
                    .to_owned(),
            );
        }
        let millionths = match rule.share {
            Share::All => ALL_TRACES,
            Share::None => 0,
            Share::Ratio => ratio,
        };
        let sampling = Sampling { parent_decides: rule.parent_decides, millionths };
        Ok(Some(Self { endpoint, headers, service, resource, sampling, send_to_provider }))
    }
}

/// Parses `OTEL_TRACES_SAMPLER`.
#[derive(Debug, Clone, Copy)]
struct Rule {
    parent_decides: bool,
    share: Share,
}

#[derive(Debug, Clone, Copy)]
enum Share {
    All,
    None,
    // The ratio comes from the argument.
    Ratio,
}

impl Rule {
    fn parse(text: &str) -> Option<Self> {
        let (parent_decides, name) = match text.strip_prefix("parentbased_") {
            Some(name) => (true, name),
            None => (false, text),
        };
        let share = match name {
            "always_on" => Share::All,
            "always_off" => Share::None,
            "traceidratio" => Share::Ratio,
            _ => return None,
        };
        Some(Self { parent_decides, share })
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.parent_decides { "parentbased_" } else { "" })?;
        f.write_str(match self.share {
            Share::All => "always_on",
            Share::None => "always_off",
            Share::Ratio => "traceidratio",
        })
    }
}

fn endpoint(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    let reachable = matches!(url.scheme(), "http" | "https") && url.has_host();
    (plain && reachable).then(|| format!("{}/{TRACES_PATH}", url.as_str().trim_end_matches('/')))
}

fn is_local(endpoint: &str) -> bool {
    match Url::parse(endpoint).ok().as_ref().and_then(Url::host_str) {
        Some("localhost") => true,
        Some(host) => {
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        None => false,
    }
}

/// Parses a list of pairs; `None` if one is malformed.
fn pairs(text: &str) -> Option<Vec<(&str, &str)>> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    entries
        .map(|entry| entry.split_once('=').map(|(name, value)| (name.trim(), value.trim())))
        .collect::<Option<Vec<_>>>()
        .filter(|pairs| !pairs.is_empty())
}

fn headers(text: &str) -> Option<Vec<(String, Secret)>> {
    pairs(text)?
        .into_iter()
        .map(|(name, value)| {
            let decoded = percent_decode_str(value).decode_utf8().ok()?;
            let usable = name.parse::<HeaderName>().is_ok() && HeaderValue::from_str(&decoded).is_ok();
            usable.then(|| (name.to_owned(), Secret::new(value)))
        })
        .collect()
}

fn attributes(text: &str) -> Option<Vec<(String, String)>> {
    pairs(text)?
        .into_iter()
        .map(|(name, value)| {
            let value = percent_decode_str(value).decode_utf8().ok()?;
            (is_plain(name) && is_plain(&value)).then(|| (name.to_owned(), value.into_owned()))
        })
        .collect()
}

fn is_plain(text: &str) -> bool {
    (1..=200).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

fn shown(pairs: &[(String, String)]) -> String {
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}

fn millionths(text: &str) -> Option<u32> {
    let share: f64 = text.parse().ok()?;
    // Within the range it is at most a million, and never negative.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded by the range")]
    (0.0..=1.0).contains(&share).then(|| (share * f64::from(ALL_TRACES)).round() as u32)
}

#[cfg(test)]
mod tests;
