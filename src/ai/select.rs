//! Picks the provider at start-up.

use std::sync::Arc;

use thiserror::Error;

use super::{ApiKey, Guarded, Limits, OpenAi, OpenAiSettings, Provider, Scripted, ScriptedSettings};

/// The model that is asked for when none is configured.
pub const DEFAULT_MODEL: &str = "gpt-4o-mini";

/// What the configuration says about AI. Blank texts count as not set, as an empty line of `.env` makes them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AiSettings {
    /// `OPENAI_API_KEY`.
    pub openai_api_key: Option<ApiKey>,
    /// `OPENAI_BASE_URL`; OpenAI's own when not set.
    pub openai_base_url: Option<String>,
    /// The model to ask; [`DEFAULT_MODEL`] when not set. The scripted provider has only its own.
    pub model: Option<String>,
    /// What every provider must keep to.
    pub limits: Limits,
    /// How the scripted provider behaves, when it is the one.
    pub scripted: ScriptedSettings,
}

/// The configuration cannot be used; each says which variable is at fault and never shows a key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SettingsError {
    /// The key is blank.
    #[error("OPENAI_API_KEY is empty")]
    KeyMissing,
    /// The key has characters that no key has.
    #[error("OPENAI_API_KEY must be the bare key: no quotes, no blanks, no line breaks")]
    KeyMalformed,
    /// The base URL is none, or has parts that make no sense in one.
    #[error(
        "OPENAI_BASE_URL must be a URL such as https://api.openai.com/v1, without user, query or fragment"
    )]
    BaseUrlMalformed,
    /// The base URL would send the key in the open.
    #[error("OPENAI_BASE_URL must begin with https:// (http:// is allowed to this machine only)")]
    BaseUrlInsecure,
    /// The HTTP client could not be made, as a rule because the system's certificates cannot be read.
    #[error(
        "the HTTPS client for the AI provider could not be set up: are the system's CA certificates installed?"
    )]
    HttpClient,
}

/// OpenAI when a key is set, the scripted provider otherwise, both under the limits that are set.
///
/// # Errors
///
/// [`SettingsError`] when a key is set that cannot be one, or a base URL that cannot be used.
pub fn from_settings(settings: AiSettings) -> Result<Arc<dyn Provider>, SettingsError> {
    let AiSettings { openai_api_key, openai_base_url, model, limits, scripted } = settings;
    let set = |text: &String| !text.trim().is_empty();
    match openai_api_key.filter(|key| !key.is_blank()) {
        Some(api_key) => {
            let model = model.filter(set).unwrap_or_else(|| DEFAULT_MODEL.to_owned());
            let base_url = openai_base_url.filter(set);
            let openai = OpenAi::try_new(OpenAiSettings { api_key, base_url, model, limits })?;
            Ok(Arc::new(Guarded::new(openai, limits)))
        }
        None => Ok(Arc::new(Guarded::new(Scripted::new(scripted), limits))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_key(key: &str) -> AiSettings {
        AiSettings { openai_api_key: Some(ApiKey::new(key)), ..AiSettings::default() }
    }

    #[test]
    fn without_a_key_it_is_the_scripted_provider_and_says_so() {
        for settings in [AiSettings::default(), with_key(""), with_key("  ")] {
            let provider = from_settings(settings).unwrap();
            assert_eq!((provider.name(), provider.model()), ("scripted", "scripted-echo-1"));
            assert!(provider.describe().contains("scripted"), "{}", provider.describe());
        }
    }

    #[test]
    fn with_a_key_it_is_openai_and_the_key_is_not_shown() {
        let settings = with_key("sk-proj-secret");
        assert!(!format!("{settings:?}").contains("secret"));
        let provider = from_settings(settings).unwrap();
        assert_eq!((provider.name(), provider.model()), ("openai", DEFAULT_MODEL));
        assert_eq!(provider.describe(), "AI: OpenAI Responses API at api.openai.com, model gpt-4o-mini");
    }

    #[test]
    fn the_configured_model_is_taken() {
        let settings = AiSettings { model: Some("gpt-x".to_owned()), ..with_key("sk-1") };
        assert_eq!(from_settings(settings).unwrap().model(), "gpt-x");
    }

    #[test]
    fn a_blank_setting_is_none() {
        let blank = || Some(" ".to_owned());
        let settings = AiSettings { openai_base_url: blank(), model: blank(), ..with_key("sk-1") };
        let provider = from_settings(settings).unwrap();
        assert_eq!(provider.describe(), "AI: OpenAI Responses API at api.openai.com, model gpt-4o-mini");
    }

    #[test]
    fn a_bad_key_or_base_url_is_refused() {
        for key in ["\"sk-1\"", "sk 1", "sk-1\n", "'sk-1'", "sk-é"] {
            assert_eq!(from_settings(with_key(key)).err(), Some(SettingsError::KeyMalformed), "{key:?}");
        }
        let url = AiSettings { openai_base_url: Some("nonsense".to_owned()), ..with_key("sk-1") };
        assert_eq!(from_settings(url).err(), Some(SettingsError::BaseUrlMalformed));
    }
}
