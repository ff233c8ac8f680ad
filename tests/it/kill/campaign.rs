//! One whole run: load, kills at random times, restarts, repetitions, rest, and the comparison.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sqlx::{Connection, PgConnection};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::checker::{Promise, Violation, check};
use super::client;
use super::driver::{Driver, Person, Stage, person};
use super::evidence::{Evidence, is_quiet};
use super::history::{History, Outcome};
use super::process::{Form, Node, Place, within};
use super::slow;
use crate::nats::server::{Message, NatsServer};

/// People at work, and tasks of each: two of one person's tasks often write to one conversation.
const PEOPLE: u64 = 4;
const TASKS: u64 = 3;
/// One restart of so many is killed itself, somewhere in its recovery.
const KILLED_AGAIN: u32 = 4;
/// When, after it was started, in milliseconds.
const KILLED_AGAIN_MS: RangeInclusive<u64> = 20..=600;
/// How long the drivers may take to end.
const LAST_WORDS: Duration = Duration::from_secs(60);

/// What to do.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Names the history's file.
    pub(crate) name: &'static str,
    pub(crate) form: Form,
    /// How many processes with everything in them serve at once; each kill is of one of them.
    pub(crate) nodes: usize,
    /// Of every choice that is made here and in the drivers.
    pub(crate) seed: u64,
    /// How many kills.
    pub(crate) rounds: u32,
    /// When, after it was ready, in milliseconds.
    pub(crate) kill_ms: RangeInclusive<u64>,
    pub(crate) planted: Option<&'static str>,
    /// Whether there is a NATS server, which is killed too.
    pub(crate) nats: bool,
    /// How long a restart may take until it is ready.
    pub(crate) ready: Duration,
    /// How long everything may take to come to rest in the end.
    pub(crate) quiet: Duration,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) violations: Vec<Violation>,
    /// One line for people.
    pub(crate) summary: String,
}

impl Report {
    /// Fails unless every promise was kept.
    #[track_caller]
    pub(crate) fn assert_kept(&self) {
        let shown: Vec<_> = self.violations.iter().take(10).collect();
        assert!(self.violations.is_empty(), "{}\nthe first of them: {shown:#?}", self.summary);
    }
}

/// A run in progress.
struct Run {
    plan: Plan,
    random: StdRng,
    place: Place,
    nats: Option<NatsServer>,
    history: History,
    http: reqwest::Client,
    slowest_start: Duration,
}

/// Carries `plan` out.
pub(crate) async fn run(plan: Plan) -> Report {
    run_within(plan, Duration::MAX).await
}

/// The same; fails when it takes longer than `bound` from when every process is up.
pub(crate) async fn run_within(plan: Plan, bound: Duration) -> Report {
    let mut place = Place::new(plan.form, plan.planted).await;
    let nats = if plan.nats { Some(NatsServer::start().await) } else { None };
    if let Some(nats) = &nats {
        place.set("NATS_URL", nats.url());
    }
    let mut run = Run {
        nats,
        random: StdRng::seed_from_u64(plan.seed),
        history: History::new(plan.name),
        http: client::http(),
        slowest_start: Duration::ZERO,
        place,
        plan,
    };
    let violations = match run.start_all().await {
        Ok(nodes) => {
            let carried_out = tokio::time::timeout(bound, run.carry_out(nodes)).await;
            carried_out.expect("it came to its end in time")
        }
        Err(violation) => vec![violation],
    };
    let (operations, reads) = run.history.all();
    let count = |outcome| {
        operations.iter().flat_map(|one| &one.tries).filter(|one| one.answer.outcome == outcome).count()
    };
    let repeated = operations.iter().filter(|operation| operation.tries.len() > 1).count();
    let summary = format!(
        "{} (seed {}): {} violations, {} kills, slowest start {:?}, {} operations ({repeated} repeated): {} ok, {} refused, \
         {} unknown, {} not sent; {} reads ({} excused); history: {}",
        run.plan.name,
        run.plan.seed,
        violations.len(),
        run.plan.rounds,
        run.slowest_start,
        operations.len(),
        count(Outcome::Ok),
        count(Outcome::Refused),
        count(Outcome::Unknown),
        count(Outcome::NotSent),
        reads.len(),
        reads.iter().filter(|read| read.excused).count(),
        run.history.path().display(),
    );
    run.place.remove().await;
    Report { violations, summary }
}

impl Run {
    async fn carry_out(&mut self, mut nodes: Vec<(Node, String)>) -> Vec<Violation> {
        let mut people = Vec::new();
        for number in 0..PEOPLE {
            let base = &nodes[0].1;
            people.push(person(&self.history, &self.http, base, &format!("person{number}")).await);
        }
        let stages: Vec<watch::Sender<Stage>> =
            nodes.iter().map(|(_, base)| watch::Sender::new(Stage::Up(base.as_str().into()))).collect();
        let mut drivers = self.drivers(&people, &stages);
        for _ in 0..self.plan.rounds {
            // The time of the kill is what the test is about.
            let wait = self.random.random_range(self.plan.kill_ms.clone());
            tokio::time::sleep(Duration::from_millis(wait)).await;
            if let Some(nats) = &mut self.nats {
                // Before, with or without the program.
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
            if self.random.random_ratio(1, KILLED_AGAIN) {
                let starting = self.place.spawn();
                // As above.
                let wait = self.random.random_range(KILLED_AGAIN_MS);
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
        tokio::time::timeout(LAST_WORDS, all_ended).await.expect("the drivers do not end");
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
            self.place.start(&self.http, self.plan.ready).await.map_err(|why| Violation {
                promise: Promise::Recovers,
                what: format!("not ready in {:?}: {why}", self.plan.ready),
            })?;
        self.slowest_start = self.slowest_start.max(took);
        Ok((node, base))
    }

    /// The tasks of one person are spread over the nodes.
    fn drivers(&mut self, people: &[Arc<Person>], stages: &[watch::Sender<Stage>]) -> JoinSet<()> {
        let mut drivers = JoinSet::new();
        for (number, person) in people.iter().enumerate() {
            for task in 0..TASKS {
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
        drivers.spawn(slow::run(
            self.random.random(),
            self.history.clone(),
            self.place.options(),
            stages[0].subscribe(),
            people[0].id,
        ));
        drivers
    }

    async fn compare(&self, nodes: Vec<(Node, String)>, people: &[Arc<Person>]) -> Vec<Violation> {
        let mut connection = PgConnection::connect_with(&self.place.options()).await.unwrap();
        let quiet = within(self.plan.quiet, async || is_quiet(&mut connection).await).await;
        let mut evidence = Evidence::of(&mut connection, quiet).await;
        let relayed = match &self.nats {
            Some(nats) => relayed(nats, &mut connection, self.plan.quiet).await,
            None => None,
        };
        connection.close().await.unwrap();
        let people: Vec<&Person> = people.iter().map(AsRef::as_ref).collect();
        for (_, base) in &nodes {
            evidence.ask(&self.http, base, &people).await;
        }
        evidence.ended_in_order = true;
        for (node, _) in nodes {
            evidence.ended_in_order &= node.stop().await.success();
        }
        evidence.rebuilt = self.place.rebuild();
        evidence.said = self.place.said();
        let (operations, reads) = self.history.all();
        let mut violations = check(&operations, &reads, &evidence);
        violations.extend(relayed);
        violations
    }
}

/// Compares what the stream has with what is public of the log.
async fn relayed(nats: &NatsServer, connection: &mut PgConnection, quiet: Duration) -> Option<Violation> {
    let told: Vec<i64> =
        sqlx::query_scalar("SELECT position FROM events WHERE aggregate_type <> 'claim' ORDER BY position")
            .fetch_all(connection)
            .await
            .unwrap();
    let in_time = within(quiet, async || nats.last_position().await == told.last().copied()).await;
    let found: Vec<i64> = nats.messages().await.iter().map(Message::position).collect();
    (found != told).then(|| {
        let differs = found.iter().zip(&told).position(|(found, told)| found != told);
        Violation {
            promise: Promise::Relayed,
            what: format!(
                "the stream has {} of {} public events (in time: {in_time}); the first that differs is number {differs:?}",
                found.len(),
                told.len()
            ),
        }
    })
}
