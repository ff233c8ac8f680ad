//! The way of spans to the collector: a queue with a bound, a thread that sends what has gathered, and counts of what came
//! to nothing. Nobody waits for any of it; a collector that is slow, away or wrong costs spans and nothing else.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    Protocol, RetryPolicy, SpanExporter as Otlp, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, Span, SpanData, SpanExporter,
    SpanProcessor,
};
use tokio::runtime::Handle;

use crate::config::{Sampling, TracesConfig};

/// How many spans wait to be sent; one that finds no room is dropped.
const QUEUE: usize = 4096;
/// How many are sent at once.
const BATCH: usize = 512;
/// How long they gather.
const GATHER: Duration = Duration::from_secs(1);
/// How long one batch may take, tries included.
const PATIENCE: Duration = Duration::from_secs(5);
/// How much of a collector's answer is read: it says how many spans it refused.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Traces that are being made.
#[derive(Debug)]
pub struct Exporting {
    provider: SdkTracerProvider,
}

/// Begins to make spans and to send them. Once a process.
///
/// # Errors
/// The HTTP client cannot be made, or spans are made already.
pub fn start(config: &TracesConfig) -> anyhow::Result<Exporting> {
    let mut client = reqwest::Client::builder().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none());
    if config.is_near() {
        // A proxy could not reach this machine's loopback.
        client = client.no_proxy();
    }
    let client = client.build().context("The HTTP client for traces cannot be made")?;
    let headers: HashMap<String, String> =
        config.headers.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect();
    let otlp = Otlp::builder()
        .with_http()
        .with_http_client(Collector { client, runtime: Handle::current() })
        .with_headers(headers)
        .with_retry_policy(RetryPolicy::recommended())
        .with_endpoint(config.endpoint.as_str())
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(PATIENCE)
        .build()
        .context("Traces cannot be sent")?;
    let waiting = Arc::new(AtomicUsize::new(0));
    let counted = Counted { inner: otlp, waiting: Arc::clone(&waiting), fails: AtomicBool::new(false) };
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE)
        .with_max_export_batch_size(BATCH)
        .with_scheduled_delay(GATHER)
        .build();
    let batch = BatchSpanProcessor::builder(counted).with_batch_config(batches).build();
    let said = config.resource.iter().map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
    let provider = SdkTracerProvider::builder()
        .with_sampler(sampler(config.sampling))
        .with_span_processor(Bounded { inner: batch, waiting })
        // Put together here, so that nothing but the configuration reads the environment.
        .with_resource(
            Resource::builder_empty()
                .with_attributes(said)
                .with_attribute(KeyValue::new("service.name", config.service.clone()))
                .with_attribute(KeyValue::new("service.version", crate::VERSION))
                .with_attribute(KeyValue::new("telemetry.sdk.language", "rust"))
                .with_attribute(KeyValue::new("telemetry.sdk.name", "opentelemetry"))
                .build(),
        )
        .build();
    let is_first = traces::install(provider.tracer("verbatim"), config.tell_provider);
    anyhow::ensure!(is_first, "A tracer is installed already");
    Ok(Exporting { provider })
}

impl Exporting {
    /// Sends what there is, for this time at most. What ends afterwards is no longer sent.
    pub async fn flush(self, patience: Duration) {
        let flushed =
            tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(patience)).await;
        if !matches!(flushed, Ok(Ok(()))) {
            tracing::warn!("the last spans were not sent in time");
        }
    }
}

fn sampler(sampling: Sampling) -> Sampler {
    let own = match sampling.millionths {
        0 => Sampler::AlwaysOff,
        1_000_000.. => Sampler::AlwaysOn,
        share => Sampler::TraceIdRatioBased(f64::from(share) / 1e6),
    };
    if sampling.parent_decides { Sampler::ParentBased(Box::new(own)) } else { own }
}

/// Sends over the HTTP client that everything else here uses. The thread that asks for it belongs to no runtime.
struct Collector {
    client: reqwest::Client,
    runtime: Handle,
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (client, request) = (self.client.clone(), reqwest::Request::try_from(request)?);
        let call = async move {
            let mut answer = client.execute(request).await?;
            let mut read = Vec::new();
            while let Some(bytes) = answer.chunk().await? {
                if read.len() + bytes.len() > MAX_ANSWER_BYTES {
                    // It has taken them; what it says besides is not worth the memory.
                    read.clear();
                    break;
                }
                read.extend_from_slice(&bytes);
            }
            let mut response = Response::new(Bytes::from(read));
            *response.status_mut() = answer.status();
            *response.headers_mut() = std::mem::take(answer.headers_mut());
            Ok::<_, reqwest::Error>(response)
        };
        Ok(self.runtime.spawn(call).await??)
    }
}

/// Keeps the queue within its bound, and counts what finds no room.
#[derive(Debug)]
struct Bounded {
    inner: BatchSpanProcessor,
    waiting: Arc<AtomicUsize>,
}

impl SpanProcessor for Bounded {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.waiting.fetch_add(1, Ordering::AcqRel) >= QUEUE {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
            metrics::counter!("verbatim_spans_dropped_total", "reason" => "queue_full").increment(1);
        } else {
            self.inner.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Counts what the collector takes and what it does not, and tells once when that changes.
#[derive(Debug)]
struct Counted<E> {
    inner: E,
    waiting: Arc<AtomicUsize>,
    fails: AtomicBool,
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        self.waiting.fetch_sub(count, Ordering::AcqRel);
        let sent = self.inner.export(batch).await;
        match &sent {
            Ok(()) => metrics::counter!("verbatim_spans_exported_total").increment(count as u64),
            Err(_) => metrics::counter!("verbatim_spans_dropped_total", "reason" => "not_taken")
                .increment(count as u64),
        }
        match (&sent, self.fails.swap(sent.is_err(), Ordering::AcqRel)) {
            (Err(error), false) => {
                tracing::warn!(%error, "the collector does not take spans");
            }
            (Ok(()), true) => tracing::info!("the collector takes spans again"),
            _ => {}
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn shutdown(&self) -> OTelSdkResult {
        self.inner.shutdown()
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
