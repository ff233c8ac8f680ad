//! `verbatim tail` and `verbatim replay`: print or republish public events.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use clap::Args;
use event_store::{KeyStore, LogReader};
use futures::StreamExt as _;
use serde_json::Value;

use crate::bootstrap::database::Opened;
use crate::bootstrap::secrets::Secrets;
use crate::config::Config;
use crate::nats::Nats;
use crate::relay::envelope;

/// How long NATS may take to answer.
const NATS_TIMEOUT: Duration = Duration::from_secs(5);
/// Most events read from the log at once.
const MAX_BATCH: i32 = 500;

/// Which events to print.
#[derive(Debug, Clone, Args)]
pub struct TailArgs {
    /// Event types, as subject suffixes: `reply.completed`, `reply.*`; all by default.
    #[arg(long = "type", default_value = ">")]
    kind: String,
    /// Only events of this conversation or user.
    #[arg(long)]
    subject: Option<String>,
    /// Start after this position rather than with new events.
    #[arg(long)]
    after: Option<i64>,
    /// Stop after this many events.
    #[arg(long)]
    count: Option<u64>,
}

/// Which events to republish, and where.
#[derive(Debug, Clone, Args)]
pub struct ReplayArgs {
    /// Position of the first event.
    #[arg(long)]
    from: i64,
    /// Position of the last event.
    #[arg(long)]
    to: i64,
    /// Subject to publish to; must not be one of Verbatim's own.
    subject: String,
}

/// Prints public events as they arrive, one JSON object per line, until interrupted.
///
/// # Errors
/// One plain sentence for the operator.
pub async fn tail(config: &Config, args: &TailArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let nats = connect(config).await?;
    let name = nats.names().events_stream();
    let stream = nats
        .jetstream()
        .get_stream(&name)
        .await
        .with_context(|| format!("cannot read the stream {name}; a relay must have created it"))?;
    let consumer = stream
        .create_consumer(OrderedConfig {
            filter_subject: nats.names().event(&args.kind),
            deliver_policy: if args.after.is_some() { DeliverPolicy::All } else { DeliverPolicy::New },
            ..OrderedConfig::default()
        })
        .await?;
    let mut messages = consumer.messages().await?;
    let mut shown = 0;
    while args.count.is_none_or(|count| shown < count) {
        let message = tokio::select! {
            message = messages.next() => message,
            _ = tokio::signal::ctrl_c() => None,
        };
        let Some(message) = message else { break };
        let message = message?;
        // Skip messages of other publishers.
        let Ok(event) = serde_json::from_slice::<Value>(&message.payload) else { continue };
        let position = event["position"].as_str().and_then(|position| position.parse::<i64>().ok());
        let wanted = position.is_some_and(|position| args.after.is_none_or(|after| position > after))
            && args.subject.as_ref().is_none_or(|subject| event["subject"] == subject.as_str());
        if wanted {
            writeln!(out, "{event}")?;
            out.flush()?;
            shown += 1;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Publishes the public form of a range of the log to a subject.
///
/// # Errors
/// One plain sentence for the operator.
pub async fn replay(config: &Config, args: &ReplayArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let nats = connect(config).await?;
    let ours = args.subject.split('.').next() == Some(nats.config().prefix.as_str());
    ensure!(!ours, "{} is a subject of Verbatim's own; choose another one", args.subject);
    let opened = Opened::open(config).await?;
    let secrets = Secrets::of(config, opened.embedded.as_ref())?;
    let pool = opened.pool().await.context("Cannot connect to the database")?;
    let reader = LogReader::new(pool.clone(), Arc::new(KeyStore::new(pool.clone(), secrets.master)));
    let mut after = args.from.saturating_sub(1).max(0);
    let mut published = 0_u64;
    'log: loop {
        let events = reader.read_after(after, MAX_BATCH).await?;
        let Some(last) = events.last() else { break };
        after = last.position;
        for recorded in &events {
            if recorded.position > args.to {
                break 'log;
            }
            let Some((_, event)) = envelope::public(recorded) else { continue };
            let payload = serde_json::to_vec(&event)?;
            nats.client().publish(args.subject.clone(), payload.into()).await?;
            published += 1;
        }
    }
    nats.client().flush().await.context("Failed to publish all events to NATS")?;
    writeln!(out, "{published} events published to {}.", args.subject)?;
    pool.close().await;
    if let Some(embedded) = opened.embedded {
        embedded.stop().await?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn connect(config: &Config) -> anyhow::Result<Nats> {
    let nats = config.nats.as_ref().context("NATS_URL is not set: this command needs NATS.")?;
    let nats = Box::pin(Nats::connect(nats)).await?;
    tokio::time::timeout(NATS_TIMEOUT, nats.client().flush())
        .await
        .ok()
        .and_then(Result::ok)
        .with_context(|| format!("No answer from NATS at {}", nats.config().shown))?;
    Ok(nats)
}
