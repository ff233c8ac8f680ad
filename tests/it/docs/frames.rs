//! Compares docs/websocket.md with the types of the frames.

use std::collections::BTreeSet;

use serde_json::Value;
use verbatim::http::surfaces::websocket::frames::{ClientEnvelope, ClientFrame, ServerFrame};

use super::read;

/// Returns the frames of one side that docs/websocket.md shows.
fn documented_frames(side: &str) -> Vec<Value> {
    let document = read("docs/websocket.md");
    let blocks = document.split("\n```").skip(1).step_by(2);
    blocks
        .filter_map(|block| block.strip_prefix(&format!("json {side}\n")))
        .map(|text| serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}")))
        .collect()
}

/// Returns the frame types in a schema.
fn types(schema: &schemars::Schema) -> BTreeSet<String> {
    let schema = schema.as_value();
    let variants = schema["oneOf"].as_array().unwrap();
    variants
        .iter()
        .map(|variant| variant["properties"]["type"]["const"].as_str().expect("a type").to_owned())
        .collect()
}

fn types_of(frames: &[Value]) -> BTreeSet<String> {
    frames.iter().filter_map(|frame| frame["type"].as_str()).map(str::to_owned).collect()
}

#[test]
fn documented_frames_cover_all_types_and_parse() {
    let client = documented_frames("client");
    assert_eq!(types_of(&client), types(&schemars::schema_for!(ClientFrame)));
    for mut frame in client {
        let read = ClientEnvelope::parse(&frame.to_string())
            .unwrap_or_else(|refused| panic!("{frame}: {refused:?}"));
        frame.as_object_mut().unwrap().entry("type").or_insert_with(|| "message".into());
        assert_eq!(serde_json::to_value(read).unwrap(), frame);
    }
    let server = documented_frames("server");
    assert_eq!(types_of(&server), types(&schemars::schema_for!(ServerFrame)));
    for frame in server {
        let read: ServerFrame =
            serde_json::from_value(frame.clone()).unwrap_or_else(|error| panic!("{error}: {frame}"));
        assert_eq!(serde_json::to_value(read).unwrap(), frame);
    }
}
