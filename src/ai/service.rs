//! AI services: name, address, protocol and peculiarities of each. One folder per service; [`SERVICES`] lists them.

use serde_json::Value;

use super::ProviderError;

/// Every configurable service, in the default order of the chain.
pub static SERVICES: [&Service; 4] =
    [&super::openai::SERVICE, &super::openrouter::SERVICE, &super::groq::SERVICE, &super::gemini::SERVICE];

/// Returns the service with this name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Service> {
    SERVICES.into_iter().find(|service| service.name == name)
}

/// The protocol of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// OpenAI's Responses API.
    Responses,
    /// Chat Completions.
    ChatCompletions,
}

impl Api {
    /// Returns the name in settings and in the provenance.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Responses => "responses",
            Self::ChatCompletions => "chat_completions",
        }
    }

    /// Returns the protocol with this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        [Self::Responses, Self::ChatCompletions].into_iter().find(|api| api.as_str() == name)
    }
}

/// Name of the output limit in Chat Completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LengthField {
    /// The old name, which every server of the protocol accepts.
    MaxTokens,
    /// The new name, which newer OpenAI models require.
    MaxCompletionTokens,
}

/// Classifies a service's own error codes in an error object. The status is that of the response, or that of an error within
/// a stream. `None`: the common classification applies.
pub type ErrorClassifier = fn(Option<u16>, &Value) -> Option<ProviderError>;

/// The classifier of a service without own error codes.
pub fn no_classifier(_status: Option<u16>, _error: &Value) -> Option<ProviderError> {
    None
}

/// Variables that configure a service.
#[derive(Debug)]
pub struct Variables {
    /// Keys; the first one has number 1.
    pub keys: &'static [&'static str],
    /// Base URL, if not the usual one.
    pub base_url: &'static str,
    /// Model for requests that name none.
    pub model: &'static str,
    /// Protocol, where there is a choice.
    pub api: Option<&'static str>,
}

/// An AI service.
#[derive(Debug)]
pub struct Service {
    /// Short name in settings, events and metrics.
    pub name: &'static str,
    /// Name for people.
    pub title: &'static str,
    /// Variables that configure it.
    pub variables: Variables,
    /// Usual base URL.
    pub base_url: &'static str,
    /// Default model.
    pub model: &'static str,
    /// Default protocol.
    pub api: Api,
    /// Name of the output limit.
    pub length: LengthField,
    /// Name of the output limit for other servers at this service's base URL.
    pub length_elsewhere: LengthField,
    /// Whether it accepts documents (PDF) in Chat Completions.
    pub documents: bool,
    /// Model for transcription, if any.
    pub transcriber: Option<&'static str>,
    /// Classifier of its error codes.
    pub classifier: ErrorClassifier,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn service_names_and_variables_are_unique() {
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
