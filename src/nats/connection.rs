//! The connection of this process.

use std::time::Duration;

use anyhow::Context as _;
use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, Event, ServerAddr, jetstream};

use super::names::Names;
use crate::config::NatsConfig;

/// How long an answer of the server may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the server is asked whether it is there, when nothing else is said.
const PING: Duration = Duration::from_secs(10);
/// The longest pause between two tries to connect.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// The connection, and what is known of the other side. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Nats {
    client: Client,
    context: jetstream::Context,
    names: Names,
    config: NatsConfig,
}

impl Nats {
    /// Begins to connect. A server that does not answer is tried again for as long as the process runs.
    ///
    /// # Errors
    /// The credentials cannot be read, or the addresses are none.
    pub async fn connect(config: &NatsConfig) -> anyhow::Result<Self> {
        let mut options = ConnectOptions::new()
            .name(format!("verbatim {}", crate::VERSION))
            // Nobody here waits for what this process says itself.
            .no_echo()
            .retry_on_initial_connect()
            .connection_timeout(PATIENCE)
            .request_timeout(Some(PATIENCE))
            .ping_interval(PING)
            .require_tls(config.require_tls)
            .reconnect_delay_callback(|tries| {
                let tries = u32::try_from(tries).unwrap_or(u32::MAX);
                MAX_PAUSE.min(Duration::from_millis(50).saturating_mul(tries))
            })
            .event_callback(|event| async move { note(&event) });
        if let Some(file) = &config.credentials {
            options = options
                .credentials_file(file)
                .await
                .with_context(|| format!("{} (NATS_CREDENTIALS_FILE) cannot be read", file.display()))?;
        }
        if let Some(file) = &config.ca_file {
            options = options.add_root_certificates(file.clone());
        }
        let servers = config
            .servers
            .iter()
            .map(|server| server.expose().parse::<ServerAddr>())
            .collect::<Result<Vec<_>, _>>()
            .context("NATS_URL holds an address that is none")?;
        // The client library reads an address and leaves the user in it alone.
        if let Some((user, password)) =
            servers.iter().find_map(|server| Some((server.username()?, server.password())))
        {
            let decoded = |text: &str| {
                percent_encoding::percent_decode_str(text).decode_utf8().map(std::borrow::Cow::into_owned)
            };
            let user = decoded(user).context("NATS_URL holds a user name that is no text")?;
            options = match password {
                Some(password) => {
                    let password = decoded(password).context("NATS_URL holds a password that is no text")?;
                    options.user_and_password(user, password)
                }
                // As NATS' own programs have it: one word in front of the host is a token.
                None => options.token(user),
            };
        }
        // And it logs addresses whole, with the password, whenever it connects.
        let servers = servers.into_iter().map(bare).collect::<Result<Vec<_>, _>>()?;
        metrics::gauge!("verbatim_nats_connected").set(0.0);
        let client = options.connect(servers).await.context("NATS cannot be connected to")?;
        let context =
            jetstream::ContextBuilder::new().timeout(PATIENCE).ack_timeout(PATIENCE).build(client.clone());
        Ok(Self { client, context, names: Names::new(&config.prefix), config: config.clone() })
    }

    /// Core NATS.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// JetStream.
    pub fn jetstream(&self) -> &jetstream::Context {
        &self.context
    }

    /// Names of everything there.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// What was configured.
    pub fn config(&self) -> &NatsConfig {
        &self.config
    }

    /// Whether the connection stands now.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }
}

/// An address without the user in it.
fn bare(server: ServerAddr) -> anyhow::Result<ServerAddr> {
    let mut url = server.into_inner();
    let cleared = url.set_username("").and_then(|()| url.set_password(None));
    cleared.map_err(|()| anyhow::anyhow!("NATS_URL holds an address that is none"))?;
    Ok(ServerAddr::from_url(url)?)
}

fn note(event: &Event) {
    match event {
        Event::Connected => {
            metrics::gauge!("verbatim_nats_connected").set(1.0);
            tracing::info!("connected to NATS");
        }
        Event::Disconnected | Event::Closed => {
            metrics::gauge!("verbatim_nats_connected").set(0.0);
            tracing::warn!("the connection to NATS is lost; it is tried again");
        }
        event => tracing::warn!(%event, "NATS"),
    }
}
