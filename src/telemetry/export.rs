//! Export of spans to the collector: a bounded queue, a thread that sends batches, and counts of dropped spans. Export never
//! blocks the application; a slow, unavailable or wrong collector costs only spans.

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

/// Capacity of the queue; spans that find it full are dropped.
const MAX_QUEUED_SPANS: usize = 4096;
/// Most spans sent at once.
const MAX_BATCH: usize = 512;
/// Time between two batches.
const BATCH_INTERVAL: Duration = Duration::from_secs(1);
/// Time limit of one batch, retries included.
const BATCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Most bytes read of a collector's response, which says how many spans it rejected.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// A running export.
#[derive(Debug)]
pub struct TraceExport {
    provider: SdkTracerProvider,
}

/// Starts recording and exporting spans. Once per process.
///
/// # Errors
/// If the HTTP client cannot be created, or an export is running already.
pub fn start(config: &TracesConfig) -> anyhow::Result<TraceExport> {
    let mut client =
        reqwest::Client::builder().timeout(BATCH_TIMEOUT).redirect(reqwest::redirect::Policy::none());
    if config.is_local() {
        // A proxy could not reach this machine's loopback.
        client = client.no_proxy();
    }
    let client = client.build().context("Cannot create the HTTP client for traces")?;
    let headers: HashMap<String, String> =
        config.headers.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect();
    let otlp = Otlp::builder()
        .with_http()
        .with_http_client(Collector { client, runtime: Handle::current() })
        .with_headers(headers)
        .with_retry_policy(RetryPolicy::recommended())
        .with_endpoint(config.endpoint.as_str())
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(BATCH_TIMEOUT)
        .build()
        .context("Cannot export traces")?;
    let waiting = Arc::new(AtomicUsize::new(0));
    let counting =
        CountingExporter { inner: otlp, waiting: Arc::clone(&waiting), fails: AtomicBool::new(false) };
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(MAX_QUEUED_SPANS)
        .with_max_export_batch_size(MAX_BATCH)
        .with_scheduled_delay(BATCH_INTERVAL)
        .build();
    let batch = BatchSpanProcessor::builder(counting).with_batch_config(batches).build();
    let attributes = config.resource.iter().map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
    let provider = SdkTracerProvider::builder()
        .with_sampler(sampler(config.sampling))
        .with_span_processor(BoundedProcessor { inner: batch, waiting })
        // Built here, so that only the configuration reads the environment.
        .with_resource(
            Resource::builder_empty()
                .with_attributes(attributes)
                .with_attribute(KeyValue::new("service.name", config.service.clone()))
                .with_attribute(KeyValue::new("service.version", crate::VERSION))
                .with_attribute(KeyValue::new("telemetry.sdk.language", "rust"))
                .with_attribute(KeyValue::new("telemetry.sdk.name", "opentelemetry"))
                .build(),
        )
        .build();
    let is_first = traces::install(provider.tracer("verbatim"), config.send_to_provider);
    anyhow::ensure!(is_first, "A tracer is installed already");
    Ok(TraceExport { provider })
}

impl TraceExport {
    /// Exports the remaining spans within `limit`. Spans that end later are lost.
    pub async fn flush(self, limit: Duration) {
        let flushed = tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(limit)).await;
        if !matches!(flushed, Ok(Ok(()))) {
            tracing::warn!("failed to export the last spans in time");
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

/// Sends through the usual HTTP client. The export thread belongs to no runtime.
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
                    // The collector accepted the spans; a longer response is not worth the memory.
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

/// Bounds the queue and counts dropped spans.
#[derive(Debug)]
struct BoundedProcessor {
    inner: BatchSpanProcessor,
    waiting: Arc<AtomicUsize>,
}

impl SpanProcessor for BoundedProcessor {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.waiting.fetch_add(1, Ordering::AcqRel) >= MAX_QUEUED_SPANS {
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

/// Counts exported and rejected spans, and logs changes between the two.
#[derive(Debug)]
struct CountingExporter<E> {
    inner: E,
    waiting: Arc<AtomicUsize>,
    fails: AtomicBool,
}

impl<E: SpanExporter> SpanExporter for CountingExporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        self.waiting.fetch_sub(count, Ordering::AcqRel);
        let sent = self.inner.export(batch).await;
        match &sent {
            Ok(()) => metrics::counter!("verbatim_spans_exported_total").increment(count as u64),
            Err(_) => metrics::counter!("verbatim_spans_dropped_total", "reason" => "rejected")
                .increment(count as u64),
        }
        match (&sent, self.fails.swap(sent.is_err(), Ordering::AcqRel)) {
            (Err(error), false) => {
                tracing::warn!(%error, "trace collector rejects spans");
            }
            (Ok(()), true) => tracing::info!("trace collector accepts spans again"),
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
