//! Combines concurrent calls into batches.
//!
//! A lone caller is flushed immediately. Calls that arrive while a flush is in flight are batched into the next one: one
//! statement, one round trip and one commit instead of many. There is no linger delay. Normally one flush is in flight
//! at a time, which makes batches large; only when it is slow (a lock, a slow disk) may others overlap it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::task::TaskTracker;

/// How long a caller waits for the flush in flight before another one may overlap it.
const OVERLAP_DELAY: Duration = Duration::from_millis(10);

/// How long a caller waits in all: for flushes before its own, and for its own.
const CALL_TIMEOUT: Duration = Duration::from_secs(4);

/// The input of a caller, and the channel for its output.
type Pending<I, O> = (I, oneshot::Sender<O>);

/// Batches the inputs of concurrent callers. Cheap to clone.
#[derive(Debug)]
pub struct Batcher<I, O> {
    pending: Arc<Mutex<Vec<Pending<I, O>>>>,
    /// Permit of the flush that is normally the only one in flight.
    in_flight: Arc<Semaphore>,
    /// Permits of further flushes, used while one is slow.
    overflow_permits: Arc<Semaphore>,
    max_batch: usize,
    tasks: TaskTracker,
}

impl<I, O> Clone for Batcher<I, O> {
    fn clone(&self) -> Self {
        Self {
            pending: Arc::clone(&self.pending),
            in_flight: Arc::clone(&self.in_flight),
            overflow_permits: Arc::clone(&self.overflow_permits),
            max_batch: self.max_batch,
            tasks: self.tasks.clone(),
        }
    }
}

impl<I, O> Batcher<I, O>
where
    I: Send + 'static,
    O: Send + 'static,
{
    /// Creates a batcher that flushes at most `max_batch` inputs at once, on `tasks`. While a flush is slow, up to
    /// `max_overflow` others may overlap it.
    pub fn new(max_overflow: usize, max_batch: usize, tasks: TaskTracker) -> Self {
        Self {
            pending: Arc::default(),
            in_flight: Arc::new(Semaphore::new(1)),
            overflow_permits: Arc::new(Semaphore::new(max_overflow)),
            max_batch,
            tasks,
        }
    }

    /// Waits until this caller may flush.
    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        let in_flight = Arc::clone(&self.in_flight).acquire_owned();
        let overflow = async {
            tokio::time::sleep(OVERLAP_DELAY).await;
            Arc::clone(&self.overflow_permits).acquire_owned().await
        };
        tokio::select! {
            biased;
            permit = in_flight => permit.ok(),
            permit = overflow => permit.ok(),
        }
    }

    /// Adds `input` to the next flush and returns its output.
    ///
    /// `flush` gets at least one input, in order of arrival, and returns as many outputs in the same order. It runs to its
    /// end even if its callers stop waiting. Returns `None` if the outcome is unknown: the flush panicked, returned too few
    /// outputs or took too long.
    pub async fn run<F, G>(&self, input: I, flush: F) -> Option<O>
    where
        F: Fn(Vec<I>) -> G,
        G: Future<Output = Vec<O>> + Send + 'static,
    {
        tokio::time::timeout(CALL_TIMEOUT, self.enqueue(input, flush)).await.ok().flatten()
    }

    async fn enqueue<F, G>(&self, input: I, flush: F) -> Option<O>
    where
        F: Fn(Vec<I>) -> G,
        G: Future<Output = Vec<O>> + Send + 'static,
    {
        let (sender, mut output) = oneshot::channel();
        self.pending.lock().push((input, sender));
        // Let other ready tasks enqueue first: callers that waited for the same thing are woken together.
        tokio::task::yield_now().await;
        loop {
            let permit = tokio::select! {
                biased;
                output = &mut output => return output.ok(),
                permit = self.permit() => permit?,
            };
            let (inputs, senders): (Vec<I>, Vec<_>) = {
                let mut pending = self.pending.lock();
                // Skip callers that have stopped waiting.
                pending.retain(|(_, sender)| !sender.is_closed());
                let count = pending.len().min(self.max_batch);
                pending.drain(..count).unzip()
            };
            if inputs.is_empty() {
                break;
            }
            let flushed = flush(inputs);
            self.tasks.spawn(async move {
                let outputs = flushed.await;
                drop(permit);
                for (sender, output) in senders.into_iter().zip(outputs) {
                    // Fails if the caller has stopped waiting.
                    let _ = sender.send(output);
                }
            });
            // This caller's own input may not have fitted into that batch: loop until nothing is pending.
        }
        output.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn lone_caller_is_flushed_at_once_and_concurrent_callers_are_batched() {
        let batcher: Batcher<u32, u32> = Batcher::new(0, 3, TaskTracker::new());
        let sizes = Arc::new(Mutex::new(Vec::new()));
        let (begun, may_end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let flush = |inputs: Vec<u32>| {
            let (sizes, begun, may_end) = (Arc::clone(&sizes), Arc::clone(&begun), Arc::clone(&may_end));
            async move {
                sizes.lock().push(inputs.len());
                if inputs == [0] {
                    begun.notify_one();
                    may_end.notified().await;
                }
                inputs.iter().map(|number| number * 10).collect()
            }
        };
        let first = batcher.run(0, flush);
        let others = async {
            begun.notified().await;
            let others = join_all((1..=5).map(|number| batcher.run(number, flush)));
            let release = async { may_end.notify_one() };
            futures::join!(others, release).0
        };
        let (first, others) = futures::join!(first, others);
        assert_eq!(first, Some(0));
        assert_eq!(others, [10, 20, 30, 40, 50].map(Some), "each caller gets its own output");
        assert_eq!(*sizes.lock(), [1, 3, 2], "no batch exceeds its maximum");
    }

    #[tokio::test(start_paused = true)]
    async fn slow_flush_delays_other_callers_briefly() {
        let batcher: Batcher<u32, u32> = Batcher::new(1, 10, TaskTracker::new());
        let begun = Arc::new(Notify::new());
        let flush = |inputs: Vec<u32>| {
            let begun = Arc::clone(&begun);
            async move {
                if inputs == [1] {
                    begun.notify_one();
                    std::future::pending::<()>().await;
                }
                inputs
            }
        };
        let slow = batcher.run(1, flush);
        let others = async {
            begun.notified().await;
            let started = tokio::time::Instant::now();
            let others = join_all((2..=4).map(|number| batcher.run(number, flush))).await;
            assert_eq!(others, [2, 3, 4].map(Some));
            assert!(
                started.elapsed() >= OVERLAP_DELAY && started.elapsed() < 2 * OVERLAP_DELAY,
                "{:?}",
                started.elapsed()
            );
        };
        futures::pin_mut!(slow, others);
        // The slow flush never ends.
        futures::future::select(slow, others).await;
    }

    #[tokio::test]
    async fn cancelled_caller_is_skipped_and_started_flush_completes() {
        let batcher: Batcher<u32, ()> = Batcher::new(0, 10, TaskTracker::new());
        let served = Arc::new(AtomicUsize::new(0));
        let (begun, may_end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let flush = |inputs: Vec<u32>| {
            let (served, begun, may_end) = (Arc::clone(&served), Arc::clone(&begun), Arc::clone(&may_end));
            async move {
                begun.notify_one();
                may_end.notified().await;
                served.fetch_add(inputs.len(), Ordering::SeqCst);
                vec![(); inputs.len()]
            }
        };
        {
            let cancelled = batcher.run(1, flush);
            let left = async { begun.notified().await };
            futures::pin_mut!(cancelled, left);
            futures::future::select(cancelled, left).await;
        }
        {
            let cancelled_early = batcher.run(2, flush);
            futures::pin_mut!(cancelled_early);
            assert!(futures::poll!(cancelled_early.as_mut()).is_pending());
        }
        let last = batcher.run(3, flush);
        let release = async {
            may_end.notify_one();
            begun.notified().await;
            may_end.notify_one();
        };
        assert_eq!(futures::join!(last, release).0, Some(()));
        assert_eq!(served.load(Ordering::SeqCst), 2, "the first, whose caller left, and the last");
    }

    #[tokio::test]
    async fn panicking_flush_fails_only_its_own_callers() {
        let batcher: Batcher<u32, ()> = Batcher::new(0, 10, TaskTracker::new());
        let flush = |inputs: Vec<u32>| async move {
            assert!(inputs != [1], "expected");
            vec![(); inputs.len()]
        };
        assert_eq!(batcher.run(1, flush).await, None);
        assert_eq!(batcher.run(2, flush).await, Some(()));
    }
}
