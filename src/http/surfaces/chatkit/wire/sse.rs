//! Encoding of events.

use axum::body::Bytes;

use super::event::StreamEvent;

const BEFORE: &[u8] = b"data: ";
const AFTER: &[u8] = b"\n\n";

/// Encodes an event: `data: `, one line of JSON, an empty line. A stream contains nothing else and ends with the body.
#[must_use]
pub fn frame(event: &StreamEvent) -> Bytes {
    let mut bytes = BEFORE.to_vec();
    // Writing to memory cannot fail, and all types can be serialized.
    if let Err(error) = serde_json::to_writer(&mut bytes, event) {
        tracing::error!(%error, "an event could not be written");
        return Bytes::new();
    }
    bytes.extend_from_slice(AFTER);
    bytes.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::surfaces::chatkit::wire::ItemUpdate;

    fn delta(text: &str) -> StreamEvent {
        StreamEvent::updated("msg_1", ItemUpdate::TextDelta { content_index: 0, delta: text.to_owned() })
    }

    #[test]
    fn event_is_one_data_line_and_an_empty_line() {
        let framed = frame(&StreamEvent::options(true));
        assert_eq!(
            &framed[..],
            b"data: {\"type\":\"stream_options\",\"stream_options\":{\"allow_cancel\":true}}\n\n"
        );
    }

    #[test]
    fn non_ascii_text_is_not_escaped() {
        let framed = frame(&delta("Grüße, 世界 🎉 \u{2028}"));
        assert!(std::str::from_utf8(&framed).unwrap().contains("Grüße, 世界 🎉 \u{2028}"));
    }

    proptest! {
        #[test]
        fn whatever_a_text_holds_it_stays_one_line_and_comes_back(text in "(?s).{0,60}") {
            let framed = frame(&delta(&text));
            let line = framed.strip_prefix(BEFORE).and_then(|rest| rest.strip_suffix(AFTER)).unwrap();
            prop_assert!(!line.iter().any(|byte| matches!(byte, b'\n' | b'\r')));
            let value: serde_json::Value = serde_json::from_slice(line).unwrap();
            prop_assert_eq!(&value["update"]["delta"], &text);
        }
    }
}
