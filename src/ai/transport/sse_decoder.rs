//! Server-sent events under limits: what the provider's body must get through before anybody parses it.

use thiserror::Error;

/// The most bytes of one event. The largest one repeats the whole reply, where JSON may need six bytes for one.
const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// The most bytes of a whole body: 64 KiB of text, one character an event, some hundred bytes around each.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// Why a body is not read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum SseError {
    /// One event, or all together, is beyond the limit.
    #[error("too many bytes")]
    TooLarge,
    /// An event's data is not JSON.
    #[error("not JSON")]
    NotJson,
}

/// Cuts a body into events and passes on only the data of whole ones that are JSON.
///
/// Lines end with `\n` or `\r\n`; an event's data lines are joined; names, ids and an unfinished last event are
/// dropped, as the Responses API repeats the name inside the data and Chat Completions has none. A comment, by which
/// some say that they are still at it, becomes an empty event when nothing else came with it. `[DONE]` is passed on:
/// async-openai ends the stream there.
#[derive(Debug, Default)]
pub(super) struct SseDecoder {
    line: Vec<u8>,
    data: Vec<u8>,
    seen: usize,
    /// A comment has come since the last frame.
    commented: bool,
}

impl SseDecoder {
    /// Takes the next bytes and returns the events that they complete, as clean server-sent events, one line
    /// of data each; `None` when they complete none.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<Option<Vec<u8>>, SseError> {
        self.seen = self.seen.saturating_add(bytes.len());
        if self.seen > MAX_BODY_BYTES {
            return Err(SseError::TooLarge);
        }
        let mut frames = Vec::new();
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            self.extend_line(&bytes[..end])?;
            bytes = &bytes[end + 1..];
            self.end_line(&mut frames)?;
        }
        self.extend_line(bytes)?;
        if frames.is_empty() && self.commented && self.data.is_empty() {
            frames.extend_from_slice(b"data: {}\n\n");
        }
        if frames.is_empty() {
            return Ok(None);
        }
        self.commented = false;
        Ok(Some(frames))
    }

    fn extend_line(&mut self, bytes: &[u8]) -> Result<(), SseError> {
        if self.line.len() + self.data.len() + bytes.len() > MAX_EVENT_BYTES {
            return Err(SseError::TooLarge);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self, frames: &mut Vec<u8>) -> Result<(), SseError> {
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        if line.is_empty() {
            self.line.clear();
            return self.end_event(frames);
        }
        if line.starts_with(b":") {
            self.commented = true;
        } else if let Some(data) = line.strip_prefix(b"data:") {
            // Between two parts of JSON a line break is white space, and inside a string JSON has none: so a
            // blank can stand for each.
            self.data.push(b' ');
            self.data.extend(data.iter().map(|&byte| if byte == b'\r' { b' ' } else { byte }));
        }
        self.line.clear();
        Ok(())
    }

    fn end_event(&mut self, frames: &mut Vec<u8>) -> Result<(), SseError> {
        let data = self.data.trim_ascii();
        if !data.is_empty() {
            if data != b"[DONE]" {
                serde_json::from_slice::<serde_json::Value>(data).map_err(|_| SseError::NotJson)?;
            }
            frames.extend_from_slice(b"data: ");
            frames.extend_from_slice(data);
            frames.extend_from_slice(b"\n\n");
        }
        self.data.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out when the body arrives in parts of this many bytes.
    fn framed(body: &[u8], step: usize) -> Result<String, SseError> {
        let mut framer = SseDecoder::default();
        let mut out = Vec::new();
        for part in body.chunks(step) {
            out.extend(framer.push(part)?.unwrap_or_default());
        }
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn events_come_out_clean_however_the_bytes_are_cut() {
        let body = ": hello\r\nevent: a\r\nid: 1\r\ndata: {\"é\":1}\r\n\r\ndata:{\ndata: \"b\":2}\n\n\n\ndata: 3\n\ndata: 4";
        for step in 1..body.len() {
            // A comment may or may not come with an event, by how the bytes are cut.
            let got = framed(body.as_bytes(), step).map(|frames| frames.replace("data: {}\n\n", ""));
            assert_eq!(
                got.as_deref(),
                Ok("data: {\"é\":1}\n\ndata: {  \"b\":2}\n\ndata: 3\n\n"),
                "step {step}"
            );
        }
    }

    #[test]
    fn the_end_marker_is_passed_on() {
        assert_eq!(framed(b"data: [DONE]\n\n", 3).as_deref(), Ok("data: [DONE]\n\n"));
    }

    #[test]
    fn a_comment_alone_is_a_sign_of_life() {
        let mut framer = SseDecoder::default();
        let mut push = |bytes: &[u8]| {
            let frames = framer.push(bytes).unwrap();
            frames.map(|frames| String::from_utf8(frames).unwrap())
        };
        assert_eq!(push(b": waiting\n\n").as_deref(), Some("data: {}\n\n"));
        assert_eq!(push(b": wai"), None);
        assert_eq!(push(b"ting\n").as_deref(), Some("data: {}\n\n"));
        // Never in the middle of an event.
        assert_eq!(push(b"data: 1\n: waiting\n"), None);
        assert_eq!(push(b"\n").as_deref(), Some("data: 1\n\n"));
    }

    #[test]
    fn what_is_not_json_is_refused() {
        let bodies: [&[u8]; 6] = [
            b"data: {\"a\":\n\n",
            b"data: nonsense\n\n",
            b"data: 1e999\n\n",
            b"data: {} {}\n\n",
            b"data: \"\xff\"\n\n",
            b"data: \"\\ud800\"\n\n",
        ];
        for body in bodies {
            assert_eq!(framed(body, 64), Err(SseError::NotJson), "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn an_endless_line_event_or_body_is_refused_before_it_is_kept() {
        let line = vec![b'x'; 64 * 1024];
        let mut framer = SseDecoder::default();
        let refused = (0..1000).find_map(|_| framer.push(&line).err());
        assert_eq!(refused, Some(SseError::TooLarge));
        assert!(framer.line.capacity() <= 2 * MAX_EVENT_BYTES);

        let mut framer = SseDecoder::default();
        let refused = (0..1_000_000).find_map(|_| framer.push(b"data: 1111111111\n").err());
        assert_eq!(refused, Some(SseError::TooLarge));
        assert!(framer.data.capacity() <= 2 * MAX_EVENT_BYTES);

        let comment = [b":".as_slice(), &line, b"\n\n"].concat();
        let mut framer = SseDecoder::default();
        let refused = (0..2000).find_map(|_| framer.push(&comment).err());
        assert_eq!(refused, Some(SseError::TooLarge));
    }
}
