//! A collector that takes traces by OTLP over HTTP, as protobuf, and can be told how to misbehave. It keeps what it was sent.

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

/// How a collector is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Takes,
    /// Answers with this status.
    Refuses(u16),
    /// Never answers.
    Hangs,
}

/// A span as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) kind: SpanKind,
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty: it is the root.
    pub(crate) parent: String,
    pub(crate) attributes: BTreeMap<String, Value>,
    pub(crate) failed: bool,
    pub(crate) begin: u64,
    pub(crate) end: u64,
}

impl Seen {
    pub(crate) fn text(&self, attribute: &str) -> &str {
        self.attributes[attribute].as_str().unwrap_or_else(|| panic!("{attribute} of {self:?} is no text"))
    }

    pub(crate) fn number(&self, attribute: &str) -> i64 {
        self.attributes[attribute].as_i64().unwrap_or_else(|| panic!("{attribute} of {self:?} is no number"))
    }
}

#[derive(Debug, Default)]
struct Kept {
    spans: Vec<Seen>,
    bodies: Vec<Bytes>,
    headers: Vec<HeaderMap>,
    resource: BTreeMap<String, Value>,
}

#[derive(Debug)]
struct Inner {
    mood: Mutex<Mood>,
    kept: Mutex<Kept>,
}

/// The collector; it stops when dropped.
#[derive(Debug)]
pub(crate) struct Collector {
    address: SocketAddr,
    inner: Arc<Inner>,
    _tasks: JoinSet<()>,
}

impl Collector {
    pub(crate) async fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Arc::new(Inner { mood: Mutex::new(mood), kept: Mutex::default() });
        let router = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&inner));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, inner, _tasks: tasks }
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` must be to reach it.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn becomes(&self, mood: Mood) {
        *self.inner.mood.lock().unwrap() = mood;
    }

    /// Everything that came, in the order of the beginnings.
    pub(crate) fn spans(&self) -> Vec<Seen> {
        let mut spans = self.inner.kept.lock().unwrap().spans.clone();
        spans.sort_by_key(|span| span.begin);
        spans
    }

    /// What came of one trace.
    pub(crate) fn of(&self, trace: &str) -> Vec<Seen> {
        self.spans().into_iter().filter(|span| span.trace == trace).collect()
    }

    /// What came, as it came.
    pub(crate) fn bodies(&self) -> Vec<Bytes> {
        self.inner.kept.lock().unwrap().bodies.clone()
    }

    /// The headers of what came.
    pub(crate) fn headers(&self) -> Vec<HeaderMap> {
        self.inner.kept.lock().unwrap().headers.clone()
    }

    /// What the last batch said of the process that sent it.
    pub(crate) fn resource(&self) -> BTreeMap<String, Value> {
        self.inner.kept.lock().unwrap().resource.clone()
    }
}

async fn take(State(inner): State<Arc<Inner>>, headers: HeaderMap, body: Bytes) -> Response {
    let mood = *inner.mood.lock().unwrap();
    match mood {
        Mood::Takes => {}
        Mood::Refuses(status) => return StatusCode::from_u16(status).unwrap().into_response(),
        Mood::Hangs => std::future::pending().await,
    }
    assert_eq!(headers[header::CONTENT_TYPE], "application/x-protobuf");
    let sent = ExportTraceServiceRequest::decode(body.clone()).expect("what is sent is OTLP");
    let mut kept = inner.kept.lock().unwrap();
    for of_resource in sent.resource_spans {
        let resource =
            of_resource.resource.map(|resource| attributes(resource.attributes)).unwrap_or_default();
        let service = resource["service.name"].as_str().unwrap().to_owned();
        kept.resource = resource;
        for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            assert!(
                span.events.is_empty() && span.links.is_empty(),
                "a span says more than it may: {span:?}"
            );
            let status = span.status.clone().unwrap_or_default();
            assert_eq!(status.message, "", "a status says more than that it failed");
            kept.spans.push(Seen {
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
    kept.bodies.push(body);
    kept.headers.push(headers);
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
        other => panic!("an attribute that nobody reads: {other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
