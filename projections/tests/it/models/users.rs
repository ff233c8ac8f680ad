//! The `users` projection.

use aggregates::Personal;
use aggregates::claim::ClaimEvent;
use aggregates::ids::UserId;
use aggregates::user::{Role, UserEvent};
use aggregates::values::{EmailAddress, Username};
use projections::users::query::{UserRow, by_id, page};
use sqlx::PgPool;
use uuid::Uuid;

use super::{project_all, reset_projection};
use crate::events::{ADA, minute, registered};
use crate::support::Log;

const EVE: UserId = UserId::new(Uuid::from_u128(0xE7E));

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn user_row_follows_registration_password_and_deactivation(pool: PgPool) {
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
        role: "user".to_owned(),
        is_active: true,
        created_at: minute(0),
        password_changed_at: Some(minute(2)),
    };
    let eve = UserRow {
        user_id: EVE.uuid(),
        email: Some("eve@example.org".to_owned()),
        username: None,
        role: "user".to_owned(),
        is_active: false,
        created_at: minute(1),
        password_changed_at: None,
    };
    assert_eq!(by_id(&pool, ADA.uuid()).await.unwrap(), Some(ada.clone()));
    assert_eq!(by_id(&pool, EVE.uuid()).await.unwrap(), Some(eve.clone()));
    assert_eq!(by_id(&pool, Uuid::nil()).await.unwrap(), None);

    log.erase(ADA.uuid()).await;
    reset_projection(&log, "users").await;
    project_all(&log).await;
    let erased = UserRow { email: None, username: None, ..ada };
    assert_eq!(by_id(&pool, ADA.uuid()).await.unwrap(), Some(erased));
    assert_eq!(by_id(&pool, EVE.uuid()).await.unwrap(), Some(eve));
}

#[sqlx::test(migrator = "crate::support::MIGRATOR")]
async fn latest_email_username_and_role_win(pool: PgPool) {
    let log = Log::new(&pool);
    log.append(&[registered(ADA, "ada@example.org", None, 0)]).await;
    log.append(&[registered(EVE, "eve@example.org", Some("eve"), 1)]).await;
    let email = |text: &str| Personal::Known(EmailAddress::parse(text).unwrap());
    let name = |text: &str| Personal::Known(Username::parse(text).unwrap());
    log.append(&[
        UserEvent::EmailChanged { user_id: ADA, email: email("ada.m@example.org"), at: minute(2) }.into(),
        UserEvent::EmailChanged { user_id: ADA, email: email("ada.l@example.org"), at: minute(3) }.into(),
        UserEvent::UsernameChanged { user_id: ADA, username: name("ada-l"), at: minute(4) }.into(),
        UserEvent::RoleGranted { user_id: ADA, role: Role::Admin, by: None, at: minute(5) }.into(),
        UserEvent::RoleGranted { user_id: ADA, role: Role::Auditor, by: Some(EVE), at: minute(6) }.into(),
    ])
    .await;
    project_all(&log).await;
    let ada = by_id(&pool, ADA.uuid()).await.unwrap().unwrap();
    assert_eq!(
        (ada.email.as_deref(), ada.username.as_deref(), ada.role.as_str()),
        (Some("ada.l@example.org"), Some("ada-l"), "auditor")
    );
    let eve = by_id(&pool, EVE.uuid()).await.unwrap().unwrap();
    assert_eq!((eve.username.as_deref(), eve.role.as_str()), (Some("eve"), "user"));

    let ids = async |after: Option<Uuid>, limit: i64| -> Vec<Uuid> {
        page(&pool, after, limit).await.unwrap().into_iter().map(|row| row.user_id).collect()
    };
    let mut all = [ADA.uuid(), EVE.uuid()];
    all.sort();
    assert_eq!(ids(None, 10).await, all);
    assert_eq!(ids(None, 1).await, all[..1]);
    assert_eq!(ids(Some(all[0]), 10).await, all[1..]);
    assert!(ids(Some(all[1]), 10).await.is_empty());

    log.erase(ADA.uuid()).await;
    reset_projection(&log, "users").await;
    project_all(&log).await;
    let erased = by_id(&pool, ADA.uuid()).await.unwrap().unwrap();
    assert_eq!(erased, UserRow { email: None, username: None, ..ada });
}
