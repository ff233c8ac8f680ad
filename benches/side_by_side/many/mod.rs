//! Several processes, NATS and many sockets: `cargo bench --bench side_by_side -- many`.

mod frozen_nats;
mod replies;
mod sockets;

use super::machine::{Database, NAME, Secrets, migrate};
use super::nats_server::NatsServer;
use super::print_line;
use super::report::Report;

/// The measured system.
struct Scene {
    database: Database,
    secrets: Secrets,
    nats: NatsServer,
}

/// Runs all measurements with several processes, on a new database and NATS server.
pub(crate) async fn run(report: &mut Report) -> anyhow::Result<()> {
    let database = Database::start().await?;
    let Some(nats) = NatsServer::start(database.folder())? else {
        print_line("nats-server not found: skipping the measurements with several processes")?;
        return database.stop().await;
    };
    let secrets = Secrets::random()?;
    migrate(&database, &secrets, NAME).await?;
    let mut scene = Scene { database, secrets, nats };
    scene.command_latency_with_frozen_nats(report).await?;
    scene.replies(report).await?;
    scene.sockets(report).await?;
    scene.nats.kill().await?;
    scene.database.stop().await
}
