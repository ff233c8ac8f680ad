//! docs/websocket.md against the types of the frames.

use std::collections::BTreeSet;

use serde_json::Value;
use verbatim::http::surfaces::websocket::frames::{ClientFrame, Sending, ServerFrame};

use super::read;

/// The blocks of docs/websocket.md that show frames of one side.
fn frames(side: &str) -> Vec<Value> {
    let document = read("docs/websocket.md");
    let blocks = document.split("\n```").skip(1).step_by(2);
    blocks
        .filter_map(|block| block.strip_prefix(&format!("json {side}\n")))
        .map(|text| serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}")))
        .collect()
}

/// The types that a vocabulary has.
fn types(schema: &schemars::Schema) -> BTreeSet<String> {
    let schema = schema.as_value();
    let variants = schema["oneOf"].as_array().unwrap();
    variants
        .iter()
        .map(|variant| variant["properties"]["type"]["const"].as_str().expect("a type").to_owned())
        .collect()
}

fn shown(frames: &[Value]) -> BTreeSet<String> {
    frames.iter().filter_map(|frame| frame["type"].as_str()).map(str::to_owned).collect()
}

#[test]
fn every_frame_is_shown_and_reads_as_shown() {
    let asked = frames("client");
    assert_eq!(shown(&asked), types(&schemars::schema_for!(ClientFrame)));
    for mut frame in asked {
        let read =
            Sending::parse(&frame.to_string()).unwrap_or_else(|refused| panic!("{frame}: {refused:?}"));
        frame.as_object_mut().unwrap().entry("type").or_insert_with(|| "message".into());
        assert_eq!(serde_json::to_value(read).unwrap(), frame);
    }
    let told = frames("server");
    assert_eq!(shown(&told), types(&schemars::schema_for!(ServerFrame)));
    for frame in told {
        let read: ServerFrame =
            serde_json::from_value(frame.clone()).unwrap_or_else(|error| panic!("{error}: {frame}"));
        assert_eq!(serde_json::to_value(read).unwrap(), frame);
    }
}
