//! The bank of questions: topics with their questions, checked once when it is loaded.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use aggregates::quiz::{Question, check_questions};
use serde::Deserialize;
use uuid::Uuid;

use super::words::{name, words};

/// The questions that come with the program.
const BUILT_IN: &str = include_str!("questions.json");

/// The largest file, in bytes.
const MAX_FILE: u64 = 1024 * 1024;
/// The most options of a question: a card has to show them.
const MAX_OPTIONS: usize = 10;
/// The longest name of a topic, a question or a choice, in bytes.
const MAX_NAME: usize = 64;
/// The longest text, in characters.
const MAX_TEXT: usize = 1000;

/// Topics with questions. There is at least one topic, and each has a question.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bank {
    topics: Vec<Topic>,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topic {
    /// Its name in requests and events.
    pub name: String,
    /// Its name for people.
    pub title: String,
    /// What people call it besides.
    #[serde(default)]
    pub aliases: Vec<String>,
    questions: Vec<Question>,
}

/// Questions for one quiz.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picked {
    /// The topic's name.
    pub topic: String,
    /// The questions, in the order in which they are asked.
    pub questions: Vec<Question>,
}

/// There are no questions about that. Names the topics there are, and not what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no quiz about that; the topics are {}", .topics.join(", "))]
pub struct UnknownTopic {
    /// The names of the topics, in the bank's order.
    pub topics: Vec<String>,
}

/// Why a bank is not taken.
#[derive(Debug, thiserror::Error)]
pub enum BankError {
    /// The file cannot be read.
    #[error("it cannot be read ({0})")]
    Unreadable(#[from] std::io::Error),
    /// The file is too large.
    #[error("it has more than {MAX_FILE} bytes")]
    TooLarge,
    /// Something in it is not as it must be.
    #[error("at {place}: {what}")]
    Content {
        /// Where, for example `topics[0].questions[2].correct`.
        place: String,
        /// What is wrong.
        what: String,
    },
}

impl Bank {
    /// The bank that comes with the program.
    ///
    /// # Errors
    /// None, as a test shows; see [`Bank::parse`].
    pub fn built_in() -> Result<Self, BankError> {
        Self::parse(BUILT_IN)
    }

    /// The bank in a file of the same shape as the built-in one.
    ///
    /// # Errors
    /// See [`BankError`].
    pub fn from_file(path: &Path) -> Result<Self, BankError> {
        if std::fs::metadata(path)?.len() > MAX_FILE {
            return Err(BankError::TooLarge);
        }
        Self::parse(&std::fs::read_to_string(path)?)
    }

    /// A bank from its JSON text.
    ///
    /// # Errors
    /// The first place that is not as it must be.
    pub fn parse(text: &str) -> Result<Self, BankError> {
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

    /// The topics, in the bank's order.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.topics.iter()
    }

    /// The topic that somebody means, by name, title or alias, in whatever spelling.
    pub fn topic(&self, named: &str) -> Option<&Topic> {
        let named = name(&words(named));
        self.topics.iter().find(|topic| topic.names().any(|known| known == named))
    }

    /// Up to `count` questions about a topic, or about one that `seed` chooses; always the same for the same seed.
    ///
    /// # Errors
    /// There is no such topic.
    pub fn pick(&self, topic: Option<&str>, count: usize, seed: u128) -> Result<Picked, UnknownTopic> {
        let unknown =
            || UnknownTopic { topics: self.topics.iter().map(|topic| topic.name.clone()).collect() };
        // A name under the seed's namespace is as good as a random number, and the same everywhere.
        let rank = |name: &str| Uuid::new_v5(&Uuid::from_u128(seed), name.as_bytes());
        let topic = match topic {
            Some(named) => self.topic(named),
            None => self.topics.iter().min_by_key(|topic| rank(&topic.name)),
        }
        .ok_or_else(unknown)?;
        let mut questions: Vec<&Question> = topic.questions.iter().collect();
        questions.sort_by_cached_key(|question| rank(&question.id));
        Ok(Picked {
            topic: topic.name.clone(),
            questions: questions.into_iter().take(count.max(1)).cloned().collect(),
        })
    }

    fn check(&self) -> Result<(), BankError> {
        if self.topics.is_empty() {
            return Err(fault("topics", "there is none"));
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
    /// How many questions there are about it, at least one.
    pub fn len(&self) -> usize {
        self.questions.len()
    }

    /// Whether there is none; never so in a bank.
    pub fn is_empty(&self) -> bool {
        self.questions.is_empty()
    }

    /// All its names, as words.
    fn names(&self) -> impl Iterator<Item = String> {
        let names = [&self.name, &self.title].into_iter().chain(&self.aliases);
        names.map(|text| name(&words(text)))
    }
}

fn check_question(place: &str, question: &Question) -> Result<(), BankError> {
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
    // One by one, so that the place says which.
    check_questions(std::slice::from_ref(question)).map_err(|error| fault(place, error.to_string()))
}

fn check_name(place: String, name: &str) -> Result<(), BankError> {
    let fits = (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
    if fits {
        Ok(())
    } else {
        Err(fault(place, format!("it must have 1 to {MAX_NAME} visible ASCII characters and no blanks")))
    }
}

fn check_text(place: String, text: &str) -> Result<(), BankError> {
    let length = text.chars().count();
    if text.trim().is_empty() || length > MAX_TEXT || text.chars().any(char::is_control) {
        return Err(fault(place, format!("it must be one line of 1 to {MAX_TEXT} characters")));
    }
    Ok(())
}

fn fault(place: impl Into<String>, what: impl Into<String>) -> BankError {
    BankError::Content { place: place.into(), what: what.into() }
}

#[cfg(test)]
mod tests;
