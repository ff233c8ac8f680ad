//! One process for each role: together they work like a single process.

use serde_json::json;
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::server::NatsServer;
use crate::support::app::{TestApp, WAIT_TIMEOUT};

async fn role(db: &PgPool, nats: &NatsServer, roles: &str) -> TestApp {
    TestApp::with(db, &[("NATS_URL", &nats.url()), ("ROLES", roles)]).await
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn single_role_processes_serve_together(db: PgPool) {
    let nats = NatsServer::start().await;
    let api = role(&db, &nats, "api").await;
    let project = role(&db, &nats, "project").await;
    let worker = role(&db, &nats, "worker").await;
    let relay = role(&db, &nats, "relay").await;
    let person = api.person().await;
    let session = api.session(&person).await;
    // A write is readable at once, although another process updates the read models.
    for round in 0..20 {
        let title = format!("Round {round}");
        let path = format!("/api/history/{session}");
        let changed = api.patch(&path).by(&person).json(&json!({"title": title})).send().await.is(200);
        assert_eq!(changed.value()["title"], title);
    }
    for (process, what) in [(&api, "api"), (&project, "project"), (&worker, "worker"), (&relay, "relay")] {
        process
            .wait_until(&format!("{what} is ready"), async || {
                process.get("/readyz").send().await.status == 200
            })
            .await;
        process.get("/livez").send().await.is(200);
    }
    // Only the `api` process serves the API.
    worker.get("/api/history").by(&person).send().await.assert_error(404, "not_found");
    let health = relay.get("/health").send().await.is(200).value();
    assert_eq!((&health["nats"], &health["relay"]["status"]), (&json!("connected"), &json!("running")));
    assert!(api.get("/health").send().await.is(200).value().get("relay").is_none());
    for process in [worker, relay] {
        process.stop(WAIT_TIMEOUT).await;
    }
    // Without a projector, requests soon stop waiting for the read models.
    project.stop(WAIT_TIMEOUT).await;
    let path = format!("/api/history/{session}");
    api.wait_until("requests do not wait for the stopped projector", async || {
        let asked = std::time::Instant::now();
        api.patch(&path).by(&person).json(&json!({"pinned": true})).send().await.is(200);
        api.patch(&path).by(&person).json(&json!({"pinned": false})).send().await.is(200);
        asked.elapsed() < std::time::Duration::from_millis(300)
    })
    .await;
    api.stop(WAIT_TIMEOUT).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn health_reports_nats_outage_and_requests_are_served(db: PgPool) {
    let mut nats = NatsServer::start().await;
    let app = role(&db, &nats, "api,worker,relay,project").await;
    let relay = role(&db, &nats, "relay").await;
    relay.wait_until("the relay is ready", async || relay.get("/readyz").send().await.status == 200).await;
    nats.kill();
    app.wait_until("health reports the outage", async || app.get("/health").send().await.status == 503).await;
    let health = app.get("/health").send().await.is(503).value();
    assert_eq!((&health["status"], &health["nats"]), (&json!("unhealthy"), &json!("disconnected")));
    app.get("/readyz").send().await.is(200);
    relay
        .wait_until("the relay is not ready", async || relay.get("/readyz").send().await.status == 503)
        .await;
    let missing = relay.get("/readyz").send().await.is(503).value();
    assert_eq!(missing["missing"], json!(["NATS"]));
    let person = app.person().await;
    app.session(&person).await;
    nats.run().await;
    app.wait_until("the node is healthy again", async || app.get("/health").send().await.status == 200).await;
    relay.stop(WAIT_TIMEOUT).await;
    app.end().await;
}
