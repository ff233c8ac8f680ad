//! Defects that are planted one at a time. The harness must find each; without them, the same run finds nothing.

use std::time::Duration;

use super::campaign::{Plan, Report, run_within};
use super::checker::{Promise, Violation};
use super::doors;
use super::process::Form;
use super::{seed, tell};

/// A defect that is not found in this time, once the program is up, counts as not found.
const FOUND_WITHIN: Duration = Duration::from_secs(60);

/// A short run, with a defect or without.
async fn short(name: &'static str, planted: Option<&'static str>) -> Report {
    let seed = seed();
    tell(&format!("{name}: KILL_SEED={seed}"));
    let plan = Plan {
        name,
        nodes: 1,
        form: Form::Embedded,
        seed,
        rounds: 3,
        kill_ms: 400..=1200,
        planted,
        nats: false,
        ready: Duration::from_secs(15),
        quiet: Duration::from_secs(8),
    };
    let report = run_within(plan, FOUND_WITHIN).await;
    tell(&report.summary);
    report
}

/// Whether the rows of a model are not those of a replay up to where it stands. One that only lags has the same ones.
fn has_other_rows(violation: &Violation) -> bool {
    violation.promise == Promise::Models
        && violation.what.starts_with("a rebuild gives other rows")
        && violation.what.contains("different from what it was")
}

/// Plants `defect` and wants a violation that only this defect explains.
async fn found(defect: &'static str, explains: impl Fn(&Violation) -> bool) {
    let report = short(defect, Some(defect)).await;
    let found = report.violations.iter().find(|violation| explains(violation));
    let Some(found) = found else {
        panic!("{defect} was not found: {}, {:#?}", report.summary, report.violations)
    };
    tell(&format!("{defect}: {:?}: {:.300}", found.promise, found.what));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_defect_the_short_run_finds_nothing() {
    short("no-defect", None).await.assert_kept();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_by_highest_position_is_found() {
    found("naive-reader", has_other_rows).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_in_a_transaction_of_its_own_is_found() {
    // Rows are lost: the model differs, or it stops at an event that needs them and is never ready again.
    found("checkpoint-apart", |violation| {
        has_other_rows(violation)
            || violation.promise == Promise::Recovers && violation.what.contains("read model")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_before_the_record_is_found() {
    // Not only told without a position, which is easy to see, but lost.
    found("early-answer", |violation| {
        violation.promise == Promise::Kept && violation.what.ends_with("the log has []")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ignored_keys_are_found() {
    found("no-command-key", |violation| violation.promise == Promise::Once).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_kept_in_memory_are_found() {
    found("key-in-memory", |violation| violation.promise == Promise::Once).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_outlives_its_login_is_found() {
    let violations = doors::check("no-login-check", Some("no-login-check")).await;
    assert!(violations.iter().any(|violation| violation.what.contains("ended login")), "{violations:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_ownership_check_is_found() {
    let violations = doors::check("no-owner-check", Some("no-owner-check")).await;
    assert!(violations.iter().any(|violation| violation.what.contains("stranger")), "{violations:?}");
}
