use serde_json::json;

use super::*;

fn complete(chunks: &[Value]) -> Vec<(String, String, Value)> {
    let mut calls = Calls::default();
    for chunk in chunks {
        calls.add(chunk).unwrap();
    }
    calls.complete().map(|call| (call.call_id, call.name, call.arguments)).collect()
}

fn call(id: &str, name: &str, arguments: Value) -> (String, String, Value) {
    (id.to_owned(), name.to_owned(), arguments)
}

#[test]
fn fragments_are_joined_by_index() {
    let got = complete(&[
        json!([{"index": 0, "id": "a", "function": {"name": "look", "arguments": ""}}]),
        json!([{"index": 0, "function": {"arguments": "{\"at\""}}, {"index": 1, "id": "b", "function": {"name": "go"}}]),
        json!(null),
        json!([{"index": 1, "function": {"arguments": "{}"}}, {"index": 0, "function": {"arguments": ":1}"}}]),
    ]);
    assert_eq!(got, [call("a", "look", json!({"at": 1})), call("b", "go", json!({}))]);
}

#[test]
fn whole_calls_under_one_index_stay_separate() {
    let one = |id: &str| json!([{"index": 0, "id": id, "function": {"name": "look", "arguments": "{}"}}]);
    let got = complete(&[one("a"), one("b")]);
    assert_eq!(got, [call("a", "look", json!({})), call("b", "look", json!({}))]);
}

#[test]
fn missing_ids_are_generated_and_malformed_calls_skipped() {
    let got = complete(&[json!([
        {"function": {"name": "look"}},
        {"function": {"name": "go", "arguments": "{\"at\":"}},
        {"function": {"arguments": "{}"}},
    ])]);
    assert_eq!(got, [call("call_0", "look", json!({}))]);
}

#[test]
fn malformed_or_oversized_fragments_are_rejected() {
    for wrong in [json!("look"), json!({}), json!(["look"])] {
        assert_eq!(Calls::default().add(&wrong), Err(ProviderError::BadResponse), "{wrong}");
    }
    let mut calls = Calls::default();
    let much = json!([{"index": 0, "function": {"arguments": "x".repeat(1024)}}]);
    let refused = (0..1_000).find_map(|_| calls.add(&much).err());
    assert_eq!(refused, Some(ProviderError::TooLong));
}

#[test]
fn too_many_empty_calls_are_rejected() {
    let fragments = |count: usize| Value::Array((0..count).map(|index| json!({"index": index})).collect());
    let mut calls = Calls::default();
    assert_eq!(calls.add(&fragments(MAX_CALLS)), Ok(()));
    assert_eq!(calls.add(&json!([{"index": 0, "function": {"name": "look"}}])), Ok(()), "it is open");
    assert_eq!(calls.add(&json!([{"index": MAX_CALLS}])), Err(ProviderError::TooLong));
    assert_eq!(calls.complete().count(), 1);
    // Fragments without an index, all in one chunk, and fragments that differ by id only.
    let unnumbered = Value::Array(vec![json!({}); MAX_CALLS + 1]);
    let ids = (0..=MAX_CALLS).map(|id| json!({"index": 0, "id": id.to_string()}));
    for much in [unnumbered, Value::Array(ids.collect())] {
        assert_eq!(Calls::default().add(&much), Err(ProviderError::TooLong));
    }
}
