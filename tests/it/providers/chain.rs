//! Several providers and keys: their order, the failover, and what the provenance records.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::{EndedReply, assert_no_leak, text};
use crate::support::app::TestApp;
use crate::support::openai_server::{Act, KEY, KEY_2, OpenAiServer};

/// Fake providers. The back-off between two tries of the same one is at least five seconds, so it cannot be mistaken for
/// a failover.
struct Providers {
    openai: OpenAiServer,
    openrouter: OpenAiServer,
    groq: OpenAiServer,
}

impl Providers {
    async fn start(openai: Act, openrouter: [Act; 2], groq: Act) -> Self {
        let [one, two] = openrouter;
        Self {
            openai: OpenAiServer::start([openai]).await,
            openrouter: OpenAiServer::by_key([(KEY, vec![one]), (KEY_2, vec![two])]).await,
            groq: OpenAiServer::start([groq]).await,
        }
    }

    /// Starts providers that all succeed.
    async fn succeeding() -> Self {
        Self::start(
            Act::reply(&["from openai"]),
            [Act::reply(&["from the first key"]), Act::reply(&["from the second key"])],
            Act::reply(&["from groq"]),
        )
        .await
    }

    async fn app(&self, db: &PgPool, more: &[(&str, &str)]) -> TestApp {
        let urls = [self.openai.base_url(), self.openrouter.base_url(), self.groq.base_url()];
        let usual = [
            ("OPENAI_API_KEY", KEY),
            ("OPENAI_BASE_URL", &urls[0]),
            ("AI_SERVICES__OPEN_ROUTER_API_KEY_1", KEY),
            ("AI_SERVICES__OPEN_ROUTER_API_KEY_2", KEY_2),
            ("AI_SERVICES__OPEN_ROUTER_BASE_URL", &urls[1]),
            ("AI_SERVICES__GROQ_API_KEY", KEY),
            ("AI_SERVICES__GROQ_BASE_URL", &urls[2]),
            ("CHAT_TITLES", "off"),
            ("PROVIDER_BACKOFF_MILLISECONDS", "10000"),
        ];
        TestApp::with(db, &[&usual[..], more].concat()).await
    }
}

fn down() -> Act {
    Act::error(503, "overloaded")
}

/// Asserts that the attempts followed each other without a back-off.
fn assert_immediate_failover(ended: &EndedReply) {
    assert!(ended.pauses().iter().all(Duration::is_zero), "{}", ended.0);
    let begun: Vec<_> =
        ended.attempts().iter().map(|attempt| super::time(&attempt["begun_at"]).unwrap()).collect();
    let slow = begun.windows(2).map(|pair| pair[1] - pair[0]).max();
    assert!(slow.is_none_or(|slow| slow < chrono::Duration::seconds(4)), "{}", ended.0);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn failover_is_immediate_and_recorded(db: PgPool) {
    for (act, reason) in [
        (down(), "provider_unavailable"),
        (Act::error(401, "invalid_api_key"), "key_invalid"),
        (Act::error(429, "insufficient_quota"), "quota_exceeded"),
        (Act::error(404, "model_not_found"), "model_unknown"),
        (Act::limited("86400"), "rate_limited"),
        (Act::Raw { kind: "text/html", parts: vec![b"<p>canary".to_vec()] }, "bad_response"),
    ] {
        let providers = Providers::start(act, [down(), down()], Act::reply(&["from groq"])).await;
        let app = providers.app(&db, &[("AI_PROVIDERS", "openai,groq")]).await;
        let person = app.person().await;
        let ended = EndedReply::of(&app, &person, "Hello").await;
        assert_eq!(ended.status(), "completed", "{}", ended.0);
        assert_eq!(ended.asked(), [("openai", 1, Some(reason)), ("groq", 1, None)]);
        assert_immediate_failover(&ended);
        assert_eq!(text(&app, &person, &ended).await, "from groq");
        let plans: Vec<&Value> = ended.attempts().iter().map(|attempt| &attempt["plan"]).collect();
        assert_eq!(plans[0]["model"], "gpt-4o-mini");
        assert_eq!(plans[1]["model"], "llama-3.3-70b-versatile");
        assert_eq!(plans[0]["parameters"]["api"], "responses");
        assert_eq!(plans[1]["parameters"]["api"], "chat_completions");
        assert_eq!(providers.groq.requests()[0].body["model"], "llama-3.3-70b-versatile");
        assert_no_leak(&app).await;
        app.end().await;
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn request_error_is_not_retried_at_other_providers(db: PgPool) {
    for (code, reason) in [("invalid_value", "bad_response"), ("context_length_exceeded", "too_long")] {
        let succeeding = || Act::reply(&["fine"]);
        let providers =
            Providers::start(Act::error(400, code), [succeeding(), succeeding()], succeeding()).await;
        let app = providers.app(&db, &[]).await;
        let person = app.person().await;
        let ended = EndedReply::of(&app, &person, "Hello").await;
        assert_eq!(ended.outcome(), ("failed", Some(reason)));
        assert_eq!(ended.asked(), [("openai", 1, Some(reason))]);
        assert!(providers.openrouter.requests().is_empty() && providers.groq.requests().is_empty());
        app.end().await;
    }
}

/// Groq rejects a request that exceeds the account's tokens per minute.
#[sqlx::test(migrator = "MIGRATOR")]
async fn request_too_large_for_account_goes_to_next_provider(db: PgPool) {
    let succeeding = || Act::reply(&["fine"]);
    let providers =
        Providers::start(succeeding(), [succeeding(), succeeding()], Act::error(413, "rate_limit_exceeded"))
            .await;
    let app = providers.app(&db, &[("AI_PROVIDERS", "groq,openai")]).await;
    let person = app.person().await;
    let ended = EndedReply::of(&app, &person, "Hello").await;
    assert_eq!(ended.asked(), [("groq", 1, Some("too_long")), ("openai", 1, None)]);
    assert_eq!((ended.status(), text(&app, &person, &ended).await.as_str()), ("completed", "fine"));
    assert_immediate_failover(&ended);
    // Without another provider the reply fails after one request.
    app.end().await;
    let alone = providers.app(&db, &[("AI_PROVIDERS", "groq")]).await;
    let before = providers.groq.requests().len();
    let ended = EndedReply::of(&alone, &person, "Hello").await;
    assert_eq!(ended.outcome(), ("failed", Some("too_long")));
    assert_eq!(providers.groq.requests().len() - before, 1);
    alone.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn two_keys_share_the_load(db: PgPool) {
    let providers = Providers::succeeding().await;
    let app = providers.app(&db, &[("AI_PROVIDERS", "openrouter")]).await;
    let person = app.person().await;
    let mut keys = [0, 0];
    for round in 0..16 {
        let ended = EndedReply::of(&app, &person, &format!("Hello {round}")).await;
        let asked = ended.asked();
        assert_eq!((asked.len(), asked[0].0), (1, "openrouter"));
        keys[usize::try_from(asked[0].1 - 1).unwrap()] += 1;
        let number = if providers.openrouter.requests()[round].key() == KEY { 1 } else { 2 };
        assert_eq!(number, asked[0].1, "the recorded key is not the one used");
    }
    // The probability that only one key is used is 1 in 30,000.
    assert!(keys[0] > 0 && keys[1] > 0, "{keys:?}");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn second_key_replaces_failing_key(db: PgPool) {
    for (act, reason) in [
        (Act::error(401, "whatever"), "key_invalid"),
        (Act::error(402, "whatever"), "quota_exceeded"),
        (Act::error(403, "whatever"), "key_invalid"),
        (Act::limited("2"), "rate_limited"),
    ] {
        // The order of the keys is random; repeat until the failing key comes first.
        let succeeding = || Act::reply(&["fine"]);
        let providers = Providers::start(down(), [act.clone(), succeeding()], down()).await;
        let app = providers.app(&db, &[("AI_PROVIDERS", "openrouter")]).await;
        let person = app.person().await;
        let mut failovers = 0;
        while failovers == 0 {
            let ended = EndedReply::of(&app, &person, "Hello").await;
            assert_eq!(ended.status(), "completed", "{}", ended.0);
            assert_immediate_failover(&ended);
            let asked = ended.asked();
            if asked != [("openrouter", 2, None)] {
                assert_eq!(asked, [("openrouter", 1, Some(reason)), ("openrouter", 2, None)], "{act:?}");
                failovers += 1;
            }
        }
        assert_no_leak(&app).await;
        app.end().await;
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn all_providers_are_tried_without_scripted_fallback(db: PgPool) {
    let rejected = || Act::error(401, "invalid_api_key");
    let providers = Providers::start(down(), [rejected(), rejected()], Act::error(402, "whatever")).await;
    let quick = [("PROVIDER_BACKOFF_MILLISECONDS", "20")];
    let app = providers.app(&db, &quick).await;
    let person = app.person().await;
    let ended = EndedReply::of(&app, &person, "Hello").await;
    assert_eq!(ended.outcome(), ("failed", Some("provider_unavailable")));
    let mut asked = ended.asked();
    // The order of OpenRouter's keys is random per reply.
    asked[1..3].sort_unstable();
    let unavailable = ("openai", 1, Some("provider_unavailable"));
    let expected = [
        unavailable,
        ("openrouter", 1, Some("key_invalid")),
        ("openrouter", 2, Some("key_invalid")),
        ("groq", 1, Some("quota_exceeded")),
        unavailable,
        unavailable,
        unavailable,
    ];
    assert_eq!(asked, expected);
    assert_eq!(providers.openai.requests().len(), 4);
    let scripted = "SELECT count(*) FROM events WHERE payload::text LIKE '%scripted%'";
    let scripted: i64 = sqlx::query_scalar(scripted).fetch_one(&db).await.unwrap();
    assert_eq!(scripted, 0);
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn short_rate_limit_is_waited_for_instead_of_failover(db: PgPool) {
    let providers = Providers::succeeding().await;
    providers.openai.set_script([Act::limited("1"), Act::reply(&["from openai"])]);
    let app = providers.app(&db, &[("PROVIDER_BACKOFF_MILLISECONDS", "20")]).await;
    let person = app.person().await;
    let ended = EndedReply::of(&app, &person, "Hello").await;
    assert_eq!(ended.asked(), [("openai", 1, Some("rate_limited")), ("openai", 1, None)]);
    assert!(providers.openai.pauses()[0] >= Duration::from_secs(1));
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn health_and_startup_line_name_providers_without_keys(db: PgPool) {
    let providers = Providers::succeeding().await;
    let app = providers.app(&db, &[("AI_PROVIDERS", "groq,openrouter")]).await;
    let health = app.get("/health").send().await.is(200);
    let expected = json!([
        {"name": "groq", "key": 1, "circuit": "closed"},
        {"name": "openrouter", "key": 1, "circuit": "closed"},
        {"name": "openrouter", "key": 2, "circuit": "closed"},
    ]);
    assert_eq!(health.value()["providers"], expected);
    let line = app.provider_description();
    assert!(line.starts_with("AI: Groq Chat Completions at 127.0.0.1:"), "{line}");
    assert!(line.contains("; then OpenRouter Chat Completions at") && line.ends_with("(2 keys)"), "{line}");
    assert!(!line.contains(KEY) && !health.text.contains(KEY));
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn first_capable_provider_transcribes(db: PgPool) {
    let text = Act::Raw { kind: "application/json", parts: vec![b"{\"text\": \"Good morning\"}".to_vec()] };
    let providers = Providers::start(down(), [down(), down()], text).await;
    let app = providers.app(&db, &[]).await;
    let person = app.person().await;
    let body = json!({"type": "input.transcribe", "params": {"audio_base64": "YXVkaW8=", "mime_type": "audio/webm"}});
    let transcript = app.post("/chatkit").by(&person).json(&body).send().await.is(200).value();
    assert_eq!(transcript, json!({"text": "Good morning"}));
    let sent = |server: &OpenAiServer| server.requests()[0].body.as_str().unwrap().to_owned();
    assert!(sent(&providers.openai).contains("gpt-4o-mini-transcribe"), "the first provider was not asked");
    assert!(sent(&providers.groq).contains("whisper-large-v3-turbo"));
    assert!(providers.openrouter.requests().is_empty(), "OpenRouter has no transcription model");
    app.end().await;
}
