//! A collector that is away, slow or wrong costs spans and nothing else.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::{World, timed};
use crate::kill::process::{SOON, within};
use crate::support::collector::{Collector, CollectorBehavior};
use crate::support::openai_server::Act;

/// What `/metrics` says of a metric, whatever its labels: the sum.
async fn metric(world: &World, metrics: &str, name: &str) -> f64 {
    let text = world.http.get(metrics).send().await.unwrap().text().await.unwrap();
    let values =
        text.lines().filter(|line| line.starts_with(name)).filter_map(|line| line.rsplit(' ').next());
    values.map(|value| value.parse::<f64>().unwrap()).sum()
}

/// Where the metrics are, from what the program says at its start.
async fn metrics_of(world: &World) -> String {
    let found = || {
        world.place.said().iter().rev().find_map(|line| {
            let (_, rest) = line.split_once("metrics: ")?;
            Some(rest.split('"').next().unwrap().to_owned())
        })
    };
    assert!(within(SOON, async || found().is_some()).await);
    found().unwrap()
}

/// Replies are made, and the process ends in time, however the collector is.
async fn nothing_is_held_up(mut world: World, away: bool) {
    world.place.set("METRICS_ADDR", "127.0.0.1:0".to_owned());
    world.place.set("SHUTDOWN_SECONDS", "10".to_owned());
    let (node, base, _) = world.place.start(&world.http, SOON).await.unwrap();
    let metrics = metrics_of(&world).await;
    let token = world.sign_up(&base).await;
    for _ in 0..5 {
        let (answer, took) = timed(world.say(&base, &token, &[])).await;
        assert_eq!(answer.0, 200, "{}", answer.1);
        assert!(took < Duration::from_secs(3), "a reply took {took:?}");
    }
    if !away {
        // What is not taken is counted, and told once.
        let counted = async || metric(&world, &metrics, "verbatim_spans_dropped_total").await > 0.0;
        assert!(within(SOON, counted).await, "nothing was counted");
        let told = || world.place.said().iter().filter(|line| line.contains("does not take spans")).count();
        assert!(within(SOON, async || told() == 1).await, "told {} times", told());
    }
    assert_eq!(metric(&world, &metrics, "verbatim_spans_exported_total").await, 0.0);
    let (ended, took) = timed(node.stop()).await;
    assert!(ended.success(), "{:#?}", world.place.last_words());
    assert!(took < Duration::from_secs(10), "the end took {took:?}");
    world.place.remove().await;
}

#[tokio::test]
async fn a_collector_that_refuses_holds_nothing_up() {
    let world = World::new(CollectorBehavior::Reject(400), [Act::reply(&["Good", " morning"])]).await;
    nothing_is_held_up(world, false).await;
}

#[tokio::test]
async fn a_collector_that_never_answers_holds_nothing_up() {
    let world = World::new(CollectorBehavior::Hang, [Act::reply(&["Good", " morning"])]).await;
    nothing_is_held_up(world, true).await;
}

#[tokio::test]
async fn a_collector_that_is_not_there_holds_nothing_up() {
    let mut world = World::new(CollectorBehavior::Accept, [Act::reply(&["Good", " morning"])]).await;
    let gone = Collector::start(CollectorBehavior::Accept).await.endpoint();
    world.place.set("OTEL_EXPORTER_OTLP_ENDPOINT", gone);
    nothing_is_held_up(world, false).await;
}

#[tokio::test]
async fn what_finds_no_room_is_dropped_and_counted_and_the_rest_arrives_when_the_collector_is_back() {
    let mut world = World::new(CollectorBehavior::Hang, [Act::reply(&["Good", " morning"])]).await;
    world.place.set("METRICS_ADDR", "127.0.0.1:0".to_owned());
    let (node, base, _) = world.place.start(&world.http, SOON).await.unwrap();
    let metrics = metrics_of(&world).await;
    // More than the queue holds, and some.
    let flood = async {
        for _ in 0..60 {
            let calls = (0..100).map(|_| world.http.get(format!("{base}/")).send());
            for answer in futures::future::join_all(calls).await {
                assert_eq!(answer.unwrap().status(), 200);
            }
        }
    };
    let ((), took) = timed(flood).await;
    assert!(took < SOON, "6000 requests took {took:?}");
    let dropped =
        async || metric(&world, &metrics, "verbatim_spans_dropped_total{reason=\"queue_full\"}").await > 0.0;
    assert!(within(SOON, dropped).await, "nothing was dropped");
    world.collector.set_behavior(CollectorBehavior::Accept);
    let exported = async || metric(&world, &metrics, "verbatim_spans_exported_total").await >= 4096.0;
    assert!(within(SOON, exported).await, "the rest did not arrive");
    // Machines ask whether it is ready as long as it runs; that is no part of any trace.
    assert!(world.collector.spans().iter().all(|span| span.name == "GET /"));

    // What is on its way when the process ends is still sent.
    let url = format!("{base}/api/auth/login");
    let body = json!({"email": "nobody@mail.example", "password": "correct horse 7"});
    let (status, _) = world.call(Method::POST, &url, "", &body, &[]).await;
    assert_eq!(status, 401);
    assert!(node.stop().await.success());
    assert!(world.collector.spans().iter().any(|span| span.name == "POST /api/auth/login"));
    world.place.remove().await;
}
