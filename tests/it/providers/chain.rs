//! Several providers and keys: who is asked, in which order, how soon, and what of it stands in the provenance.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::{Shown, nothing_leaked, text};
use crate::support::app::TestApp;
use crate::support::openai_server::{Act, KEY, KEY_2, OpenAiServer};

/// Providers on loopback. A pause between two tries of the same one takes at least five seconds, so that it cannot be
/// mistaken for a switch.
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

    /// All of them answer.
    async fn well() -> Self {
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

/// The attempts followed each other without a pause.
fn at_once(shown: &Shown) {
    assert!(shown.pauses().iter().all(Duration::is_zero), "{}", shown.0);
    let begun: Vec<_> =
        shown.attempts().iter().map(|attempt| super::time(&attempt["begun_at"]).unwrap()).collect();
    let slow = begun.windows(2).map(|pair| pair[1] - pair[0]).max();
    assert!(slow.is_none_or(|slow| slow < chrono::Duration::seconds(4)), "{}", shown.0);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn when_one_fails_the_next_one_is_asked_at_once_and_all_of_it_is_recorded(db: PgPool) {
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
        let shown = Shown::of(&app, &person, "Hello").await;
        assert_eq!(shown.status(), "completed", "{}", shown.0);
        assert_eq!(shown.asked(), [("openai", 1, Some(reason)), ("groq", 1, None)]);
        at_once(&shown);
        assert_eq!(text(&app, &person, &shown).await, "from groq");
        let plans: Vec<&Value> = shown.attempts().iter().map(|attempt| &attempt["plan"]).collect();
        assert_eq!(plans[0]["model"], "gpt-4o-mini");
        assert_eq!(plans[1]["model"], "llama-3.3-70b-versatile");
        assert_eq!(plans[0]["parameters"]["api"], "responses");
        assert_eq!(plans[1]["parameters"]["api"], "chat_completions");
        assert_eq!(providers.groq.requests()[0].body["model"], "llama-3.3-70b-versatile");
        nothing_leaked(&app).await;
        app.end().await;
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_lies_with_the_question_is_asked_of_nobody_else(db: PgPool) {
    for (code, reason) in [("invalid_value", "bad_response"), ("context_length_exceeded", "too_long")] {
        let well = || Act::reply(&["fine"]);
        let providers = Providers::start(Act::error(400, code), [well(), well()], well()).await;
        let app = providers.app(&db, &[]).await;
        let person = app.person().await;
        let shown = Shown::of(&app, &person, "Hello").await;
        assert_eq!(shown.outcome(), ("failed", Some(reason)));
        assert_eq!(shown.asked(), [("openai", 1, Some(reason))]);
        assert!(providers.openrouter.requests().is_empty() && providers.groq.requests().is_empty());
        app.end().await;
    }
}

/// Groq's refusal of what is more than its account may send in a minute.
#[sqlx::test(migrator = "MIGRATOR")]
async fn what_is_too_large_for_one_account_is_asked_of_the_next_provider(db: PgPool) {
    let well = || Act::reply(&["fine"]);
    let providers = Providers::start(well(), [well(), well()], Act::error(413, "rate_limit_exceeded")).await;
    let app = providers.app(&db, &[("AI_PROVIDERS", "groq,openai")]).await;
    let person = app.person().await;
    let shown = Shown::of(&app, &person, "Hello").await;
    assert_eq!(shown.asked(), [("groq", 1, Some("too_long")), ("openai", 1, None)]);
    assert_eq!((shown.status(), text(&app, &person, &shown).await.as_str()), ("completed", "fine"));
    at_once(&shown);
    // With nobody behind it the reply has failed, asked once.
    app.end().await;
    let alone = providers.app(&db, &[("AI_PROVIDERS", "groq")]).await;
    let before = providers.groq.requests().len();
    let shown = Shown::of(&alone, &person, "Hello").await;
    assert_eq!(shown.outcome(), ("failed", Some("too_long")));
    assert_eq!(providers.groq.requests().len() - before, 1);
    alone.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn two_keys_take_turns(db: PgPool) {
    let providers = Providers::well().await;
    let app = providers.app(&db, &[("AI_PROVIDERS", "openrouter")]).await;
    let person = app.person().await;
    let mut keys = [0, 0];
    for round in 0..16 {
        let shown = Shown::of(&app, &person, &format!("Hello {round}")).await;
        let asked = shown.asked();
        assert_eq!((asked.len(), asked[0].0), (1, "openrouter"));
        keys[usize::try_from(asked[0].1 - 1).unwrap()] += 1;
        let number = if providers.openrouter.requests()[round].key() == KEY { 1 } else { 2 };
        assert_eq!(number, asked[0].1, "what is recorded is the key that was used");
    }
    // One in 30,000 runs would have only one of them.
    assert!(keys[0] > 0 && keys[1] > 0, "{keys:?}");
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn one_key_stands_in_for_the_other(db: PgPool) {
    for (act, reason) in [
        (Act::error(401, "whatever"), "key_invalid"),
        (Act::error(402, "whatever"), "quota_exceeded"),
        (Act::error(403, "whatever"), "key_invalid"),
        (Act::limited("2"), "rate_limited"),
    ] {
        // Whichever comes first fails for this reply; both orders are met sooner or later.
        let well = || Act::reply(&["fine"]);
        let providers = Providers::start(down(), [act.clone(), well()], down()).await;
        let app = providers.app(&db, &[("AI_PROVIDERS", "openrouter")]).await;
        let person = app.person().await;
        let mut stood_in = 0;
        while stood_in == 0 {
            let shown = Shown::of(&app, &person, "Hello").await;
            assert_eq!(shown.status(), "completed", "{}", shown.0);
            at_once(&shown);
            let asked = shown.asked();
            if asked != [("openrouter", 2, None)] {
                assert_eq!(asked, [("openrouter", 1, Some(reason)), ("openrouter", 2, None)], "{act:?}");
                stood_in += 1;
            }
        }
        nothing_leaked(&app).await;
        app.end().await;
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn when_everybody_fails_everybody_was_asked_and_the_script_stays_out_of_it(db: PgPool) {
    let refused = || Act::error(401, "invalid_api_key");
    let providers = Providers::start(down(), [refused(), refused()], Act::error(402, "whatever")).await;
    let quick = [("PROVIDER_BACKOFF_MILLISECONDS", "20")];
    let app = providers.app(&db, &quick).await;
    let person = app.person().await;
    let shown = Shown::of(&app, &person, "Hello").await;
    assert_eq!(shown.outcome(), ("failed", Some("provider_unavailable")));
    let mut asked = shown.asked();
    // The order of OpenRouter's keys is the reply's.
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
async fn a_limit_within_the_cap_is_waited_for_although_others_could_be_asked(db: PgPool) {
    let providers = Providers::well().await;
    providers.openai.set_script([Act::limited("1"), Act::reply(&["from openai"])]);
    let app = providers.app(&db, &[("PROVIDER_BACKOFF_MILLISECONDS", "20")]).await;
    let person = app.person().await;
    let shown = Shown::of(&app, &person, "Hello").await;
    assert_eq!(shown.asked(), [("openai", 1, Some("rate_limited")), ("openai", 1, None)]);
    assert!(providers.openai.pauses()[0] >= Duration::from_secs(1));
    app.end().await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn health_and_the_first_line_name_who_is_configured_and_never_a_key(db: PgPool) {
    let providers = Providers::well().await;
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
async fn speech_is_written_down_by_the_first_who_can(db: PgPool) {
    let text = Act::Raw { kind: "application/json", parts: vec![b"{\"text\": \"Good morning\"}".to_vec()] };
    let providers = Providers::start(down(), [down(), down()], text).await;
    let app = providers.app(&db, &[]).await;
    let person = app.person().await;
    let body = json!({"type": "input.transcribe", "params": {"audio_base64": "YXVkaW8=", "mime_type": "audio/webm"}});
    let heard = app.post("/chatkit").by(&person).json(&body).send().await.is(200).value();
    assert_eq!(heard, json!({"text": "Good morning"}));
    let sent = |server: &OpenAiServer| server.requests()[0].body.as_str().unwrap().to_owned();
    assert!(sent(&providers.openai).contains("gpt-4o-mini-transcribe"), "the first in the chain was down");
    assert!(sent(&providers.groq).contains("whisper-large-v3-turbo"));
    assert!(providers.openrouter.requests().is_empty(), "it has no model for that");
    app.end().await;
}
