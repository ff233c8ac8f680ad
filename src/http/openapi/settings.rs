//! What the description says of things that are set when the program starts.

use aide::openapi::Components;
use serde_json::{Value, json};

use crate::http::ApiState;

/// Fills in the topics of quizzes, and how large a file may be.
pub(super) fn fill_in(components: &mut Components, state: &ApiState) {
    let topics: Vec<&str> = state.services.quizzes.topics().collect();
    set(components, "StartRequest", "topic", "examples", json!(topics));
    set(components, "CreateAttachment", "size", "maximum", json!(state.services.files.largest_file()));
}

/// Says something of one field of a schema, when there is that schema.
fn set(components: &mut Components, schema: &str, field: &str, keyword: &str, value: Value) {
    let Some(schema) = components.schemas.get_mut(schema) else { return };
    let object = schema.json_schema.ensure_object();
    let field = object.get_mut("properties").and_then(|properties| properties.get_mut(field));
    if let Some(Value::Object(field)) = field {
        field.insert(keyword.to_owned(), value);
    }
}
