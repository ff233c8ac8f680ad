//! OpenAPI descriptions of path and header parameters.

use aide::openapi::{
    HeaderStyle, Operation, Parameter, ParameterData, ParameterSchemaOrContent, PathStyle, ReferenceOr,
    SchemaObject,
};
use schemars::{Schema, json_schema};

use super::{IDEMPOTENCY_KEY, MAX_KEY_LENGTH};
use crate::http::openapi::failures::add_failures;

/// Describes the `id` in a path.
pub(in crate::http) fn document_id(operation: &mut Operation, description: &str, schema: Schema) {
    document_path(operation, "id", description, schema);
}

/// Describes a path parameter.
pub(super) fn document_path(operation: &mut Operation, name: &str, description: &str, schema: Schema) {
    let parameter_data = data(name, description, true, schema);
    let style = PathStyle::Simple;
    operation.parameters.push(ReferenceOr::Item(Parameter::Path { parameter_data, style }));
    add_failures(operation, &[404]);
}

pub(in crate::http) fn document_key(operation: &mut Operation) {
    let description = "1 to 255 visible ASCII characters. For 24 hours, the same key and body returns the first outcome; another body \
                       is rejected with 422.";
    let schema =
        json_schema!({"type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH, "pattern": "^[!-~]+$"});
    operation.parameters.push(header_parameter(IDEMPOTENCY_KEY, description, schema));
}

/// Describes an optional request header.
pub(in crate::http) fn header_parameter(
    name: &str,
    description: &str,
    schema: Schema,
) -> ReferenceOr<Parameter> {
    let parameter_data = data(name, description, false, schema);
    ReferenceOr::Item(Parameter::Header { parameter_data, style: HeaderStyle::Simple })
}

fn data(name: &str, description: &str, required: bool, json_schema: Schema) -> ParameterData {
    ParameterData {
        name: name.to_owned(),
        description: Some(description.to_owned()),
        required,
        deprecated: None,
        format: ParameterSchemaOrContent::Schema(SchemaObject {
            json_schema,
            example: None,
            external_docs: None,
        }),
        example: None,
        examples: Default::default(),
        explode: None,
        extensions: Default::default(),
    }
}
