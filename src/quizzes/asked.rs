//! Whether a message asks for a quiz: a few forms of a plain request, and nothing that merely mentions the word.
//!
//! A request is `quiz` with what people put around it: politeness at either end, a verb such as `give me` before it, a
//! topic before it or after `on`, `about` and the like. What has any other word in it is not one: a message that is
//! taken for a request by mistake gets no answer to what it says.

use super::bank::Bank;
use super::words::{name, words};

/// The longest request, in words: what is longer says something else as well.
const MAX_WORDS: usize = 14;
/// The longest request, in bytes.
const MAX_BYTES: usize = 200;
/// The longest topic, in words.
const MAX_TOPIC: usize = 5;

/// How a request may begin, whatever comes then.
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
/// How it may end.
const CLOSINGS: &[&[&str]] =
    &[&["please"], &["now"], &["thanks"], &["thank", "you"], &["again"], &["for", "me"], &["then"]];
/// What may be done with a quiz.
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
/// To whom.
const WHOM: &[&[&str]] = &[&["me"], &["us"]];
/// What may stand before the word, besides a topic.
const WHICH: &[&[&str]] = &[
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
/// What leads to a topic behind the word.
const ABOUT: &[&[&str]] = &[&["on"], &["about"], &["in"], &["for"], &["of"], &["covering"], &["regarding"]];

/// Words that no topic before the word has: "give me the answer of the quiz" is about something else.
const JOINTS: &[&str] = &[
    "a", "an", "the", "of", "to", "in", "on", "at", "by", "from", "with", "for", "about", "my", "your",
    "our", "and", "or", "is", "was", "you", "i",
];

/// Somebody asks for a quiz.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What about: the name of one of the bank's topics, or, when it has none like it, the person's own words. None:
    /// anything.
    pub topic: Option<String>,
}

/// Whether `text` asks for a quiz, and what about. Pure.
pub fn asked_for(text: &str, bank: &Bank) -> Option<Asked> {
    if text.len() > MAX_BYTES {
        return None;
    }
    let words = words(text);
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

    let commanded = skip(before, VERBS).map(|rest| skip_all(rest, WHOM));
    let first = match skip_all(commanded.unwrap_or(before), WHICH) {
        [] => None,
        // Before the word only a topic that is known, or one that a verb leads to: "what a quiz" is no request.
        topic => {
            let named = commanded.is_some() && !topic.iter().any(|word| JOINTS.contains(word));
            Some(topic_of(topic, bank, named)?)
        }
    };
    let behind = skip_all(behind, WHOM);
    let second = match behind {
        [] => None,
        behind => match skip(behind, ABOUT) {
            Some([]) => return None,
            Some(topic) => Some(topic_of(topic, bank, matches!(behind[0], "on" | "about"))?),
            // "Quiz rust", but not "quiz night".
            None => Some(topic_of(behind, bank, false)?),
        },
    };
    match (first, second) {
        (Some(_), Some(_)) => None,
        (first, second) => Some(Asked { topic: first.or(second) }),
    }
}

/// The topic that these words name: the bank's name for it, or, with `any`, the words themselves.
fn topic_of(words: &[&str], bank: &Bank, any: bool) -> Option<String> {
    if words.len() > MAX_TOPIC {
        return None;
    }
    let named = name(words);
    match bank.topic(&named) {
        Some(topic) => Some(topic.name.clone()),
        None => any.then_some(named),
    }
}

/// What follows one of these beginnings.
fn skip<'a, 'w>(words: &'a [&'w str], beginnings: &[&[&'w str]]) -> Option<&'a [&'w str]> {
    beginnings.iter().find_map(|beginning| words.strip_prefix(*beginning))
}

/// What follows any number of these beginnings.
fn skip_all<'a, 'w>(mut words: &'a [&'w str], beginnings: &[&[&'w str]]) -> &'a [&'w str] {
    while let Some(rest) = skip(words, beginnings) {
        words = rest;
    }
    words
}

#[cfg(test)]
mod tests;
