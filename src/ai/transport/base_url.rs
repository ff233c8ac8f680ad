//! Base URLs: https, or plain http to this machine, so that no key is sent in clear text. Plain http to other machines
//! needs the operator's explicit setting for a trusted network.

use std::net::IpAddr;

use reqwest::Url;

use crate::ai::SettingsError;

/// A base URL that may be called.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BaseUrl {
    /// The URL without a trailing slash, as the API's paths begin with one.
    pub(super) url: String,
    /// Host and port, for log lines.
    pub(super) host: String,
    /// Whether the URL is plain http.
    pub(super) plain: bool,
}

impl BaseUrl {
    /// Parses a URL; `variable` is where it was configured, `plain_http` whether plain http is allowed to any machine.
    pub(super) fn parse(text: &str, variable: &'static str, plain_http: bool) -> Result<Self, SettingsError> {
        let malformed = SettingsError::BaseUrlMalformed { variable };
        let url = Url::parse(text.trim()).map_err(|_| malformed.clone())?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(malformed.clone())?;
        let has_user = !url.username().is_empty() || url.password().is_some();
        if has_user || url.query().is_some() || url.fragment().is_some() {
            return Err(malformed);
        }
        let plain = match url.scheme() {
            "https" => false,
            "http" if plain_http || is_loopback(host) => true,
            "http" => return Err(SettingsError::BaseUrlInsecure { variable }),
            _ => return Err(malformed),
        };
        let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        Ok(Self { url: url.as_str().trim_end_matches('/').to_owned(), host, plain })
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests;
