//! Tests group commit: concurrent appends share a transaction, and each has its own outcome.

use std::sync::Arc;

use event_store::{
    AppendCharge, AppendError, AppendOutcome, AppendRequest, CommandKey, ExpectedVersion, NewEvent, Writer,
};
use futures::future::join_all;
use serde_json::json;
use sqlx::PgPool;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use verbatim::quotas::{QuotaExceeded, parse_remaining};
use verbatim::schema::MIGRATOR;

fn writer(db: &PgPool) -> Writer {
    Writer::new(db.clone().into(), TaskTracker::new())
}

/// Builds an append of one event after version `current`.
fn pin(stream: usize, current: i64, key: Option<&str>) -> AppendRequest {
    let id = format!("stream-{stream}");
    AppendRequest {
        key: key.map(|key| {
            let key = CommandKey { owner: "me".to_owned(), key: key.to_owned(), fingerprint: [7; 32] };
            (key, json!({"stream": stream}))
        }),
        expected_versions: vec![ExpectedVersion {
            aggregate_type: "conversation",
            aggregate_id: id.clone(),
            sequence: current,
        }],
        events: vec![NewEvent {
            aggregate_type: "conversation",
            aggregate_id: id,
            sequence: current + 1,
            event_type: "conversation_pinned".to_owned(),
            event_version: "1".to_owned(),
            payload: format!(r#"{{"stream":{stream}}}"#),
        }],
        metadata: format!(r#"{{"request_id":"{stream}"}}"#),
        writes: Vec::new(),
        charge: None,
    }
}

async fn write_all(writer: &Writer, requests: Vec<AppendRequest>) -> Vec<Result<AppendOutcome, AppendError>> {
    join_all(requests.into_iter().map(|request| writer.write(Arc::new(request)))).await
}

async fn transactions(db: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT count(DISTINCT xmin::text) FROM events").fetch_one(db).await.unwrap()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn concurrent_appends_share_transactions_with_own_positions(db: PgPool) {
    let writer = writer(&db);
    let outcomes = write_all(&writer, (0..40).map(|stream| pin(stream, 0, None)).collect()).await;
    for (stream, outcome) in outcomes.into_iter().enumerate() {
        let Ok(AppendOutcome::Appended { positions, .. }) = outcome else { panic!("{outcome:?}") };
        let (id, payload, metadata): (String, String, String) = sqlx::query_as(
            "SELECT aggregate_id, payload::text, metadata::text FROM events WHERE position = $1",
        )
        .bind(positions[0])
        .fetch_one(&db)
        .await
        .unwrap();
        assert_eq!(positions.len(), 1);
        assert_eq!(id, format!("stream-{stream}"));
        assert_eq!(payload, format!(r#"{{"stream":{stream}}}"#));
        assert_eq!(metadata, format!(r#"{{"request_id":"{stream}"}}"#));
    }
    let transactions = transactions(&db).await;
    assert!(transactions < 10, "{transactions} transactions for 40 appends");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn rejected_append_does_not_affect_its_group(db: PgPool) {
    let writer = writer(&db);
    let requests = (0..20).map(|stream| pin(stream, if stream == 11 { 5 } else { 0 }, None)).collect();
    let outcomes = write_all(&writer, requests).await;
    for (stream, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(AppendOutcome::Appended { .. }) => assert_ne!(stream, 11),
            Err(AppendError::Conflict) => assert_eq!(stream, 11),
            other => panic!("{stream}: {other:?}"),
        }
    }
    let written: i64 = sqlx::query_scalar("SELECT count(*) FROM events").fetch_one(&db).await.unwrap();
    assert_eq!(written, 19);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn concurrent_appends_with_one_key_record_once(db: PgPool) {
    let writer = writer(&db);
    let requests =
        (0..30).map(|stream| pin(stream, 0, Some(if stream % 2 == 0 { "even" } else { "odd" }))).collect();
    let outcomes = write_all(&writer, requests).await;
    let mut recorded = Vec::new();
    for (stream, outcome) in outcomes.iter().enumerate() {
        if let Ok(AppendOutcome::Appended { positions, .. }) = outcome {
            recorded.push((stream % 2, stream, positions[0]));
        }
    }
    recorded.sort_unstable();
    assert!(matches!(*recorded, [(0, ..), (1, ..)]), "{recorded:?}");
    for (stream, outcome) in outcomes.into_iter().enumerate() {
        let (_, first, position) = recorded[stream % 2];
        match outcome {
            Ok(AppendOutcome::Appended { .. }) => assert_eq!(stream, first),
            Ok(AppendOutcome::Replayed(stored)) => {
                assert_eq!(stored.result, json!({"stream": first}));
                assert_eq!(stored.position, Some(position));
            }
            Err(error) => panic!("{stream}: {error:?}"),
        }
    }
    let written: i64 = sqlx::query_scalar("SELECT count(*) FROM events").fetch_one(&db).await.unwrap();
    assert_eq!(written, 2);
}

/// An append over its quota is left out of its group; the others still share a transaction.
#[sqlx::test(migrator = "MIGRATOR")]
async fn quota_rejection_does_not_split_its_group(db: PgPool) {
    let writer = writer(&db);
    let user = Uuid::from_u128(7);
    let charged = |stream: usize, key: Option<&str>| {
        let entries = json!({"rates": [["user", 3]]});
        AppendRequest { charge: Some(AppendCharge { user, entries }), ..pin(stream, 0, key) }
    };
    let requests =
        (0..10).map(|stream| if stream < 5 { charged(stream, None) } else { pin(stream, 0, None) });
    let outcomes = write_all(&writer, requests.collect()).await;
    for (stream, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Ok(AppendOutcome::Appended { positions, remaining }) => {
                assert_eq!(
                    (positions.len(), remaining.as_ref().map_or(0, |rates| parse_remaining(rates).len())),
                    (1, usize::from(stream < 5)),
                    "{stream}"
                );
            }
            Err(AppendError::ChargeRejected(rejection)) => {
                let exceeded = QuotaExceeded::parse(&rejection.0).unwrap();
                assert_eq!((exceeded.policy.as_str(), stream < 5), ("user", true));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 8);
    // The first append finds no flush in flight and commits alone.
    assert!(transactions(&db).await <= 2, "{}", transactions(&db).await);
    let head: i64 =
        sqlx::query_scalar("SELECT last_value FROM events_position_seq").fetch_one(&db).await.unwrap();
    assert_eq!(head, 8, "rejected appends drew no position");

    // A used key is replayed before the quota is checked, in a group and alone, and costs nothing.
    let other = Uuid::from_u128(8);
    let keyed = |key: &str| {
        let entries = json!({"rates": [["user", 1]]});
        AppendRequest { charge: Some(AppendCharge { user: other, entries }), ..pin(20, 0, Some(key)) }
    };
    let kept = writer.write(Arc::new(keyed("a"))).await;
    assert!(matches!(kept, Ok(AppendOutcome::Appended { .. })), "{kept:?}");
    for outcomes in [
        write_all(&writer, vec![keyed("a")]).await,
        write_all(&writer, vec![pin(30, 0, None), keyed("a"), keyed("b")]).await,
    ] {
        let replayed =
            outcomes.iter().filter(|outcome| matches!(outcome, Ok(AppendOutcome::Replayed(_)))).count();
        let refused =
            outcomes.iter().filter(|outcome| matches!(outcome, Err(AppendError::ChargeRejected(_)))).count();
        assert_eq!((replayed, refused), (1, usize::from(outcomes.len() > 1)), "{outcomes:?}");
    }
}
