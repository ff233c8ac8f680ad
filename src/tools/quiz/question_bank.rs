//! The question bank: topics with their questions, validated once when it is loaded.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use aggregates::quiz::{Question, check_questions};
use serde::Deserialize;
use uuid::Uuid;

use super::tokenize::{normalize, tokenize};

/// The built-in questions.
const BUILT_IN: &str = include_str!("questions.json");

/// Most bytes of a question file.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Most options of a question: a card has to show them.
const MAX_OPTIONS: usize = 10;
/// Most bytes of the name of a topic, a question or a choice.
const MAX_NAME_BYTES: usize = 64;
/// Most characters of a text.
const MAX_TEXT_CHARS: usize = 1000;

/// Topics with questions: at least one topic, and at least one question per topic.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuestionBank {
    topics: Vec<Topic>,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topic {
    /// Name in requests and events.
    pub name: String,
    /// Name shown to users.
    pub title: String,
    /// Other names that users may type.
    #[serde(default)]
    pub aliases: Vec<String>,
    questions: Vec<Question>,
}

/// The questions of one quiz.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectedQuestions {
    /// Name of the topic.
    pub topic: String,
    /// The questions, in order.
    pub questions: Vec<Question>,
}

/// The question bank has no such topic. Lists the available topics, and not the requested one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no quiz about that; the topics are {}", .topics.join(", "))]
pub struct UnknownTopic {
    /// Names of the available topics, in the bank's order.
    pub topics: Vec<String>,
}

/// Why a question bank is invalid.
#[derive(Debug, thiserror::Error)]
pub enum QuestionBankError {
    /// The file cannot be read.
    #[error("it cannot be read ({0})")]
    Unreadable(#[from] std::io::Error),
    /// The file is too large.
    #[error("it has more than {MAX_FILE_BYTES} bytes")]
    TooLarge,
    /// The content is invalid.
    #[error("at {place}: {what}")]
    Content {
        /// Path of the invalid value, for example `topics[0].questions[2].correct`.
        place: String,
        /// The problem.
        what: String,
    },
}

impl QuestionBank {
    /// Returns the built-in question bank.
    ///
    /// # Errors
    /// None in practice, as a test shows; see [`QuestionBank::parse`].
    pub fn built_in() -> Result<Self, QuestionBankError> {
        Self::parse(BUILT_IN)
    }

    /// Loads a question bank from a file with the format of the built-in one.
    ///
    /// # Errors
    /// See [`QuestionBankError`].
    pub fn from_file(path: &Path) -> Result<Self, QuestionBankError> {
        if std::fs::metadata(path)?.len() > MAX_FILE_BYTES {
            return Err(QuestionBankError::TooLarge);
        }
        Self::parse(&std::fs::read_to_string(path)?)
    }

    /// Parses a question bank from JSON.
    ///
    /// # Errors
    /// The first invalid value.
    pub fn parse(text: &str) -> Result<Self, QuestionBankError> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let bank: Self = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
            let place = error.path().to_string();
            let place = if place == "." { "the top level".to_owned() } else { place };
            fault(place, error.inner().to_string())
        })?;
        deserializer.end().map_err(|error| fault("the end", error.to_string()))?;
        bank.check()?;
        Ok(bank)
    }

    /// Returns the topics, in the bank's order.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.topics.iter()
    }

    /// Finds a topic by name, title or alias, in any spelling.
    pub fn topic(&self, named: &str) -> Option<&Topic> {
        let named = normalize(&tokenize(named));
        self.topics.iter().find(|topic| topic.names().any(|known| known == named))
    }

    /// Selects up to `count` questions about a topic, or about one that `seed` selects; deterministic for a seed.
    ///
    /// # Errors
    /// There is no such topic.
    pub fn select(
        &self,
        topic: Option<&str>,
        count: usize,
        seed: u128,
    ) -> Result<SelectedQuestions, UnknownTopic> {
        let unknown =
            || UnknownTopic { topics: self.topics.iter().map(|topic| topic.name.clone()).collect() };
        // A UUID v5 in the seed's namespace is as good as a random number, and the same in every process.
        let rank = |name: &str| Uuid::new_v5(&Uuid::from_u128(seed), name.as_bytes());
        let topic = match topic {
            Some(named) => self.topic(named),
            None => self.topics.iter().min_by_key(|topic| rank(&topic.name)),
        }
        .ok_or_else(unknown)?;
        let mut questions: Vec<&Question> = topic.questions.iter().collect();
        questions.sort_by_cached_key(|question| rank(&question.id));
        Ok(SelectedQuestions {
            topic: topic.name.clone(),
            questions: questions.into_iter().take(count.max(1)).cloned().collect(),
        })
    }

    fn check(&self) -> Result<(), QuestionBankError> {
        if self.topics.is_empty() {
            return Err(fault("topics", "the list is empty"));
        }
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        let mut ids = BTreeSet::new();
        for (n, topic) in self.topics.iter().enumerate() {
            let place = format!("topics[{n}]");
            check_name(format!("{place}.name"), &topic.name)?;
            check_text(format!("{place}.title"), &topic.title)?;
            for name in topic.names() {
                if name.is_empty() {
                    return Err(fault(place, "a name without letters or digits"));
                }
                if *names.entry(name).or_insert(n) != n {
                    return Err(fault(place, "another topic has one of its names"));
                }
            }
            for (m, question) in topic.questions.iter().enumerate() {
                let place = format!("{place}.questions[{m}]");
                check_question(&place, question)?;
                if !ids.insert(question.id.as_str()) {
                    return Err(fault(format!("{place}.id"), "another question has the same id"));
                }
            }
            check_questions(&topic.questions)
                .map_err(|error| fault(format!("{place}.questions"), error.to_string()))?;
        }
        Ok(())
    }
}

impl Topic {
    /// Returns the number of questions, at least one.
    pub fn len(&self) -> usize {
        self.questions.len()
    }

    /// Returns whether there are no questions; never true in a question bank.
    pub fn is_empty(&self) -> bool {
        self.questions.is_empty()
    }

    /// Returns all names, normalised.
    fn names(&self) -> impl Iterator<Item = String> {
        let names = [&self.name, &self.title].into_iter().chain(&self.aliases);
        names.map(|text| normalize(&tokenize(text)))
    }
}

fn check_question(place: &str, question: &Question) -> Result<(), QuestionBankError> {
    check_name(format!("{place}.id"), &question.id)?;
    check_text(format!("{place}.prompt"), &question.prompt)?;
    if question.options.len() > MAX_OPTIONS {
        return Err(fault(format!("{place}.options"), format!("there are more than {MAX_OPTIONS}")));
    }
    for (n, option) in question.options.iter().enumerate() {
        check_name(format!("{place}.options[{n}].value"), &option.value)?;
        check_text(format!("{place}.options[{n}].label"), &option.label)?;
    }
    for (name, text) in [("hint", &question.hint), ("explanation", &question.explanation)] {
        if let Some(text) = text {
            check_text(format!("{place}.{name}"), text)?;
        }
    }
    // One by one, so that the error names the question.
    check_questions(std::slice::from_ref(question)).map_err(|error| fault(place, error.to_string()))
}

fn check_name(place: String, name: &str) -> Result<(), QuestionBankError> {
    let fits = (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
    if fits {
        Ok(())
    } else {
        Err(fault(
            place,
            format!("it must have 1 to {MAX_NAME_BYTES} visible ASCII characters and no blanks"),
        ))
    }
}

fn check_text(place: String, text: &str) -> Result<(), QuestionBankError> {
    let length = text.chars().count();
    if text.trim().is_empty() || length > MAX_TEXT_CHARS || text.chars().any(char::is_control) {
        return Err(fault(place, format!("it must be one line of 1 to {MAX_TEXT_CHARS} characters")));
    }
    Ok(())
}

fn fault(place: impl Into<String>, what: impl Into<String>) -> QuestionBankError {
    QuestionBankError::Content { place: place.into(), what: what.into() }
}

#[cfg(test)]
mod tests;
