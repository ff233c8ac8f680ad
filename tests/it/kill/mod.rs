//! The program is killed again and again under load, and what it promised is compared with what is there.
//!
//! * [`process`]: the real binary in both forms, killed and started again;
//! * [`driver`] and [`slow`]: the load; [`client`]: what an answer means; [`history`]: what was asked and answered;
//! * [`evidence`]: what is there in the end; [`checker`]: what of it should not be;
//! * [`takeover`]: workers that die or stand still in the middle of a reply;
//! * `places` and `files` (with the feature `planted`): deaths at chosen moments;
//! * [`campaign`]: all of it in order; [`doors`]: two checks that need no kill;
//! * `teeth` (with the feature `planted`): planted defects, each of which must be found.
//!
//! A long run: `KILL_ROUNDS=100 cargo nextest run --features fault-injection kill::`. Every run prints its seed; `KILL_SEED`
//! makes the same choices again (the machine's own timing is not repeated). Histories are kept in `target/tmp/kill`.

mod campaign;
mod checker;
pub(crate) mod client;
mod doors;
mod driver;
mod evidence;
#[cfg(feature = "fault-injection")]
mod files;
mod history;
#[cfg(feature = "fault-injection")]
mod places;
pub(crate) mod process;
mod slow;
mod takeover;
#[cfg(feature = "fault-injection")]
mod teeth;

use std::time::Duration;

use campaign::Plan;
use process::Form;

use crate::support::env_var;

/// Kills of each form in an ordinary run.
const ROUNDS: u32 = 10;
/// The same where there are two nodes, which takes longer.
const ROUNDS_OF_TWO: u32 = 5;

fn number<T: std::str::FromStr>(name: &str) -> Option<T> {
    env_var(name).map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

/// The seed of this run.
fn seed() -> u64 {
    number("KILL_SEED").unwrap_or_else(rand::random)
}

/// Tells the seed before anything can go wrong, and the summary afterwards.
#[expect(clippy::print_stderr, reason = "shown by the test runner where it is wanted")]
fn tell(line: &str) {
    eprintln!("{line}");
}

async fn survives(name: &'static str, form: Form, nodes: usize, nats: bool, ready: Duration) {
    let seed = seed();
    tell(&format!("{name}: KILL_SEED={seed}"));
    let report = campaign::run(Plan {
        name,
        form,
        nodes,
        seed,
        rounds: number("KILL_ROUNDS").unwrap_or(if nodes == 1 { ROUNDS } else { ROUNDS_OF_TWO }),
        kill_ms: 50..=3000,
        planted: None,
        nats,
        ready,
        quiet: Duration::from_secs(60),
    })
    .await;
    tell(&report.summary);
    report.assert_kept();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_promise_survives_kills_beside_a_server() {
    survives("server", Form::Server, 1, false, Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_promise_survives_kills_with_the_private_server() {
    // Its Postgres recovers from a crash first.
    survives("embedded", Form::Embedded, 1, false, Duration::from_secs(15)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_promise_survives_kills_of_it_and_of_nats() {
    survives("nats", Form::Server, 1, true, Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_promise_survives_kills_of_two_nodes_and_of_nats() {
    survives("nodes", Form::Server, 2, true, Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_die_with_their_login_and_conversations_are_their_owners() {
    assert_eq!(doors::check("doors", None).await, []);
}
