//! Recently used aggregate states, bounded by bytes, and one lock per stream that queues its commands.
//!
//! A cached state is always a prefix of its stream: possibly old, never wrong. The append's version check detects an old
//! one.

use std::sync::Arc;

use moka::sync::Cache;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::any_state::AnyState;

/// Name of a stream: aggregate type and id.
pub(super) type StreamName = (&'static str, String);

/// Most stream locks kept. An evicted lock that is still held costs at most a version conflict.
const MAX_STREAM_LOCKS: u64 = 100_000;

/// A state with its version.
pub(super) struct CachedState {
    pub(super) state: Box<dyn AnyState>,
    /// Sequence of the last event applied to the state.
    pub(super) sequence: i64,
}

/// The cache of states. Cheap to clone.
#[derive(Clone)]
pub(super) struct StateCache {
    states: Cache<StreamName, Arc<CachedState>>,
    stream_locks: Cache<StreamName, Arc<Mutex<()>>>,
}

impl StateCache {
    /// Creates a cache that holds about `max_bytes` of states.
    pub(super) fn new(max_bytes: u64) -> Self {
        let states = Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|name: &StreamName, cached: &Arc<CachedState>| {
                u32::try_from(cached.state.bytes() + name.1.len() + 128).unwrap_or(u32::MAX)
            })
            .build();
        Self { states, stream_locks: Cache::new(MAX_STREAM_LOCKS) }
    }

    /// Returns the cached state of a stream.
    pub(super) fn get(&self, name: &StreamName) -> Option<Arc<CachedState>> {
        self.states.get(name)
    }

    /// Caches a committed state, unless a newer one is cached.
    pub(super) fn put(&self, name: StreamName, state: Box<dyn AnyState>, sequence: i64) {
        if self.states.get(&name).is_none_or(|known| known.sequence < sequence) {
            self.states.insert(name, Arc::new(CachedState { state, sequence }));
        }
    }

    /// Locks these streams for one command. Locks are taken in sorted order, which prevents deadlocks.
    pub(super) async fn lock_streams(&self, mut names: Vec<StreamName>) -> Vec<OwnedMutexGuard<()>> {
        names.sort();
        names.dedup();
        let mut guards = Vec::with_capacity(names.len());
        for name in names {
            guards.push(self.stream_locks.get_with(name, Arc::default).lock_owned().await);
        }
        guards
    }
}
