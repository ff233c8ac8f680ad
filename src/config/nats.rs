//! NATS settings. Without `NATS_URL` there is no NATS: one process does everything.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::error::ConfigError;
use super::reader::Reader;
use super::secret::Secret;

/// NATS and its stream of public events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsConfig {
    /// `NATS_URL`: one or more servers of one cluster; may hold user and password.
    pub servers: Vec<Secret>,
    /// The servers without credentials, for log lines.
    pub shown: String,
    /// `NATS_CREDENTIALS_FILE`: a `.creds` file.
    pub credentials: Option<PathBuf>,
    /// `NATS_CA_FILE`: additional root certificates.
    pub ca_file: Option<PathBuf>,
    /// `NATS_TLS`: whether connections without TLS are rejected.
    pub require_tls: bool,
    /// `NATS_PREFIX`: prefix of every subject, stream and consumer.
    pub prefix: String,
    /// `NATS_REPLICAS`: copies of the stream in a cluster.
    pub replicas: usize,
    /// `NATS_MAX_AGE_HOURS`: how long the stream keeps an event; zero for no limit.
    pub max_age: Duration,
    /// `NATS_MAX_MEGABYTES`: size limit of the stream; `None` for no limit.
    pub max_bytes: Option<i64>,
    /// `NATS_MAX_IN_HAND`: how many replies all workers together make at once.
    pub max_in_hand: i64,
}

impl NatsConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, ConfigError> {
        let url = reader.secret("NATS_URL");
        let path = |path: &PathBuf| path.display().to_string();
        let to_path = |text: &str| Some(PathBuf::from(text));
        let credentials = reader.optional("NATS_CREDENTIALS_FILE", "a file", path, to_path)?;
        let ca_file = reader.optional("NATS_CA_FILE", "a file", path, to_path)?;
        let require_tls = reader.optional(
            "NATS_TLS",
            "required or off",
            |required| (if *required { "required" } else { "off" }).to_owned(),
            |text| match text {
                "required" => Some(true),
                "off" => Some(false),
                _ => None,
            },
        )?;
        let prefix = reader.parsed(
            "NATS_PREFIX",
            "verbatim".to_owned(),
            "1 to 32 characters out of a-z, 0-9, _ and -",
            Clone::clone,
            |text| is_prefix(text).then(|| text.to_owned()),
        )?;
        let replicas = usize::try_from(reader.number("NATS_REPLICAS", 1, 1..=5)?).unwrap_or(1);
        let hours = reader.number("NATS_MAX_AGE_HOURS", 0, 0..=87_600)?;
        let megabytes = reader.number("NATS_MAX_MEGABYTES", 0, 0..=1_000_000_000)?;
        let in_hand = reader.number("NATS_MAX_IN_HAND", 1000, 1..=100_000)?;
        let Some(url) = url else { return Ok(None) };

        let mut servers = Vec::new();
        let mut shown = Vec::new();
        let mut near = true;
        for server in url.expose().split(',').map(str::trim) {
            let address = server.parse::<async_nats::ServerAddr>().map_err(|_| not_a_url())?;
            if !matches!(address.scheme(), "nats" | "tls") {
                return Err(not_a_url());
            }
            near &= is_loopback(address.host());
            shown.push(format!("{}://{}:{}", address.scheme(), address.host(), address.port()));
            servers.push(Secret::new(server));
        }
        let shown = shown.join(",");
        reader.show("NATS_URL", &shown);
        if require_tls == Some(false) && !near {
            reader.note(format!(
                "NATS_TLS is off for {shown}: anyone on the network path can see who writes to whom, and when."
            ));
        }
        Ok(Some(Self {
            servers,
            shown,
            credentials,
            ca_file,
            require_tls: require_tls.unwrap_or(!near),
            prefix,
            replicas,
            max_age: Duration::from_secs(hours * 3600),
            max_in_hand: i64::try_from(in_hand).unwrap_or(i64::MAX),
            max_bytes: (megabytes > 0).then(|| i64::try_from(megabytes << 20).unwrap_or(i64::MAX)),
        }))
    }
}

fn not_a_url() -> ConfigError {
    ConfigError::InvalidSecret {
        name: "NATS_URL",
        expected:
            "a URL like nats://USER:PASSWORD@HOST:4222 or tls://HOST:4222, or several with commas between"
                .to_owned(),
    }
}

fn is_prefix(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    (1..=32).contains(&text.len()) && text.bytes().all(allowed)
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
