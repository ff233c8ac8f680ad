//! Converts a provider's events to stream events, for either protocol.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_openai::types::stream::StreamResponse;
use futures::{StreamExt, stream};
use serde_json::Value;
use tokio::time::timeout;

use super::http::CallControl;
use crate::ai::{ProviderError, StreamEvent, StreamEvents};

/// Stream events produced so far, oldest first.
pub(in crate::ai) type Out = VecDeque<Result<StreamEvent, ProviderError>>;

/// Reads one protocol's events.
pub(in crate::ai) trait Reader: Send + 'static {
    /// Appends what an event contains. Nothing appended means that it is only a keep-alive.
    fn read(&mut self, event: Value, out: &mut Out);

    /// Appends the last events when the stream ends; `broken` if it ended with an error. Nothing appended: the reply was cut.
    fn finish(&mut self, _broken: bool, _out: &mut Out) {}

    /// Returns how long to wait for the next event once everything important has arrived.
    fn end_timeout(&self) -> Option<Duration> {
        None
    }
}

/// State of reading a stream.
struct Reading<E, R> {
    events: E,
    link: Arc<CallControl>,
    reader: R,
    out: Out,
    over: bool,
}

/// Returns the provider's events as stream events; ends after the end or the first error.
pub(in crate::ai) fn stream_events(
    mut events: StreamResponse<Value>,
    link: Arc<CallControl>,
    reader: impl Reader,
) -> StreamEvents {
    let asking = Arc::clone(&link);
    let events = stream::poll_fn(move |cx| {
        let polled = events.poll_next_unpin(cx);
        if polled.is_pending() {
            asking.ask();
        }
        polled
    });
    let reading = Reading { events, link, reader, out: VecDeque::new(), over: false };
    stream::unfold(Some(reading), |reading| async move {
        let mut reading = reading?;
        loop {
            match reading.out.pop_front() {
                Some(more @ Ok(StreamEvent::Text(_) | StreamEvent::Call(_))) => {
                    return Some((more, Some(reading)));
                }
                Some(last) => return Some((last, None)),
                None if reading.over => return None,
                None => reading.read_next().await,
            }
        }
    })
    .boxed()
}

impl<E, R> Reading<E, R>
where
    E: stream::Stream<Item = Result<Value, async_openai::error::OpenAIError>> + Unpin,
    R: Reader,
{
    /// Reads the next event, or the end.
    async fn read_next(&mut self) {
        let (next, in_time) = match self.reader.end_timeout() {
            Some(limit) => {
                timeout(limit, self.events.next()).await.map_or((None, false), |next| (next, true))
            }
            None => (self.events.next().await, true),
        };
        if let Some(Ok(event)) = next {
            self.reader.read(event, &mut self.out);
            if self.out.is_empty() {
                self.out.push_back(Ok(StreamEvent::Text(String::new())));
            }
            return;
        }
        self.over = true;
        // async-openai's errors carry only the provider's text; our own error is in the control.
        let fault = self.link.fault().or_else(|| next.map(|_| ProviderError::BadResponse));
        self.reader.finish(fault.is_some() || !in_time, &mut self.out);
        if self.out.is_empty() {
            self.out.extend(fault.map(Err));
        }
    }
}
