//! Server-sent events within limits: the filter before a provider's body is parsed.

use thiserror::Error;

/// Most bytes of one event. The largest one repeats the whole reply, where JSON may need six bytes for one.
const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// Most bytes of a whole body: 64 KiB of text, one character per event, some hundred bytes around each.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// Why reading a body stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum SseError {
    /// One event, or the whole body, exceeds its limit.
    #[error("too many bytes")]
    TooLarge,
    /// An event's data is not JSON.
    #[error("not JSON")]
    NotJson,
}

/// Splits a body into events and passes on only complete ones whose data is JSON.
///
/// Lines end with `\n` or `\r\n`; an event's data lines are joined. Names, ids and an unfinished last event are dropped: the
/// Responses API repeats the name inside the data and Chat Completions has none. A comment (keep-alive) becomes an empty
/// event unless another event comes with it. `[DONE]` is passed on: async-openai ends the stream there.
#[derive(Debug, Default)]
pub(super) struct SseDecoder {
    line: Vec<u8>,
    data: Vec<u8>,
    seen: usize,
    /// Whether a comment has come since the last event.
    commented: bool,
}

impl SseDecoder {
    /// Decodes the next bytes and returns the events that they complete, as clean server-sent events with one data line each;
    /// `None` if they complete none.
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
            // Between tokens of JSON a line break is white space, and inside strings JSON has none: so a blank can replace it.
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
mod tests;
