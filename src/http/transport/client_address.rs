//! Address of the client: the peer's address or, if the peer is a trusted proxy, the address it forwards for. Headers
//! of other peers are ignored.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

use crate::config::ProxyHeader;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Prefix of an IPv6 address that identifies a client. A client usually owns a /64, and could use a new address for
/// each request.
const IPV6_PREFIX_BITS: u32 = 64;

/// Peer address of a connection; the accept loop adds it to each request.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// The trusted proxies and the header they use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedProxies {
    /// Networks of the proxies.
    pub trusted: Vec<IpNet>,
    /// Header in which the proxies name the client.
    pub header: ProxyHeader,
}

impl TrustedProxies {
    /// Returns the client's address: the last forwarded address that is not a trusted proxy's.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = canonical(peer);
        if !self.trusts(client) {
            return client;
        }
        for named in self.forwarded_addresses(headers).into_iter().rev() {
            // No trusted proxy wrote an unreadable entry: the hop after it is the client.
            let Some(address) = named else { return client };
            client = canonical(address);
            if !self.trusts(client) {
                return client;
            }
        }
        client
    }

    /// Returns whether a request was forwarded although no proxy is configured: probably a missing setting.
    #[must_use]
    pub fn ignores_forwarding(&self, headers: &HeaderMap) -> bool {
        self.trusted.is_empty()
            && (headers.contains_key(X_FORWARDED_FOR) || headers.contains_key(header::FORWARDED))
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }

    /// Returns the addresses of the header, in the order in which proxies added them.
    fn forwarded_addresses(&self, headers: &HeaderMap) -> Vec<Option<IpAddr>> {
        let name = match self.header {
            ProxyHeader::XForwardedFor => X_FORWARDED_FOR,
            ProxyHeader::Forwarded => header::FORWARDED,
        };
        let lines = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?"));
        let elements = lines.flat_map(|line| line.split(','));
        match self.header {
            ProxyHeader::XForwardedFor => elements.map(|element| address(element.trim())).collect(),
            ProxyHeader::Forwarded => elements.map(forwarded_for).collect(),
        }
    }
}

/// Returns the address in `for=…` of an element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let value = value.trim().trim_matches('"');
        name.trim().eq_ignore_ascii_case("for").then(|| address(value)).flatten()
    })
}

/// Parses an address with or without a port; IPv6 with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// Converts an IPv4-mapped IPv6 address to IPv4.
fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// Returns the key under which a client's requests are counted.
#[must_use]
pub fn rate_limit_key(client: IpAddr) -> String {
    match canonical(client) {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let network = u128::from(address) & (u128::MAX << (128 - IPV6_PREFIX_BITS));
            format!("{}/{IPV6_PREFIX_BITS}", Ipv6Addr::from(network))
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn proxies(header: ProxyHeader) -> TrustedProxies {
        TrustedProxies { trusted: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()], header }
    }

    fn client(proxies: &TrustedProxies, peer: &str, lines: &[(HeaderName, &str)]) -> String {
        let lines = lines.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()));
        let headers: HeaderMap = lines.fold(HeaderMap::new(), |mut headers, (name, value)| {
            headers.append(name, value);
            headers
        });
        rate_limit_key(proxies.client(peer.parse().unwrap(), &headers))
    }

    /// S35: an untrusted peer is one client, whatever its headers say.
    #[test]
    fn untrusted_forwarding_headers_are_ignored() {
        let proxies = proxies(ProxyHeader::XForwardedFor);
        for number in 0..100 {
            let said = format!("198.51.100.{number}");
            for name in ["x-forwarded-for", "forwarded", "x-real-ip"] {
                let lines = [(HeaderName::from_static(name), said.as_str())];
                assert_eq!(client(&proxies, "203.0.113.9", &lines), "203.0.113.9");
            }
        }
    }

    #[test]
    fn forwarding_without_proxies_is_reported() {
        let told = HeaderMap::from_iter([(X_FORWARDED_FOR, HeaderValue::from_static("198.51.100.7"))]);
        let proxies = proxies(ProxyHeader::XForwardedFor);
        let none = TrustedProxies { trusted: Vec::new(), ..proxies.clone() };
        assert!(
            none.ignores_forwarding(&told)
                && !none.ignores_forwarding(&HeaderMap::new())
                && !proxies.ignores_forwarding(&told)
        );
    }

    #[test]
    fn rightmost_untrusted_address_is_the_client() {
        let proxies = proxies(ProxyHeader::XForwardedFor);
        for (said, expected) in [
            (&["198.51.100.7"][..], "198.51.100.7"),
            (&["6.6.6.6, 198.51.100.7"], "198.51.100.7"),
            (&["6.6.6.6", "198.51.100.7, 10.2.2.2"], "198.51.100.7"),
            (&["198.51.100.7:4711"], "198.51.100.7"),
            (&["::ffff:198.51.100.7"], "198.51.100.7"),
            (&["[2001:db8::1]:80"], "2001:db8::/64"),
            (&["6.6.6.6, rubbish"], "10.1.1.1"),
            (&["6.6.6.6, rubbish, 10.3.3.3"], "10.3.3.3"),
            (&[], "10.1.1.1"),
        ] {
            let lines: Vec<_> = said.iter().map(|value| (X_FORWARDED_FOR, *value)).collect();
            assert_eq!(client(&proxies, "10.1.1.1", &lines), expected, "{said:?}");
            assert_eq!(client(&proxies, "::ffff:10.1.1.1", &lines), expected, "{said:?}");
        }
    }

    #[test]
    fn forwarded_header_is_read_if_configured() {
        let proxies = proxies(ProxyHeader::Forwarded);
        for (said, expected) in [
            ("for=198.51.100.7;proto=https", "198.51.100.7"),
            ("for=6.6.6.6, proto=https; For=\"[2001:db8:1:2:3::4]:55\"", "2001:db8:1:2::/64"),
            ("for=_hidden", "fd00::/64"),
        ] {
            assert_eq!(client(&proxies, "fd00::5", &[(header::FORWARDED, said)]), expected, "{said}");
        }
        let other = [(X_FORWARDED_FOR, "198.51.100.7")];
        assert_eq!(client(&proxies, "fd00::5", &other), "fd00::/64");
    }
}
