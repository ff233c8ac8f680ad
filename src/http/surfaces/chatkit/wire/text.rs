//! The text of an answer as it grows, turned into events.
//!
//! A message that is streamed is `added` empty, gets one part, deltas of its text and its annotations, has the part
//! `done`, and is `done` itself. One of which nothing was streamed is only `done`. When another attempt voids the text,
//! the message is removed, and added again under its id as soon as there is new text.

use super::event::StreamEvent;
use super::item::{Annotation, AssistantContent, ItemKind, ThreadItem};
use super::time::Timestamp;
use super::update::ItemUpdate;

/// The one part that answers consist of.
const PART: u32 = 0;

/// How far a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Clients do not know it, or not any more.
    Unseen,
    /// Added, and not done.
    Open,
    /// Done, or given up.
    Over,
}

/// One message of the assistant on its way to a client. After its end every further call gives nothing.
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
    /// A message with this id, in this thread, of which nothing has been sent.
    #[must_use]
    pub fn new(thread_id: String, id: String, created_at: Timestamp) -> Self {
        Self { id, thread_id, created_at, stage: Stage::Unseen, text: String::new(), annotations: Vec::new() }
    }

    /// What clients have of the text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether nothing can follow.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// More text has come.
    pub fn delta(&mut self, piece: &str) -> Vec<StreamEvent> {
        if piece.is_empty() || self.is_over() {
            return Vec::new();
        }
        let mut events = self.open();
        self.text.push_str(piece);
        events.push(self.update(ItemUpdate::TextDelta { content_index: PART, delta: piece.to_owned() }));
        events
    }

    /// The text is this by now. A text that does not go on from the one before takes its place.
    pub fn so_far(&mut self, text: &str) -> Vec<StreamEvent> {
        if let Some(piece) = text.strip_prefix(self.text.as_str()) {
            return self.delta(piece);
        }
        let mut events = self.restart();
        events.extend(self.delta(text));
        events
    }

    /// The text rests on something.
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

    /// Another attempt begins: what has come is void.
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

    /// The text is complete; `created_at` is when it was. What has not been streamed of it comes first, as one delta; when
    /// nothing has, or something else has, the message comes in one piece.
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

    /// There will be no message: what clients have of it is taken back.
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
