//! What quizzes ask.

use std::path::PathBuf;

use super::error::ConfigError;
use super::reader::Reader;

/// Questions and their number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuizConfig {
    /// `QUIZ_FILE`: questions of one's own, as JSON; none: the built-in ones.
    pub file: Option<PathBuf>,
    /// `QUIZ_LENGTH`: how many questions a quiz has, as far as its topic has so many.
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
