//! One message is one trace, from the request to the recorded reply, in one process and over NATS in several.

use std::collections::BTreeSet;

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use traces::attributes::Attribute;

use super::{World, named, parent_of, tree};
use crate::kill::process::{Installation, STEP_TIMEOUT, within};
use crate::nats::server::NatsServer;
use crate::support::collector::{CollectedSpan, CollectorBehavior};
use crate::support::openai_server::{Act, MODEL};

/// Trace and parent span in the caller's `traceparent`.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

/// Spans of one message in one process.
const IN_PROCESS: [&str; 11] = [
    "POST /api/chat",
    "POST /api/chat > command",
    "POST /api/chat > command > append",
    "POST /api/chat > command > reply.attempt",
    "POST /api/chat > command > reply.attempt > chat gpt-4o-mini",
    "POST /api/chat > command > reply.attempt > command",
    "POST /api/chat > command > reply.attempt > command > append",
    "POST /api/chat > command > reply.attempt > reply.context",
    "POST /api/chat > command > reply.attempt > reply.record",
    "POST /api/chat > command > reply.attempt > reply.record > command",
    "POST /api/chat > command > reply.attempt > reply.record > command > append",
];

/// Additional spans with NATS.
const PUBLISHED: [&str; 5] = [
    "POST /api/chat > command > publish conversation.started",
    "POST /api/chat > command > publish message.sent",
    "POST /api/chat > command > publish reply.requested",
    "POST /api/chat > command > reply.attempt > command > publish reply.begun",
    "POST /api/chat > command > reply.attempt > reply.record > command > publish reply.completed",
];

fn expected(with_nats: bool) -> Vec<String> {
    let published = if with_nats { &PUBLISHED[..] } else { &[] };
    let mut all: Vec<String> = IN_PROCESS.iter().chain(published).map(|path| (*path).to_owned()).collect();
    all.sort();
    all
}

/// Sends a message and returns the answer and its trace.
async fn send_and_trace(world: &World, base: &str, with_nats: bool) -> (Value, Vec<CollectedSpan>) {
    let token = world.sign_up(base).await;
    let (status, answer) = world.say(base, &token, &[("traceparent", &traceparent("01"))]).await;
    assert_eq!((status, &answer["status"]), (200, &json!("completed")), "{answer}");
    let expected = expected(with_nats);
    let spans = world.spans(TRACE, expected.len()).await;
    assert_eq!(tree(&spans), expected);
    (answer, spans)
}

/// Checks what every trace of a message has in common.
fn check(answer: &Value, spans: &[CollectedSpan]) {
    let request = named(spans, "POST /api/chat");
    assert_eq!((request.parent.as_str(), request.kind), (CALLER, SpanKind::Server));
    assert_eq!(request.text("http.request.method"), "POST");
    assert_eq!(request.text("http.route"), "/api/chat");
    assert_eq!(request.number("http.response.status_code"), 200);

    let attempt = named(spans, "reply.attempt");
    assert_eq!(attempt.kind, SpanKind::Consumer);
    assert_eq!(attempt.text("verbatim.reply.id"), answer["reply_id"]);
    assert_eq!(attempt.text("gen_ai.conversation.id"), answer["session_id"]);
    assert_eq!(attempt.number("verbatim.reply.attempt"), 1);
    assert_eq!(attempt.text("verbatim.outcome"), "done");
    // The attempt begins after the command, and the request waits for its end.
    let command = parent_of(spans, attempt);
    assert_eq!((command.text("verbatim.surface"), command.text("verbatim.outcome")), ("api", "appended"));
    assert_eq!(command.text("verbatim.aggregates"), "conversation");

    let call = named(spans, "chat gpt-4o-mini");
    assert_eq!(call.kind, SpanKind::Client);
    for (attribute, value) in [
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "openai"),
        ("gen_ai.request.model", "gpt-4o-mini"),
        ("gen_ai.response.model", MODEL),
        ("gen_ai.response.id", "resp_test_1"),
    ] {
        assert_eq!(call.text(attribute), value);
    }
    assert_eq!(call.attributes["gen_ai.response.finish_reasons"], json!(["stop"]));
    assert_eq!(call.number("gen_ai.usage.input_tokens"), 11);
    assert_eq!(call.number("gen_ai.usage.output_tokens"), 2);
    assert!(call.attributes["gen_ai.response.time_to_first_chunk"].as_f64().unwrap() > 0.0);

    let context = named(spans, "reply.context");
    assert_eq!(context.number("verbatim.context.turns"), 1);
    for inner in [context, call, named(spans, "reply.record")] {
        assert!(
            attempt.begin <= inner.begin && inner.end <= attempt.end,
            "{} is not within the attempt",
            inner.name
        );
    }
    assert!(context.end <= call.begin && call.end <= named(spans, "reply.record").begin);

    let known: BTreeSet<&str> = Attribute::ALL.iter().map(|attribute| attribute.name()).collect();
    for span in spans {
        assert!(!span.failed, "{span:?}");
        assert!(span.begin < span.end, "{span:?}");
        let unknown: Vec<_> = span.attributes.keys().filter(|name| !known.contains(name.as_str())).collect();
        assert!(unknown.is_empty(), "{} has unknown attributes {unknown:?}", span.name);
    }
}

/// Returns the type and the `traceparent` of each event.
async fn traceparents_in_log(installation: &Installation) -> Vec<(String, Option<String>)> {
    let mut connection = PgConnection::connect_with(&installation.options()).await.unwrap();
    sqlx::query_as("SELECT event_type, metadata ->> 'traceparent' FROM events ORDER BY position")
        .fetch_all(&mut connection)
        .await
        .unwrap()
}

#[tokio::test]
async fn message_is_one_trace_that_the_provider_does_not_see() {
    let mut world = World::new(CollectorBehavior::Accept, [Act::reply(&["Good", " morning"])]).await;
    for (name, value) in [
        ("OTEL_SERVICE_NAME", "chat"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=first%20tenant"),
    ] {
        world.installation.set(name, value.to_owned());
    }
    let (node, base, _) = world.installation.start(&world.http, STEP_TIMEOUT).await.unwrap();
    let (answer, spans) = send_and_trace(&world, &base, false).await;
    check(&answer, &spans);

    assert!(spans.iter().all(|span| span.service == "chat"));
    let resource = world.collector.resource();
    assert_eq!(resource["deployment.environment.name"], "test");
    assert_eq!(resource["service.version"], verbatim::VERSION);
    assert!(world.collector.headers().iter().all(|headers| headers["x-tenant"] == "first tenant"));
    let asked = world.provider.requests();
    assert!(asked.iter().all(|request| !request.headers.contains_key("traceparent")));
    // The sign-up is a separate trace.
    let signed_up = named(&world.collector.spans(), "POST /api/auth/register").clone();
    assert!(signed_up.trace != TRACE && signed_up.parent.is_empty());

    // Each event has the span of the command that appended it.
    let commands: BTreeSet<String> = spans
        .iter()
        .filter(|span| span.name == "command")
        .map(|span| format!("00-{TRACE}-{}-01", span.id))
        .collect();
    let named: Vec<_> = traceparents_in_log(&world.installation).await;
    let of_the_trace: BTreeSet<String> =
        named.iter().filter_map(|(_, value)| value.clone()).filter(|value| value.contains(TRACE)).collect();
    assert_eq!(of_the_trace, commands);
    assert!(named.iter().all(|(_, value)| value.is_some()), "{named:?}");

    // Log lines of the trace have the trace id at the top level.
    let logged =
        within(STEP_TIMEOUT, async || world.installation.log_lines().iter().any(|line| line.contains(TRACE)))
            .await;
    assert!(logged, "{:#?}", world.installation.last_log_lines());
    for line in world.installation.log_lines().iter().filter(|line| line.contains(TRACE)) {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            (&line["trace_id"], line["span_id"].as_str().unwrap().len()),
            (&json!(TRACE), 16),
            "{line}"
        );
    }
    assert!(node.stop().await.success());
    world.installation.remove().await;
}

#[tokio::test]
async fn message_is_one_trace_across_two_processes_with_nats() {
    let nats = NatsServer::start().await;
    let mut world = World::new(CollectorBehavior::Accept, [Act::reply(&["Good", " morning"])]).await;
    world.installation.set("NATS_URL", nats.url());
    world.installation.set("PROVIDER_TRACEPARENT", "on".to_owned());
    world.installation.set("ROLES", "worker,relay".to_owned());
    world.installation.set("OTEL_SERVICE_NAME", "worker".to_owned());
    let (worker, _, _) = world.installation.start(&world.http, STEP_TIMEOUT).await.unwrap();
    world.installation.set("ROLES", "api,project".to_owned());
    world.installation.set("OTEL_SERVICE_NAME", "api".to_owned());
    let (api, base, _) = world.installation.start(&world.http, STEP_TIMEOUT).await.unwrap();
    let (answer, spans) = send_and_trace(&world, &base, true).await;
    check(&answer, &spans);

    // Check which process created which span.
    let attempt = named(&spans, "reply.attempt");
    for span in &spans {
        let by_worker = span.name.starts_with("publish")
            || attempt.begin <= span.begin && {
                let mut above = span;
                while above.id != attempt.id && above.parent != super::one_trace::CALLER {
                    above = super::parent_of(&spans, above);
                }
                above.id == attempt.id
            };
        assert_eq!(span.service, if by_worker { "worker" } else { "api" }, "{}", span.name);
    }

    // In NATS, the event has the span of the command, and the message header has the span of the publication.
    let stream = nats.stream().await.unwrap();
    let mut seen = 0;
    for sequence in 1..=stream.cached_info().state.last_sequence {
        let message = stream.get_raw_message(sequence).await.unwrap();
        let event: Value = serde_json::from_slice(&message.payload).unwrap();
        let value = message.headers.get("traceparent").unwrap().as_str().to_owned();
        if !value.contains(TRACE) {
            continue;
        }
        seen += 1;
        let published = spans
            .iter()
            .find(|span| span.attributes.get("messaging.message.id") == Some(&event["id"]))
            .unwrap_or_else(|| panic!("{event} has no span"));
        assert_eq!(published.kind, SpanKind::Producer);
        assert_eq!(published.text("messaging.destination.name"), message.subject.as_str());
        assert_eq!(value, format!("00-{TRACE}-{}-01", published.id));
        assert_eq!(event["traceparent"], format!("00-{TRACE}-{}-01", published.parent));
    }
    assert_eq!(seen, PUBLISHED.len());

    // PROVIDER_TRACEPARENT=on sends the call's span to the provider.
    let call = named(&spans, "chat gpt-4o-mini");
    let asked = world.provider.requests();
    let [request] = &asked[..] else { panic!("one call was expected: {asked:?}") };
    assert_eq!(request.headers["traceparent"], format!("00-{TRACE}-{}-01", call.id).as_str());
    assert!(worker.stop().await.success() && api.stop().await.success());
    world.installation.remove().await;
}

#[tokio::test]
async fn reply_resumed_after_restart_continues_its_trace() {
    let acts = [Act::HangBeforeHeaders, Act::reply(&["Good", " morning"])];
    let mut world = World::new(CollectorBehavior::Accept, acts).await;
    world.installation.set("REPLY_WAIT_SECONDS", "0".to_owned());
    let (node, base, _) = world.installation.start(&world.http, STEP_TIMEOUT).await.unwrap();
    let token = world.sign_up(&base).await;
    let (status, answer) = world.say(&base, &token, &[("traceparent", &traceparent("01"))]).await;
    assert_eq!(status, 202, "{answer}");
    world.provider.until(|log| log.requests.len() == 1).await;
    // Wait until the first process has exported its spans; the attempt's span dies with it.
    let there =
        within(STEP_TIMEOUT, async || world.collector.of(TRACE).iter().any(|span| span.name == "append"))
            .await;
    assert!(there);
    node.kill();
    let (node, _, _) = world.installation.start(&world.http, STEP_TIMEOUT).await.unwrap();
    let attempted = || world.collector.of(TRACE).into_iter().find(|span| span.name == "reply.attempt");
    assert!(
        within(2 * STEP_TIMEOUT, async || attempted().is_some()).await,
        "{:#?}",
        tree(&world.collector.of(TRACE))
    );
    let spans = world.collector.of(TRACE);
    let attempt = attempted().unwrap();
    assert_eq!(attempt.number("verbatim.reply.attempt"), 2);
    assert_eq!(parent_of(&spans, &attempt).name, "command");
    assert_eq!(parent_of(&spans, parent_of(&spans, &attempt)).name, "POST /api/chat");
    assert!(attempt.number("verbatim.reply.queued_ms") > 0);
    assert!(node.stop().await.success());
    world.installation.remove().await;
}

#[tokio::test]
async fn sampling_flag_is_honoured_and_invalid_traceparent_ignored() {
    let world = World::new(CollectorBehavior::Accept, [Act::reply(&["Good", " morning"])]).await;
    let (node, base, _) = world.installation.start(&world.http, STEP_TIMEOUT).await.unwrap();
    let token = world.sign_up(&base).await;
    // Not sampled: no span is exported, but the ids are propagated.
    let (status, _) = world.say(&base, &token, &[("traceparent", &traceparent("00"))]).await;
    assert_eq!(status, 200);
    let log = traceparents_in_log(&world.installation).await;
    let unrecorded = |value: &str| value.starts_with(&format!("00-{TRACE}-")) && value.ends_with("-00");
    let ends = log
        .iter()
        .filter(|(_, value)| value.as_deref().is_some_and(unrecorded))
        .map(|(kind, _)| kind.as_str());
    assert_eq!(
        ends.collect::<Vec<_>>(),
        ["conversation_started", "message_sent", "reply_requested", "reply_begun", "reply_completed"]
    );

    // Invalid `traceparent`: a new trace begins, without the invalid values.
    let strange = "canary-of-a-tracestate";
    for (number, headers) in [
        vec![("traceparent", "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01")],
        vec![("traceparent", "rubbish"), ("tracestate", strange)],
        vec![("traceparent", ""), ("baggage", strange)],
        vec![("traceparent", &traceparent("01")), ("traceparent", &traceparent("01"))],
    ]
    .into_iter()
    .enumerate()
    {
        let (status, _) = world.say(&base, &token, &headers).await;
        assert_eq!(status, 200);
        let roots = || {
            let spans = world.collector.spans();
            spans.into_iter().filter(|span| span.name == "POST /api/chat" && span.parent.is_empty()).count()
        };
        assert!(within(STEP_TIMEOUT, async || roots() == number + 1).await, "{headers:?}: {} roots", roots());
    }
    assert!(node.stop().await.success());
    // All spans have been exported by now, and none of the unsampled trace.
    assert_eq!(tree(&world.collector.of(TRACE)), Vec::<String>::new());
    let sent = world.collector.bodies().concat();
    assert!(!String::from_utf8_lossy(&sent).contains(strange), "a tracestate was passed on");
    world.installation.remove().await;
}

#[tokio::test]
async fn without_endpoint_no_trace_ids_appear() {
    let mut world = World::new(CollectorBehavior::Accept, [Act::reply(&["Good", " morning"])]).await;
    world.installation.set("OTEL_EXPORTER_OTLP_ENDPOINT", String::new());
    world.installation.set("PROVIDER_TRACEPARENT", "on".to_owned());
    let (node, base, _) = world.installation.start(&world.http, STEP_TIMEOUT).await.unwrap();
    let token = world.sign_up(&base).await;
    let (status, _) = world.say(&base, &token, &[("traceparent", &traceparent("01"))]).await;
    assert_eq!(status, 200);
    let log = traceparents_in_log(&world.installation).await;
    assert!(log.len() >= 8 && log.iter().all(|(_, value)| value.is_none()), "{log:?}");
    assert!(world.provider.requests().iter().all(|request| !request.headers.contains_key("traceparent")));
    assert!(node.stop().await.success());
    let said = world.installation.log_lines();
    assert!(said.iter().all(|line| !line.contains("trace_id") && !line.contains(TRACE)), "{said:#?}");
    assert_eq!(world.collector.bodies().len(), 0);
    world.installation.remove().await;
}
