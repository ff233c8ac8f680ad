//! Configured values in the OpenAPI description.

use aide::openapi::Components;
use serde_json::{Value, json};

use crate::http::ApiState;

/// Fills in the quiz topics and the maximum file size.
pub(super) fn fill_in(components: &mut Components, state: &ApiState) {
    let topics: Vec<&str> = state.services.quizzes.topics().collect();
    set(components, "StartRequest", "topic", "examples", json!(topics));
    set(components, "CreateAttachment", "size", "maximum", json!(state.services.files.max_file_bytes()));
}

/// Sets a keyword of a schema's field, if the schema exists.
fn set(components: &mut Components, schema: &str, field: &str, keyword: &str, value: Value) {
    let Some(schema) = components.schemas.get_mut(schema) else { return };
    let object = schema.json_schema.ensure_object();
    let field = object.get_mut("properties").and_then(|properties| properties.get_mut(field));
    if let Some(Value::Object(field)) = field {
        field.insert(keyword.to_owned(), value);
    }
}
