//! HTTP load and its statistics.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::http::Client;

/// Number of untimed requests per client, which fill the server's pool and caches.
const WARM_UP: usize = 5;

/// Requests that one client sends in rotation.
pub(crate) type RequestCycle = Vec<Vec<u8>>;

/// Sends for about `time` with one connection per entry of `clients`; returns answers per second.
pub(crate) async fn throughput(
    server: SocketAddr,
    clients: &[RequestCycle],
    time: Duration,
) -> anyhow::Result<f64> {
    let mut ready = Vec::with_capacity(clients.len());
    for turns in clients {
        let mut client = Client::connect(server).await?;
        for request in turns.iter().cycle().take(WARM_UP) {
            client.call(request).await?;
        }
        ready.push((client, turns.clone()));
    }
    let start = Instant::now();
    let mut running = JoinSet::new();
    for (mut client, turns) in ready {
        running.spawn(async move {
            let mut answers = 0_u32;
            for request in turns.iter().cycle() {
                if start.elapsed() >= time {
                    break;
                }
                client.call(request).await?;
                answers += 1;
            }
            anyhow::Ok(answers)
        });
    }
    let mut answers = 0;
    while let Some(ended) = running.join_next().await {
        answers += ended??;
    }
    Ok(f64::from(answers) / start.elapsed().as_secs_f64())
}

/// Sends `count` rounds of sequential requests to all `targets` from one client; returns the times of each target, without
/// the warm-up.
pub(crate) async fn latencies(
    server: SocketAddr,
    targets: &[RequestCycle],
    count: usize,
) -> anyhow::Result<Vec<Times>> {
    let mut client = Client::connect(server).await?;
    let mut times = vec![Times::default(); targets.len()];
    for round in 0..count + WARM_UP {
        for (target, times) in targets.iter().zip(&mut times) {
            let request = &target[round % target.len()];
            let sent = Instant::now();
            client.call(request).await?;
            if round >= WARM_UP {
                times.push(sent.elapsed());
            }
        }
    }
    Ok(times)
}

/// Measured times.
#[derive(Debug, Clone, Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// Returns a percentile in milliseconds, or 0 without values.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = (sorted.len().saturating_sub(1) * percent).div_ceil(100);
        sorted.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    }

    pub(crate) fn p50(&self) -> f64 {
        self.percentile(50)
    }
}

/// Returns the median.
pub(crate) fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => 0.0,
        (odd, middle) if odd % 2 == 1 => sorted[middle],
        (_, middle) => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}
