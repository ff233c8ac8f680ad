//! Side-by-side benchmark: compares the program with the same work done without it, on the same machine in one run.
//!
//! `cargo bench --bench side_by_side` (docs/benchmarks.md explains the figures). It starts a temporary Postgres server and
//! the release build of the program, puts load on it over loopback, and prints ratios with their goals. Absolute figures
//! vary with the machine and the time of day; the ratio of two consecutive rounds varies much less.

#[path = "side_by_side/chat/mod.rs"]
mod chat;
#[path = "side_by_side/http.rs"]
mod http;
#[path = "side_by_side/load.rs"]
mod load;
#[path = "side_by_side/machine.rs"]
mod machine;
#[path = "side_by_side/many/mod.rs"]
mod many;
#[path = "side_by_side/nats.rs"]
mod nats;
#[path = "side_by_side/nats_server.rs"]
mod nats_server;
#[path = "side_by_side/pgbench.rs"]
mod pgbench;
#[path = "side_by_side/report.rs"]
mod report;
#[path = "side_by_side/seed.rs"]
mod seed;
#[path = "side_by_side/widgets.rs"]
mod widgets;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use http::Client;
use load::{RequestCycle, Times, latencies, median, throughput};
use machine::{BARE, Database, Disk, Memory, NAME, Secrets, Server, load_average, migrate};
use report::{Goal, Report};
use seed::{Account, Seeder};
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

/// Number of clients of either side, each with its own connection.
const CLIENTS: usize = 16;
/// Number of rounds of each side, alternating; the median of each side counts.
const ROUNDS: usize = 4;
/// Duration of a round.
const ROUND_DURATION: Duration = Duration::from_secs(5);
/// Number of commands per latency figure.
const COMMANDS: usize = 300;
/// Number of replies in the first-token figure.
const REPLIES: usize = 200;
/// Number of messages in the long conversation and in the short one.
const LONG_CONVERSATION: usize = 10_000;
const SHORT_CONVERSATION: usize = 10;
/// Number of other conversations of the account, for the list.
const LISTED_CONVERSATIONS: usize = 100;
/// Number of conversations of other users.
const OTHER_CONVERSATIONS: usize = 10_000;
/// Idle time before a memory measurement.
const IDLE_TIME: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    // `cargo test` may start this binary, too.
    if !std::env::args().any(|argument| argument == "--bench") {
        let _ = print_line("side_by_side: run `cargo bench --bench side_by_side`");
        return ExitCode::SUCCESS;
    }
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "side_by_side: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> anyhow::Result<()> {
    // One thread, like pgbench, to leave the cores to the measured program.
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        tokio::select! {
            done = run() => done,
            // Dropping the future ends the processes and removes the folder.
            _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
        }
    })
}

/// State shared by the measurements.
struct Bench {
    database: Database,
    server: SocketAddr,
    account: Account,
    /// One conversation per client, with [`SHORT_CONVERSATION`] messages.
    own: Vec<Uuid>,
    long: Uuid,
    /// Not part of the load, which makes the clients' own streams long.
    short: Uuid,
    chat: Uuid,
    /// Connections of the benchmark to the program's database.
    pool: PgPool,
}

/// Runs the parts named in the arguments (`one`, `chat`, `many`), or all parts without arguments.
async fn run() -> anyhow::Result<()> {
    let selected = |part: &str| {
        let mut parts = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).peekable();
        parts.peek().is_none() || parts.any(|argument| argument == part)
    };
    let busy = load_average()?;
    if busy > 0.5 {
        print_line(&format!("the machine is busy (load average {busy}): the ratios are unreliable"))?;
    }
    let mut report = Report::default();
    if selected("one") {
        one(&mut report).await?;
    }
    if selected("chat") {
        chat::run(&mut report).await?;
    }
    if selected("many") {
        many::run(&mut report).await?;
    }
    let cores = std::thread::available_parallelism()?.get();
    let machine = json!({"cores": cores, "clients": CLIENTS, "load_average_before": busy});
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().context("no target folder")?;
    report.finish(&machine, &target.join("side_by_side.json"))
}

/// Measures one process against the same database without it.
async fn one(report: &mut Report) -> anyhow::Result<()> {
    let secrets = Secrets::random()?;
    let database = Database::start().await?;
    print_line(&format!(
        "{}, {CLIENTS} clients, {ROUNDS} rounds of {} s",
        database.describe(),
        ROUND_DURATION.as_secs()
    ))?;
    sqlx::query("CREATE DATABASE bare").execute(&database.pool(NAME).await?).await?;
    for name in [NAME, BARE] {
        migrate(&database, &secrets, name).await?;
    }
    let server = Server::start(&database, &secrets, &[]).await?;
    tokio::time::sleep(IDLE_TIME).await;
    let idle = server.memory()?;

    let account = Account::register(server.address, "load@example.com").await?;
    let pool = database.pool(NAME).await?;
    let seeder = Seeder::new(pool.clone(), &secrets.master_key, account.user)?;
    let mut own = Vec::new();
    for _ in 0..CLIENTS {
        own.push(seeder.conversation(SHORT_CONVERSATION).await?);
    }
    for _ in 0..LISTED_CONVERSATIONS {
        seeder.conversation(1).await?;
    }
    seeder.others(OTHER_CONVERSATIONS).await?;
    let (long, short) =
        (seeder.conversation(LONG_CONVERSATION).await?, seeder.conversation(SHORT_CONVERSATION).await?);
    let chat = seeder.conversation(SHORT_CONVERSATION).await?;
    seeder.finish(server.address).await?;
    let bench = Bench { database, server: server.address, account, own, long, short, chat, pool };

    let before = bench.command_latency(&[bench.short]).await?.swap_remove(0);
    let log_before = bench.log_length().await?;
    bench.commands(report).await?;
    bench.pages(report).await?;
    bench.conversation_length(report).await?;
    bench.first_token(report).await?;
    widgets::actions(&bench, report).await?;
    let after = bench.command_latency(&[bench.short]).await?.swap_remove(0);
    let log_after = bench.log_length().await?;
    report.add(
        "command p50, log grown",
        (after.p50() / before.p50(), "x"),
        Goal::AtMost(1.5),
        format!("{:.2} ms at {log_after} events, {:.2} ms at {log_before}", after.p50(), before.p50()),
        json!({"end_ms": after.p50(), "start_ms": before.p50(), "end_events": log_after, "start_events": log_before}),
    );
    tokio::time::sleep(IDLE_TIME).await;
    memory(report, idle, server.memory()?);

    let Bench { database, pool, .. } = bench;
    let public: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM events WHERE aggregate_type <> 'claim' AND event_type <> 'quiz_choice_selected'",
    )
    .fetch_one(&pool)
    .await?;
    pool.close().await;
    let log = server.stop().await?;
    if !nats::relay(report, &database, &secrets, public).await? {
        print_line("nats-server not found: skipping the relay")?;
    }
    database.stop().await?;
    let warnings = log.lines().count();
    if warnings > 0 {
        print_line(&format!(
            "the server logged {warnings} lines, the last: {}",
            log.lines().last().unwrap_or_default()
        ))?;
    }
    Ok(())
}

impl Bench {
    fn patch(&self, conversation: Uuid) -> RequestCycle {
        let path = format!("/api/history/{conversation}");
        [true, false]
            .map(|pinned| self.account.request("PATCH", &path, &format!(r#"{{"pinned":{pinned}}}"#)))
            .into()
    }

    /// Measures sequential commands, alternating between these conversations.
    async fn command_latency(&self, conversations: &[Uuid]) -> anyhow::Result<Vec<Times>> {
        let targets: Vec<RequestCycle> = conversations.iter().map(|id| self.patch(*id)).collect();
        latencies(self.server, &targets, COMMANDS).await
    }

    async fn log_length(&self) -> anyhow::Result<i64> {
        Ok(sqlx::query_scalar("SELECT count(*) FROM events").fetch_one(&self.pool).await?)
    }

    /// Measures commands over HTTP against direct calls of `append`.
    async fn commands(&self, report: &mut Report) -> anyhow::Result<()> {
        // An event as the program wrote it: the direct calls write the same bytes.
        let (event_type, payload, metadata): (String, String, String) = sqlx::query_as(
            "SELECT event_type, payload::text, metadata::text FROM events
             WHERE aggregate_id = $1 ORDER BY sequence DESC LIMIT 1",
        )
        .bind(self.short.to_string())
        .fetch_one(&self.pool)
        .await?;
        let clients: Vec<RequestCycle> = self.own.iter().map(|id| self.patch(*id)).collect();
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            ours.push(throughput(self.server, &clients, ROUND_DURATION).await?);
            // As long as a conversation id, and different in each round: every client counts from 0.
            let run = format!("00000000-0000-0000-0000-{round:010}");
            let variables = [
                ("seq", "0"),
                ("run", &run),
                ("event_type", &event_type),
                ("payload", &payload),
                ("metadata", &metadata),
            ];
            bare.push(pgbench::run(&self.database, BARE, pgbench::APPEND, &variables, ROUND_DURATION).await?);
        }
        report_ratio(report, "commands / bare append", &ours, &bare)
    }

    /// Measures pages over HTTP against the same SELECT statements.
    async fn pages(&self, report: &mut Report) -> anyhow::Result<()> {
        let owner = self.account.user.to_string();
        let list = pgbench::script(
            projections::conversations::query::PAGE,
            &["owner::uuid", "archived::bool", "limit::bigint", "offset::bigint"],
        );
        let variables = [("owner", owner.as_str()), ("archived", "false"), ("limit", "20"), ("offset", "0")];
        let request = self.account.request("GET", "/api/history?per_page=20", "");
        self.page(report, "page of conversations / select", request, &list, &variables).await?;

        let long = self.long.to_string();
        let messages = pgbench::script(
            projections::messages::query::PAGE,
            &["conversation::uuid", "before::bigint", "limit::bigint", "owner::uuid"],
        );
        let newest = i64::MAX.to_string();
        // One row more than the page, which tells whether another page follows.
        let variables = [
            ("conversation", long.as_str()),
            ("before", newest.as_str()),
            ("limit", "51"),
            ("owner", owner.as_str()),
        ];
        let request = self.account.request("GET", &format!("/api/history/{long}?limit=50"), "");
        self.page(report, "page of messages / select", request, &messages, &variables).await
    }

    async fn page(
        &self,
        report: &mut Report,
        name: &'static str,
        request: Vec<u8>,
        script: &str,
        variables: &[(&str, &str)],
    ) -> anyhow::Result<()> {
        let clients = vec![vec![request]; CLIENTS];
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS - 1 {
            ours.push(throughput(self.server, &clients, ROUND_DURATION).await?);
            bare.push(pgbench::run(&self.database, NAME, script, variables, ROUND_DURATION).await?);
        }
        report_ratio(report, name, &ours, &bare)
    }

    /// Measures commands to a long conversation against commands to a short one.
    async fn conversation_length(&self, report: &mut Report) -> anyhow::Result<()> {
        let times = self.command_latency(&[self.long, self.short]).await?;
        let [long, short] = times.as_slice() else { anyhow::bail!("expected figures for two targets") };
        report.add(
            "command p50, long / short",
            (long.p50() / short.p50(), "x"),
            Goal::AtMost(1.5),
            format!("{:.2} ms with {LONG_CONVERSATION} messages, {:.2} ms with {SHORT_CONVERSATION}", long.p50(), short.p50()),
            json!({"long_ms": long.p50(), "short_ms": short.p50(), "long_p99_ms": long.percentile(99),
                "short_p99_ms": short.percentile(99), "long_messages": LONG_CONVERSATION, "short_messages": SHORT_CONVERSATION}),
        );
        Ok(())
    }

    /// Measures the time from sending a message to the first delta, against three durable writes.
    async fn first_token(&self, report: &mut Report) -> anyhow::Result<()> {
        let body = json!({"session_id": self.chat, "message": "What was said so far?"}).to_string();
        let request = self.account.request("POST", "/api/chat/stream", &body);
        let mut disk = Disk::open(self.database.folder())?;
        let mut client = Client::connect(self.server).await?;
        let (mut tokens, mut syncs, mut silent) = (Times::default(), Times::default(), 0_u32);
        for _ in 0..REPLIES {
            match client.stream(&request, "event: reply.delta", "event: reply.done").await? {
                Some(took) => tokens.push(took),
                None => silent += 1,
            }
            disk.sync(&mut syncs)?;
        }
        let (token, sync) = (tokens.p50(), syncs.p50());
        report.add(
            "first token p50",
            (token, "ms"),
            Goal::AtMost(10.0 + 3.0 * sync),
            format!("p99 {:.2} ms; 10 ms + 3 fsyncs of {sync:.2} ms", tokens.percentile(99)),
            json!({"p50_ms": token, "p99_ms": tokens.percentile(99), "fsync_p50_ms": sync,
                "fsync_p99_ms": syncs.percentile(99)}),
        );
        report.add(
            "streams that brought no text",
            (silent.into(), ""),
            Goal::AtMost(0.0),
            format!("of {REPLIES} replies"),
            json!({"replies": REPLIES}),
        );
        Ok(())
    }
}

fn report_ratio(report: &mut Report, name: &'static str, ours: &[f64], bare: &[f64]) -> anyhow::Result<()> {
    let (over_http, in_sql) = (median(ours), median(bare));
    let goal = Goal::AtLeast(0.40);
    let detail = format!("{over_http:.0}/s over HTTP, {in_sql:.0}/s with pgbench");
    print_line(&format!("{name}: {detail}"))?;
    let raw = json!({"http_per_second": ours, "pgbench_per_second": bare});
    report.add(name, (over_http / in_sql, ""), goal, detail, raw);
    Ok(())
}

fn memory(report: &mut Report, idle: Memory, loaded: Memory) {
    let goal = Goal::AtMost(80.0);
    let raw = |memory: Memory| json!({"resident_mib": memory.resident, "private_mib": memory.private, "peak_mib": memory.peak});
    let detail = |memory: Memory| format!("{:.1} MiB private", memory.private);
    report.add("memory after start", (idle.resident, "MiB"), goal, detail(idle), raw(idle));
    let peak = format!("{}, peak {:.1} MiB", detail(loaded), loaded.peak);
    report.add("memory at rest after the load", (loaded.resident, "MiB"), goal, peak, raw(loaded));
}

fn print_line(what: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{what}")?)
}
