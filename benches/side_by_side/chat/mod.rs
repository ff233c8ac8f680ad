//! Chat through a real provider's protocol: `cargo bench --bench side_by_side -- chat`.

mod adapter;
mod limits;
mod provider;
mod streams;

use super::machine::{Database, NAME, Secrets, Server, migrate};
use super::report::Report;

/// Limits that are active but never reached.
const UNREACHED_LIMITS: [(&str, &str); 8] = [
    ("RATE_LIMITS", "on"),
    ("RATE_LIMIT_USER_PER_MINUTE", "100000"),
    ("RATE_LIMIT_SESSION_PER_MINUTE", "100000"),
    ("RATE_LIMIT_CHANNEL_PER_MINUTE", "100000"),
    ("COMMAND_LIMIT_USER_PER_MINUTE", "0"),
    ("QUOTA_MESSAGES_PER_DAY", "1000000000"),
    ("QUOTA_TOKENS_PER_DAY", "1000000000000"),
    ("REPLIES_AT_ONCE_PER_USER", "10000"),
];

/// The measured system.
struct Scene {
    database: Database,
    secrets: Secrets,
}

impl Scene {
    async fn server(&self, variables: &[(&str, &str)]) -> anyhow::Result<Server> {
        Server::start(&self.database, &self.secrets, variables).await
    }
}

/// Runs all chat measurements on a new database.
pub(crate) async fn run(report: &mut Report) -> anyhow::Result<()> {
    let database = Database::start().await?;
    let secrets = Secrets::random()?;
    migrate(&database, &secrets, NAME).await?;
    let scene = Scene { database, secrets };
    adapter::first_token(&scene, report).await?;
    streams::at_once(&scene, report).await?;
    limits::cost(&scene, report).await?;
    scene.database.stop().await
}
