//! Quiz settings.

use std::path::PathBuf;

use super::error::ConfigError;
use super::reader::Reader;

/// The question bank and the length of a quiz.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuizConfig {
    /// `QUIZ_FILE`: own questions as JSON; `None` for the built-in ones.
    pub file: Option<PathBuf>,
    /// `QUIZ_LENGTH`: questions per quiz, if the topic has that many.
    pub length: usize,
}

impl QuizConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            file: reader.text("QUIZ_FILE").map(PathBuf::from),
            length: reader.count("QUIZ_LENGTH", 5, 1..=20)?,
        })
    }
}
