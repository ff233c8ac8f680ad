//! The users.

use aggregates::claim::ClaimEvent;
use aggregates::ids::UserId;
use aggregates::user::UserEvent;
use projections::users::query::{UserRow, by_id};
use sqlx::PgPool;
use uuid::Uuid;

use super::{project_all, start_over};
use crate::events::{ADA, minute, registered};
use crate::support::Log;

const EVE: UserId = UserId::new(Uuid::from_u128(0xE7E));

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn a_user_is_registered_changes_the_password_and_leaves(pool: PgPool) {
    let log = Log::new(&pool);
    log.append(&[
        ClaimEvent::ClaimTaken { owner: ADA, at: minute(0) }.into(),
        registered(ADA, "Ada@Example.org", Some("ada"), 0),
    ])
    .await;
    log.append(&[registered(EVE, "eve@example.org", None, 1)]).await;
    log.append(&[UserEvent::PasswordChanged { user_id: ADA, at: minute(2) }.into()]).await;
    log.append(&[UserEvent::UserDeactivated { user_id: EVE, at: minute(3) }.into()]).await;
    project_all(&log).await;

    let ada = UserRow {
        user_id: ADA.uuid(),
        email: Some("Ada@Example.org".to_owned()),
        username: Some("ada".to_owned()),
        is_active: true,
        created_at: minute(0),
        password_changed_at: Some(minute(2)),
    };
    let eve = UserRow {
        user_id: EVE.uuid(),
        email: Some("eve@example.org".to_owned()),
        username: None,
        is_active: false,
        created_at: minute(1),
        password_changed_at: None,
    };
    assert_eq!(by_id(&pool, ADA.uuid()).await.unwrap(), Some(ada.clone()));
    assert_eq!(by_id(&pool, EVE.uuid()).await.unwrap(), Some(eve.clone()));
    assert_eq!(by_id(&pool, Uuid::nil()).await.unwrap(), None);

    log.erase(ADA.uuid()).await;
    start_over(&log, "users").await;
    project_all(&log).await;
    let erased = UserRow { email: None, username: None, ..ada };
    assert_eq!(by_id(&pool, ADA.uuid()).await.unwrap(), Some(erased));
    assert_eq!(by_id(&pool, EVE.uuid()).await.unwrap(), Some(eve));
}
