//! Injects faults one at a time. The campaign must find each; without a fault, the same campaign finds nothing.

use std::time::Duration;

use super::access_checks;
use super::campaign::{Plan, Report, run_within};
use super::checker::{Guarantee, Violation};
use super::process::PostgresKind;
use super::{print_line, seed};

/// Maximum time to find a fault once the program is ready.
const DETECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// Runs a short campaign, with a fault or without.
async fn short_campaign(name: &'static str, fault: Option<&'static str>) -> Report {
    let seed = seed();
    print_line(&format!("{name}: KILL_SEED={seed}"));
    let plan = Plan {
        name,
        nodes: 1,
        postgres: PostgresKind::Embedded,
        seed,
        rounds: 3,
        kill_ms: 400..=1200,
        fault,
        nats: false,
        ready_timeout: Duration::from_secs(15),
        idle_timeout: Duration::from_secs(8),
    };
    let report = run_within(plan, DETECTION_TIMEOUT).await;
    print_line(&report.summary);
    report
}

/// Whether the rows of a read model differ from a replay up to its checkpoint; mere lag does not count.
fn has_other_rows(violation: &Violation) -> bool {
    violation.guarantee == Guarantee::Models
        && violation.what.starts_with("a rebuild yields other rows")
        && violation.what.contains("different from before")
}

/// Injects `fault` and asserts a violation that only this fault explains.
async fn assert_found(fault: &'static str, explains: impl Fn(&Violation) -> bool) {
    let report = short_campaign(fault, Some(fault)).await;
    let found = report.violations.iter().find(|violation| explains(violation));
    let Some(found) = found else {
        panic!("{fault} was not found: {}, {:#?}", report.summary, report.violations)
    };
    print_line(&format!("{fault}: {:?}: {:.300}", found.guarantee, found.what));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn campaign_without_fault_finds_nothing() {
    short_campaign("no-fault", None).await.assert_no_violations();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reader_by_highest_position_is_detected() {
    assert_found("naive-reader", has_other_rows).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checkpoint_in_separate_transaction_is_detected() {
    // Rows are lost: the read model differs, or its projection stops at an event that needs them and is never ready.
    assert_found("checkpoint-apart", |violation| {
        has_other_rows(violation)
            || violation.guarantee == Guarantee::Recovers && violation.what.contains("read model")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answer_before_append_is_detected() {
    // The event must be lost, not just acknowledged without a position.
    assert_found("early-answer", |violation| {
        violation.guarantee == Guarantee::Durable && violation.what.ends_with("the log has []")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ignored_idempotency_keys_are_detected() {
    assert_found("no-command-key", |violation| violation.guarantee == Guarantee::Once).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_memory_idempotency_keys_are_detected() {
    assert_found("key-in-memory", |violation| violation.guarantee == Guarantee::Once).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_outliving_its_login_is_detected() {
    let violations = access_checks::check("no-login-check", Some("no-login-check")).await;
    assert!(violations.iter().any(|violation| violation.what.contains("ended login")), "{violations:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_ownership_check_is_detected() {
    let violations = access_checks::check("no-owner-check", Some("no-owner-check")).await;
    assert!(violations.iter().any(|violation| violation.what.contains("stranger")), "{violations:?}");
}
