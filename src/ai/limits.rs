//! Limits that hold for the stream of every provider.
//!
//! [`select`](super::select) wraps each provider in a [`LimitedProvider`]; [`guard`] wraps one stream.

use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use serde_json::{Map, Value};
use tokio::time::{Instant, timeout_at};

use super::{Prompt, Provider, ProviderError, Recording, StreamEvent, StreamEvents, TimeoutKind};

/// Limits of time and size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Time until the connection is established. Enforced by the provider's HTTP client, which alone sees connections.
    pub connect: Duration,
    /// Time from the start of the call to the first event.
    pub first_byte: Duration,
    /// Time between two events. Only waiting for the provider counts, not the pauses of a slow reader.
    pub idle: Duration,
    /// Time from the start of the call to its end.
    pub total: Duration,
    /// Most text, in UTF-8 bytes.
    pub max_text_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(12),
            idle: Duration::from_secs(18),
            total: Duration::from_secs(150),
            max_text_bytes: 64 * 1024,
        }
    }
}

/// A provider whose streams obey [`Limits`].
#[derive(Debug)]
pub struct LimitedProvider<P> {
    inner: P,
    limits: Limits,
}

impl<P> LimitedProvider<P> {
    /// Wraps a provider.
    pub fn new(inner: P, limits: Limits) -> Self {
        Self { inner, limits }
    }
}

impl<P: Provider> Provider for LimitedProvider<P> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn model(&self) -> &str {
        self.inner.model()
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn parameters(&self, prompt: &Prompt) -> Map<String, Value> {
        self.inner.parameters(prompt)
    }

    fn stream(&self, prompt: Prompt) -> StreamEvents {
        guard(self.inner.stream(prompt), self.limits)
    }

    fn transcribe(&self, recording: Recording) -> BoxFuture<'static, Result<String, ProviderError>> {
        let (said, total) = (self.inner.transcribe(recording), self.limits.total);
        Box::pin(async move {
            let said = tokio::time::timeout(total, said).await;
            let mut said = said.unwrap_or(Err(ProviderError::Timeout(TimeoutKind::Total)))?;
            strip_controls(&mut said);
            Ok(said)
        })
    }
}

/// State of a limited stream between two polls.
struct Watch {
    inner: StreamEvents,
    limits: Limits,
    deadline: Instant,
    alive: bool,
    text_bytes: usize,
    /// The text has reached the limit: its last part was passed on, the error comes next.
    full: bool,
}

/// Applies the limits to one stream; the call's time starts now.
///
/// - Time: `first_byte`, `idle` and `total` of [`Limits`] end the stream with [`ProviderError::Timeout`].
/// - Size: text beyond `max_text_bytes` is cut at a character boundary and followed by [`ProviderError::TooLong`], so the
///   caller has exactly what fits.
/// - Characters: C0 controls except `\n`, `\t`, `\r`, and U+007F to U+009F are removed. (The database cannot store U+0000,
///   and the others only confuse terminals: U+009B alone begins an escape sequence.)
/// - End: a stream that stops without [`StreamEvent::End`] ends with [`ProviderError::Cut`]. After an end or an error,
///   nothing more is passed on, and the provider's call is dropped at once. An end without text is passed on: the caller
///   decides what an empty reply means.
#[must_use]
pub fn guard(inner: StreamEvents, limits: Limits) -> StreamEvents {
    let deadline = Instant::now() + limits.total;
    let watch = Watch { inner, limits, deadline, alive: false, text_bytes: 0, full: false };
    futures::stream::unfold(Some(watch), |watch| async move {
        let mut watch = watch?;
        match watch.next().await {
            more @ Ok(StreamEvent::Text(_) | StreamEvent::Call(_)) => Some((more, Some(watch))),
            last => Some((last, None)),
        }
    })
    .boxed()
}

impl Watch {
    /// Returns the next event to pass on: non-empty text, a call, or the end.
    async fn next(&mut self) -> Result<StreamEvent, ProviderError> {
        loop {
            if self.full {
                return Err(ProviderError::TooLong);
            }
            let Some(piece) = self.wait().await? else { return Err(ProviderError::Cut) };
            self.alive = true;
            let mut text = match piece? {
                StreamEvent::Text(text) => text,
                StreamEvent::Call(mut call) => {
                    strip_controls(&mut call.call_id);
                    strip_controls(&mut call.name);
                    clean(&mut call.arguments);
                    // The parts of a call count like text; half a call is no call.
                    self.text_bytes +=
                        call.call_id.len() + call.name.len() + call.arguments.to_string().len();
                    if self.text_bytes > self.limits.max_text_bytes {
                        return Err(ProviderError::TooLong);
                    }
                    return Ok(StreamEvent::Call(call));
                }
                end @ StreamEvent::End(_) => return Ok(end),
            };
            strip_controls(&mut text);
            let room = self.limits.max_text_bytes - self.text_bytes;
            if text.len() > room {
                self.full = true;
                text.truncate(text.floor_char_boundary(room));
            }
            self.text_bytes += text.len();
            if !text.is_empty() {
                return Ok(StreamEvent::Text(text));
            }
        }
    }

    /// Returns the provider's next event, if it arrives in time.
    async fn wait(&mut self) -> Result<Option<Result<StreamEvent, ProviderError>>, ProviderError> {
        let now = Instant::now();
        if now >= self.deadline {
            return Err(ProviderError::Timeout(TimeoutKind::Total));
        }
        let (limit, kind) = if self.alive {
            (self.limits.idle, TimeoutKind::Idle)
        } else {
            (self.limits.first_byte, TimeoutKind::FirstByte)
        };
        let (until, kind) = if now + limit < self.deadline {
            (now + limit, kind)
        } else {
            (self.deadline, TimeoutKind::Total)
        };
        timeout_at(until, self.inner.next()).await.map_err(|_| ProviderError::Timeout(kind))
    }
}

/// Removes control characters from every text and key of a value.
fn clean(value: &mut Value) {
    match value {
        Value::String(text) => strip_controls(text),
        Value::Array(values) => values.iter_mut().for_each(clean),
        Value::Object(fields) => {
            let taken = std::mem::take(fields);
            fields.extend(taken.into_iter().map(|(mut key, mut value)| {
                strip_controls(&mut key);
                clean(&mut value);
                (key, value)
            }));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Removes C0 controls, delete and C1 controls, except line breaks and tabs.
fn strip_controls(text: &mut String) {
    text.retain(|c| !c.is_control() || matches!(c, '\n' | '\t' | '\r'));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Poll;

    use futures::stream;
    use serde_json::json;

    use super::*;
    use crate::ai::{Completion, Finish, ToolCall};

    fn text(text: &str) -> Result<StreamEvent, ProviderError> {
        Ok(StreamEvent::Text(text.to_owned()))
    }

    fn end() -> Result<StreamEvent, ProviderError> {
        Ok(StreamEvent::End(Completion {
            finish: Finish::Stop,
            usage: None,
            model: "m".to_owned(),
            provider_reply_id: None,
        }))
    }

    fn limits() -> Limits {
        Limits { max_text_bytes: 10, ..Limits::default() }
    }

    async fn through(
        items: Vec<Result<StreamEvent, ProviderError>>,
    ) -> Vec<Result<StreamEvent, ProviderError>> {
        guard(stream::iter(items).boxed(), limits()).collect().await
    }

    #[tokio::test]
    async fn well_behaved_stream_passes_unchanged() {
        let items = vec![text("one "), text("two"), end()];
        assert_eq!(through(items.clone()).await, items);
    }

    #[tokio::test]
    async fn empty_text_is_dropped_and_empty_reply_still_ends() {
        assert_eq!(through(vec![text(""), text("\u{0}"), end()]).await, [end()]);
    }

    #[tokio::test]
    async fn control_characters_are_removed_except_line_breaks_and_tabs() {
        let got = through(vec![text("a\u{0}\u{1b}b\n\t\r\u{1f}c"), end()]).await;
        assert_eq!(got, [text("ab\n\t\rc"), end()]);
        let controls = ('\0'..=' ').chain('~'..='\u{a0}');
        for control in controls.filter(|c| !" \n\t\r~\u{a0}".contains(*c)) {
            let got = through(vec![text(&format!("a{control}[1mb")), end()]).await;
            assert_eq!(got, [text("a[1mb"), end()], "{control:?}");
        }
        // The neighbours in the code table are text.
        assert_eq!(through(vec![text(" ~\u{a0}é"), end()]).await, [text(" ~\u{a0}é"), end()]);
    }

    /// S44: a call's parts come from the model as well.
    #[tokio::test]
    async fn control_characters_are_removed_from_calls() {
        let call = |mark: &str| {
            StreamEvent::Call(ToolCall {
                call_id: format!("c{mark}"),
                name: format!("n{mark}"),
                arguments: json!({ format!("k{mark}"): [format!("v{mark}\n")] }),
            })
        };
        let limits = Limits { max_text_bytes: 100, ..Limits::default() };
        let items = stream::iter([Ok(call("\u{9b}\u{7f}\u{1b}")), end()]).boxed();
        let got: Vec<_> = guard(items, limits).collect().await;
        assert_eq!(got, [Ok(call("")), end()]);
    }

    struct Heard;

    impl Provider for Heard {
        fn name(&self) -> &'static str {
            "heard"
        }

        fn model(&self) -> &str {
            "m"
        }

        fn describe(&self) -> String {
            "heard".to_owned()
        }

        fn parameters(&self, _: &Prompt) -> Map<String, Value> {
            Map::new()
        }

        fn stream(&self, _: Prompt) -> StreamEvents {
            stream::empty().boxed()
        }

        fn transcribe(&self, recording: Recording) -> BoxFuture<'static, Result<String, ProviderError>> {
            Box::pin(async { String::from_utf8(recording.audio).map_err(|_| ProviderError::BadResponse) })
        }
    }

    /// S44: the same for transcriptions.
    #[tokio::test]
    async fn control_characters_are_removed_from_transcriptions() {
        let recording = Recording {
            audio: "a\u{9b}1m\u{1b}b\n\t".as_bytes().to_vec(),
            mime_type: "audio/webm".to_owned(),
        };
        let heard = LimitedProvider::new(Heard, limits()).transcribe(recording).await;
        assert_eq!(heard.as_deref(), Ok("a1mb\n\t"));
    }

    #[tokio::test]
    async fn stream_without_an_end_is_cut() {
        assert_eq!(through(vec![text("a")]).await, [text("a"), Err(ProviderError::Cut)]);
        assert_eq!(through(vec![]).await, [Err(ProviderError::Cut)]);
    }

    #[tokio::test]
    async fn no_event_passes_after_an_end_or_an_error() {
        assert_eq!(through(vec![end(), text("late"), end()]).await, [end()]);
        let failed = Err(ProviderError::BadResponse);
        assert_eq!(through(vec![failed.clone(), text("late"), end()]).await, [failed]);
    }

    #[tokio::test]
    async fn text_up_to_the_limit_passes() {
        let items = vec![text("12345"), text("67890"), end()];
        assert_eq!(through(items.clone()).await, items);
    }

    #[tokio::test]
    async fn text_beyond_the_limit_is_cut_at_a_character_boundary() {
        let got = through(vec![text("12345678"), text("9é0"), text("more"), end()]).await;
        assert_eq!(got, [text("12345678"), text("9"), Err(ProviderError::TooLong)]);
        let got = through(vec![text("1234567890"), text("1"), end()]).await;
        assert_eq!(got, [text("1234567890"), Err(ProviderError::TooLong)]);
    }

    fn short(pick: impl FnOnce(&mut Limits)) -> Limits {
        let mut limits = Limits::default();
        pick(&mut limits);
        limits
    }

    #[tokio::test]
    async fn silence_from_the_start_is_a_first_byte_timeout() {
        let limits = short(|l| l.first_byte = Duration::from_millis(20));
        let got: Vec<_> = guard(stream::pending().boxed(), limits).collect().await;
        assert_eq!(got, [Err(ProviderError::Timeout(TimeoutKind::FirstByte))]);
    }

    #[tokio::test]
    async fn silence_after_an_event_is_an_idle_timeout() {
        let limits = short(|l| l.idle = Duration::from_millis(20));
        for sign in ["word", ""] {
            let inner = stream::iter([text(sign)]).chain(stream::pending());
            let got: Vec<_> = guard(inner.boxed(), limits).collect().await;
            assert_eq!(got.last(), Some(&Err(ProviderError::Timeout(TimeoutKind::Idle))));
        }
    }

    #[tokio::test]
    async fn endless_stream_hits_the_total_limit() {
        let limits = short(|l| l.total = Duration::from_millis(30));
        let endless = stream::unfold((), |()| async {
            tokio::task::yield_now().await;
            Some((Ok(StreamEvent::Text(String::new())), ()))
        });
        let got: Vec<_> = guard(endless.boxed(), limits).collect().await;
        assert_eq!(got, [Err(ProviderError::Timeout(TimeoutKind::Total))]);
    }

    #[tokio::test]
    async fn silence_until_the_total_limit_is_a_total_timeout() {
        let limits = short(|l| l.total = Duration::from_millis(20));
        let got: Vec<_> = guard(stream::pending().boxed(), limits).collect().await;
        assert_eq!(got, [Err(ProviderError::Timeout(TimeoutKind::Total))]);
    }

    #[tokio::test]
    async fn provider_call_is_dropped_with_the_last_event() {
        let call = Arc::new(());
        let held = Arc::clone(&call);
        let inner = stream::iter([end()]).chain(stream::poll_fn(move |_| {
            let _ = &held;
            Poll::Pending
        }));
        let mut guarded = guard(inner.boxed(), limits());
        assert_eq!(Arc::strong_count(&call), 2);
        assert_eq!(guarded.next().await, Some(end()));
        assert_eq!(Arc::strong_count(&call), 1);
        assert_eq!(guarded.next().await, None);
    }
}
