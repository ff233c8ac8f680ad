//! What holds for every aggregate whatever it is asked: checked with random lists of commands.

mod laws;
mod quizzes;
mod strategies;
