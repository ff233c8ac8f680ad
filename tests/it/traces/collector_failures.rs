//! A collector that is down, slow or rejecting costs only spans.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::{World, timed};
use crate::kill::process::{STEP_TIMEOUT, within};
use crate::support::collector::{Collector, CollectorBehavior};
use crate::support::openai_server::Act;

/// Returns the sum of a metric in `/metrics` over all labels.
async fn metric(world: &World, metrics: &str, name: &str) -> f64 {
    let text = world.http.get(metrics).send().await.unwrap().text().await.unwrap();
    let values =
        text.lines().filter(|line| line.starts_with(name)).filter_map(|line| line.rsplit(' ').next());
    values.map(|value| value.parse::<f64>().unwrap()).sum()
}

/// Returns the URL of the metrics from the startup log.
async fn metrics_of(world: &World) -> String {
    let found = || {
        world.installation.log_lines().iter().rev().find_map(|line| {
            let (_, rest) = line.split_once("metrics: ")?;
            Some(rest.split('"').next().unwrap().to_owned())
        })
    };
    assert!(within(STEP_TIMEOUT, async || found().is_some()).await);
    found().unwrap()
}

/// Asserts that replies and the shutdown are not delayed by the collector.
async fn assert_no_delay(mut world: World, away: bool) {
    world.installation.set("METRICS_ADDR", "127.0.0.1:0".to_owned());
    world.installation.set("SHUTDOWN_SECONDS", "10".to_owned());
    let (node, base, _) = world.installation.start(&world.http, STEP_TIMEOUT).await.unwrap();
    let metrics = metrics_of(&world).await;
    let token = world.sign_up(&base).await;
    for _ in 0..5 {
        let (answer, took) = timed(world.say(&base, &token, &[])).await;
        assert_eq!(answer.0, 200, "{}", answer.1);
        assert!(took < Duration::from_secs(3), "a reply took {took:?}");
    }
    if !away {
        // Rejected spans are counted, and logged once.
        let counted = async || metric(&world, &metrics, "verbatim_spans_dropped_total").await > 0.0;
        assert!(within(STEP_TIMEOUT, counted).await, "no dropped span was counted");
        let warnings = || {
            world
                .installation
                .log_lines()
                .iter()
                .filter(|line| line.contains("trace collector rejects spans"))
                .count()
        };
        assert!(within(STEP_TIMEOUT, async || warnings() == 1).await, "logged {} times", warnings());
    }
    assert_eq!(metric(&world, &metrics, "verbatim_spans_exported_total").await, 0.0);
    let (ended, took) = timed(node.stop()).await;
    assert!(ended.success(), "{:#?}", world.installation.last_log_lines());
    assert!(took < Duration::from_secs(10), "the shutdown took {took:?}");
    world.installation.remove().await;
}

#[tokio::test]
async fn rejecting_collector_delays_nothing() {
    let world = World::new(CollectorBehavior::Reject(400), [Act::reply(&["Good", " morning"])]).await;
    assert_no_delay(world, false).await;
}

#[tokio::test]
async fn hanging_collector_delays_nothing() {
    let world = World::new(CollectorBehavior::Hang, [Act::reply(&["Good", " morning"])]).await;
    assert_no_delay(world, true).await;
}

#[tokio::test]
async fn absent_collector_delays_nothing() {
    let mut world = World::new(CollectorBehavior::Accept, [Act::reply(&["Good", " morning"])]).await;
    let gone = Collector::start(CollectorBehavior::Accept).await.endpoint();
    world.installation.set("OTEL_EXPORTER_OTLP_ENDPOINT", gone);
    assert_no_delay(world, false).await;
}

#[tokio::test]
async fn overflowing_spans_are_dropped_and_counted() {
    let mut world = World::new(CollectorBehavior::Hang, [Act::reply(&["Good", " morning"])]).await;
    world.installation.set("METRICS_ADDR", "127.0.0.1:0".to_owned());
    let (node, base, _) = world.installation.start(&world.http, STEP_TIMEOUT).await.unwrap();
    let metrics = metrics_of(&world).await;
    // More spans than the queue holds.
    let flood = async {
        for _ in 0..60 {
            let calls = (0..100).map(|_| world.http.get(format!("{base}/")).send());
            for answer in futures::future::join_all(calls).await {
                assert_eq!(answer.unwrap().status(), 200);
            }
        }
    };
    let ((), took) = timed(flood).await;
    assert!(took < STEP_TIMEOUT, "6000 requests took {took:?}");
    let dropped =
        async || metric(&world, &metrics, "verbatim_spans_dropped_total{reason=\"queue_full\"}").await > 0.0;
    assert!(within(STEP_TIMEOUT, dropped).await, "no span was dropped");
    world.collector.set_behavior(CollectorBehavior::Accept);
    let exported = async || metric(&world, &metrics, "verbatim_spans_exported_total").await >= 4096.0;
    assert!(within(STEP_TIMEOUT, exported).await, "the queued spans did not arrive");
    // Readiness checks are not traced.
    assert!(world.collector.spans().iter().all(|span| span.name == "GET /"));

    // Spans in the queue at shutdown are still sent.
    let url = format!("{base}/api/auth/login");
    let body = json!({"email": "nobody@mail.example", "password": "correct horse 7"});
    let (status, _) = world.call(Method::POST, &url, "", &body, &[]).await;
    assert_eq!(status, 401);
    assert!(node.stop().await.success());
    assert!(world.collector.spans().iter().any(|span| span.name == "POST /api/auth/login"));
    world.installation.remove().await;
}
