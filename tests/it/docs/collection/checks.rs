//! Generates the scripts with which the collection checks responses and saves values.

use serde_json::Value;

use crate::docs::calls::Call;

/// Depth to which the shape of a body is checked.
const MAX_SHAPE_DEPTH: usize = 3;
/// Fields whose contents vary and are not checked.
const OPAQUE_FIELDS: [&str; 5] = ["widget", "plan", "timings", "parameters", "data"];

/// Returns checks of status, type and shape of a recorded response.
pub(super) fn of(call: &Call) -> Vec<String> {
    let mut lines = status(call.status);
    if call.media == "text/event-stream" {
        let first = call.answer.lines().find(|line| line.starts_with("event: "));
        let first = first.map(str::to_owned).or_else(|| {
            let event = call.events().into_iter().next()?;
            Some(format!("data: {{\"type\":{}", event["type"]))
        });
        lines.extend(test("the response is an event stream", [
            "pm.expect(pm.response.headers.get('Content-Type')).to.match(/^text\\/event-stream/);".to_owned(),
            format!("pm.expect(pm.response.text()).to.include({});", quoted(&first.unwrap())),
            "pm.response.text().split('\\n').filter(line => line.startsWith('data: ')).forEach(line => JSON.parse(line.slice(6)));"
                .to_owned(),
        ]));
        return lines;
    }
    match serde_json::from_str::<Value>(&call.answer) {
        Ok(body) if call.media == "application/json" => {
            let mut shape = vec!["const body = pm.response.json();".to_owned()];
            shape_of("body", &body, MAX_SHAPE_DEPTH, &mut shape);
            if call.status >= 400 {
                shape.push(format!("pm.expect(body.code).to.eql({});", body["code"]));
            }
            lines.extend(test("the body has the expected shape", shape));
        }
        _ if !call.media.is_empty() => lines.extend(test(
            "the response has the expected type",
            [format!(
                "pm.expect(pm.response.headers.get('Content-Type')).to.include({});",
                quoted(&call.media)
            )],
        )),
        _ => {}
    }
    lines
}

/// Returns the checks of a request that needs an upgrade and does not ask for one.
pub(super) fn no_upgrade() -> Vec<String> {
    let mut lines = status(426);
    lines.extend(test(
        "the body has the expected shape",
        ["pm.expect(pm.response.json().code).to.eql(\"upgrade_required\");".to_owned()],
    ));
    lines
}

/// Returns lines that save the value at a place in the response.
pub(super) fn saving(name: &str, place: &str) -> Vec<String> {
    if place.is_empty() {
        return Vec::new();
    }
    let mut lines = Vec::new();
    if place.starts_with("events") || place.starts_with("event(") {
        lines.push(
            "const events = pm.response.text().split('\\n').filter(line => line.startsWith('data: ')).map(line => JSON.parse(line.slice(6)));"
                .to_owned(),
        );
    } else {
        lines.push("const body = pm.response.json();".to_owned());
    }
    lines.extend(save(name, &place.replacen("event(", "events.find(", 1)));
    test(&format!("save {name}"), lines)
}

/// Returns lines that save a value in both scopes, since an environment's variable hides the collection's.
pub(super) fn save(name: &str, value: &str) -> Vec<String> {
    ["environment", "collectionVariables"].map(|scope| format!("pm.{scope}.set('{name}', {value});")).into()
}

fn status(status: u16) -> Vec<String> {
    vec![format!("pm.test('status is {status}', () => pm.response.to.have.status({status}));")]
}

fn test(name: &str, lines: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut test = vec![format!("pm.test('{name}', () => {{")];
    test.extend(lines.into_iter().map(|line| format!("    {line}")));
    test.push("});".to_owned());
    test
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn shape_of(place: &str, value: &Value, depth: usize, lines: &mut Vec<String>) {
    let is = |kind: &str| format!("pm.expect({place}).to.be.{kind};");
    match value {
        Value::String(_) => lines.push(is("a('string')")),
        Value::Number(_) => lines.push(is("a('number')")),
        Value::Bool(_) => lines.push(is("a('boolean')")),
        Value::Null => {}
        Value::Array(items) => {
            lines.push(is("an('array')"));
            // Only the field names of list items: a field may be null in one item and a string in the next.
            if let Some(Value::Object(first)) = items.first() {
                lines.push(keys(&format!("{place}[0]"), first.keys()));
            }
        }
        Value::Object(fields) => {
            if !fields.is_empty() {
                lines.push(keys(place, fields.keys()));
            }
            if depth > 0 {
                for (name, inner) in fields.iter().filter(|(name, _)| !OPAQUE_FIELDS.contains(&name.as_str()))
                {
                    shape_of(&format!("{place}.{name}"), inner, depth - 1, lines);
                }
            }
        }
    }
}

fn keys<'a>(place: &str, names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<String> = names.map(|name| format!("'{name}'")).collect();
    format!("pm.expect({place}).to.include.all.keys({});", names.join(", "))
}
