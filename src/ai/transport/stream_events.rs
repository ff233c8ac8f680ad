//! From a provider's events to pieces, whichever protocol the events are of.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_openai::types::stream::StreamResponse;
use futures::{StreamExt, stream};
use serde_json::Value;
use tokio::time::timeout;

use super::http::CallControl;
use crate::ai::{ProviderError, StreamEvent, StreamEvents};

/// What a reader has made of the events so far, oldest first.
pub(in crate::ai) type Out = VecDeque<Result<StreamEvent, ProviderError>>;

/// Reads one protocol's events.
pub(in crate::ai) trait Reader: Send + 'static {
    /// Adds what an event says. Nothing added means that it only shows that the provider is alive.
    fn read(&mut self, event: Value, out: &mut Out);

    /// Adds what is to be said when the events are over; `broken`: otherwise than at their end. Nothing added: the reply was
    /// cut.
    fn over(&mut self, _broken: bool, _out: &mut Out) {}

    /// How long the next event is worth waiting for, once all that matters has been said.
    fn patience(&self) -> Option<Duration> {
        None
    }
}

/// How far a stream has been read.
struct Reading<E, R> {
    events: E,
    link: Arc<CallControl>,
    reader: R,
    out: Out,
    over: bool,
}

/// The provider's events as pieces; ends after the end or the first error.
pub(in crate::ai) fn pieces(
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
                None => reading.read_on().await,
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
    /// Takes the next event, or learns that there is none.
    async fn read_on(&mut self) {
        let (next, in_time) = match self.reader.patience() {
            Some(patience) => {
                timeout(patience, self.events.next()).await.map_or((None, false), |next| (next, true))
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
        // async-openai's errors carry only text, and that is the provider's; ours stands in the link.
        let fault = self.link.fault().or_else(|| next.map(|_| ProviderError::BadResponse));
        self.reader.over(fault.is_some() || !in_time, &mut self.out);
        if self.out.is_empty() {
            self.out.extend(fault.map(Err));
        }
    }
}
