//! One campaign: load, kills at random times, restarts, retries, idle, and the comparison.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sqlx::{Connection, PgConnection};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::checker::{Guarantee, Violation, check};
use super::client;
use super::driver::{Driver, Person, Stage, register_person};
use super::evidence::{Evidence, is_idle};
use super::history::{History, Outcome};
use super::process::{Installation, Node, PostgresKind, within};
use super::slow_writer;
use crate::nats::server::{Message, NatsServer};

/// Number of users, and of concurrent tasks for each: tasks of one user often write to the same conversation.
const USERS: u64 = 4;
const TASKS_PER_USER: u64 = 3;
/// One restart in this many is killed itself during recovery.
const KILL_RESTART_RATIO: u32 = 4;
/// Time of that kill after the start, in milliseconds.
const KILL_RESTART_AFTER_MS: RangeInclusive<u64> = 20..=600;
/// Maximum time until the drivers end.
const DRIVER_TIMEOUT: Duration = Duration::from_secs(60);

/// Parameters of a campaign.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Name of the history file.
    pub(crate) name: &'static str,
    pub(crate) postgres: PostgresKind,
    /// Number of processes with all roles; each kill hits one of them.
    pub(crate) nodes: usize,
    /// Seed of all random choices here and in the drivers.
    pub(crate) seed: u64,
    /// Number of kills.
    pub(crate) rounds: u32,
    /// Time of a kill after the process was ready, in milliseconds.
    pub(crate) kill_ms: RangeInclusive<u64>,
    /// Injected fault, if any.
    pub(crate) fault: Option<&'static str>,
    /// Whether a NATS server runs, and is killed too.
    pub(crate) nats: bool,
    /// Maximum time until a restarted process is ready.
    pub(crate) ready_timeout: Duration,
    /// Maximum time until the system is idle in the end.
    pub(crate) idle_timeout: Duration,
}

/// Result of a campaign.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) violations: Vec<Violation>,
    /// One-line summary.
    pub(crate) summary: String,
}

impl Report {
    /// Panics unless all guarantees held.
    #[track_caller]
    pub(crate) fn assert_no_violations(&self) {
        let shown: Vec<_> = self.violations.iter().take(10).collect();
        assert!(self.violations.is_empty(), "{}\nfirst violations: {shown:#?}", self.summary);
    }
}

/// A run in progress.
struct Run {
    plan: Plan,
    random: StdRng,
    installation: Installation,
    nats: Option<NatsServer>,
    history: History,
    http: reqwest::Client,
    slowest_start: Duration,
}

/// Runs a campaign.
pub(crate) async fn run(plan: Plan) -> Report {
    run_within(plan, Duration::MAX).await
}

/// Runs a campaign; panics if it takes longer than `bound` after all processes are ready.
pub(crate) async fn run_within(plan: Plan, bound: Duration) -> Report {
    let mut installation = Installation::new(plan.postgres, plan.fault).await;
    let nats = if plan.nats { Some(NatsServer::start().await) } else { None };
    if let Some(nats) = &nats {
        installation.set("NATS_URL", nats.url());
    }
    let mut run = Run {
        nats,
        random: StdRng::seed_from_u64(plan.seed),
        history: History::new(plan.name),
        http: client::http(),
        slowest_start: Duration::ZERO,
        installation,
        plan,
    };
    let violations = match run.start_all().await {
        Ok(nodes) => {
            let executed = tokio::time::timeout(bound, run.execute(nodes)).await;
            executed.expect("the campaign ends in time")
        }
        Err(violation) => vec![violation],
    };
    let (operations, reads) = run.history.all();
    let count = |outcome| {
        operations.iter().flat_map(|one| &one.tries).filter(|one| one.answer.outcome == outcome).count()
    };
    let repeated = operations.iter().filter(|operation| operation.tries.len() > 1).count();
    let summary = format!(
        "{} (seed {}): {} violations, {} kills, slowest start {:?}, {} operations ({repeated} repeated): {} ok, {} rejected, \
         {} unknown, {} not sent; {} reads ({} excused); history: {}",
        run.plan.name,
        run.plan.seed,
        violations.len(),
        run.plan.rounds,
        run.slowest_start,
        operations.len(),
        count(Outcome::Ok),
        count(Outcome::Rejected),
        count(Outcome::Unknown),
        count(Outcome::NotSent),
        reads.len(),
        reads.iter().filter(|read| read.excused).count(),
        run.history.path().display(),
    );
    run.installation.remove().await;
    Report { violations, summary }
}

impl Run {
    async fn execute(&mut self, mut nodes: Vec<(Node, String)>) -> Vec<Violation> {
        let mut people = Vec::new();
        for number in 0..USERS {
            let base = &nodes[0].1;
            people.push(register_person(&self.history, &self.http, base, &format!("person{number}")).await);
        }
        let stages: Vec<watch::Sender<Stage>> =
            nodes.iter().map(|(_, base)| watch::Sender::new(Stage::Up(base.as_str().into()))).collect();
        let mut drivers = self.drivers(&people, &stages);
        for _ in 0..self.plan.rounds {
            // The random time of the kill is part of the test.
            let wait = self.random.random_range(self.plan.kill_ms.clone());
            tokio::time::sleep(Duration::from_millis(wait)).await;
            if let Some(nats) = &mut self.nats {
                // Kill NATS first, then the program or not.
                if self.random.random_bool(0.5) {
                    nats.kill();
                    nats.run().await;
                    if self.random.random_bool(0.5) {
                        continue;
                    }
                }
            }
            let victim = self.random.random_range(0..nodes.len());
            let (node, _) = nodes.remove(victim);
            node.kill();
            stages[victim].send_replace(Stage::Down);
            if self.random.random_ratio(1, KILL_RESTART_RATIO) {
                let starting = self.installation.spawn();
                // The random time is part of the test.
                let wait = self.random.random_range(KILL_RESTART_AFTER_MS);
                tokio::time::sleep(Duration::from_millis(wait)).await;
                starting.kill();
            }
            match self.start().await {
                Ok(started) => {
                    stages[victim].send_replace(Stage::Up(started.1.as_str().into()));
                    nodes.insert(victim, started);
                }
                Err(violation) => return vec![violation],
            }
        }
        for (stage, (_, base)) in stages.iter().zip(&nodes) {
            stage.send_replace(Stage::Over(base.as_str().into()));
        }
        let all_ended = async {
            while let Some(ended) = drivers.join_next().await {
                ended.unwrap();
            }
        };
        tokio::time::timeout(DRIVER_TIMEOUT, all_ended).await.expect("the drivers end in time");
        self.compare(nodes, &people).await
    }

    async fn start_all(&mut self) -> Result<Vec<(Node, String)>, Violation> {
        let mut nodes = Vec::new();
        for _ in 0..self.plan.nodes {
            nodes.push(self.start().await?);
        }
        Ok(nodes)
    }

    async fn start(&mut self) -> Result<(Node, String), Violation> {
        let (node, base, took) =
            self.installation.start(&self.http, self.plan.ready_timeout).await.map_err(|why| Violation {
                guarantee: Guarantee::Recovers,
                what: format!("not ready in {:?}: {why}", self.plan.ready_timeout),
            })?;
        self.slowest_start = self.slowest_start.max(took);
        Ok((node, base))
    }

    /// Starts the drivers; the tasks of one user are spread over the nodes.
    fn drivers(&mut self, people: &[Arc<Person>], stages: &[watch::Sender<Stage>]) -> JoinSet<()> {
        let mut drivers = JoinSet::new();
        for (number, person) in people.iter().enumerate() {
            for task in 0..TASKS_PER_USER {
                let driver = Driver::new(
                    format!("person{number}-{task}"),
                    self.random.random(),
                    self.history.clone(),
                    self.http.clone(),
                    stages[drivers.len() % stages.len()].subscribe(),
                    Arc::clone(person),
                );
                drivers.spawn(driver.run());
            }
        }
        drivers.spawn(slow_writer::run(
            self.random.random(),
            self.history.clone(),
            self.installation.options(),
            stages[0].subscribe(),
            people[0].id,
        ));
        drivers
    }

    async fn compare(&self, nodes: Vec<(Node, String)>, people: &[Arc<Person>]) -> Vec<Violation> {
        let mut connection = PgConnection::connect_with(&self.installation.options()).await.unwrap();
        let idle = within(self.plan.idle_timeout, async || is_idle(&mut connection).await).await;
        let mut evidence = Evidence::of(&mut connection, idle).await;
        let relayed = match &self.nats {
            Some(nats) => check_relayed(nats, &mut connection, self.plan.idle_timeout).await,
            None => None,
        };
        connection.close().await.unwrap();
        let people: Vec<&Person> = people.iter().map(AsRef::as_ref).collect();
        for (_, base) in &nodes {
            evidence.add_api_state(&self.http, base, &people).await;
        }
        evidence.clean_exit = true;
        for (node, _) in nodes {
            evidence.clean_exit &= node.stop().await.success();
        }
        evidence.rebuilt = self.installation.rebuild();
        evidence.log_lines = self.installation.log_lines();
        let (operations, reads) = self.history.all();
        let mut violations = check(&operations, &reads, &evidence);
        violations.extend(relayed);
        violations
    }
}

/// Compares the NATS stream with the public events of the log.
async fn check_relayed(
    nats: &NatsServer,
    connection: &mut PgConnection,
    timeout: Duration,
) -> Option<Violation> {
    let logged: Vec<i64> =
        sqlx::query_scalar("SELECT position FROM events WHERE aggregate_type <> 'claim' ORDER BY position")
            .fetch_all(connection)
            .await
            .unwrap();
    let in_time = within(timeout, async || nats.last_position().await == logged.last().copied()).await;
    let found: Vec<i64> = nats.messages().await.iter().map(Message::position).collect();
    (found != logged).then(|| {
        let differs = found.iter().zip(&logged).position(|(found, logged)| found != logged);
        Violation {
            guarantee: Guarantee::Relayed,
            what: format!(
                "the stream has {} of {} public events (in time: {in_time}); first difference at index {differs:?}",
                found.len(),
                logged.len()
            ),
        }
    })
}
