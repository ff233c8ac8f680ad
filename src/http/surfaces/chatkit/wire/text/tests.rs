//! A client that applies the events in order always has the right text.

use chrono::DateTime;
use proptest::prelude::*;

use super::*;
use crate::http::surfaces::chatkit::wire::{AnnotationSource, FileSource, Source};

fn message() -> TextStream {
    TextStream::new("thr_1".to_owned(), "msg_1".to_owned(), at(1))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp(DateTime::from_timestamp(seconds, 0).unwrap())
}

fn annotation(name: &str) -> Annotation {
    let source = FileSource { source: Source::default(), filename: name.to_owned() };
    Annotation { source: AnnotationSource::File(source), index: None }
}

/// Returns short names of events and updates.
fn names(events: &[StreamEvent]) -> Vec<&'static str> {
    let name = |event: &StreamEvent| match event {
        StreamEvent::ItemAdded { .. } => "added",
        StreamEvent::ItemUpdated { update, .. } => match **update {
            ItemUpdate::ContentPartAdded { .. } => "part added",
            ItemUpdate::TextDelta { .. } => "delta",
            ItemUpdate::AnnotationAdded { .. } => "annotation",
            ItemUpdate::ContentPartDone { .. } => "part done",
            _ => "another update",
        },
        StreamEvent::ItemDone { .. } => "done",
        StreamEvent::ItemRemoved { .. } => "removed",
        _ => "another event",
    };
    events.iter().map(name).collect()
}

#[test]
fn streamed_text_starts_grows_and_ends() {
    let mut stream = message();
    let mut events = stream.delta("Hel");
    events.extend(stream.delta(""));
    events.extend(stream.so_far("Hello"));
    events.extend(stream.so_far("Hello"));
    events.extend(stream.annotation(annotation("a.txt")));
    events.extend(stream.end("Hello, you", at(2)));
    let expected = ["added", "part added", "delta", "delta", "annotation", "delta", "part done", "done"];
    assert_eq!(names(&events), expected);
    let Some(StreamEvent::ItemDone { item }) = events.last() else { panic!("no end") };
    assert_eq!(item.created_at, at(2));
    let content = AssistantContent { text: "Hello, you".to_owned(), annotations: vec![annotation("a.txt")] };
    assert_eq!(item.kind, ItemKind::AssistantMessage { content: vec![content] });
    assert!(stream.delta("more").is_empty() && stream.end("other", at(3)).is_empty());
    assert!(stream.restart().is_empty() && stream.give_up().is_empty() && stream.so_far("x").is_empty());
    assert_eq!(stream.text(), "Hello, you");
}

#[test]
fn unstreamed_text_is_sent_whole() {
    assert_eq!(names(&message().end("Hello", at(2))), ["done"]);
    assert_eq!(names(&message().end("", at(2))), ["done"]);
    // The final text does not start with what was streamed.
    let mut stream = message();
    stream.delta("Goodbye");
    assert_eq!(names(&stream.end("Hello", at(2))), ["removed", "done"]);
}

#[test]
fn new_attempt_removes_and_restarts_the_message() {
    let mut stream = message();
    assert!(stream.restart().is_empty(), "there was nothing to take back");
    stream.delta("Goodbye");
    assert_eq!(names(&stream.restart()), ["removed"]);
    assert!(stream.restart().is_empty());
    assert_eq!(names(&stream.delta("Hello")), ["added", "part added", "delta"]);
    assert_eq!(names(&stream.so_far("Hi")), ["removed", "added", "part added", "delta"]);
    assert_eq!(names(&stream.give_up()), ["removed"]);
    assert!(stream.is_over() && stream.end("Hello", at(2)).is_empty());
}

#[derive(Debug, Clone)]
enum Step {
    Delta(String),
    SoFar(String),
    Annotation,
    Restart,
    End(String),
    EndAsStreamed,
    GiveUp,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let text = "[aé\n]{0,3}";
    let step = prop_oneof![
        5 => text.prop_map(Step::Delta),
        3 => text.prop_map(Step::SoFar),
        1 => Just(Step::Annotation),
        1 => Just(Step::Restart),
        1 => text.prop_map(Step::End),
        1 => Just(Step::EndAsStreamed),
        1 => Just(Step::GiveUp),
    ];
    proptest::collection::vec(step, 0..20)
}

/// A client's view of the message.
#[derive(Default)]
struct Screen {
    open: bool,
    done: bool,
    parts: Vec<AssistantContent>,
}

impl Screen {
    fn take(&mut self, event: &StreamEvent) -> Result<(), TestCaseError> {
        prop_assert!(!self.done, "something follows the end");
        match event {
            StreamEvent::ItemAdded { item } => {
                prop_assert!(!self.open, "added twice");
                prop_assert_eq!(&item.kind, &ItemKind::AssistantMessage { content: Vec::new() });
                self.open = true;
            }
            StreamEvent::ItemUpdated { item_id, update } => {
                prop_assert!(self.open, "updated outside");
                prop_assert_eq!(item_id, "msg_1");
                match &**update {
                    ItemUpdate::ContentPartAdded { content_index: 0, content } => {
                        prop_assert!(self.parts.is_empty());
                        self.parts.push(content.clone());
                    }
                    ItemUpdate::TextDelta { content_index: 0, delta } => self.parts[0].text.push_str(delta),
                    ItemUpdate::AnnotationAdded { content_index: 0, annotation_index, annotation } => {
                        prop_assert_eq!(*annotation_index as usize, self.parts[0].annotations.len());
                        self.parts[0].annotations.push(annotation.clone());
                    }
                    ItemUpdate::ContentPartDone { content_index: 0, content } => {
                        prop_assert_eq!(&content.text, &self.parts[0].text, "deltas make up the text");
                    }
                    other => prop_assert!(false, "unexpected {other:?}"),
                }
            }
            StreamEvent::ItemRemoved { item_id } => {
                prop_assert!(self.open, "removed what was not there");
                prop_assert_eq!(item_id, "msg_1");
                *self = Self::default();
            }
            StreamEvent::ItemDone { item } => {
                let ItemKind::AssistantMessage { content } = &item.kind else { panic!("another item") };
                if self.open {
                    prop_assert_eq!(content, &self.parts);
                }
                *self = Self { open: false, done: true, parts: content.clone() };
            }
            other => prop_assert!(false, "unexpected {other:?}"),
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn client_always_has_the_current_text(steps in steps()) {
        let (mut stream, mut screen) = (message(), Screen::default());
        let (mut text, mut over) = (String::new(), false);
        for step in steps {
            let events = match &step {
                Step::Delta(piece) => {
                    text.push_str(piece);
                    stream.delta(piece)
                }
                Step::SoFar(whole) => {
                    text.clone_from(whole);
                    stream.so_far(whole)
                }
                Step::Annotation => stream.annotation(annotation("a.txt")),
                Step::Restart => {
                    text.clear();
                    stream.restart()
                }
                Step::End(whole) => {
                    text.clone_from(whole);
                    stream.end(whole, at(2))
                }
                Step::EndAsStreamed => stream.end(&text, at(2)),
                Step::GiveUp => stream.give_up(),
            };
            prop_assert!(!over || events.is_empty(), "{step:?} after the end");
            for event in &events {
                screen.take(event)?;
            }
            if over { continue }
            let shown = screen.parts.first().map_or("", |part| part.text.as_str());
            if matches!(step, Step::GiveUp) {
                prop_assert_eq!(shown, "");
            } else {
                prop_assert_eq!(shown, text.as_str());
                prop_assert_eq!(stream.text(), text.as_str());
            }
            over = matches!(step, Step::End(_) | Step::EndAsStreamed | Step::GiveUp);
            prop_assert_eq!(stream.is_over(), over);
            prop_assert_eq!(screen.done, over && !matches!(step, Step::GiveUp));
        }
    }
}
