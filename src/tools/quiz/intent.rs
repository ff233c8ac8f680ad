//! Recognises messages that ask for a quiz: a few plain forms, and not every message that mentions the word.
//!
//! A request is the word `quiz` with common phrases around it: politeness at either end, a verb such as `give me` before
//! it, a topic before it or after `on`, `about` and the like. A message with any other word is no request: if it were
//! taken for one by mistake, its content would get no answer.

use super::question_bank::QuestionBank;
use super::tokenize::{normalize, tokenize};

/// Most words of a request: a longer message says something else as well.
const MAX_WORDS: usize = 14;
/// Most bytes of a request.
const MAX_BYTES: usize = 200;
/// Most words of a topic.
const MAX_TOPIC_WORDS: usize = 5;

/// Phrases that may open a request.
const OPENINGS: &[&[&str]] = &[
    &["please"],
    &["hi"],
    &["hello"],
    &["hey"],
    &["ok"],
    &["okay"],
    &["now"],
    &["and"],
    &["can", "you"],
    &["could", "you"],
    &["would", "you"],
    &["will", "you"],
    &["can", "we"],
    &["can", "i"],
    &["could", "i"],
    &["may", "i"],
    &["i", "want", "to"],
    &["i", "want", "you", "to"],
    &["i", "would", "like", "to"],
    &["id", "like", "to"],
    &["id", "like", "you", "to"],
    &["lets"],
    &["let", "us"],
];
/// Phrases that may close a request.
const CLOSINGS: &[&[&str]] =
    &[&["please"], &["now"], &["thanks"], &["thank", "you"], &["again"], &["for", "me"], &["then"]];
/// Verbs that may precede the word.
const VERBS: &[&[&str]] = &[
    &["give"],
    &["start"],
    &["begin"],
    &["make"],
    &["do"],
    &["take"],
    &["have"],
    &["try"],
    &["play"],
    &["show"],
    &["open"],
    &["create"],
    &["get"],
    &["run"],
    &["i", "want"],
    &["i", "would", "like"],
    &["id", "like"],
    &["i", "need"],
];
/// Objects after a verb.
const RECIPIENTS: &[&[&str]] = &[&["me"], &["us"]];
/// Articles and adjectives before the word.
const QUALIFIERS: &[&[&str]] = &[
    &["a"],
    &["an"],
    &["the"],
    &["my"],
    &["some"],
    &["one"],
    &["another"],
    &["more"],
    &["new"],
    &["next"],
    &["short"],
    &["little"],
    &["quick"],
    &["small"],
    &["pop"],
    &["fun"],
];
/// Prepositions that introduce a topic after the word.
const PREPOSITIONS: &[&[&str]] =
    &[&["on"], &["about"], &["in"], &["for"], &["of"], &["covering"], &["regarding"]];

/// Words that a topic before the word cannot contain: "give me the answer of the quiz" is about something else.
const NON_TOPIC_WORDS: &[&str] = &[
    "a", "an", "the", "of", "to", "in", "on", "at", "by", "from", "with", "for", "about", "my", "your",
    "our", "and", "or", "is", "was", "you", "i",
];

/// A request for a quiz.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuizRequest {
    /// Name of a topic of the bank, or the user's own words for an unknown topic; `None` for any topic.
    pub topic: Option<String>,
}

/// Returns the request for a quiz that `text` contains, if any.
pub fn parse_request(text: &str, bank: &QuestionBank) -> Option<QuizRequest> {
    if text.len() > MAX_BYTES {
        return None;
    }
    let words = tokenize(text);
    if words.len() > MAX_WORDS {
        return None;
    }
    let mut rest: Vec<&str> = words.iter().map(String::as_str).collect();
    while let Some(shorter) = CLOSINGS.iter().find_map(|closing| rest.strip_suffix(*closing)) {
        rest = shorter.to_vec();
    }
    let rest = skip_all(&rest, OPENINGS);
    let at = rest.iter().position(|word| *word == "quiz")?;
    let (before, behind) = (&rest[..at], &rest[at + 1..]);

    let commanded = skip(before, VERBS).map(|rest| skip_all(rest, RECIPIENTS));
    let first = match skip_all(commanded.unwrap_or(before), QUALIFIERS) {
        [] => None,
        // Before the word, only a known topic or one introduced by a verb: "what a quiz" is no request.
        topic => {
            let named = commanded.is_some() && !topic.iter().any(|word| NON_TOPIC_WORDS.contains(word));
            Some(topic_of(topic, bank, named)?)
        }
    };
    let behind = skip_all(behind, RECIPIENTS);
    let second = match behind {
        [] => None,
        behind => match skip(behind, PREPOSITIONS) {
            Some([]) => return None,
            Some(topic) => Some(topic_of(topic, bank, matches!(behind[0], "on" | "about"))?),
            // "Quiz rust", but not "quiz night".
            None => Some(topic_of(behind, bank, false)?),
        },
    };
    match (first, second) {
        (Some(_), Some(_)) => None,
        (first, second) => Some(QuizRequest { topic: first.or(second) }),
    }
}

/// Returns the topic that these words name: the bank's name for it, or, with `any`, the words themselves.
fn topic_of(words: &[&str], bank: &QuestionBank, any: bool) -> Option<String> {
    if words.len() > MAX_TOPIC_WORDS {
        return None;
    }
    let named = normalize(words);
    match bank.topic(&named) {
        Some(topic) => Some(topic.name.clone()),
        None => any.then_some(named),
    }
}

/// Returns the rest after one of these beginnings.
fn skip<'a, 'w>(words: &'a [&'w str], beginnings: &[&[&'w str]]) -> Option<&'a [&'w str]> {
    beginnings.iter().find_map(|beginning| words.strip_prefix(*beginning))
}

/// Returns the rest after any number of these beginnings.
fn skip_all<'a, 'w>(mut words: &'a [&'w str], beginnings: &[&[&'w str]]) -> &'a [&'w str] {
    while let Some(rest) = skip(words, beginnings) {
        words = rest;
    }
    words
}

#[cfg(test)]
mod tests;
