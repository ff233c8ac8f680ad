//! Conversion of a growing answer to events.
//!
//! A streamed message is `added` empty, gets one part, deltas of its text and its annotations, the part's `done`, and
//! its own `done`. A message of which nothing was streamed is only `done`. When another attempt voids the text, the
//! message is removed, and added again under the same id with the first new text.

use super::event::StreamEvent;
use super::item::{Annotation, AssistantContent, ItemKind, ThreadItem};
use super::time::Timestamp;
use super::update::ItemUpdate;

/// Index of the only part of an answer.
const PART: u32 = 0;

/// Stage of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Not shown to clients, or no longer.
    Unseen,
    /// Added, not done.
    Open,
    /// Done or abandoned.
    Over,
}

/// An assistant message on its way to a client. After its end, every call returns nothing.
#[derive(Debug, Clone)]
pub struct TextStream {
    id: String,
    thread_id: String,
    created_at: Timestamp,
    stage: Stage,
    text: String,
    annotations: Vec<Annotation>,
}

impl TextStream {
    /// Creates a message of which nothing has been sent.
    #[must_use]
    pub fn new(thread_id: String, id: String, created_at: Timestamp) -> Self {
        Self { id, thread_id, created_at, stage: Stage::Unseen, text: String::new(), annotations: Vec::new() }
    }

    /// Returns the text that clients have.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns whether the message has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// Appends a piece of text.
    pub fn delta(&mut self, piece: &str) -> Vec<StreamEvent> {
        if piece.is_empty() || self.is_over() {
            return Vec::new();
        }
        let mut events = self.open();
        self.text.push_str(piece);
        events.push(self.update(ItemUpdate::TextDelta { content_index: PART, delta: piece.to_owned() }));
        events
    }

    /// Sets the whole text so far. A text that does not continue the previous one replaces it.
    pub fn so_far(&mut self, text: &str) -> Vec<StreamEvent> {
        if let Some(piece) = text.strip_prefix(self.text.as_str()) {
            return self.delta(piece);
        }
        let mut events = self.restart();
        events.extend(self.delta(text));
        events
    }

    /// Adds a source of the text.
    pub fn annotation(&mut self, annotation: Annotation) -> Vec<StreamEvent> {
        if self.is_over() {
            return Vec::new();
        }
        let mut events = self.open();
        let annotation_index = u32::try_from(self.annotations.len()).unwrap_or(u32::MAX);
        self.annotations.push(annotation.clone());
        events.push(self.update(ItemUpdate::AnnotationAdded {
            content_index: PART,
            annotation_index,
            annotation,
        }));
        events
    }

    /// Voids the text: another attempt begins.
    pub fn restart(&mut self) -> Vec<StreamEvent> {
        if self.is_over() {
            return Vec::new();
        }
        self.text.clear();
        self.annotations.clear();
        if self.stage != Stage::Open {
            return Vec::new();
        }
        self.stage = Stage::Unseen;
        vec![StreamEvent::ItemRemoved { item_id: self.id.clone() }]
    }

    /// Completes the message at `created_at`. Text that was not streamed yet is sent as one delta; if nothing was
    /// streamed, or other text, the message is sent as a whole.
    pub fn end(&mut self, text: &str, created_at: Timestamp) -> Vec<StreamEvent> {
        let mut events = Vec::new();
        if self.is_over() {
            return events;
        }
        match text.strip_prefix(self.text.as_str()) {
            Some(rest) if self.stage == Stage::Open => events.extend(self.delta(rest)),
            Some(_) => {}
            None => events.extend(self.restart()),
        }
        if self.stage == Stage::Open {
            events.push(self.update(ItemUpdate::ContentPartDone {
                content_index: PART,
                content: AssistantContent::plain(text),
            }));
        }
        text.clone_into(&mut self.text);
        self.stage = Stage::Over;
        let annotations = std::mem::take(&mut self.annotations);
        let content = vec![AssistantContent { text: text.to_owned(), annotations }];
        events.push(StreamEvent::done(self.item(content, created_at)));
        events
    }

    /// Abandons the message and removes it from clients.
    pub fn give_up(&mut self) -> Vec<StreamEvent> {
        if self.is_over() {
            return Vec::new();
        }
        let events = self.restart();
        self.stage = Stage::Over;
        events
    }

    fn open(&mut self) -> Vec<StreamEvent> {
        if self.stage == Stage::Open {
            return Vec::new();
        }
        self.stage = Stage::Open;
        let content = AssistantContent::plain("");
        vec![
            StreamEvent::ItemAdded { item: Box::new(self.item(Vec::new(), self.created_at)) },
            self.update(ItemUpdate::ContentPartAdded { content_index: PART, content }),
        ]
    }

    fn item(&self, content: Vec<AssistantContent>, created_at: Timestamp) -> ThreadItem {
        ThreadItem {
            id: self.id.clone(),
            thread_id: self.thread_id.clone(),
            created_at,
            kind: ItemKind::AssistantMessage { content },
        }
    }

    fn update(&self, update: ItemUpdate) -> StreamEvent {
        StreamEvent::updated(self.id.as_str(), update)
    }
}

#[cfg(test)]
mod tests;
