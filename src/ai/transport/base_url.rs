//! Base URLs: https, or plain http to this machine, so that no key travels in the open; and to others where whoever runs the
//! service says that nobody else is on the way.

use std::net::IpAddr;

use reqwest::Url;

use crate::ai::SettingsError;

/// A base URL that may be called.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BaseUrl {
    /// Without a slash at the end, as the API's paths begin with one.
    pub(super) url: String,
    /// Host and port, for people to read.
    pub(super) host: String,
    /// It is plain http.
    pub(super) plain: bool,
}

impl BaseUrl {
    /// Reads one; `variable` is where it was configured, `plain_http` whether plain http is taken to any machine.
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
        for (text, url, host, plain) in good {
            let expected = BaseUrl { url: url.to_owned(), host: host.to_owned(), plain };
            assert_eq!(BaseUrl::parse(text, "X", false), Ok(expected), "{text}");
        }
        let insecure = Err(SettingsError::BaseUrlInsecure { variable: "X" });
        for text in
            ["http://api.openai.com/v1", "http://10.0.0.1", "http://localhost.example.test", "http://[::2]"]
        {
            assert_eq!(BaseUrl::parse(text, "X", false), insecure, "{text}");
            assert!(BaseUrl::parse(text, "X", true).unwrap().plain, "{text}");
        }
        let malformed = Err(SettingsError::BaseUrlMalformed { variable: "X" });
        for text in [
            "",
            "api.openai.com",
            "ftp://127.0.0.1",
            "https://u:p@a.test",
            "https://a.test?x",
            "https://a.test#x",
        ] {
            assert_eq!(BaseUrl::parse(text, "X", true), malformed, "{text}");
        }
    }
}
