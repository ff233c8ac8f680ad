//! Tests, without measuring time, that the sign-in of an unknown user is hashed like any other: it queues and is
//! rejected in the same way.

use serde_json::json;
use sqlx::PgPool;
use tokio::task::JoinSet;
use verbatim::schema::MIGRATOR;

use crate::support::app::{PASSWORD, TestApp};

/// Concurrent sign-ins of each kind. Two are hashed at a time and 32 wait, so most find no place in the queue.
const SIGN_INS_PER_KIND: usize = 150;

#[sqlx::test(migrator = "MIGRATOR")]
async fn unknown_user_sign_ins_queue_like_known_ones(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let mut sign_ins = JoinSet::new();
    for n in 0..SIGN_INS_PER_KIND {
        // No unknown name twice, or it would be locked out instead.
        for (kind, name) in [person.email.clone(), format!("nobody{n}@mail.example"), format!("nobody-{n}")]
            .into_iter()
            .enumerate()
        {
            let call = app.post("/api/auth/login").json(&json!({"username": name, "password": PASSWORD}));
            sign_ins.spawn(async move { (kind, call.send().await) });
        }
    }
    let (mut answered, mut busy) = ([0; 3], [0; 3]);
    while let Some(joined) = sign_ins.join_next().await {
        let (kind, answer) = joined.unwrap();
        match (kind, answer.status) {
            (_, 503) => {
                answer.assert_error(503, "busy");
                assert_eq!(answer.header("retry-after"), "2");
                busy[kind] += 1;
            }
            (0, 200) => answered[kind] += 1,
            (1 | 2, 401) => {
                answer.assert_error(401, "invalid_credentials");
                answered[kind] += 1;
            }
            (kind, status) => panic!("{kind}: {status} {}", answer.text),
        }
    }
    assert!(
        busy.iter().all(|busy| *busy > 0),
        "a kind was never rejected as busy: answered {answered:?}, busy {busy:?}"
    );
    assert!(answered.iter().sum::<usize>() >= 2, "too few were hashed: answered {answered:?}, busy {busy:?}");
    app.end().await;
}
