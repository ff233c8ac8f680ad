//! Throughput of the relay when it publishes a whole log to JetStream.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::json;

use super::machine::{Database, Secrets, program};
use super::nats_server::NatsServer;
use super::report::{Goal, Report};

/// Maximum time for the whole log.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Interval between checks of the stream.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Starts a nats-server and a relay, and measures until the stream has the whole log. Returns false without nats-server.
pub(crate) async fn relay(
    report: &mut Report,
    database: &Database,
    secrets: &Secrets,
    events: i64,
) -> anyhow::Result<bool> {
    let Some(mut nats) = NatsServer::start(database.folder())? else { return Ok(false) };
    let url = nats.url();
    let client = async_nats::ConnectOptions::new().retry_on_initial_connect().connect(&url).await?;
    let jetstream = async_nats::jetstream::new(client);
    let mut relay = program(database, secrets, "relay").env("NATS_URL", &url).spawn()?;

    let end = Instant::now() + TIMEOUT;
    let mut begun = None;
    let (published, took) = loop {
        ensure!(Instant::now() < end, "the relay did not reach the end of the log in time");
        ensure!(relay.try_wait()?.is_none(), "the relay has exited");
        tokio::time::sleep(POLL_INTERVAL).await;
        let Ok(stream) = jetstream.get_stream("VERBATIM_EVENTS").await else { continue };
        let published = stream.cached_info().state.messages;
        if published == 0 {
            continue;
        }
        // Start measuring at the first non-empty check; do not count the messages before it.
        let (first, since) = *begun.get_or_insert((published, Instant::now()));
        if i64::try_from(published)? >= events {
            break (published - first, since.elapsed());
        }
    };
    let per_second = u32::try_from(published).map(f64::from)? / took.as_secs_f64();
    report.add(
        "relay, events per second",
        (per_second, "/s"),
        Goal::AtLeast(10_000.0),
        format!("{published} events in {:.1} s", took.as_secs_f64()),
        json!({"events": published, "seconds": took.as_secs_f64()}),
    );
    relay.kill().await.context("the relay")?;
    nats.kill().await?;
    Ok(true)
}
