//! Tool calls, which arrive in fragments: first the name, then parts of the arguments.

use serde_json::Value;

use crate::ai::{ProviderError, ToolCall};

/// Most bytes of all incomplete calls of a reply; `limits` allows less for complete ones.
const MAX_CALL_BYTES: usize = 256 * 1024;

/// Most calls of a reply: fragments with nothing but a new index have no bytes to count.
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
    /// Adds the fragments of one chunk.
    ///
    /// # Errors
    /// `TooLong` if they exceed a limit, `BadResponse` if they are malformed.
    pub(super) fn add(&mut self, fragments: &Value) -> Result<(), ProviderError> {
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
            if self.bytes > MAX_CALL_BYTES {
                return Err(ProviderError::TooLong);
            }
            let index = fragment["index"].as_u64().unwrap_or(place);
            // Some servers give every call the same index: a different id starts another call.
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

    /// Returns the complete calls, without those that lack a name or have malformed arguments.
    pub(super) fn complete(&mut self) -> impl Iterator<Item = ToolCall> + use<> {
        std::mem::take(&mut self.open).into_iter().enumerate().filter_map(|(number, open)| {
            let Open { id, name, arguments, .. } = open;
            let arguments = match arguments.trim() {
                "" => Value::Object(serde_json::Map::new()),
                text => serde_json::from_str(text).ok()?,
            };
            // The id links the call to its outcome.
            let call_id = if id.is_empty() { format!("call_{number}") } else { id };
            (!name.is_empty()).then_some(ToolCall { call_id, name, arguments })
        })
    }
}

#[cfg(test)]
mod tests;
