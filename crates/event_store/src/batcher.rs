//! Does what several callers want at the same moment in one go.
//!
//! One caller alone is served at once. Those who come while a go is under way are gathered and served by the next one:
//! one statement, one round trip and one commit instead of many. Nobody waits for company. One go at a time gathers
//! most; only beside a go that is slow (it waits for a lock, or the disk is slow) does another begin.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::task::TaskTracker;

/// How long a caller waits for its turn before it takes the go under way for slow.
const SLOW: Duration = Duration::from_millis(10);

/// How long a caller waits in all: it may have to wait for others' go before its own.
const PATIENCE: Duration = Duration::from_secs(4);

/// What one caller wants, and where it waits.
type Waiting<I, O> = (I, oneshot::Sender<O>);

/// Gathers what callers want. Cheap to clone.
#[derive(Debug)]
pub struct Together<I, O> {
    waiting: Arc<Mutex<Vec<Waiting<I, O>>>>,
    /// The go that is under way.
    lane: Arc<Semaphore>,
    /// Those that may be under way beside a slow one.
    beside: Arc<Semaphore>,
    most: usize,
    tasks: TaskTracker,
}

impl<I, O> Clone for Together<I, O> {
    fn clone(&self) -> Self {
        Self {
            waiting: Arc::clone(&self.waiting),
            lane: Arc::clone(&self.lane),
            beside: Arc::clone(&self.beside),
            most: self.most,
            tasks: self.tasks.clone(),
        }
    }
}

impl<I, O> Together<I, O>
where
    I: Send + 'static,
    O: Send + 'static,
{
    /// One go at a time, and at most `beside` more beside a slow one; each for at most `most` callers, on `tasks`.
    pub fn new(beside: usize, most: usize, tasks: TaskTracker) -> Self {
        Self {
            waiting: Arc::default(),
            lane: Arc::new(Semaphore::new(1)),
            beside: Arc::new(Semaphore::new(beside)),
            most,
            tasks,
        }
    }

    /// Waits for a turn.
    async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        let lane = Arc::clone(&self.lane).acquire_owned();
        let beside = async {
            tokio::time::sleep(SLOW).await;
            Arc::clone(&self.beside).acquire_owned().await
        };
        tokio::select! {
            biased;
            turn = lane => turn.ok(),
            turn = beside => turn.ok(),
        }
    }

    /// Hands `wanted` to the next go and returns its outcome. `go` gets at least one, in the order in which they came,
    /// and returns as many outcomes in the same order. It runs to its end, whoever stops waiting for it. None: it
    /// panicked, returned too few, or takes too long, so that nobody knows its outcome.
    pub async fn run<F, G>(&self, wanted: I, go: F) -> Option<O>
    where
        F: Fn(Vec<I>) -> G,
        G: Future<Output = Vec<O>> + Send + 'static,
    {
        tokio::time::timeout(PATIENCE, self.served(wanted, go)).await.ok().flatten()
    }

    async fn served<F, G>(&self, wanted: I, go: F) -> Option<O>
    where
        F: Fn(Vec<I>) -> G,
        G: Future<Output = Vec<O>> + Send + 'static,
    {
        let (sender, mut outcome) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push((wanted, sender));
        // Others that are ready at this moment come first: those who waited for the same thing are woken together.
        tokio::task::yield_now().await;
        loop {
            let lane = tokio::select! {
                biased;
                outcome = &mut outcome => return outcome.ok(),
                lane = self.turn() => lane?,
            };
            let (wanted, senders): (Vec<I>, Vec<_>) = {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                // Those who have stopped waiting are not served.
                waiting.retain(|(_, sender)| !sender.is_closed());
                let some = waiting.len().min(self.most);
                waiting.drain(..some).unzip()
            };
            if wanted.is_empty() {
                break;
            }
            let going = go(wanted);
            self.tasks.spawn(async move {
                let outcomes = going.await;
                drop(lane);
                for (sender, outcome) in senders.into_iter().zip(outcomes) {
                    // Nobody waits for it any more.
                    let _ = sender.send(outcome);
                }
            });
            // This caller itself may have come too late for that go: once more, until nobody waits.
        }
        outcome.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn one_alone_is_served_at_once_and_those_who_come_meanwhile_together() {
        let together: Together<u32, u32> = Together::new(0, 3, TaskTracker::new());
        let sizes = Arc::new(Mutex::new(Vec::new()));
        let (begun, may_end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let go = |wanted: Vec<u32>| {
            let (sizes, begun, may_end) = (Arc::clone(&sizes), Arc::clone(&begun), Arc::clone(&may_end));
            async move {
                sizes.lock().unwrap().push(wanted.len());
                if wanted == [0] {
                    begun.notify_one();
                    may_end.notified().await;
                }
                wanted.iter().map(|number| number * 10).collect()
            }
        };
        let first = together.run(0, go);
        let others = async {
            begun.notified().await;
            let others = join_all((1..=5).map(|number| together.run(number, go)));
            let release = async { may_end.notify_one() };
            futures::join!(others, release).0
        };
        let (first, others) = futures::join!(first, others);
        assert_eq!(first, Some(0));
        assert_eq!(others, [10, 20, 30, 40, 50].map(Some), "each has its own outcome");
        assert_eq!(*sizes.lock().unwrap(), [1, 3, 2], "no go is for more than it may be");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_go_holds_nobody_up_for_long() {
        let together: Together<u32, u32> = Together::new(1, 10, TaskTracker::new());
        let begun = Arc::new(Notify::new());
        let go = |wanted: Vec<u32>| {
            let begun = Arc::clone(&begun);
            async move {
                if wanted == [1] {
                    begun.notify_one();
                    std::future::pending::<()>().await;
                }
                wanted
            }
        };
        let slow = together.run(1, go);
        let others = async {
            begun.notified().await;
            let asked = tokio::time::Instant::now();
            let others = join_all((2..=4).map(|number| together.run(number, go))).await;
            assert_eq!(others, [2, 3, 4].map(Some));
            assert!(asked.elapsed() >= SLOW && asked.elapsed() < 2 * SLOW, "{:?}", asked.elapsed());
        };
        futures::pin_mut!(slow, others);
        // The slow one ends never.
        futures::future::select(slow, others).await;
    }

    #[tokio::test]
    async fn who_has_stopped_waiting_is_not_served_and_a_go_ends_without_its_caller() {
        let together: Together<u32, ()> = Together::new(0, 10, TaskTracker::new());
        let served = Arc::new(AtomicUsize::new(0));
        let (begun, may_end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let go = |wanted: Vec<u32>| {
            let (served, begun, may_end) = (Arc::clone(&served), Arc::clone(&begun), Arc::clone(&may_end));
            async move {
                begun.notify_one();
                may_end.notified().await;
                served.fetch_add(wanted.len(), Ordering::SeqCst);
                vec![(); wanted.len()]
            }
        };
        {
            let leaves = together.run(1, go);
            let left = async { begun.notified().await };
            futures::pin_mut!(leaves, left);
            futures::future::select(leaves, left).await;
        }
        {
            let leaves_early = together.run(2, go);
            futures::pin_mut!(leaves_early);
            assert!(futures::poll!(leaves_early.as_mut()).is_pending());
        }
        let last = together.run(3, go);
        let release = async {
            may_end.notify_one();
            begun.notified().await;
            may_end.notify_one();
        };
        assert_eq!(futures::join!(last, release).0, Some(()));
        assert_eq!(served.load(Ordering::SeqCst), 2, "the first, whose caller left, and the last");
    }

    #[tokio::test]
    async fn a_go_that_panics_fails_its_callers_and_no_others() {
        let together: Together<u32, ()> = Together::new(0, 10, TaskTracker::new());
        let go = |wanted: Vec<u32>| async move {
            assert!(wanted != [1], "as planned");
            vec![(); wanted.len()]
        };
        assert_eq!(together.run(1, go).await, None);
        assert_eq!(together.run(2, go).await, Some(()));
    }
}
