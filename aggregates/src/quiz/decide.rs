//! Decisions of a quiz. Only the state is trusted: what a card claims to show is compared with it.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::aggregate::{Begun, Quiz};
use super::{AnswerStatus, Question, QuestionFault, QuizCommand, QuizError, QuizEvent};
use crate::ids::UserId;

/// Outcome of a command.
#[derive(Debug)]
pub(super) enum Judgement {
    /// The command adds an event.
    Happens(QuizEvent),
    /// The command is a repetition or too early.
    Nothing,
    /// The command comes from an outdated card.
    Stale,
}

/// Returns the events that `command` leads to in `state`. Pure: equal arguments give equal results.
///
/// A repeated command adds no events, nor does one that is too early or comes from an outdated card
/// (see [`Quiz::is_stale`]): the current state is the response.
///
/// # Errors
/// Returns the rejection if the command is not allowed in this state.
pub fn decide(state: &Quiz, command: QuizCommand) -> Result<Vec<QuizEvent>, QuizError> {
    Ok(match judge(state, &command)? {
        Judgement::Happens(event) => vec![event],
        Judgement::Nothing | Judgement::Stale => Vec::new(),
    })
}

/// Validates questions: at least one, unique ids, at least two choices each, and the correct
/// value among them.
///
/// # Errors
/// Returns the first fault.
pub fn check_questions(questions: &[Question]) -> Result<(), QuestionFault> {
    if questions.is_empty() {
        return Err(QuestionFault::None);
    }
    let mut ids = BTreeSet::new();
    for question in questions {
        if !ids.insert(question.id.as_str()) {
            return Err(QuestionFault::SameId);
        }
        let values: BTreeSet<&str> = question.options.iter().map(|option| option.value.as_str()).collect();
        if question.options.len() < 2 {
            return Err(QuestionFault::TooFewOptions);
        }
        if values.len() < question.options.len() {
            return Err(QuestionFault::SameOption);
        }
        if !values.contains(question.correct.as_str()) {
            return Err(QuestionFault::CorrectNotAnOption);
        }
    }
    Ok(())
}

pub(super) fn judge(state: &Quiz, command: &QuizCommand) -> Result<Judgement, QuizError> {
    if let QuizCommand::Start { quiz_id, conversation_id, by, topic, questions, at } = command {
        let Some(begun) = state.begun() else {
            check_questions(questions)?;
            return Ok(Judgement::Happens(QuizEvent::QuizStarted {
                quiz_id: *quiz_id,
                conversation_id: *conversation_id,
                owner: *by,
                topic: topic.clone(),
                questions: questions.clone(),
                at: *at,
            }));
        };
        if begun.owner != *by {
            return Err(QuizError::NotOwner);
        }
        let same = begun.quiz_id == *quiz_id && begun.conversation_id == *conversation_id;
        return if same { Ok(Judgement::Nothing) } else { Err(QuizError::AlreadyStarted) };
    }
    let begun = state.begun().ok_or(QuizError::NotStarted)?;
    let (quiz_id, conversation_id, owner) = (begun.quiz_id, begun.conversation_id, begun.owner);
    match command {
        // Handled above.
        QuizCommand::Start { .. } => Ok(Judgement::Nothing),
        QuizCommand::Select { by, question_id, choice, at } => {
            let Some(question) = begun.open_to(*by, question_id)? else { return Ok(Judgement::Stale) };
            if !question.offers(choice) {
                return Err(QuizError::UnknownChoice);
            }
            Ok(if begun.selected.as_ref() == Some(choice) {
                Judgement::Nothing
            } else if begun.status == AnswerStatus::Correct {
                Judgement::Stale
            } else {
                Judgement::Happens(QuizEvent::QuizChoiceSelected {
                    quiz_id,
                    conversation_id,
                    owner,
                    question_id: question_id.clone(),
                    choice: choice.clone(),
                    at: *at,
                })
            })
        }
        QuizCommand::Submit { by, question_id, choice, attempt, at } => {
            let Some(question) = begun.open_to(*by, question_id)? else { return Ok(Judgement::Stale) };
            if !question.offers(choice) {
                return Err(QuizError::UnknownChoice);
            }
            let next = begun.attempts.saturating_add(1);
            let repeated = begun.last.as_ref() == Some(choice)
                && attempt.is_none_or(|attempt| attempt == begun.attempts);
            Ok(if repeated {
                Judgement::Nothing
            } else if begun.status == AnswerStatus::Correct || attempt.is_some_and(|attempt| attempt != next)
            {
                Judgement::Stale
            } else {
                Judgement::Happens(QuizEvent::QuizAnswerSubmitted {
                    quiz_id,
                    conversation_id,
                    owner,
                    question_id: question_id.clone(),
                    choice: choice.clone(),
                    attempt: next,
                    correct: *choice == question.correct,
                    at: *at,
                })
            })
        }
        QuizCommand::Clear { by, question_id, at } => {
            if begun.open_to(*by, question_id)?.is_none() {
                return Ok(Judgement::Stale);
            }
            let clear = begun.selected.is_none() && begun.status == AnswerStatus::Idle;
            Ok(if clear || begun.status == AnswerStatus::Correct {
                Judgement::Nothing
            } else {
                Judgement::Happens(QuizEvent::QuizChoiceCleared {
                    quiz_id,
                    conversation_id,
                    owner,
                    question_id: question_id.clone(),
                    at: *at,
                })
            })
        }
        QuizCommand::Next { by, question_id, at } => {
            if begun.open_to(*by, question_id)?.is_none() {
                // Pressed twice: the quiz has already moved on from that question to the open one.
                let left = begun.index_of(question_id).map(|index| index + 1) == Some(begun.open);
                return Ok(if left { Judgement::Nothing } else { Judgement::Stale });
            }
            if begun.status != AnswerStatus::Correct || begun.finished {
                return Ok(Judgement::Nothing);
            }
            Ok(Judgement::Happens(match begun.questions.get(begun.open + 1) {
                Some(next) => QuizEvent::QuizMovedOn {
                    quiz_id,
                    conversation_id,
                    owner,
                    question_id: next.id.clone(),
                    at: *at,
                },
                None => begun.finish(*at),
            }))
        }
        QuizCommand::Finish { by, question_id, at } => {
            if begun.open_to(*by, question_id)?.is_none() {
                return Ok(Judgement::Stale);
            }
            let due = begun.is_last() && begun.status == AnswerStatus::Correct && !begun.finished;
            Ok(if due { Judgement::Happens(begun.finish(*at)) } else { Judgement::Nothing })
        }
    }
}

impl Begun {
    /// Returns the question if it is the open one.
    fn open_to(&self, by: UserId, question_id: &str) -> Result<Option<&Question>, QuizError> {
        if self.owner != by {
            return Err(QuizError::NotOwner);
        }
        let index = self.index_of(question_id).ok_or(QuizError::UnknownQuestion)?;
        Ok(self.question().filter(|_| index == self.open))
    }

    fn finish(&self, at: DateTime<Utc>) -> QuizEvent {
        QuizEvent::QuizFinished {
            quiz_id: self.quiz_id,
            conversation_id: self.conversation_id,
            owner: self.owner,
            score: self.score(),
            total: self.total(),
            at,
        }
    }
}

impl Question {
    fn offers(&self, choice: &str) -> bool {
        self.options.iter().any(|option| option.value == choice)
    }
}
