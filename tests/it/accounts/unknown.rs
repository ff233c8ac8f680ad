//! S13, without a clock: a sign-in of somebody who is not registered is hashed as any other, and so waits, and is turned away,
//! as any other.

use serde_json::json;
use sqlx::PgPool;
use tokio::task::JoinSet;
use verbatim::bootstrap::database::MIGRATOR;

use crate::support::app::{PASSWORD, TestApp};

/// Of each kind. Two are hashed at a time and thirty-two wait: of so many at once most find no place.
const MANY: usize = 150;

#[sqlx::test(migrator = "MIGRATOR")]
async fn the_unknown_are_turned_away_where_the_known_are(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let mut sign_ins = JoinSet::new();
    for n in 0..MANY {
        // None of them twice, or it would be locked instead.
        for (kind, name) in [person.email.clone(), format!("nobody{n}@mail.example"), format!("nobody-{n}")]
            .into_iter()
            .enumerate()
        {
            let call = app.post("/api/auth/login").json(&json!({"username": name, "password": PASSWORD}));
            sign_ins.spawn(async move { (kind, call.send().await) });
        }
    }
    let (mut told, mut busy) = ([0; 3], [0; 3]);
    while let Some(answered) = sign_ins.join_next().await {
        let (kind, answer) = answered.unwrap();
        match (kind, answer.status) {
            (_, 503) => {
                answer.assert_error(503, "busy");
                assert_eq!(answer.header("retry-after"), "2");
                busy[kind] += 1;
            }
            (0, 200) => told[kind] += 1,
            (1 | 2, 401) => {
                answer.assert_error(401, "invalid_credentials");
                told[kind] += 1;
            }
            (kind, status) => panic!("{kind}: {status} {}", answer.text),
        }
    }
    assert!(busy.iter().all(|busy| *busy > 0), "nobody was turned away: told {told:?}, turned away {busy:?}");
    assert!(told.iter().sum::<usize>() >= 2, "nobody had a turn: told {told:?}, turned away {busy:?}");
    app.end().await;
}
