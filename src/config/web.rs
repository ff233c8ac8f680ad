//! Settings of the HTTP listeners.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::http::Uri;
use ipnet::IpNet;

use super::error::ConfigError;
use super::reader::Reader;

/// Addresses and limits of HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebConfig {
    /// `HOST` and `PORT`; port 0 for any free one.
    pub listen: SocketAddr,
    /// `METRICS_ADDR`: address of `/metrics`, if served.
    pub metrics: Option<SocketAddr>,
    /// `CORS_ORIGINS`: allowed origins.
    pub cors: Cors,
    /// `MAX_BODY_BYTES`: largest request body.
    pub max_body_bytes: usize,
    /// `REQUEST_TIMEOUT_SECONDS`: time limit of requests that are not streams.
    pub request_timeout: Duration,
    /// `TRUSTED_PROXIES`: proxies whose header gives the client's address.
    pub trusted_proxies: Vec<IpNet>,
    /// `TRUSTED_PROXY_HEADER`: that header.
    pub proxy_header: ProxyHeader,
    /// `REPLY_WAIT_SECONDS`: how long a request waits for its reply before it is answered with 202; less than the timeout.
    pub reply_wait: Duration,
}

/// Allowed origins for cross-origin requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cors {
    /// All origins, without credentials.
    Any,
    /// The listed origins.
    Origins(Vec<String>),
}

/// The header in which a proxy passes the client's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyHeader {
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl WebConfig {
    pub(super) fn read(reader: &mut Reader<'_>, debug: bool) -> Result<Self, ConfigError> {
        let host = reader.parsed(
            "HOST",
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            "an IP address (0.0.0.0 for all, 127.0.0.1 for this machine only)",
            IpAddr::to_string,
            parse_host,
        )?;
        let port = reader.count("PORT", 8000, 0..=65_535)?;
        let metrics = reader.parsed(
            "METRICS_ADDR",
            Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 9464))),
            "an address with a port (such as 127.0.0.1:9464), or off",
            |address| address.map_or_else(|| "off".to_owned(), |address| address.to_string()),
            |text| {
                if text.eq_ignore_ascii_case("off") { Some(None) } else { text.parse().ok().map(Some) }
            },
        )?;
        let default = if debug {
            Cors::Any
        } else {
            Cors::Origins(vec!["http://localhost:3000".to_owned(), "http://127.0.0.1:3000".to_owned()])
        };
        let cors = reader.parsed(
            "CORS_ORIGINS",
            default,
            "a comma-separated list of origins such as https://chat.example (no path, no slash at the end), or * alone",
            show_cors,
            parse_cors,
        )?;
        let trusted_proxies = reader.parsed(
            "TRUSTED_PROXIES",
            Vec::new(),
            "a comma-separated list of addresses or networks such as 10.0.0.0/8,fd00::/8",
            |networks: &Vec<IpNet>| networks.iter().map(IpNet::to_string).collect::<Vec<_>>().join(","),
            parse_networks,
        )?;
        let proxy_header = reader.parsed(
            "TRUSTED_PROXY_HEADER",
            ProxyHeader::XForwardedFor,
            "x-forwarded-for or forwarded",
            |header| {
                (if *header == ProxyHeader::Forwarded { "forwarded" } else { "x-forwarded-for" }).to_owned()
            },
            |text| match text.to_ascii_lowercase().as_str() {
                "x-forwarded-for" => Some(ProxyHeader::XForwardedFor),
                "forwarded" => Some(ProxyHeader::Forwarded),
                _ => None,
            },
        )?;
        let max_body_bytes = reader.count("MAX_BODY_BYTES", 262_144, 1024..=67_108_864)?;
        let request_timeout = reader.number("REQUEST_TIMEOUT_SECONDS", 30, 1..=600)?;
        let reply_wait = reader.number("REPLY_WAIT_SECONDS", 25, 0..=599)?;
        if reply_wait >= request_timeout {
            return Err(ConfigError::Order {
                name: "REPLY_WAIT_SECONDS",
                value: reply_wait,
                relation: "less than",
                other: "REQUEST_TIMEOUT_SECONDS",
                limit: request_timeout,
            });
        }
        Ok(Self {
            listen: SocketAddr::new(host, port),
            metrics,
            cors,
            max_body_bytes,
            trusted_proxies,
            proxy_header,
            request_timeout: Duration::from_secs(request_timeout),
            reply_wait: Duration::from_secs(reply_wait),
        })
    }
}

fn parse_host(text: &str) -> Option<IpAddr> {
    if text.eq_ignore_ascii_case("localhost") {
        return Some(Ipv4Addr::LOCALHOST.into());
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok()
}

fn parse_networks(text: &str) -> Option<Vec<IpNet>> {
    let one = |text: &str| text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(one).collect()
}

fn show_cors(cors: &Cors) -> String {
    match cors {
        Cors::Any => "*".to_owned(),
        Cors::Origins(origins) => origins.join(","),
    }
}

fn parse_cors(text: &str) -> Option<Cors> {
    let listed = || text.split(',').map(str::trim).filter(|origin| !origin.is_empty());
    if listed().eq(["*"]) {
        return Some(Cors::Any);
    }
    listed().map(parse_origin).collect::<Option<Vec<_>>>().filter(|list| !list.is_empty()).map(Cors::Origins)
}

/// Parses an origin. Origins are compared byte for byte with what browsers send: lower case, nothing after the port.
fn parse_origin(text: &str) -> Option<String> {
    let origin = text.to_ascii_lowercase();
    let uri: Uri = origin.parse().ok()?;
    let whole = format!("{}://{}", uri.scheme_str()?, uri.authority()?);
    (whole == origin && !origin.contains(['@', '*'])).then_some(origin)
}

#[cfg(test)]
mod tests;
