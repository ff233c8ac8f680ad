use std::collections::BTreeMap;

use super::*;
use crate::config::Config;

fn read(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let map = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::from_map(&map.collect::<BTreeMap<_, _>>())
}

fn chain(config: &Config) -> Vec<(&'static str, Vec<u32>)> {
    let numbers = |one: &ServiceConfig| one.keys.iter().map(|(number, _)| *number).collect();
    config.providers.chain.iter().map(|one| (one.service.name, numbers(one))).collect()
}

const ALL: [(&str, &str); 5] = [
    ("AI_SERVICES__GEMINI_API_KEY", "visible-gemini"),
    ("AI_SERVICES__GROQ_API_KEY", "visible-groq"),
    ("AI_SERVICES__OPEN_ROUTER_API_KEY_1", "visible-one"),
    ("AI_SERVICES__OPEN_ROUTER_API_KEY_2", "visible-two"),
    ("OPENAI_API_KEY", "visible-openai"),
];

#[test]
fn base_urls_are_web_addresses_without_secrets() {
    assert_eq!(parse_base_url("http://127.0.0.1:9/v1/").as_deref(), Some("http://127.0.0.1:9/v1"));
    for rejected in ["api.openai.com", "ftp://x/v1", "https://user:key@x/v1", "https://x/v1?key=1"] {
        assert_eq!(parse_base_url(rejected), None, "{rejected}");
    }
}

#[test]
fn every_provider_with_a_key_is_used_in_default_order() {
    assert_eq!(chain(&read(&[]).unwrap()), []);
    let config = read(&ALL).unwrap();
    let expected = [("openai", vec![1]), ("openrouter", vec![1, 2]), ("groq", vec![1]), ("gemini", vec![1])];
    assert_eq!(chain(&config), expected);
    let shown = format!("{config:?} {:?}", config.effective());
    assert!(!shown.contains("visible"), "{shown}");
    assert_eq!(chain(&read(&ALL[3..4]).unwrap()), [("openrouter", vec![2])]);
}

#[test]
fn configured_order_requires_the_keys() {
    let set = |order| read(&[&[("AI_PROVIDERS", order)], &ALL[..]].concat());
    let config = set("groq, openai").unwrap();
    assert_eq!(chain(&config), [("groq", vec![1]), ("openai", vec![1])]);
    assert!(
        config.notes.iter().any(|note| note.starts_with("Gemini has a key but is not used")),
        "{:?}",
        config.notes
    );
    assert_eq!(chain(&set("scripted").unwrap()), []);
    for bad in ["grok", "groq,groq", "groq,,openai", "openai,scripted"] {
        assert!(set(bad).unwrap_err().to_string().starts_with("AI_PROVIDERS is"), "{bad}");
    }
    let error = read(&[("AI_PROVIDERS", "openai,groq"), ("OPENAI_API_KEY", "k")]).unwrap_err().to_string();
    assert!(error.starts_with("AI_SERVICES__GROQ_API_KEY is not set"), "{error}");
}

#[test]
fn custom_server_may_use_either_protocol() {
    let base = [("OPENAI_API_KEY", "k"), ("OPENAI_BASE_URL", "http://127.0.0.1:9/v1/")];
    assert_eq!(read(&base).unwrap().providers.chain[0].api, Api::Responses);
    let config = read(&[base[0], base[1], ("OPENAI_API", "chat_completions")]).unwrap();
    let [one] = &config.providers.chain[..] else { panic!("one provider") };
    assert_eq!((one.api, one.base_url.as_deref()), (Api::ChatCompletions, Some("http://127.0.0.1:9/v1")));
    assert!(read(&[("OPENAI_API", "assistants")]).is_err());
    let config = read(&base[1..]).unwrap();
    let note = "OPENAI_BASE_URL has no effect without OPENAI_API_KEY (a server that asks for no key takes any word).";
    assert_eq!(config.notes, [note]);
}

#[test]
fn limits_are_bounded_and_consistent() {
    let defaults = read(&[]).unwrap().providers;
    assert_eq!((defaults.limits, defaults.retries), (Limits::default(), RetrySettings::default()));
    assert_eq!(defaults.circuit, CircuitSettings::default());
    for (pairs, says) in [
        (&[("PROVIDER_CONNECT_SECONDS", "0")][..], "PROVIDER_CONNECT_SECONDS"),
        (&[("PROVIDER_FIRST_BYTE_SECONDS", "151")], "PROVIDER_FIRST_BYTE_SECONDS"),
        (&[("PROVIDER_IDLE_SECONDS", "x")], "PROVIDER_IDLE_SECONDS"),
        (
            &[("PROVIDER_TOTAL_SECONDS", "60"), ("REPLY_DEADLINE_SECONDS", "60")],
            "PROVIDER_TOTAL_SECONDS (60)",
        ),
        (&[("PROVIDER_BACKOFF_MILLISECONDS", "1")], "PROVIDER_BACKOFF_MILLISECONDS"),
        (&[("PROVIDER_WAIT_SECONDS", "30"), ("PROVIDER_WAITS_SECONDS", "20")], "PROVIDER_WAIT_SECONDS (30)"),
        (&[("CIRCUIT_FAILURES", "0")], "CIRCUIT_FAILURES"),
        (&[("CIRCUIT_PROBE_SECONDS", "301")], "CIRCUIT_PROBE_SECONDS"),
    ] {
        let rejected = read(pairs).unwrap_err().to_string();
        assert!(rejected.starts_with(says), "{pairs:?}: {rejected}");
    }
}

#[test]
fn models_are_read_from_own_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    std::fs::write(path, r#"[{"name": "fast", "provider": "groq", "model": "llama"}]"#).unwrap();
    let config = read(&[("MODELS_FILE", path), ("AI_MODELS", "fast, other")]).unwrap();
    assert_eq!(config.providers.models.rows()[0].name, "fast");
    assert_eq!(config.providers.allowed.as_deref(), Some(&["fast".to_owned(), "other".to_owned()][..]));
    std::fs::write(path, "[").unwrap();
    let error = read(&[("MODELS_FILE", path)]).unwrap_err().to_string();
    assert!(error.contains("MODELS_FILE") && error.contains(path), "{error}");
    assert!(read(&[("AI_MODELS", "a b")]).is_err());
}
