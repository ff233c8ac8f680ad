//! Recordings of what a document's commands do: HTTP requests, traced by curl, and runs of the program's own commands.

use std::path::Path;

use serde_json::Value;

/// Replaces curl by a script that runs it with a trace of the connection.
pub(super) const CURL: &str = r#"#!/bin/sh
n=$(printf %04d "$(ls "$CALLS" | grep -c 'step$')")
echo "${STEP:-0}" > "$CALLS/$n.step"
PATH=${PATH#*:} exec curl --trace "$CALLS/$n.trace" "$@"
"#;

/// Replaces the program by a script that runs it and records its arguments and output.
pub(super) const OPERATOR: &str = r#"#!/bin/sh
n=$(printf %04d "$(ls "$CALLS" | grep -c 'step$')")
echo "${STEP:-0}" > "$CALLS/$n.step"
printf '%s\n' "$@" > "$CALLS/$n.command"
status=0
"$PROGRAM" "$@" > "$CALLS/$n.said" || status=$?
cat "$CALLS/$n.said"
exit $status
"#;

/// One recorded action of a document.
#[derive(Debug)]
pub(super) enum Recorded {
    /// An HTTP request.
    Call(Call),
    /// An operator's command: its arguments, and the first line of its output.
    Command { words: Vec<String>, said: String },
}

/// A request and its response.
#[derive(Debug)]
pub(super) struct Call {
    /// Index of the document's step.
    pub(super) step: usize,
    pub(super) method: String,
    /// Path and query.
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
    pub(super) status: u16,
    /// Media type of the response, without parameters.
    pub(super) media: String,
    /// Body of the response; of a stream, the part that was read.
    pub(super) answer: String,
}

impl Call {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(&header.1)
    }

    /// Returns the path without the query.
    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// Returns the body if it is a JSON object.
    pub(super) fn json(&self) -> Option<Value> {
        serde_json::from_str(&self.body).ok().filter(Value::is_object)
    }

    /// Returns the JSON of each event of a stream.
    pub(super) fn events(&self) -> Vec<Value> {
        let lines = self.answer.lines().filter_map(|line| line.strip_prefix("data: "));
        lines.filter_map(|data| serde_json::from_str(data).ok()).collect()
    }

    /// Returns the matching operation of the form `GET /path/{id}`; if several match, the one with the fewest
    /// parameters.
    pub(super) fn operation<'a>(&self, described: impl IntoIterator<Item = &'a String>) -> Option<&'a str> {
        let fits = |template: &str| {
            let (mut ours, mut theirs) = (self.path().split('/'), template.split('/'));
            loop {
                match (ours.next(), theirs.next()) {
                    (None, None) => return true,
                    (Some(a), Some(b)) if a == b || b.starts_with('{') => {}
                    _ => return false,
                }
            }
        };
        described
            .into_iter()
            .filter(|operation| {
                operation
                    .split_once(' ')
                    .is_some_and(|(method, template)| method == self.method && fits(template))
            })
            .map(String::as_str)
            .min_by_key(|operation| operation.matches('{').count())
    }
}

/// Returns everything that was recorded in a folder, in order.
pub(super) fn read(folder: &Path) -> Vec<Recorded> {
    let mut steps: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "step"))
        .collect();
    steps.sort();
    steps
        .into_iter()
        .map(|path| {
            let step = std::fs::read_to_string(&path).unwrap().trim().parse().unwrap();
            let file = |extension: &str| std::fs::read_to_string(path.with_extension(extension));
            match file("command") {
                Ok(words) => Recorded::Command {
                    words: words.lines().map(str::to_owned).collect(),
                    said: file("said").unwrap().lines().next().unwrap_or_default().to_owned(),
                },
                Err(_) => Recorded::Call(call(step, &file("trace").unwrap())),
            }
        })
        .collect()
}

/// Parses a trace of curl: blocks of hexadecimal bytes, each under a line with the direction.
fn call(step: usize, trace: &str) -> Call {
    let (mut sent_head, mut sent, mut got_head, mut got) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut ignored = Vec::new();
    let mut block = &mut ignored;
    for line in trace.lines() {
        if line.starts_with("== ") || line.starts_with("=> ") || line.starts_with("<= ") {
            block = match line.split(", ").next() {
                Some("=> Send header") => &mut sent_head,
                Some("=> Send data") => &mut sent,
                Some("<= Recv header") => &mut got_head,
                Some("<= Recv data") => &mut got,
                _ => &mut ignored,
            };
        } else if let Some((_, bytes)) = line.split_once(": ") {
            // A line has at most 16 bytes, followed by their characters.
            let digits = bytes.get(..bytes.len().min(48)).unwrap_or(bytes);
            let pairs = digits.split(' ').take_while(|pair| pair.len() == 2);
            block.extend(pairs.map_while(|pair| u8::from_str_radix(pair, 16).ok()));
        }
    }
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let (sent_head, got_head) = (text(sent_head), text(got_head));
    let headers = |head: &str| -> Vec<(String, String)> {
        let lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
    };
    let mut request = sent_head.split(' ').map(str::to_owned);
    let media = headers(&got_head).into_iter().find(|(name, _)| name == "content-type");
    let media = media.map(|(_, value)| value.split(';').next().unwrap_or_default().to_owned());
    Call {
        step,
        method: request.next().unwrap(),
        target: request.next().unwrap(),
        headers: headers(&sent_head),
        body: text(sent),
        status: got_head.split(' ').nth(1).unwrap().parse().unwrap(),
        media: media.unwrap_or_default(),
        answer: text(got),
    }
}

#[test]
fn curl_trace_is_parsed_into_request_and_response() {
    let trace = "== Info: Connected\n=> Send header, 47 bytes (0x2f)\n\
        0000: 50 4f 53 54 20 2f 61 3f 62 3d 31 20 48 54 54 50 POST /a?b=1 HTTP\n\
        0010: 2f 31 2e 31 0d 0a 48 6f 73 74 3a 20 78 0d 0a 0d /1.1..Host: x...\n0020: 0a                                              .\n\
        => Send data, 2 bytes (0x2)\n0000: 7b 7d                                           {}\n\
        <= Recv header, 17 bytes (0x11)\n0000: 48 54 54 50 2f 31 2e 31 20 32 30 31 20 4f 4b 0d HTTP/1.1 201 OK.\n0010: 0a                                              .\n\
        <= Recv header, 26 bytes (0x1a)\n0000: 63 6f 6e 74 65 6e 74 2d 74 79 70 65 3a 20 61 2f content-type: a/\n\
        0010: 62 3b 20 63 0d 0a                               b; c..\n\
        <= Recv data, 3 bytes (0x3)\n0000: c3 a9 21                                        ..!\n";
    let call = call(7, trace);
    assert_eq!((call.step, call.method.as_str(), call.target.as_str()), (7, "POST", "/a?b=1"));
    assert_eq!((call.path(), call.header("host"), call.body.as_str()), ("/a", Some("x"), "{}"));
    assert_eq!((call.status, call.media.as_str(), call.answer.as_str()), (201, "a/b", "é!"));
    let described = ["POST /{id}".to_owned(), "POST /a".to_owned(), "GET /a".to_owned()];
    assert_eq!(call.operation(&described), Some("POST /a"));
    assert_eq!(call.operation(&described[..1]), Some("POST /{id}"));
    assert_eq!(call.operation(&described[2..]), None);
}
