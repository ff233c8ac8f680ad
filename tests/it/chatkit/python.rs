//! Tests that the official Python package of the protocol accepts everything that this server sends.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::examples::golden_values;
use crate::support::app::WAIT_TIMEOUT;
use crate::support::{python, root};

/// Parses values, each with a kind and a name, with the package; returns whether all were accepted, and the output.
pub(super) async fn parse(values: &[(&str, &str, &Value)]) -> (bool, String) {
    let mut child = Command::new(python())
        .arg(root().join("tests/it/chatkit/python/parse.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let lines: String = values
        .iter()
        .map(|(kind, name, value)| format!("{}\n", json!({"kind": kind, "name": name, "value": value})))
        .collect();
    let mut stdin = child.stdin.take().unwrap();
    let written = async move {
        stdin.write_all(lines.as_bytes()).await.unwrap();
        drop(stdin);
    };
    let (output, ()) =
        tokio::time::timeout(WAIT_TIMEOUT, async { futures::join!(child.wait_with_output(), written) })
            .await
            .expect("the parser ends in time");
    let output = output.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.is_empty(), "{errors}");
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

#[tokio::test]
async fn official_package_accepts_every_golden_file() {
    let golden = golden_values();
    let values: Vec<_> =
        golden.iter().map(|(kind, name, value)| (kind.as_str(), name.as_str(), value)).collect();
    let (taken, said) = parse(&values).await;
    assert!(taken, "{said}");
    assert_eq!(said.trim(), format!("{} values", values.len()));
    assert!(values.len() > 60, "{said}");
}

/// The check detects errors: each of these values is wrong in one place.
#[tokio::test]
async fn official_package_rejects_invalid_values() {
    let item = |more: Value| {
        let mut item = json!({"id": "msg_1", "thread_id": "thr_1", "created_at": "2026-01-02T03:04:05Z"});
        item.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        item
    };
    let wrong = [
        ("event", json!({"type": "thread.exploded"})),
        ("event", json!({"type": "stream_options", "stream_options": {"allow_cancel": true}, "more": 1})),
        ("event", json!({"type": "error", "code": "custom", "message": null, "allow_retry": false})),
        (
            "item",
            item(
                json!({"type": "assistant_message", "content": [{"type": "output_text", "text": "a", "notes": []}]}),
            ),
        ),
        ("item", item(json!({"type": "hidden_context_item", "content": "a"}))),
        (
            "item",
            item(
                json!({"type": "workflow", "workflow": {"type": "custom", "tasks": [{"type": "thought"}], "expanded": false}}),
            ),
        ),
        ("item", item(json!({"type": "widget", "widget": {"type": "Text", "value": "a"}}))),
        (
            "item",
            item(
                json!({"type": "widget", "widget": {"type": "Card", "children": [{"type": "Text", "text": "a"}]}}),
            ),
        ),
        ("widget", json!({"type": "Card", "children": [{"type": "Button", "size": "huge"}]})),
        (
            "widget",
            json!({"type": "Card", "children": [{"type": "Row", "children": [{"type": "Icon", "name": "arrow"}]}]}),
        ),
        ("attachment", json!({"type": "image", "id": "atc_1", "name": "a", "mime_type": "image/png"})),
        ("request", json!({"type": "threads.get_by_id", "params": {}})),
        ("kindness", json!({})),
    ];
    let names: Vec<String> = (0..wrong.len()).map(|number| number.to_string()).collect();
    let values: Vec<_> =
        wrong.iter().zip(&names).map(|((kind, value), name)| (*kind, name.as_str(), value)).collect();
    let (taken, said) = parse(&values).await;
    assert!(!taken);
    for (kind, name, value) in &values {
        assert!(said.contains(&format!("{kind} {name}: ")), "{value} was accepted\n{said}");
    }
}
