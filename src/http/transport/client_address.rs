//! Where a request comes from: the peer's address, or, when the peer is a proxy that the operator trusts, the address that it
//! speaks for. Nobody else's headers are read.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

use crate::config::ProxyHeader;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Of an IPv6 address, a client has as a rule this many bits for itself: more would be a new client with each request.
const IPV6_PREFIX_BITS: u32 = 64;

/// The peer of a connection, as the accept loop puts it into each request.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// Which proxies are believed, and in which header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedProxies {
    /// Their addresses.
    pub trusted: Vec<IpNet>,
    /// Where they name whom they speak for.
    pub header: ProxyHeader,
}

impl TrustedProxies {
    /// The client's address: of the addresses that the request came through, the last one that is no trusted proxy's.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = canonical(peer);
        if !self.trusts(client) {
            return client;
        }
        for named in self.forwarded_addresses(headers).into_iter().rev() {
            // What cannot be read was not written by a proxy of ours: whoever is before it is the client.
            let Some(address) = named else { return client };
            client = canonical(address);
            if !self.trusts(client) {
                return client;
            }
        }
        client
    }

    /// Whether a request says that it comes from somebody else although no proxy at all is believed: as a rule one that nobody
    /// has told us of.
    #[must_use]
    pub fn ignores_forwarding(&self, headers: &HeaderMap) -> bool {
        self.trusted.is_empty()
            && (headers.contains_key(X_FORWARDED_FOR) || headers.contains_key(header::FORWARDED))
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }

    /// The addresses that the header names, in the order in which proxies added them.
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

/// The address in `for=…` of one element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let value = value.trim().trim_matches('"');
        name.trim().eq_ignore_ascii_case("for").then(|| address(value)).flatten()
    })
}

/// An address as proxies write it: with or without a port, IPv6 in brackets or bare.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// An IPv4 address in IPv6's clothes is an IPv4 address.
fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// The client that an address stands for, as a text to count under.
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

    /// S35: whatever a stranger says about himself, he is one client.
    #[test]
    fn headers_of_peers_that_are_not_trusted_are_ignored() {
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
    fn only_who_believes_no_proxy_at_all_may_have_forgotten_one() {
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
    fn of_a_trusted_proxy_the_right_most_untrusted_address_counts() {
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
    fn the_other_header_is_read_when_it_is_the_one() {
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
