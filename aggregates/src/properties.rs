//! What holds for every aggregate whatever it is asked: checked with random lists of commands.

mod branches;
mod files;
mod items;
mod laws;
mod quizzes;
mod strategies;
