//! How fast the relay carries a log to JetStream that it has not seen before.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::json;

use super::machine::{Database, Secrets, program};
use super::nats_server::NatsServer;
use super::report::{Goal, Report};

/// How long the whole log may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often the stream is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Starts a nats-server and a relay beside the log of this run, and measures until the stream has all of it. False:
/// there is no nats-server on this machine.
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

    let end = Instant::now() + PATIENCE;
    let mut begun = None;
    let (carried, took) = loop {
        ensure!(Instant::now() < end, "the relay does not come to the end of the log");
        ensure!(relay.try_wait()?.is_none(), "the relay has ended");
        tokio::time::sleep(LOOK).await;
        let Ok(stream) = jetstream.get_stream("VERBATIM_EVENTS").await else { continue };
        let carried = stream.cached_info().state.messages;
        if carried == 0 {
            continue;
        }
        // The first look at which something is there: what came before it is not counted.
        let (first, since) = *begun.get_or_insert((carried, Instant::now()));
        if i64::try_from(carried)? >= events {
            break (carried - first, since.elapsed());
        }
    };
    let per_second = u32::try_from(carried).map(f64::from)? / took.as_secs_f64();
    report.add(
        "relay, events per second",
        (per_second, "/s"),
        Goal::AtLeast(10_000.0),
        format!("{carried} events in {:.1} s", took.as_secs_f64()),
        json!({"events": carried, "seconds": took.as_secs_f64()}),
    );
    relay.kill().await.context("the relay")?;
    nats.kill().await?;
    Ok(true)
}
