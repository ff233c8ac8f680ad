//! One message is one trace, from the request to the recorded reply, in one process and over NATS in several.

use std::collections::BTreeSet;

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use traces::attributes::Attribute;

use super::{World, above, named, tree};
use crate::kill::process::{Place, SOON, within};
use crate::nats::server::NatsServer;
use crate::support::collector::{CollectedSpan, CollectorBehavior};
use crate::support::openai_server::{Act, MODEL};

/// The trace that the caller says it is part of, and the span in it.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

/// What a message sets off in one process.
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

/// What is published of it, where there is NATS.
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

/// The trace of one message that is answered.
async fn answered(world: &World, base: &str, with_nats: bool) -> (Value, Vec<CollectedSpan>) {
    let token = world.sign_up(base).await;
    let (status, answer) = world.say(base, &token, &[("traceparent", &traceparent("01"))]).await;
    assert_eq!((status, &answer["status"]), (200, &json!("completed")), "{answer}");
    let expected = expected(with_nats);
    let spans = world.spans(TRACE, expected.len()).await;
    assert_eq!(tree(&spans), expected);
    (answer, spans)
}

/// What holds of the trace wherever it was made.
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
    // It begins when the command has been carried out, and the request waits for its end.
    let command = above(spans, attempt);
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
        assert!(attempt.begin <= inner.begin && inner.end <= attempt.end, "{} is not within", inner.name);
    }
    assert!(context.end <= call.begin && call.end <= named(spans, "reply.record").begin);

    let known: BTreeSet<&str> = Attribute::ALL.iter().map(|attribute| attribute.name()).collect();
    for span in spans {
        assert!(!span.failed, "{span:?}");
        assert!(span.begin < span.end, "{span:?}");
        let unknown: Vec<_> = span.attributes.keys().filter(|name| !known.contains(name.as_str())).collect();
        assert!(unknown.is_empty(), "{} says {unknown:?}", span.name);
    }
}

/// The trace and the span that the metadata of each event name, with its type.
async fn in_the_log(place: &Place) -> Vec<(String, Option<String>)> {
    let mut connection = PgConnection::connect_with(&place.options()).await.unwrap();
    sqlx::query_as("SELECT event_type, metadata ->> 'traceparent' FROM events ORDER BY position")
        .fetch_all(&mut connection)
        .await
        .unwrap()
}

#[tokio::test]
async fn in_one_process_a_message_is_one_trace_and_the_provider_is_told_nothing_of_it() {
    let mut world = World::new(CollectorBehavior::Accept, [Act::reply(&["Good", " morning"])]).await;
    for (name, value) in [
        ("OTEL_SERVICE_NAME", "chat"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=first%20tenant"),
    ] {
        world.place.set(name, value.to_owned());
    }
    let (node, base, _) = world.place.start(&world.http, SOON).await.unwrap();
    let (answer, spans) = answered(&world, &base, false).await;
    check(&answer, &spans);

    assert!(spans.iter().all(|span| span.service == "chat"));
    let resource = world.collector.resource();
    assert_eq!(resource["deployment.environment.name"], "test");
    assert_eq!(resource["service.version"], verbatim::VERSION);
    assert!(world.collector.headers().iter().all(|headers| headers["x-tenant"] == "first tenant"));
    let asked = world.provider.requests();
    assert!(asked.iter().all(|request| !request.headers.contains_key("traceparent")));
    // Sign-up was traced too, as a trace of its own.
    let signed_up = named(&world.collector.spans(), "POST /api/auth/register").clone();
    assert!(signed_up.trace != TRACE && signed_up.parent.is_empty());

    // Each event names the command that recorded it.
    let commands: BTreeSet<String> = spans
        .iter()
        .filter(|span| span.name == "command")
        .map(|span| format!("00-{TRACE}-{}-01", span.id))
        .collect();
    let named: Vec<_> = in_the_log(&world.place).await;
    let of_the_trace: BTreeSet<String> =
        named.iter().filter_map(|(_, told)| told.clone()).filter(|told| told.contains(TRACE)).collect();
    assert_eq!(of_the_trace, commands);
    assert!(named.iter().all(|(_, told)| told.is_some()), "{named:?}");

    // Whatever was logged meanwhile names the trace at the top level.
    let logged = within(SOON, async || world.place.said().iter().any(|line| line.contains(TRACE))).await;
    assert!(logged, "{:#?}", world.place.last_words());
    for line in world.place.said().iter().filter(|line| line.contains(TRACE)) {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            (&line["trace_id"], line["span_id"].as_str().unwrap().len()),
            (&json!(TRACE), 16),
            "{line}"
        );
    }
    assert!(node.stop().await.success());
    world.place.remove().await;
}

#[tokio::test]
async fn over_nats_a_message_is_one_trace_in_two_processes() {
    let nats = NatsServer::start().await;
    let mut world = World::new(CollectorBehavior::Accept, [Act::reply(&["Good", " morning"])]).await;
    world.place.set("NATS_URL", nats.url());
    world.place.set("PROVIDER_TRACEPARENT", "on".to_owned());
    world.place.set("ROLES", "worker,relay".to_owned());
    world.place.set("OTEL_SERVICE_NAME", "worker".to_owned());
    let (worker, _, _) = world.place.start(&world.http, SOON).await.unwrap();
    world.place.set("ROLES", "api,project".to_owned());
    world.place.set("OTEL_SERVICE_NAME", "api".to_owned());
    let (api, base, _) = world.place.start(&world.http, SOON).await.unwrap();
    let (answer, spans) = answered(&world, &base, true).await;
    check(&answer, &spans);

    // Which process made what.
    let attempt = named(&spans, "reply.attempt");
    for span in &spans {
        let by_worker = span.name.starts_with("publish")
            || attempt.begin <= span.begin && {
                let mut above = span;
                while above.id != attempt.id && above.parent != super::one_trace::CALLER {
                    above = super::above(&spans, above);
                }
                above.id == attempt.id
            };
        assert_eq!(span.service, if by_worker { "worker" } else { "api" }, "{}", span.name);
    }

    // What is in NATS: the event names the command that recorded it, the message the span that published it.
    let stream = nats.stream().await.unwrap();
    let mut met = 0;
    for sequence in 1..=stream.cached_info().state.last_sequence {
        let message = stream.get_raw_message(sequence).await.unwrap();
        let event: Value = serde_json::from_slice(&message.payload).unwrap();
        let told = message.headers.get("traceparent").unwrap().as_str().to_owned();
        if !told.contains(TRACE) {
            continue;
        }
        met += 1;
        let published = spans
            .iter()
            .find(|span| span.attributes.get("messaging.message.id") == Some(&event["id"]))
            .unwrap_or_else(|| panic!("{event} has no span"));
        assert_eq!(published.kind, SpanKind::Producer);
        assert_eq!(published.text("messaging.destination.name"), message.subject.as_str());
        assert_eq!(told, format!("00-{TRACE}-{}-01", published.id));
        assert_eq!(event["traceparent"], format!("00-{TRACE}-{}-01", published.parent));
    }
    assert_eq!(met, PUBLISHED.len());

    // The provider is told, because somebody said so: the call's own ids.
    let call = named(&spans, "chat gpt-4o-mini");
    let asked = world.provider.requests();
    let [request] = &asked[..] else { panic!("one call was expected: {asked:?}") };
    assert_eq!(request.headers["traceparent"], format!("00-{TRACE}-{}-01", call.id).as_str());
    assert!(worker.stop().await.success() && api.stop().await.success());
    world.place.remove().await;
}

#[tokio::test]
async fn a_reply_that_is_taken_up_after_a_restart_goes_on_with_its_trace() {
    let acts = [Act::HangBeforeHeaders, Act::reply(&["Good", " morning"])];
    let mut world = World::new(CollectorBehavior::Accept, acts).await;
    world.place.set("REPLY_WAIT_SECONDS", "0".to_owned());
    let (node, base, _) = world.place.start(&world.http, SOON).await.unwrap();
    let token = world.sign_up(&base).await;
    let (status, answer) = world.say(&base, &token, &[("traceparent", &traceparent("01"))]).await;
    assert_eq!(status, 202, "{answer}");
    world.provider.until(|log| log.requests.len() == 1).await;
    // What the first process has to tell of its side is told before it goes; the attempt dies with it.
    let there =
        within(SOON, async || world.collector.of(TRACE).iter().any(|span| span.name == "append")).await;
    assert!(there);
    node.kill();
    let (node, _, _) = world.place.start(&world.http, SOON).await.unwrap();
    let attempted = || world.collector.of(TRACE).into_iter().find(|span| span.name == "reply.attempt");
    assert!(
        within(2 * SOON, async || attempted().is_some()).await,
        "{:#?}",
        tree(&world.collector.of(TRACE))
    );
    let spans = world.collector.of(TRACE);
    let attempt = attempted().unwrap();
    assert_eq!(attempt.number("verbatim.reply.attempt"), 2);
    assert_eq!(above(&spans, &attempt).name, "command");
    assert_eq!(above(&spans, above(&spans, &attempt)).name, "POST /api/chat");
    assert!(attempt.number("verbatim.reply.waited_ms") > 0);
    assert!(node.stop().await.success());
    world.place.remove().await;
}

#[tokio::test]
async fn whoever_begins_a_trace_decides_whether_it_is_recorded_and_what_is_no_trace_is_ignored() {
    let world = World::new(CollectorBehavior::Accept, [Act::reply(&["Good", " morning"])]).await;
    let (node, base, _) = world.place.start(&world.http, SOON).await.unwrap();
    let token = world.sign_up(&base).await;
    // Not to be recorded: nothing is, and its ids go on all the same.
    let (status, _) = world.say(&base, &token, &[("traceparent", &traceparent("00"))]).await;
    assert_eq!(status, 200);
    let log = in_the_log(&world.place).await;
    let unrecorded = |told: &str| told.starts_with(&format!("00-{TRACE}-")) && told.ends_with("-00");
    let ends =
        log.iter().filter(|(_, told)| told.as_deref().is_some_and(unrecorded)).map(|(kind, _)| kind.as_str());
    assert_eq!(
        ends.collect::<Vec<_>>(),
        ["conversation_started", "message_sent", "reply_requested", "reply_begun", "reply_completed"]
    );

    // No trace at all: one begins here, and nothing of what was sent is in it.
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
        assert!(within(SOON, async || roots() == number + 1).await, "{headers:?}: {} roots", roots());
    }
    assert!(node.stop().await.success());
    // Everything has been sent by now, and nothing of the trace that was not to be recorded.
    assert_eq!(tree(&world.collector.of(TRACE)), Vec::<String>::new());
    let sent = world.collector.bodies().concat();
    assert!(!String::from_utf8_lossy(&sent).contains(strange), "a tracestate was passed on");
    world.place.remove().await;
}

#[tokio::test]
async fn without_an_endpoint_nothing_names_a_trace() {
    let mut world = World::new(CollectorBehavior::Accept, [Act::reply(&["Good", " morning"])]).await;
    world.place.set("OTEL_EXPORTER_OTLP_ENDPOINT", String::new());
    world.place.set("PROVIDER_TRACEPARENT", "on".to_owned());
    let (node, base, _) = world.place.start(&world.http, SOON).await.unwrap();
    let token = world.sign_up(&base).await;
    let (status, _) = world.say(&base, &token, &[("traceparent", &traceparent("01"))]).await;
    assert_eq!(status, 200);
    let log = in_the_log(&world.place).await;
    assert!(log.len() >= 8 && log.iter().all(|(_, told)| told.is_none()), "{log:?}");
    assert!(world.provider.requests().iter().all(|request| !request.headers.contains_key("traceparent")));
    assert!(node.stop().await.success());
    let said = world.place.said();
    assert!(said.iter().all(|line| !line.contains("trace_id") && !line.contains(TRACE)), "{said:#?}");
    assert_eq!(world.collector.bodies().len(), 0);
    world.place.remove().await;
}
