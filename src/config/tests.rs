//! What the whole configuration makes of sets of variables.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;

const STRONG: &str = "0f8b1c2d3e4a5968778695a4b3c2d1e0ff";
const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn read(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::from_map(&map(pairs))
}

/// The production form with `pairs` besides.
fn server(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let mut variables = map(&[
        ("DATABASE_URL", "postgres://app:pw@db/chat"),
        ("JWT_SECRET_KEY", STRONG),
        ("MASTER_KEY", KEY),
    ]);
    variables.extend(map(pairs));
    Config::from_map(&variables)
}

#[track_caller]
fn config_error(pairs: &[(&str, &str)]) -> String {
    let sentence = read(pairs).unwrap_err().to_string();
    assert!(!sentence.contains('\n') && sentence.ends_with('.'), "{sentence}");
    sentence
}

#[test]
fn reserved_tokens_fit_into_the_daily_quota() {
    let sentence = config_error(&[("QUOTA_TOKENS_PER_DAY", "1000")]);
    assert!(
        sentence.contains("QUOTA_RESERVED_TOKENS") && sentence.contains("QUOTA_TOKENS_PER_DAY"),
        "{sentence}"
    );
    for aside in ["1000", "0"] {
        read(&[("QUOTA_TOKENS_PER_DAY", "1000"), ("QUOTA_RESERVED_TOKENS", aside)]).unwrap();
    }
    read(&[("QUOTA_TOKENS_PER_DAY", "0")]).unwrap();
}

#[test]
fn empty_environment_is_the_embedded_default() {
    let config = read(&[]).unwrap();
    assert!(config.storage.is_embedded());
    assert_eq!(config.web.listen.to_string(), "0.0.0.0:8000");
    assert_eq!(config.web.metrics.unwrap().to_string(), "127.0.0.1:9464");
    assert_eq!(config.auth.jwt_secret, SecretSource::InDataFolder);
    assert_eq!(config.auth.master_key, SecretSource::InDataFolder);
    assert_eq!(config.auth.access_lifetime, Duration::from_secs(25 * 60));
    assert_eq!(config.log.format, LogFormat::Human);
    assert_eq!(config.rate_limits, Some(RateLimits { user: 30, session: 10, channel: 20 }));
    assert_eq!(
        config.web.cors,
        Cors::Origins(vec!["http://localhost:3000".into(), "http://127.0.0.1:3000".into()])
    );
    assert_eq!(config.providers.chain, []);
    assert_eq!(config.notes, Vec::<String>::new());
}

#[test]
fn empty_value_counts_as_not_set() {
    let names: Vec<&'static str> = read(&[]).unwrap().effective().iter().map(|line| line.name).collect();
    let empty: BTreeMap<String, String> =
        names.iter().map(|name| ((*name).to_owned(), "  ".to_owned())).collect();
    assert_eq!(Config::from_map(&empty).unwrap(), read(&[]).unwrap());
}

#[test]
fn invalid_value_gives_one_sentence_that_names_the_variable() {
    let bad = [
        ("HOST", "chat.example"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("QUIZ_LENGTH", "0"),
        ("QUIZ_LENGTH", "21"),
        ("METRICS_ADDR", "9464"),
        ("DATABASE_POOL_SIZE", "0"),
        ("DATABASE_URL", "db.example"),
        ("PROJECTOR_DATABASE_URL", "postgres://db:port/x"),
        ("ALGORITHM", "RS256"),
        ("ALGORITHM", "none"),
        ("SECURITY__JWT_EXPIRES_IN", "0"),
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "25.5"),
        ("REFRESH_TOKEN_EXPIRE_DAYS", "31"),
        ("LOGIN_MAX_DAYS", "0"),
        ("LOCKOUT_FAILURES", "2"),
        ("LOCKOUT_WINDOW_MINUTES", "0"),
        ("LOCKOUT_SECONDS", "901"),
        ("LOCKOUT_MAX_SECONDS", "59"),
        ("SMTP_URL", "mail.example.org"),
        ("MAIL_FROM", "no-address"),
        ("EMAIL__GMAIL_FROM_EMAIL", "no-address"),
        ("MASTER_KEY", "short"),
        ("MASTER_KEY", "0000000000000000000000000000000000000000000000000000000000000000"),
        ("JWT_KID", "a b"),
        ("CORS_ORIGINS", "https://a.example/"),
        ("DEBUG", "maybe"),
        ("LOG_FORMAT", "xml"),
        ("LOG_LEVEL", "loud"),
        ("RUST_LOG", "verbatim=loud"),
        ("RATE_LIMITS", "some"),
        ("RATE_LIMIT_USER_PER_MINUTE", "0"),
        ("MAX_BODY_BYTES", "12"),
        ("REQUEST_TIMEOUT_SECONDS", "0"),
        ("REPLY_WAIT_SECONDS", "30"),
        ("REPLY_DEADLINE_SECONDS", "181"),
        ("PROVIDER_TOTAL_SECONDS", "151"),
        ("REPLY_CONCURRENCY", "0"),
        ("REPLY_MAX_ATTEMPTS", "0"),
        ("SHUTDOWN_SECONDS", "0"),
        ("OPENAI_BASE_URL", "api.openai.com"),
        ("OPENAI_MODEL", "a model"),
        ("MAX_OUTPUT_TOKENS", "0"),
        ("HISTORY_TURNS", "many"),
        ("CONTEXT_TOKENS", "10"),
        ("CONTEXT_FILES_PERCENT", "91"),
        ("SCRIPTED_WORDS_PER_SECOND", "-1"),
        ("SCRIPTED_FAULT", "explode"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "127.0.0.1:4318"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "no pair"),
        ("OTEL_RESOURCE_ATTRIBUTES", "no pair"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_TRACES_SAMPLER_ARG", "2"),
        ("PROVIDER_TRACEPARENT", "perhaps"),
        ("AI_PROVIDERS", "unknown"),
        ("AI_MODELS", "a b"),
        ("AI_SERVICES__GROQ_BASE_URL", "api.groq.com"),
        ("AI_SERVICES__OPEN_ROUTER_MODEL", "a model"),
        ("MODELS_FILE", "/nowhere/models.json"),
        ("CIRCUIT_FAILURES", "0"),
    ];
    for (name, value) in bad {
        let sentence = config_error(&[(name, value)]);
        assert!(sentence.contains(name), "{name}={value}: {sentence}");
    }
}

#[test]
fn mail_uses_a_server_or_gmail() {
    assert_eq!(read(&[]).unwrap().mail, None);
    let own =
        [("SMTP_URL", "smtps://chat:secret-9@mail.example.org"), ("MAIL_FROM", "Chat <chat@example.org>")];
    let config = read(&own).unwrap();
    assert!(!format!("{config:?} {:?}", config.effective()).contains("secret-9"));
    let mail = config.mail.unwrap();
    assert_eq!((mail.host.as_str(), mail.port, mail.tls), ("mail.example.org", 465, MailTls::Implicit));
    assert_eq!(mail.from.to_string(), "Chat <chat@example.org>");

    let gmail =
        [("EMAIL__GMAIL_FROM_EMAIL", "ada@gmail.com"), ("EMAIL__GMAIL_APP_PASSWORD", "abcd efgh ijkl mnop")];
    let mail = read(&gmail).unwrap().mail.unwrap();
    assert_eq!((mail.host.as_str(), mail.port, mail.tls), ("smtp.gmail.com", 465, MailTls::Implicit));
    assert_eq!(mail.credentials, Some(("ada@gmail.com".to_owned(), Secret::new("abcdefghijklmnop"))));
    assert_eq!(mail.from.to_string(), "ada@gmail.com");

    let both = read(&[own.as_slice(), &gmail].concat()).unwrap();
    assert_eq!(both.mail.unwrap().host, "mail.example.org");
    assert!(both.notes.iter().any(|note| note.contains("EMAIL__GMAIL_FROM_EMAIL")), "{:?}", both.notes);

    let sample = read(&[gmail[0], ("EMAIL__GMAIL_APP_PASSWORD", "your_app_password")]).unwrap();
    assert_eq!(sample.mail, None);
    assert_eq!(sample.notes.len(), 1, "{:?}", sample.notes);

    for (half, missing) in [
        (&own[..1], "MAIL_FROM"),
        (&gmail[..1], "EMAIL__GMAIL_APP_PASSWORD"),
        (&gmail[1..], "EMAIL__GMAIL_FROM_EMAIL"),
    ] {
        let sentence = config_error(half);
        assert!(sentence.contains(missing) && !sentence.contains("secret-9"), "{sentence}");
    }
    let sentence = config_error(&[("SMTP_URL", "smtp://chat:secret-9@mail.example.org?tls=off"), own[1]]);
    assert!(sentence.contains("SMTP_URL") && !sentence.contains("secret-9"), "{sentence}");
}

#[test]
fn other_databases_are_rejected_with_a_remedy() {
    for (url, kind) in [("sqlite:///./chatbot.db", "SQLite"), ("mongodb+srv://u:p@x/y", "MongoDB")] {
        let sentence = config_error(&[("DATABASE_URL", url)]);
        assert!(
            sentence.contains(kind) && sentence.contains("postgres://") && !sentence.contains(url),
            "{sentence}"
        );
    }
}

#[test]
fn first_of_three_secret_names_counts() {
    let other = "another-One-of-many-letters-0123456798";
    let config = read(&[("SECRET_KEY", "weak"), ("JWT_SECRET_KEY", other)]).unwrap();
    assert_eq!(config.auth.jwt_secret, SecretSource::Given(Secret::new(other)));
    assert_eq!(config.notes, ["SECRET_KEY has no effect, since JWT_SECRET_KEY is set."]);
    let config = read(&[("SECURITY__JWT_SECRET", STRONG), ("JWT_SECRET_KEY", other)]).unwrap();
    assert_eq!(config.auth.jwt_secret, SecretSource::Given(Secret::new(STRONG)));
}

#[test]
fn weak_secret_is_rejected_under_every_name_and_never_shown() {
    let weak = [
        "your-secret-key-change-in-production",
        "your-secret-key-here-change-in-production",
        "your-secret-key-change-this-in-production",
        "0123456789abcdef",
        "abcabcabcabcabcabcabcabcabcabcabcabcabcabc",
        "password123password123password123",
        "f3a1c09b7e5d2846f3a1c09b7e5d2846",
    ];
    for name in ["SECURITY__JWT_SECRET", "JWT_SECRET_KEY", "SECRET_KEY"] {
        for value in weak {
            let sentence = config_error(&[(name, value)]);
            assert!(sentence.contains(name) && !sentence.contains(value), "{sentence}");
        }
    }
}

#[test]
fn external_database_requires_secrets() {
    let base = [("DATABASE_URL", "postgresql://app@db/chat")];
    assert!(config_error(&base).contains("JWT_SECRET_KEY is not set"));
    assert!(config_error(&[base[0], ("SECRET_KEY", STRONG)]).contains("MASTER_KEY is not set"));
    let config = server(&[]).unwrap();
    assert_eq!(config.log.format, LogFormat::Json);
    let Database::Server { application, projector, migrate } = &config.storage.database else { panic!() };
    assert_eq!(application.expose(), "postgres://app:pw@db/chat");
    assert_eq!((projector, migrate), (application, application));
}

#[test]
fn each_database_role_may_have_its_own_url() {
    let config = server(&[("MIGRATE_DATABASE_URL", "postgres://owner:pw@db/chat")]).unwrap();
    let Database::Server { projector, migrate, .. } = &config.storage.database else { panic!() };
    assert_eq!(projector.expose(), "postgres://app:pw@db/chat");
    assert_eq!(migrate.expose(), "postgres://owner:pw@db/chat");
}

#[test]
fn previous_secrets_are_accepted_by_key_id() {
    let list = format!("old:{STRONG}x, older:{STRONG}y,");
    let config = server(&[("JWT_PREVIOUS_SECRETS", &list)]).unwrap();
    let names: Vec<&str> = config.auth.previous.iter().map(|previous| previous.kid.as_str()).collect();
    assert_eq!(names, ["old", "older"]);
    for bad in
        [STRONG.to_owned(), "old:short".to_owned(), format!("a:{STRONG}x,a:{STRONG}y"), format!("k:{STRONG}")]
    {
        let sentence = server(&[("JWT_PREVIOUS_SECRETS", &bad), ("JWT_KID", "k")]).unwrap_err().to_string();
        assert!(sentence.contains("JWT_PREVIOUS_SECRETS") && !sentence.contains(STRONG), "{sentence}");
    }
}

#[test]
fn seconds_take_precedence_over_minutes() {
    let pairs = [("SECURITY__JWT_EXPIRES_IN", "1800"), ("ACCESS_TOKEN_EXPIRE_MINUTES", "60")];
    assert_eq!(read(&pairs).unwrap().auth.access_lifetime, Duration::from_secs(1800));
    assert_eq!(read(&pairs[1..]).unwrap().auth.access_lifetime, Duration::from_secs(3600));
}

#[test]
fn debug_opens_cors_unless_origins_are_listed() {
    assert_eq!(read(&[("DEBUG", "true")]).unwrap().web.cors, Cors::Any);
    let listed = read(&[("DEBUG", "true"), ("CORS_ORIGINS", "https://a.example")]).unwrap();
    assert_eq!(listed.web.cors, Cors::Origins(vec!["https://a.example".into()]));
    assert_eq!(read(&[("CORS_ORIGINS", "*")]).unwrap().web.cors, Cors::Any);
}

#[test]
fn level_names_of_other_languages_are_accepted() {
    assert_eq!(read(&[("LOG_LEVEL", "WARNING")]).unwrap().log.filter, "warn");
    assert_eq!(read(&[("LOG_LEVEL", "INFO")]).unwrap().log.filter, "INFO");
    let both = [("LOG_LEVEL", "error"), ("RUST_LOG", "debug")];
    assert_eq!(read(&both).unwrap().log.filter, "error");
    assert_eq!(read(&both[1..]).unwrap().log.filter, "debug");
}

#[test]
fn openai_key_enables_openai_unless_it_is_a_sample() {
    let config =
        read(&[("OPENAI_API_KEY", "sk-0815"), ("OPENAI_BASE_URL", "http://127.0.0.1:9/v1/")]).unwrap();
    let [openai] = &config.providers.chain[..] else { panic!() };
    assert_eq!((openai.service.name, openai.keys[0].1.expose()), ("openai", "sk-0815"));
    assert_eq!(openai.base_url.as_deref(), Some("http://127.0.0.1:9/v1"));
    assert_eq!(openai.model, "gpt-4o-mini");
    for sample in ["your-api-key-here", "sk-proj-your-actual-api-key-here", "your_openai_api_key"] {
        let config = read(&[("OPENAI_API_KEY", sample)]).unwrap();
        assert_eq!(config.providers.chain, [], "{sample}");
        assert!(config.notes[0].contains("OPENAI_API_KEY"), "{:?}", config.notes);
    }
}

#[test]
fn ignored_variables_are_reported() {
    for (name, _) in IGNORED_VARIABLES {
        let config = read(&[(name, "12")]).unwrap();
        assert!(config.notes.len() == 1 && config.notes[0].starts_with(name), "{:?}", config.notes);
    }
}

#[test]
fn environment_overrides_the_file_and_source_is_reported() {
    let (environment, file) =
        (map(&[("PORT", "1"), ("HOST", "")]), map(&[("PORT", "2"), ("HOST", "::1"), ("X", "1")]));
    let file = [file, map(&[("SHUTDOWN_SECONDS", "7")])].into_iter().flatten().collect();
    let config = Config::read(&environment, &file).unwrap();
    assert_eq!(config.web.listen.to_string(), "0.0.0.0:1");
    assert_eq!(config.notes, ["X in .env is not a variable that Verbatim knows."]);
    let line = |name| config.effective().iter().find(|line| line.name == name).unwrap().clone();
    assert_eq!(line("PORT"), Effective { name: "PORT", value: "1".into(), source: Source::Environment });
    assert_eq!(
        line("SHUTDOWN_SECONDS"),
        Effective { name: "SHUTDOWN_SECONDS", value: "7".into(), source: Source::DotEnv }
    );
    assert_eq!(line("HOST").source, Source::Default);
}

#[test]
fn secrets_are_never_shown() {
    let list = format!("old:{STRONG}x");
    let config = server(&[
        ("OPENAI_API_KEY", "sk-hidden"),
        ("JWT_PREVIOUS_SECRETS", &list),
        ("MONGODB_URL", "mongodb://u:hidden@x"),
    ])
    .unwrap();
    let shown = format!("{config:?} {:?}", config.effective());
    for secret in [STRONG, KEY, "hidden", ":pw@"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    assert!(shown.contains("postgres://[redacted]@db:5432/chat"), "{shown}");
}

#[test]
fn bad_line_of_env_file_is_reported_without_its_value() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join(".env");
    assert_eq!(read_dot_env(&path).unwrap(), BTreeMap::new());
    std::fs::write(&path, "# comment\nPORT=1\nexport HOST='::1'\nPORT=2\n").unwrap();
    assert_eq!(read_dot_env(&path).unwrap(), map(&[("PORT", "1"), ("HOST", "::1")]));
    for (before, named) in [("", "first entry"), ("PORT=1\n# comment\n", "after PORT")] {
        std::fs::write(&path, format!("{before}JWT_SECRET_KEY=top secret value\n")).unwrap();
        let sentence = read_dot_env(&path).unwrap_err().to_string();
        assert!(sentence.contains(named) && !sentence.contains("top"), "{sentence}");
    }
}

#[test]
fn files_are_stored_in_the_data_folder_by_default() {
    let folder = |path: &str, is_configured| FileStoreLocation::Folder { path: path.into(), is_configured };
    assert_eq!(read(&[("DATA_DIR", "/srv/v")]).unwrap().files.location, folder("/srv/v/files", false));
    assert_eq!(server(&[]).unwrap().files.location, folder("./data/files", false));
    assert_eq!(read(&[("FILES_URL", "file:///srv/f")]).unwrap().files.location, folder("/srv/f", true));
    let bucket = [
        ("FILES_URL", "s3://b/p"),
        ("AWS_ACCESS_KEY_ID", "visible-id"),
        ("AWS_SECRET_ACCESS_KEY", "visible-secret"),
        ("AWS_SESSION_TOKEN", "visible-token"),
    ];
    let config = read(&bucket).unwrap();
    let FileStoreLocation::S3(s3) = &config.files.location else { panic!("no bucket") };
    assert_eq!((s3.bucket.as_str(), s3.region.as_str(), s3.endpoint.as_deref()), ("b", "us-east-1", None));
    let shown = format!("{config:?} {:?}", config.effective());
    assert!(!shown.contains("visible"), "{shown}");
    assert!(config_error(&bucket[..2]).starts_with("AWS_SECRET_ACCESS_KEY is not set"));
    assert!(config_error(&[bucket[0], bucket[2]]).starts_with("AWS_ACCESS_KEY_ID is not set"));
    assert!(config_error(&[("FILES_URL", "/srv/f")]).starts_with("FILES_URL is `/srv/f`"));
    assert!(
        config_error(&[("MAX_FILE_BYTES", "2000"), ("MAX_FILE_BYTES_PER_USER", "1999")])
            .starts_with("MAX_FILE_BYTES (2000)")
    );
    assert!(config_error(&[("PUBLIC_URL", "chat.example")]).starts_with("PUBLIC_URL"));
}
