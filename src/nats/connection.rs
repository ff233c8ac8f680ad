//! The NATS connection of this process.

use std::time::Duration;

use anyhow::Context as _;
use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, Event, ServerAddr, jetstream};

use super::names::Names;
use crate::config::NatsConfig;

/// How long the server may take to answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Interval of pings on an idle connection.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// Longest pause between two connection attempts.
const MAX_RECONNECT_BACKOFF: Duration = Duration::from_secs(2);

/// The connection and its configuration. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Nats {
    client: Client,
    context: jetstream::Context,
    names: Names,
    config: NatsConfig,
}

impl Nats {
    /// Starts connecting. An unavailable server is retried for as long as the process runs.
    ///
    /// # Errors
    /// If the credentials cannot be read, or an address is malformed.
    pub async fn connect(config: &NatsConfig) -> anyhow::Result<Self> {
        let mut options = ConnectOptions::new()
            .name(format!("verbatim {}", crate::VERSION))
            // This process never needs its own messages.
            .no_echo()
            .retry_on_initial_connect()
            .connection_timeout(REQUEST_TIMEOUT)
            .request_timeout(Some(REQUEST_TIMEOUT))
            .ping_interval(PING_INTERVAL)
            .require_tls(config.require_tls)
            .reconnect_delay_callback(|tries| {
                let tries = u32::try_from(tries).unwrap_or(u32::MAX);
                MAX_RECONNECT_BACKOFF.min(Duration::from_millis(50).saturating_mul(tries))
            })
            .event_callback(|event| async move { log_event(&event) });
        if let Some(file) = &config.credentials {
            options = options
                .credentials_file(file)
                .await
                .with_context(|| format!("Cannot read {} (NATS_CREDENTIALS_FILE)", file.display()))?;
        }
        if let Some(file) = &config.ca_file {
            options = options.add_root_certificates(file.clone());
        }
        let servers = config
            .servers
            .iter()
            .map(|server| server.expose().parse::<ServerAddr>())
            .collect::<Result<Vec<_>, _>>()
            .context("NATS_URL contains a malformed address")?;
        // The client library parses an address but ignores the user in it.
        if let Some((user, password)) =
            servers.iter().find_map(|server| Some((server.username()?, server.password())))
        {
            let percent_decoded = |text: &str| {
                percent_encoding::percent_decode_str(text).decode_utf8().map(std::borrow::Cow::into_owned)
            };
            let user = percent_decoded(user).context("NATS_URL contains a user name that is not UTF-8")?;
            options = match password {
                Some(password) => {
                    let password = percent_decoded(password)
                        .context("NATS_URL contains a password that is not UTF-8")?;
                    options.user_and_password(user, password)
                }
                // Like NATS' own programs: a single word in front of the host is a token.
                None => options.token(user),
            };
        }
        // The library also logs whole addresses, with the password, on every connect.
        let servers = servers.into_iter().map(without_user).collect::<Result<Vec<_>, _>>()?;
        metrics::gauge!("verbatim_nats_connected").set(0.0);
        let client = options.connect(servers).await.context("Cannot connect to NATS")?;
        let context = jetstream::ContextBuilder::new()
            .timeout(REQUEST_TIMEOUT)
            .ack_timeout(REQUEST_TIMEOUT)
            .build(client.clone());
        Ok(Self { client, context, names: Names::new(&config.prefix), config: config.clone() })
    }

    /// Returns the core NATS client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the JetStream context.
    pub fn jetstream(&self) -> &jetstream::Context {
        &self.context
    }

    /// Returns the names of subjects, streams and consumers.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Returns the configuration.
    pub fn config(&self) -> &NatsConfig {
        &self.config
    }

    /// Returns whether the connection is up.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }
}

/// Returns an address without the user in it.
fn without_user(server: ServerAddr) -> anyhow::Result<ServerAddr> {
    let mut url = server.into_inner();
    let cleared = url.set_username("").and_then(|()| url.set_password(None));
    cleared.map_err(|()| anyhow::anyhow!("NATS_URL contains a malformed address"))?;
    Ok(ServerAddr::from_url(url)?)
}

fn log_event(event: &Event) {
    match event {
        Event::Connected => {
            metrics::gauge!("verbatim_nats_connected").set(1.0);
            tracing::info!("connected to NATS");
        }
        Event::Disconnected | Event::Closed => {
            metrics::gauge!("verbatim_nats_connected").set(0.0);
            tracing::warn!("connection to NATS lost; reconnecting");
        }
        event => tracing::warn!(%event, "NATS client event"),
    }
}
