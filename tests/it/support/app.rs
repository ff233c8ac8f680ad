//! Runs the whole system in the test's process: real configuration, router and sockets, a separate database, and the
//! scripted provider.
//!
//! A test begins with [`TestApp::start`] and ends with [`TestApp::end`], which verifies the final state: no pending
//! replies, no running tasks, one terminal event for each reply, and read models equal to a replay of the log.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use event_store::{KeyStore, LogReader, MasterKey};
use projections::{rebuild, registry};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;
use tokio::net::TcpListener;
use uuid::Uuid;
use verbatim::bootstrap;
use verbatim::bootstrap::build::{self, Built};
use verbatim::bootstrap::database::Opened;
use verbatim::bootstrap::secrets::Secrets;
use verbatim::config::{Config, SecretSource};
use verbatim::files::{FileStore, FileSweep};
use verbatim::http;
use verbatim::lifecycle::Lifecycle;

use super::client::Call;

/// Secret that signs access tokens.
pub(crate) const JWT_SECRET: &str = "d41f0c2b7a96e853-of-the-tests-only";
/// Key id (`kid`) of that secret in the tokens.
pub(crate) const JWT_KID: &str = "tests";
/// Master key that encrypts the users' keys.
pub(crate) const MASTER_KEY: &str = "4f1e8a03c6d2975b0f3d6e91a7c8245bfe0190d3628b7a5c41e9f6d8072b3a1c";
/// Password that satisfies the password policy.
pub(crate) const PASSWORD: &str = "correct horse 7";
/// Time after which a wait fails the test.
pub(crate) const WAIT_TIMEOUT: Duration = Duration::from_secs(20);

/// A running system.
pub(crate) struct TestApp {
    /// Connections to the test's database as its owner.
    pub(crate) db: PgPool,
    /// Configuration that the system runs with.
    pub(crate) config: Box<Config>,
    built: Built,
    lifecycle: Lifecycle,
    address: SocketAddr,
    client: reqwest::Client,
    accounts: AtomicU32,
    /// Holds the file store unless the test sets another place.
    _folder: tempfile::TempDir,
}

/// A registered user who is signed in.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) id: Uuid,
    pub(crate) email: String,
    pub(crate) username: String,
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl TestApp {
    /// Starts a system with the tests' usual configuration.
    pub(crate) async fn start(db: &PgPool) -> Self {
        Self::with(db, &[]).await
    }

    /// Starts a system with these variables in addition.
    pub(crate) async fn with(db: &PgPool, variables: &[(&str, &str)]) -> Self {
        Self::with_database(db, db.connect_options().as_ref().clone(), variables).await
    }

    /// Starts a system that connects to its database with these options, e.g. through a proxy.
    pub(crate) async fn with_database(
        db: &PgPool,
        options: PgConnectOptions,
        variables: &[(&str, &str)],
    ) -> Self {
        Self::launch(db, options, variables, None).await
    }

    /// Starts a system that keeps its files in this store.
    pub(crate) async fn with_files(db: &PgPool, variables: &[(&str, &str)], files: FileStore) -> Self {
        Self::launch(db, db.connect_options().as_ref().clone(), variables, Some(files)).await
    }

    async fn launch(
        db: &PgPool,
        options: PgConnectOptions,
        variables: &[(&str, &str)],
        files: Option<FileStore>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut variables = environment(variables);
        variables.entry("FILES_URL".to_owned()).or_insert(format!("file://{}", folder.path().display()));
        let config = Box::new(Config::from_map(&variables).unwrap());
        let database = Opened {
            embedded: None,
            application: options.clone(),
            // Each component has the rights of its database role only.
            projector: options.options([("role", "verbatim_projector")]),
            pool_size: config.storage.pool_size,
            set_roles: true,
        };
        let lifecycle = Lifecycle::new();
        let secrets = Secrets::of(&config, None).unwrap();
        let files = match files {
            Some(files) => files,
            None => FileStore::open(&config.files.location).await.unwrap(),
        };
        let built = build::build_over(&config, &database, secrets, &lifecycle, files);
        let built = Box::pin(built).await.unwrap();
        let router = bootstrap::router(&config, &built);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        lifecycle.service(http::transport::serve::serve(
            listener,
            router,
            config.sockets.serving(),
            lifecycle.stop_accepting.clone(),
            lifecycle.work.clone(),
        ));
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        let accounts = AtomicU32::new(0);
        Self { db: db.clone(), config, built, lifecycle, address, client, accounts, _folder: folder }
    }

    /// Address that the system listens on.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn call(&self, method: Method, path: &str) -> Call {
        Call::new(self.client.request(method, format!("http://{}{path}", self.address)))
    }

    pub(crate) fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str) -> Call {
        self.call(Method::POST, path)
    }

    pub(crate) fn patch(&self, path: &str) -> Call {
        self.call(Method::PATCH, path)
    }

    pub(crate) fn delete(&self, path: &str) -> Call {
        self.call(Method::DELETE, path)
    }

    pub(crate) fn put(&self, path: &str) -> Call {
        self.call(Method::PUT, path)
    }

    /// Registers a user with a unique address.
    pub(crate) async fn person(&self) -> Person {
        let number = self.accounts.fetch_add(1, Ordering::Relaxed) + 1;
        let tag = self.address.port();
        let (email, username) =
            (format!("person{number}.{tag}@mail.example"), format!("person{number}-{tag}"));
        let body = json!({"email": email, "username": username, "password": PASSWORD});
        let answer = self.post("/api/auth/register").json(&body).send().await.is(201).value();
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        Person {
            id: answer["id"].as_str().unwrap().parse().unwrap(),
            email,
            username,
            access: text("access_token"),
            refresh: text("refresh_token"),
        }
    }

    /// Sends a message and waits for the reply.
    pub(crate) async fn say(&self, person: &Person, session: Option<&str>, message: &str) -> Value {
        let body = json!({"message": message, "session_id": session});
        self.post("/api/chat").by(person).json(&body).send().await.is(200).value()
    }

    /// Starts a conversation with one message and its reply; returns its id.
    pub(crate) async fn session(&self, person: &Person) -> String {
        self.say(person, None, "Hello").await["session_id"].as_str().unwrap().to_owned()
    }

    /// Returns the number of events in the log.
    pub(crate) async fn events(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM events").fetch_one(&self.db).await.unwrap()
    }

    /// Returns the event types of one reply, in log order.
    pub(crate) async fn reply_events(&self, reply: &str) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT event_type FROM events WHERE payload ->> 'reply_id' = $1 ORDER BY position",
        )
        .bind(reply)
        .fetch_all(&self.db)
        .await
        .unwrap()
    }

    /// Waits until every projection has applied the whole log.
    pub(crate) async fn wait_for_projections(&self) {
        self.wait_until("the projections have caught up", async || {
            sqlx::query_scalar(
                "SELECT count(*) = $1 AND min(position) >= (SELECT coalesce(max(position), 0) FROM events)
                 FROM checkpoints",
            )
            .bind(i64::try_from(registry::all().len()).unwrap())
            .fetch_one(&self.db)
            .await
            .unwrap_or(false)
        })
        .await;
    }

    /// Waits until `condition` holds.
    pub(crate) async fn wait_until(&self, what: &str, condition: impl AsyncFn() -> bool) {
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        let held = async {
            while !condition().await {
                ticks.tick().await;
            }
        };
        assert!(tokio::time::timeout(WAIT_TIMEOUT, held).await.is_ok(), "timed out waiting until {what}");
    }

    /// Stops the system and verifies that it leaves nothing unfinished.
    pub(crate) async fn end(self) {
        let no_pending = async || {
            sqlx::query_scalar::<_, bool>("SELECT count(*) = 0 FROM pending_replies")
                .fetch_one(&self.db)
                .await
                .unwrap()
        };
        self.wait_for_projections().await;
        self.wait_until("no reply is pending", no_pending).await;
        self.wait_for_projections().await;
        let open: Vec<String> = sqlx::query_scalar(
            "SELECT payload ->> 'reply_id' FROM events WHERE payload ->> 'reply_id' IS NOT NULL GROUP BY 1
             HAVING count(*) FILTER (WHERE event_type IN ('reply_completed', 'reply_failed', 'reply_cancelled')) <> 1
                OR count(*) FILTER (WHERE event_type = 'reply_requested') <> 1",
        )
        .fetch_all(&self.db)
        .await
        .unwrap();
        assert_eq!(open, Vec::<String>::new(), "replies without exactly one request and one terminal event");
        for (model, equal) in self.rebuild().await {
            assert!(equal, "a replay yields a different {model}");
        }
        self.stop(Duration::from_secs(10)).await;
    }

    /// Stops the system with `expected` replies pending, for another system to resume.
    pub(crate) async fn end_with_pending(self, expected: i64) {
        self.wait_for_projections().await;
        let pending: i64 =
            sqlx::query_scalar("SELECT count(*) FROM pending_replies").fetch_one(&self.db).await.unwrap();
        assert_eq!(pending, expected, "pending replies");
        self.stop(Duration::from_secs(6)).await;
    }

    /// Rebuilds every read model from the log; returns for each whether the result equals the current rows.
    pub(crate) async fn rebuild(&self) -> Vec<(&'static str, bool)> {
        let SecretSource::Given(key) = &self.config.auth.master_key else {
            panic!("the tests set a master key")
        };
        let key_store = KeyStore::new(self.db.clone(), MasterKey::new(key.expose()).unwrap());
        let reader = LogReader::new(self.db.clone(), Arc::new(key_store));
        let options: PgConnectOptions = self.db.connect_options().as_ref().clone();
        let mut equal = Vec::new();
        for projection in registry::all() {
            let report = rebuild::rebuild(&options, &reader, projection.as_ref(), |_, _| {}).await.unwrap();
            equal.push((projection.name(), report.equal));
        }
        equal
    }

    /// Shuts the system down as a signal would, without verifying the log.
    pub(crate) async fn stop(self, grace: Duration) {
        // Closes the idle connections of the test's client.
        drop(self.client);
        self.built.live_replies.close();
        let in_order = self.lifecycle.shut_down(grace).await;
        let left = (self.lifecycle.work.len(), self.lifecycle.services.len());
        assert!(in_order && left == (0, 0), "tasks still running (work, services): {left:?}");
        let open: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND state LIKE 'idle in transaction%'",
        )
        .fetch_one(&self.db)
        .await
        .unwrap();
        assert_eq!(open, 0, "database sessions left in a transaction");
        self.built.warm.close().await;
    }

    /// Store that holds the contents of files.
    pub(crate) fn files(&self) -> &FileStore {
        &self.built.files
    }

    /// Job that removes stored objects without a file.
    pub(crate) fn sweep(&self) -> &FileSweep {
        &self.built.sweep
    }

    /// Application services.
    pub(crate) fn services(&self) -> &verbatim::app::Services {
        &self.built.services
    }

    /// Line that names the configured providers.
    pub(crate) fn provider_description(&self) -> &str {
        &self.built.provider
    }

    /// Whether the relay has stopped and needs an operator.
    pub(crate) fn relay_is_stopped(&self) -> bool {
        self.built.relay.as_ref().unwrap().is_stopped()
    }

    /// Number of times the relay has restarted after a failure.
    pub(crate) fn relay_failures(&self) -> u64 {
        self.built.relay.as_ref().unwrap().failures()
    }

    /// Begins the shutdown without waiting for its end.
    pub(crate) fn begin_shutdown(&self) {
        self.built.live_replies.close();
        self.lifecycle.stop_accepting.cancel();
    }
}

fn environment(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    let usual = [
        // Only makes the system use the secrets below; connections come from the test's own pool.
        ("DATABASE_URL", "postgres://the.tests@127.0.0.1/theirs"),
        ("DATABASE_POOL_SIZE", "6"),
        ("JWT_SECRET_KEY", JWT_SECRET),
        ("JWT_KID", JWT_KID),
        ("MASTER_KEY", MASTER_KEY),
        ("RATE_LIMITS", "off"),
        ("QUOTA_MESSAGES_PER_DAY", "0"),
        ("QUOTA_TOKENS_PER_DAY", "0"),
        ("REPLIES_AT_ONCE_PER_USER", "0"),
        ("SCRIPTED_WORDS_PER_SECOND", "0"),
    ];
    usual.iter().chain(variables).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
