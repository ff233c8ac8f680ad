//! Kills the program again and again under load and compares its guarantees with the final state.
//!
//! * [`process`]: runs the real binary with both kinds of Postgres, kills and restarts it;
//! * [`driver`] and [`slow_writer`]: the load; [`client`]: interprets answers; [`history`]: records requests and answers;
//! * [`evidence`]: collects the final state; [`checker`]: finds violated guarantees in it;
//! * [`takeover`]: workers that die or freeze in the middle of a reply;
//! * `crash_points` and `files` (with the feature `fault-injection`): crashes at chosen points;
//! * [`campaign`]: runs all of it in order; [`access_checks`]: two checks that need no kill;
//! * `mutation_checks` (with the feature `fault-injection`): injected faults, each of which the campaign must find.
//!
//! A long run: `KILL_ROUNDS=100 cargo nextest run --features fault-injection kill::`. Every run prints its seed; `KILL_SEED`
//! repeats its random choices (but not the machine's timing). Histories are kept in `target/tmp/kill`.

mod access_checks;
mod campaign;
mod checker;
pub(crate) mod client;
#[cfg(feature = "fault-injection")]
mod crash_points;
mod driver;
mod evidence;
#[cfg(feature = "fault-injection")]
mod files;
mod history;
#[cfg(feature = "fault-injection")]
mod mutation_checks;
pub(crate) mod process;
mod slow_writer;
mod takeover;

use std::time::Duration;

use campaign::Plan;
use process::PostgresKind;

use crate::support::env_var;

/// Number of kills in an ordinary run.
const ROUNDS: u32 = 10;
/// Number of kills with two nodes, which takes longer.
const ROUNDS_WITH_TWO_NODES: u32 = 5;

fn number<T: std::str::FromStr>(name: &str) -> Option<T> {
    env_var(name).map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

/// Returns the seed of this run.
fn seed() -> u64 {
    number("KILL_SEED").unwrap_or_else(rand::random)
}

/// Prints a line, e.g. the seed before the run and the summary afterwards.
#[expect(clippy::print_stderr, reason = "shown by the test runner where it is wanted")]
fn print_line(line: &str) {
    eprintln!("{line}");
}

async fn assert_survives(
    name: &'static str,
    postgres: PostgresKind,
    nodes: usize,
    nats: bool,
    ready: Duration,
) {
    let seed = seed();
    print_line(&format!("{name}: KILL_SEED={seed}"));
    let report = campaign::run(Plan {
        name,
        postgres,
        nodes,
        seed,
        rounds: number("KILL_ROUNDS").unwrap_or(if nodes == 1 { ROUNDS } else { ROUNDS_WITH_TWO_NODES }),
        kill_ms: 50..=3000,
        fault: None,
        nats,
        ready_timeout: ready,
        idle_timeout: Duration::from_secs(60),
    })
    .await;
    print_line(&report.summary);
    report.assert_no_violations();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guarantees_survive_kills_with_external_postgres() {
    assert_survives("server", PostgresKind::Server, 1, false, Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guarantees_survive_kills_with_embedded_postgres() {
    // The embedded Postgres recovers from the crash first.
    assert_survives("embedded", PostgresKind::Embedded, 1, false, Duration::from_secs(15)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guarantees_survive_kills_of_program_and_nats() {
    assert_survives("nats", PostgresKind::Server, 1, true, Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guarantees_survive_kills_of_two_nodes_and_nats() {
    assert_survives("nodes", PostgresKind::Server, 2, true, Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_end_with_login_and_conversations_are_private() {
    assert_eq!(access_checks::check("access-checks", None).await, []);
}
