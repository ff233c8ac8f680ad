//! Where traces go, under the names that OpenTelemetry has for such variables. Without an endpoint there are none.

use axum::http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use reqwest::Url;

use super::error::ConfigError;
use super::reader::Reader;
use super::secret::Secret;

/// What is added to the endpoint, as OTLP over HTTP has it for traces.
const PATH: &str = "v1/traces";
/// A share of all, in millionths.
const ALL: u32 = 1_000_000;

/// Traces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracesConfig {
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`, with the path for traces: where spans are sent.
    pub endpoint: String,
    /// `OTEL_EXPORTER_OTLP_HEADERS`: sent along. Their values are percent-encoded, as they were given.
    pub headers: Vec<(String, Secret)>,
    /// `OTEL_SERVICE_NAME`.
    pub service: String,
    /// `OTEL_RESOURCE_ATTRIBUTES`: what every span of this process says of it.
    pub resource: Vec<(String, String)>,
    /// `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`.
    pub sampling: Sampling,
    /// `PROVIDER_TRACEPARENT`: whether the AI provider is told the ids of the trace.
    pub tell_provider: bool,
}

/// Which traces are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling {
    /// Whether whoever sends a `traceparent` has decided it already.
    pub parent_decides: bool,
    /// How many of the others, in millionths.
    pub millionths: u32,
}

impl TracesConfig {
    /// Whether the collector is on this machine.
    pub fn is_near(&self) -> bool {
        is_near(&self.endpoint)
    }

    /// `None` without an endpoint.
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
            ALL,
            "a share from 0 to 1",
            |millionths| (f64::from(*millionths) / f64::from(ALL)).to_string(),
            millionths,
        )?;
        let tell_provider = reader.flag("PROVIDER_TRACEPARENT", false)?;
        let Some(endpoint) = endpoint else { return Ok(None) };
        if !headers.is_empty() && endpoint.starts_with("http://") && !is_near(&endpoint) {
            reader.note(
                "OTEL_EXPORTER_OTLP_HEADERS go to the collector without TLS: whoever can listen in between sees them."
                    .to_owned(),
            );
        }
        let millionths = match rule.share {
            Share::All => ALL,
            Share::None => 0,
            Share::Ratio => ratio,
        };
        let sampling = Sampling { parent_decides: rule.parent_decides, millionths };
        Ok(Some(Self { endpoint, headers, service, resource, sampling, tell_provider }))
    }
}

/// What `OTEL_TRACES_SAMPLER` names.
#[derive(Debug, Clone, Copy)]
struct Rule {
    parent_decides: bool,
    share: Share,
}

#[derive(Debug, Clone, Copy)]
enum Share {
    All,
    None,
    /// The argument tells.
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
    (plain && reachable).then(|| format!("{}/{PATH}", url.as_str().trim_end_matches('/')))
}

fn is_near(endpoint: &str) -> bool {
    match Url::parse(endpoint).ok().as_ref().and_then(Url::host_str) {
        Some("localhost") => true,
        Some(host) => {
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        None => false,
    }
}

/// The pairs of a list; none when one is no pair.
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
    (0.0..=1.0).contains(&share).then(|| (share * f64::from(ALL)).round() as u32)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::Config;
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Config {
        let map: BTreeMap<String, String> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Config::from_map(&map).unwrap()
    }

    #[test]
    fn an_endpoint_is_what_switches_traces_on() {
        let rest = [("OTEL_SERVICE_NAME", "chat"), ("OTEL_TRACES_SAMPLER", "always_on")];
        assert_eq!(read(&rest).traces, None);
        let traces = read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318/")]).traces.unwrap();
        assert_eq!(traces.endpoint, "http://127.0.0.1:4318/v1/traces");
        assert_eq!((traces.service.as_str(), traces.tell_provider), ("verbatim", false));
        assert_eq!(traces.sampling, Sampling { parent_decides: true, millionths: ALL });
        let below = endpoint("https://collector.example/otlp").unwrap();
        assert_eq!(below, "https://collector.example/otlp/v1/traces");
        for refused in
            ["collector:4318", "grpc://a", "http://u:p@a", "http://u@a", "http://a?key=1", "http://a#x"]
        {
            assert_eq!(endpoint(refused), None, "{refused}");
        }
    }

    #[test]
    fn samplers_are_those_of_the_specification() {
        let sampling = |sampler, argument| {
            let variables = [
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318"),
                ("OTEL_TRACES_SAMPLER", sampler),
                ("OTEL_TRACES_SAMPLER_ARG", argument),
            ];
            let Sampling { parent_decides, millionths } = read(&variables).traces.unwrap().sampling;
            (parent_decides, millionths)
        };
        assert_eq!(sampling("always_on", "0.5"), (false, ALL));
        assert_eq!(sampling("always_off", "0.5"), (false, 0));
        assert_eq!(sampling("traceidratio", "0.25"), (false, 250_000));
        assert_eq!(sampling("parentbased_always_on", ""), (true, ALL));
        assert_eq!(sampling("parentbased_always_off", ""), (true, 0));
        assert_eq!(sampling("parentbased_traceidratio", "0.000001"), (true, 1));
        assert_eq!(sampling("parentbased_traceidratio", ""), (true, ALL));
        for refused in ["1.1", "-0.1", "half", "NaN"] {
            assert_eq!(millionths(refused), None, "{refused}");
        }
    }

    #[test]
    fn headers_are_secrets_and_go_with_a_warning_without_tls() {
        let canary = "canary-of-the-collector";
        let given = format!("authorization=Bearer%20{canary}, x-tenant = a ");
        let config = read(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.example:4318"),
            ("OTEL_EXPORTER_OTLP_HEADERS", &given),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,k=a%2Cb"),
        ]);
        assert!(!format!("{config:?} {:?}", config.effective()).contains(canary));
        assert!(config.notes.iter().any(|note| note.contains("without TLS")), "{:?}", config.notes);
        let traces = config.traces.unwrap();
        let names: Vec<&str> = traces.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["authorization", "x-tenant"]);
        assert_eq!(traces.resource[1], ("k".to_owned(), "a,b".to_owned()));
        for refused in ["authorization", "a b=c", "=c", "a=%00", "a=%ff", ","] {
            assert!(headers(refused).is_none(), "{refused}");
        }
    }
}
