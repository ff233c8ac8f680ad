//! Read model of users: address, name, role, and whether the account is active.

pub mod query;

use std::sync::Arc;

use aggregates::Event;
use aggregates::user::UserEvent;
use sqlx::PgConnection;

use crate::runner::{ApplyFuture, Projection};
use event_store::RecordedEvent;

/// Writes the table `users`.
#[derive(Debug)]
pub struct Users;

impl Projection for Users {
    fn name(&self) -> &'static str {
        "users"
    }

    fn handles(&self, event: &Event) -> bool {
        matches!(event, Event::User(_))
    }

    fn tables(&self) -> &'static [&'static str] {
        &["users"]
    }

    fn apply<'a>(
        &'a self,
        connection: &'a mut PgConnection,
        events: &'a [Arc<RecordedEvent>],
    ) -> ApplyFuture<'a> {
        Box::pin(async move {
            for recorded in events {
                match &recorded.event {
                    Event::User(event) => apply(connection, event).await?,
                    Event::Claim(_) | Event::Conversation(_) | Event::Quiz(_) | Event::File(_) => {}
                }
            }
            Ok(())
        })
    }
}

async fn apply(connection: &mut PgConnection, event: &UserEvent) -> Result<(), sqlx::Error> {
    let query = match event {
        UserEvent::UserRegistered { user_id, email, username, at } => sqlx::query(
            "INSERT INTO users (user_id, email, username, role, is_active, created_at)
             VALUES ($1, $2, $3, 'user', true, $4)",
        )
        .bind(user_id.uuid())
        .bind(email.as_ref().known().map(|email| email.as_str()))
        .bind(username.as_ref().and_then(|name| name.as_ref().known()).map(|name| name.as_str()))
        .bind(*at),
        UserEvent::PasswordChanged { user_id, at } => {
            sqlx::query("UPDATE users SET password_changed_at = $2 WHERE user_id = $1")
                .bind(user_id.uuid())
                .bind(*at)
        }
        UserEvent::EmailChanged { user_id, email, at: _ } => {
            sqlx::query("UPDATE users SET email = $2 WHERE user_id = $1")
                .bind(user_id.uuid())
                .bind(email.as_ref().known().map(|email| email.as_str()))
        }
        UserEvent::UsernameChanged { user_id, username, at: _ } => {
            sqlx::query("UPDATE users SET username = $2 WHERE user_id = $1")
                .bind(user_id.uuid())
                .bind(username.as_ref().known().map(|name| name.as_str()))
        }
        UserEvent::RoleGranted { user_id, role, by: _, at: _ } => {
            sqlx::query("UPDATE users SET role = $2 WHERE user_id = $1")
                .bind(user_id.uuid())
                .bind(role.as_str())
        }
        UserEvent::UserDeactivated { user_id, at: _ } => {
            sqlx::query("UPDATE users SET is_active = false WHERE user_id = $1").bind(user_id.uuid())
        }
    };
    query.execute(connection).await?;
    Ok(())
}
