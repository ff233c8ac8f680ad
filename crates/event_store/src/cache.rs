//! Recently used aggregates, bounded by bytes, and the mutex that queues commands to one aggregate.
//!
//! A cached state is a prefix of its stream and so never wrong, only old: the append's check finds that out.

use std::sync::Arc;

use moka::sync::Cache;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::stored::AnyState;

/// Name of a stream.
pub type StreamName = (&'static str, String);

/// A state and the sequence it stands at.
pub struct Cached {
    /// The state after the event with that sequence.
    pub state: Box<dyn AnyState>,
    /// Sequence of the last event in it.
    pub sequence: i64,
}

/// The cache of states. Cheap to clone.
#[derive(Clone)]
pub struct StateCache {
    states: Cache<StreamName, Arc<Cached>>,
    turns: Cache<StreamName, Arc<Mutex<()>>>,
}

impl StateCache {
    /// A cache of at most about `bytes`.
    pub fn new(bytes: u64) -> Self {
        let states = Cache::builder()
            .max_capacity(bytes)
            .weigher(|name: &StreamName, cached: &Arc<Cached>| {
                u32::try_from(cached.state.bytes() + name.1.len() + 128).unwrap_or(u32::MAX)
            })
            .build();
        // An evicted mutex that is still held costs a lost race, no more: the append decides.
        Self { states, turns: Cache::new(100_000) }
    }

    /// The state of a stream, when it is at hand.
    pub fn get(&self, name: &StreamName) -> Option<Arc<Cached>> {
        self.states.get(name)
    }

    /// Remembers a state that has been committed, unless a newer one is known.
    pub fn put(&self, name: StreamName, state: Box<dyn AnyState>, sequence: i64) {
        if self.states.get(&name).is_none_or(|known| known.sequence < sequence) {
            self.states.insert(name, Arc::new(Cached { state, sequence }));
        }
    }

    /// Waits for this command's turn at these streams. Sorted, so that two commands cannot wait for each other.
    pub async fn turns(&self, mut names: Vec<StreamName>) -> Vec<OwnedMutexGuard<()>> {
        names.sort();
        names.dedup();
        let mut turns = Vec::with_capacity(names.len());
        for name in names {
            turns.push(self.turns.get_with(name, Arc::default).lock_owned().await);
        }
        turns
    }
}
