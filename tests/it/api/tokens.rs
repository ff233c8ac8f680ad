//! Tests invalid access tokens, and valid ones presented in the wrong way.

use aggregates::ids::UserId;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;
use verbatim::auth::{PasswordResets, ResetToken};
use verbatim::schema::MIGRATOR;

use crate::sockets::client::open;
use crate::support::app::{JWT_KID, JWT_SECRET, TestApp};
use crate::support::client::{Answer, Call};

/// Decodes a part of a token without verifying the signature.
fn part(token: &str, index: usize) -> Value {
    use base64::Engine as _;
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

fn signed(algorithm: Algorithm, kid: Option<&str>, secret: &str, claims: &Value) -> String {
    let header = Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
    encode(&header, claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

async fn refused(call: Call, why: &str) -> Answer {
    let answer = call.send().await;
    assert_eq!(answer.status, 401, "{why}: {}", answer.text);
    assert_eq!(answer.error_code(), "invalid_token", "{why}");
    assert_eq!(answer.header("www-authenticate"), "Bearer", "{why}");
    answer
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn only_valid_live_access_tokens_are_accepted(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let good = part(&person.access, 1);
    let now = good["iat"].as_i64().unwrap();
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value;
        }
        signed(Algorithm::HS256, Some(JWT_KID), JWT_SECRET, &claims)
    };
    let ours = signed(Algorithm::HS256, Some(JWT_KID), JWT_SECRET, &good);
    app.get("/api/auth/me").bearer(&ours).send().await.is(200);

    let mut parts: Vec<&str> = person.access.split('.').collect();
    let none = base64(json!({"alg": "none", "typ": "JWT", "kid": JWT_KID}).to_string().as_bytes());
    let signature = parts.pop().unwrap();
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    let forged = [
        ("expired", with("exp", json!(now - 6))),
        ("no expiry", with("exp", Value::Null)),
        ("an expiry that is a string", with("exp", json!((now + 900).to_string()))),
        ("an absurd expiry", with("exp", json!(1e300))),
        ("not yet valid", with("nbf", json!(now + 60))),
        ("another issuer", with("iss", json!("somebody"))),
        ("another audience", with("aud", json!("others"))),
        ("another kind", with("typ", json!("refresh"))),
        ("no kind", with("typ", Value::Null)),
        ("no subject", with("sub", Value::Null)),
        ("another user's login", with("sub", json!(Uuid::from_u128(7)))),
        ("an unknown login", with("sid", json!(Uuid::from_u128(7)))),
        ("no login", with("sid", Value::Null)),
        (
            "another key",
            signed(Algorithm::HS256, Some(JWT_KID), "another-secret-of-some-32-characters", &good),
        ),
        ("another algorithm", signed(Algorithm::HS384, Some(JWT_KID), JWT_SECRET, &good)),
        ("an unknown key id", signed(Algorithm::HS256, Some("../../etc/passwd"), JWT_SECRET, &good)),
        ("no key id", signed(Algorithm::HS256, None, JWT_SECRET, &good)),
        ("no algorithm", format!("{none}.{}.", parts[1])),
        ("no algorithm, signed", format!("{none}.{}.{signature}", parts[1])),
        ("no signature", format!("{}.", parts.join("."))),
        ("two parts", parts.join(".")),
        ("four parts", format!("{}.x", person.access)),
        ("a flipped signature", format!("{}.{flipped}{}", parts.join("."), &signature[1..])),
        ("rubbish", "rubbish".to_owned()),
        ("very long", "a".repeat(8000)),
        ("a refresh token", person.refresh.clone()),
    ];
    let missing = refused(app.get("/api/auth/me"), "missing").await;
    for (why, token) in forged {
        let answer = refused(app.get("/api/auth/me").bearer(&token), why).await;
        assert_eq!(answer.without_request_id(), missing.without_request_id(), "{why}");
    }
    app.get("/api/auth/me").bearer(&person.access).send().await.is(200);
    app.end().await;
}

/// Each kind of token works only for its own purpose, however it is presented.
#[sqlx::test(migrator = "MIGRATOR")]
async fn token_kinds_are_not_interchangeable(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let ticket = app.post("/api/chat/ws/ticket").by(&person).send().await.is(201).field("ticket");
    let token = ResetToken::generate().unwrap();
    PasswordResets::new(db.clone()).store(&token, UserId::new(person.id), None).await.unwrap();
    let reset = token.expose();
    let tokens = [
        ("access", person.access.clone()),
        ("refresh", person.refresh.clone()),
        ("ticket", ticket),
        ("reset", reset),
    ];
    for (kind, token) in &tokens {
        if *kind != "access" {
            refused(app.get("/api/users/me").bearer(token), kind).await;
            let opened = open(&app.address().to_string(), &format!("?token={token}"), &[]).await;
            assert_eq!(opened.err().map(|(status, _)| status), Some(401), "{kind}");
        }
        if *kind != "refresh" {
            refused(app.post("/api/auth/refresh").json(&json!({"refresh_token": token})), kind).await;
        }
        if *kind != "reset" {
            let body = json!({"token": token, "password": "battery staple 8"});
            refused(app.post("/api/auth/password/reset").json(&body), kind).await;
        }
        if *kind != "ticket" {
            let opened = open(&app.address().to_string(), &format!("?ticket={token}"), &[]).await;
            assert_eq!(opened.err().map(|(status, _)| status), Some(401), "{kind}");
        }
    }
    // None of these attempts consumed a token.
    app.get("/api/users/me").by(&person).send().await.is(200);
    app.post("/api/auth/refresh").json(&json!({"refresh_token": person.refresh})).send().await.is(200);
    drop(open(&app.address().to_string(), &format!("?ticket={}", tokens[2].1), &[]).await.unwrap());
    let body = json!({"token": tokens[3].1, "password": "battery staple 8"});
    app.post("/api/auth/password/reset").json(&body).send().await.is(204);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn token_is_accepted_only_in_authorization_header(db: PgPool) {
    let app = TestApp::start(&db).await;
    let person = app.person().await;
    let token = &person.access;
    refused(app.get("/api/auth/me").bearer(token).bearer(token), "twice").await;
    refused(app.get("/api/auth/me").header("authorization", &format!("Basic {token}")), "basic").await;
    refused(app.get("/api/auth/me").header("authorization", token), "bare").await;
    refused(app.get("/api/auth/me").header("authorization", &format!("Bearer {token} x")), "more").await;
    refused(app.get(&format!("/api/auth/me?token={token}&access_token={token}")), "in the query").await;
    refused(app.get("/api/auth/me").header("cookie", &format!("access_token={token}")), "as a cookie").await;
    let body = json!({"message": "x", "access_token": token, "token": token});
    refused(app.post("/api/chat").json(&body), "in the body").await;
    app.get("/api/auth/me").header("authorization", &format!("bearer {token}")).send().await.is(200);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn rotated_signing_key_verifies_until_withdrawn(db: PgPool) {
    let before = TestApp::start(&db).await;
    let person = before.person().await;
    before.end().await;
    let new = [("JWT_SECRET_KEY", "e52a1d3c8b07f964-of-the-next-year"), ("JWT_KID", "next")];
    let previous = format!("{JWT_KID}:{JWT_SECRET}");
    let rotated = TestApp::with(&db, &[new[0], new[1], ("JWT_PREVIOUS_SECRETS", &previous)]).await;
    rotated.get("/api/auth/me").by(&person).send().await.is(200);
    rotated.end().await;
    let withdrawn = TestApp::with(&db, &new).await;
    refused(withdrawn.get("/api/auth/me").by(&person), "withdrawn").await;
    withdrawn.end().await;
}
