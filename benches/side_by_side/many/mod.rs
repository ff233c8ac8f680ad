//! Several processes, NATS and many sockets: `cargo bench --bench side_by_side -- many`.

mod replies;
mod sockets;
mod standing;

use super::machine::{Database, NAME, Secrets, migrate};
use super::nats_server::NatsServer;
use super::report::Report;
use super::tell;

/// What the figures are measured on.
struct Scene {
    database: Database,
    secrets: Secrets,
    nats: NatsServer,
}

/// Measures it all, on a database and a NATS server of its own.
pub(crate) async fn run(report: &mut Report) -> anyhow::Result<()> {
    let database = Database::start().await?;
    let Some(nats) = NatsServer::start(database.folder())? else {
        tell("there is no nats-server here: many processes are not measured")?;
        return database.stop().await;
    };
    let secrets = Secrets::random()?;
    migrate(&database, &secrets, NAME).await?;
    let mut scene = Scene { database, secrets, nats };
    scene.standing(report).await?;
    scene.replies(report).await?;
    scene.sockets(report).await?;
    scene.nats.kill().await?;
    scene.database.stop().await
}
