//! OTLP trace collector (HTTP, protobuf) that records what it receives and can be told to misbehave.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as SpanStatus;
use prost::Message as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// How a collector answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CollectorBehavior {
    Accept,
    /// Answers with this status.
    Reject(u16),
    /// Never answers.
    Hang,
}

/// A span as received.
#[derive(Debug, Clone)]
pub(crate) struct CollectedSpan {
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) kind: SpanKind,
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty for the root span.
    pub(crate) parent: String,
    pub(crate) attributes: BTreeMap<String, Value>,
    pub(crate) failed: bool,
    pub(crate) begin: u64,
    pub(crate) end: u64,
}

impl CollectedSpan {
    pub(crate) fn text(&self, attribute: &str) -> &str {
        self.attributes[attribute]
            .as_str()
            .unwrap_or_else(|| panic!("{attribute} of {self:?} is not a string"))
    }

    pub(crate) fn number(&self, attribute: &str) -> i64 {
        self.attributes[attribute]
            .as_i64()
            .unwrap_or_else(|| panic!("{attribute} of {self:?} is not a number"))
    }
}

#[derive(Debug, Default)]
struct Collected {
    spans: Vec<CollectedSpan>,
    bodies: Vec<Bytes>,
    headers: Vec<HeaderMap>,
    resource: BTreeMap<String, Value>,
}

#[derive(Debug)]
struct Inner {
    behavior: Mutex<CollectorBehavior>,
    collected: Mutex<Collected>,
}

/// The collector; it stops when dropped.
#[derive(Debug)]
pub(crate) struct Collector {
    address: SocketAddr,
    inner: Arc<Inner>,
    _tasks: JoinSet<()>,
}

impl Collector {
    pub(crate) async fn start(behavior: CollectorBehavior) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Arc::new(Inner { behavior: Mutex::new(behavior), collected: Mutex::default() });
        let router = Router::new().route("/v1/traces", post(receive)).with_state(Arc::clone(&inner));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, inner, _tasks: tasks }
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` must be to reach it.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn set_behavior(&self, behavior: CollectorBehavior) {
        *self.inner.behavior.lock().unwrap() = behavior;
    }

    /// Returns all received spans, ordered by start time.
    pub(crate) fn spans(&self) -> Vec<CollectedSpan> {
        let mut spans = self.inner.collected.lock().unwrap().spans.clone();
        spans.sort_by_key(|span| span.begin);
        spans
    }

    /// Returns the received spans of one trace.
    pub(crate) fn of(&self, trace: &str) -> Vec<CollectedSpan> {
        self.spans().into_iter().filter(|span| span.trace == trace).collect()
    }

    /// Returns the raw request bodies.
    pub(crate) fn bodies(&self) -> Vec<Bytes> {
        self.inner.collected.lock().unwrap().bodies.clone()
    }

    /// Returns the headers of the requests.
    pub(crate) fn headers(&self) -> Vec<HeaderMap> {
        self.inner.collected.lock().unwrap().headers.clone()
    }

    /// Returns the resource attributes of the last batch.
    pub(crate) fn resource(&self) -> BTreeMap<String, Value> {
        self.inner.collected.lock().unwrap().resource.clone()
    }
}

async fn receive(State(inner): State<Arc<Inner>>, headers: HeaderMap, body: Bytes) -> Response {
    let behavior = *inner.behavior.lock().unwrap();
    match behavior {
        CollectorBehavior::Accept => {}
        CollectorBehavior::Reject(status) => return StatusCode::from_u16(status).unwrap().into_response(),
        CollectorBehavior::Hang => std::future::pending().await,
    }
    assert_eq!(headers[header::CONTENT_TYPE], "application/x-protobuf");
    let sent = ExportTraceServiceRequest::decode(body.clone()).expect("the body is OTLP");
    let mut collected = inner.collected.lock().unwrap();
    for of_resource in sent.resource_spans {
        let resource =
            of_resource.resource.map(|resource| attributes(resource.attributes)).unwrap_or_default();
        let service = resource["service.name"].as_str().unwrap().to_owned();
        collected.resource = resource;
        for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            assert!(span.events.is_empty() && span.links.is_empty(), "a span has events or links: {span:?}");
            let status = span.status.clone().unwrap_or_default();
            assert_eq!(status.message, "", "a span status has a message");
            collected.spans.push(CollectedSpan {
                service: service.clone(),
                kind: span.kind(),
                failed: status.code() == SpanStatus::Error,
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                attributes: attributes(span.attributes),
                begin: span.start_time_unix_nano,
                end: span.end_time_unix_nano,
                name: span.name,
            });
        }
    }
    collected.bodies.push(body);
    collected.headers.push(headers);
    let answer = ExportTraceServiceResponse::default().encode_to_vec();
    ([(header::CONTENT_TYPE, "application/x-protobuf")], answer).into_response()
}

fn attributes(pairs: Vec<KeyValue>) -> BTreeMap<String, Value> {
    pairs.into_iter().map(|pair| (pair.key, pair.value.map_or(Value::Null, value))).collect()
}

fn value(value: AnyValue) -> Value {
    match value.value {
        Some(Any::StringValue(text)) => json!(text),
        Some(Any::BoolValue(flag)) => json!(flag),
        Some(Any::IntValue(number)) => json!(number),
        Some(Any::DoubleValue(number)) => json!(number),
        Some(Any::ArrayValue(array)) => array.values.into_iter().map(self::value).collect(),
        other => panic!("unexpected attribute type: {other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
