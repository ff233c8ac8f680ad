//! The logins of open streams and sockets. One question to the database every other second asks after all of them, so that
//! whoever signs out, changes the password or closes the account on any node is put out on every node within
//! two seconds and the time of that question.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aggregates::ids::LoginId;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::logins::Logins;

/// How often the database is asked.
const EVERY: Duration = Duration::from_secs(2);
/// How many logins one statement asks after.
const BATCH: usize = 5_000;

/// The logins that have something open here. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct OpenLogins {
    open: Arc<Mutex<HashMap<LoginId, Open>>>,
}

#[derive(Debug)]
struct Open {
    count: usize,
    ended: CancellationToken,
}

/// That a login has something open, for as long as this lives.
#[derive(Debug)]
pub struct OpenLogin {
    login: LoginId,
    ended: CancellationToken,
    all: OpenLogins,
}

impl OpenLogin {
    /// Becomes ready when the login has ended, on whatever node.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

impl Drop for OpenLogin {
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

impl OpenLogins {
    /// Something of this login is open from now on. That it is live was seen a moment ago, or is seen at the next look.
    #[must_use]
    pub fn enter(&self, login: LoginId) -> OpenLogin {
        let mut open = self.open.lock();
        let known = open.entry(login).or_insert_with(|| Open { count: 0, ended: CancellationToken::new() });
        known.count += 1;
        OpenLogin { login, ended: known.ended.clone(), all: self.clone() }
    }

    /// Looks after them until `stop`. A database that does not answer puts nobody out.
    pub async fn run(self, logins: Logins, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                // What was ended through this node is seen at once.
                () = logins.forgot() => {}
                () = stop.cancelled() => return,
            }
            let open: Vec<LoginId> = self.open.lock().keys().copied().collect();
            for batch in open.chunks(BATCH) {
                match logins.ended_among(batch).await {
                    Ok(ended) => self.put_out(&ended),
                    Err(error) => tracing::warn!(%error, "the logins of open streams cannot be looked after"),
                }
            }
        }
    }

    fn put_out(&self, ended: &[LoginId]) {
        let open = self.open.lock();
        for login in ended {
            if let Some(open) = open.get(login) {
                open.ended.cancel();
            }
        }
    }
}
