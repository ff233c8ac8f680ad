//! The services that have models: what each of them is called, where it is, which protocol it speaks, and in what it
//! differs from the others. One folder each; [`SERVICES`] lists them.

use serde_json::Value;

use super::ProviderError;

/// Every service that can be configured, in the order in which they are asked by default.
pub static SERVICES: [&Service; 4] =
    [&super::openai::SERVICE, &super::openrouter::SERVICE, &super::groq::SERVICE, &super::gemini::SERVICE];

/// The service of this name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Service> {
    SERVICES.into_iter().find(|service| service.name == name)
}

/// Which of OpenAI's protocols a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// The Responses API.
    Responses,
    /// Chat Completions.
    ChatCompletions,
}

impl Api {
    /// Its name in settings and in the provenance.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Responses => "responses",
            Self::ChatCompletions => "chat_completions",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        [Self::Responses, Self::ChatCompletions].into_iter().find(|api| api.as_str() == name)
    }
}

/// What the limit of a reply's tokens is called in Chat Completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LengthField {
    /// The old name, which every server of the protocol knows.
    MaxTokens,
    /// The new one, which newer models of OpenAI's insist on.
    MaxCompletionTokens,
}

/// Reads a service's own words in an error object; the status is that of the answer, or, in a stream, of the error. None: what
/// all services say counts.
pub type ErrorClassifier = fn(Option<u16>, &Value) -> Option<ProviderError>;

/// The words of a service that has none of its own.
pub fn no_classifier(_status: Option<u16>, _error: &Value) -> Option<ProviderError> {
    None
}

/// Where a service is configured.
#[derive(Debug)]
pub struct Variables {
    /// Its keys; the first one has number 1.
    pub keys: &'static [&'static str],
    /// Where it is, if not in its usual place.
    pub base_url: &'static str,
    /// The model that is asked when a person names none.
    pub model: &'static str,
    /// Which protocol it speaks, where there is a choice.
    pub api: Option<&'static str>,
}

/// A service that has models.
#[derive(Debug)]
pub struct Service {
    /// Its short name, in settings, events and metrics.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// Where it is configured.
    pub variables: Variables,
    /// Its usual base URL.
    pub base_url: &'static str,
    /// The model that is asked when nothing else is configured.
    pub model: &'static str,
    /// The protocol it speaks, if nothing else is configured.
    pub api: Api,
    /// What the limit of a reply's tokens is called.
    pub length: LengthField,
    /// The same for other servers that pass for this service.
    pub length_elsewhere: LengthField,
    /// Whether it reads documents (PDF) in Chat Completions.
    pub documents: bool,
    /// The model that writes down speech, if it has one.
    pub transcriber: Option<&'static str>,
    /// Its own words for errors.
    pub words: ErrorClassifier,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_services_share_a_name_or_a_variable() {
        let names: BTreeSet<&str> = SERVICES.iter().map(|service| service.name).collect();
        assert_eq!(names.len(), SERVICES.len());
        let variables: Vec<&str> = SERVICES
            .iter()
            .flat_map(|service| {
                let Variables { keys, base_url, model, api } = &service.variables;
                keys.iter().copied().chain([*base_url, *model]).chain(*api)
            })
            .collect();
        assert_eq!(variables.iter().collect::<BTreeSet<_>>().len(), variables.len(), "{variables:?}");
        assert!(SERVICES.iter().all(|service| !service.variables.keys.is_empty()));
    }

    #[test]
    fn services_and_protocols_are_found_by_name() {
        assert_eq!(by_name("groq").map(|service| service.title), Some("Groq"));
        assert!(by_name("scripted").is_none());
        for api in [Api::Responses, Api::ChatCompletions] {
            assert_eq!(Api::by_name(api.as_str()), Some(api));
        }
        assert_eq!(Api::by_name("assistants"), None);
    }
}
