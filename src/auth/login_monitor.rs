//! Watches the logins behind open streams and sockets. One query every two seconds checks all of them: when a login ends on
//! any node (sign-out, new password, closed account), every node closes its connections within about two seconds.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aggregates::ids::LoginId;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::logins::Logins;

/// Time between two checks.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// Logins per query.
const BATCH: usize = 5_000;

/// Logins with open connections at this process. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct LoginMonitor {
    open: Arc<Mutex<HashMap<LoginId, Open>>>,
}

#[derive(Debug)]
struct Open {
    count: usize,
    ended: CancellationToken,
}

/// Watches one login while a connection is open.
#[derive(Debug)]
pub struct WatchedLogin {
    login: LoginId,
    ended: CancellationToken,
    all: LoginMonitor,
}

impl WatchedLogin {
    /// Completes when the login has ended, on any node.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

impl Drop for WatchedLogin {
    fn drop(&mut self) {
        let mut open = self.all.open.lock();
        if let Some(known) = open.get_mut(&self.login) {
            known.count -= 1;
            if known.count == 0 {
                open.remove(&self.login);
            }
        }
    }
}

impl LoginMonitor {
    /// Watches a login until the returned guard is dropped. The next check finds a login that has already ended.
    #[must_use]
    pub fn watch(&self, login: LoginId) -> WatchedLogin {
        let mut open = self.open.lock();
        let known = open.entry(login).or_insert_with(|| Open { count: 0, ended: CancellationToken::new() });
        known.count += 1;
        WatchedLogin { login, ended: known.ended.clone(), all: self.clone() }
    }

    /// Checks the watched logins until `stop`. A failed query closes no connection.
    pub async fn run(self, logins: Logins, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(CHECK_INTERVAL) => {}
                // Logins that ended at this node are checked at once.
                () = logins.invalidated() => {}
                () = stop.cancelled() => return,
            }
            let open: Vec<LoginId> = self.open.lock().keys().copied().collect();
            for batch in open.chunks(BATCH) {
                match logins.ended_among(batch).await {
                    Ok(ended) => self.cancel_ended(&ended),
                    Err(error) => tracing::warn!(%error, "failed to check logins of open connections"),
                }
            }
        }
    }

    fn cancel_ended(&self, ended: &[LoginId]) {
        let open = self.open.lock();
        for login in ended {
            if let Some(open) = open.get(login) {
                open.ended.cancel();
            }
        }
    }
}
