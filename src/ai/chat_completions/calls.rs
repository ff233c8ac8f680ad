//! Calls of tools, which arrive in fragments: the name first, then the arguments bit by bit.

use serde_json::Value;

use crate::ai::{ProviderError, ToolCall};

/// The most bytes that all calls of a reply may have before they are whole; the guard allows less of whole ones.
const MAX_BYTES: usize = 256 * 1024;

/// The most calls of a reply: a fragment that says nothing but a new index has no bytes that would count.
const MAX_CALLS: usize = 128;

/// The calls of one reply so far.
#[derive(Debug, Default)]
pub(super) struct Calls {
    open: Vec<Open>,
    bytes: usize,
}

#[derive(Debug)]
struct Open {
    index: u64,
    id: String,
    name: String,
    arguments: String,
}

impl Calls {
    /// Takes the fragments of one chunk.
    ///
    /// # Errors
    /// `TooLong` when they come to too much, `BadResponse` when they are none.
    pub(super) fn take(&mut self, fragments: &Value) -> Result<(), ProviderError> {
        let fragments = match fragments {
            Value::Null => return Ok(()),
            Value::Array(fragments) => fragments,
            _ => return Err(ProviderError::BadResponse),
        };
        for (place, fragment) in (0u64..).zip(fragments) {
            if !fragment.is_object() {
                return Err(ProviderError::BadResponse);
            }
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (id, function) = (text(&fragment["id"]), &fragment["function"]);
            let (name, arguments) = (text(&function["name"]), text(&function["arguments"]));
            self.bytes += id.len() + name.len() + arguments.len();
            if self.bytes > MAX_BYTES {
                return Err(ProviderError::TooLong);
            }
            let index = fragment["index"].as_u64().unwrap_or(place);
            // Some servers give every call the same index: another id begins another call.
            let same = |open: &&mut Open| open.index == index && (id.is_empty() || open.id == id);
            let full = self.open.len() == MAX_CALLS;
            match self.open.iter_mut().rfind(same) {
                Some(open) => {
                    open.name.push_str(&name);
                    open.arguments.push_str(&arguments);
                }
                None if full => return Err(ProviderError::TooLong),
                None => self.open.push(Open { index, id, name, arguments }),
            }
        }
        Ok(())
    }

    /// The whole calls. One without a name, or with arguments that are no JSON, is no call.
    pub(super) fn whole(&mut self) -> impl Iterator<Item = ToolCall> + use<> {
        std::mem::take(&mut self.open).into_iter().enumerate().filter_map(|(number, open)| {
            let Open { id, name, arguments, .. } = open;
            let arguments = match arguments.trim() {
                "" => Value::Object(serde_json::Map::new()),
                text => serde_json::from_str(text).ok()?,
            };
            // The call is named again when its outcome is told.
            let call_id = if id.is_empty() { format!("call_{number}") } else { id };
            (!name.is_empty()).then_some(ToolCall { call_id, name, arguments })
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn whole(chunks: &[Value]) -> Vec<(String, String, Value)> {
        let mut calls = Calls::default();
        for chunk in chunks {
            calls.take(chunk).unwrap();
        }
        calls.whole().map(|call| (call.call_id, call.name, call.arguments)).collect()
    }

    fn call(id: &str, name: &str, arguments: Value) -> (String, String, Value) {
        (id.to_owned(), name.to_owned(), arguments)
    }

    #[test]
    fn fragments_are_put_together_by_index() {
        let got = whole(&[
            json!([{"index": 0, "id": "a", "function": {"name": "look", "arguments": ""}}]),
            json!([{"index": 0, "function": {"arguments": "{\"at\""}}, {"index": 1, "id": "b", "function": {"name": "go"}}]),
            json!(null),
            json!([{"index": 1, "function": {"arguments": "{}"}}, {"index": 0, "function": {"arguments": ":1}"}}]),
        ]);
        assert_eq!(got, [call("a", "look", json!({"at": 1})), call("b", "go", json!({}))]);
    }

    #[test]
    fn calls_that_come_whole_under_one_index_stay_apart() {
        let one = |id: &str| json!([{"index": 0, "id": id, "function": {"name": "look", "arguments": "{}"}}]);
        let got = whole(&[one("a"), one("b")]);
        assert_eq!(got, [call("a", "look", json!({})), call("b", "look", json!({}))]);
    }

    #[test]
    fn what_is_left_out_is_made_up_for_and_what_is_broken_is_no_call() {
        let got = whole(&[json!([
            {"function": {"name": "look"}},
            {"function": {"name": "go", "arguments": "{\"at\":"}},
            {"function": {"arguments": "{}"}},
        ])]);
        assert_eq!(got, [call("call_0", "look", json!({}))]);
    }

    #[test]
    fn what_is_no_fragment_or_too_much_is_refused() {
        for wrong in [json!("look"), json!({}), json!(["look"])] {
            assert_eq!(Calls::default().take(&wrong), Err(ProviderError::BadResponse), "{wrong}");
        }
        let mut calls = Calls::default();
        let much = json!([{"index": 0, "function": {"arguments": "x".repeat(1024)}}]);
        let refused = (0..1_000).find_map(|_| calls.take(&much).err());
        assert_eq!(refused, Some(ProviderError::TooLong));
    }

    #[test]
    fn more_calls_than_may_be_are_refused_although_they_say_nothing() {
        let fragments =
            |count: usize| Value::Array((0..count).map(|index| json!({"index": index})).collect());
        let mut calls = Calls::default();
        assert_eq!(calls.take(&fragments(MAX_CALLS)), Ok(()));
        assert_eq!(calls.take(&json!([{"index": 0, "function": {"name": "look"}}])), Ok(()), "it is open");
        assert_eq!(calls.take(&json!([{"index": MAX_CALLS}])), Err(ProviderError::TooLong));
        assert_eq!(calls.whole().count(), 1);
        // Those without an index, all in one chunk, and those that are told apart by their ids alone.
        let unnumbered = Value::Array(vec![json!({}); MAX_CALLS + 1]);
        let ids = (0..=MAX_CALLS).map(|id| json!({"index": 0, "id": id.to_string()}));
        for much in [unnumbered, Value::Array(ids.collect())] {
            assert_eq!(Calls::default().take(&much), Err(ProviderError::TooLong));
        }
    }
}
