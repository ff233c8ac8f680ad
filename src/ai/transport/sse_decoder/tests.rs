use super::*;

/// Returns the output when the body arrives in parts of this many bytes.
fn framed(body: &[u8], step: usize) -> Result<String, SseError> {
    let mut framer = SseDecoder::default();
    let mut out = Vec::new();
    for part in body.chunks(step) {
        out.extend(framer.push(part)?.unwrap_or_default());
    }
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn events_are_clean_however_the_bytes_are_split() {
    let body = ": hello\r\nevent: a\r\nid: 1\r\ndata: {\"é\":1}\r\n\r\ndata:{\ndata: \"b\":2}\n\n\n\ndata: 3\n\ndata: 4";
    for step in 1..body.len() {
        // Whether a comment comes with an event depends on how the bytes are split.
        let got = framed(body.as_bytes(), step).map(|frames| frames.replace("data: {}\n\n", ""));
        assert_eq!(got.as_deref(), Ok("data: {\"é\":1}\n\ndata: {  \"b\":2}\n\ndata: 3\n\n"), "step {step}");
    }
}

#[test]
fn end_marker_is_passed_on() {
    assert_eq!(framed(b"data: [DONE]\n\n", 3).as_deref(), Ok("data: [DONE]\n\n"));
}

#[test]
fn comment_alone_is_a_keep_alive() {
    let mut framer = SseDecoder::default();
    let mut push = |bytes: &[u8]| {
        let frames = framer.push(bytes).unwrap();
        frames.map(|frames| String::from_utf8(frames).unwrap())
    };
    assert_eq!(push(b": waiting\n\n").as_deref(), Some("data: {}\n\n"));
    assert_eq!(push(b": wai"), None);
    assert_eq!(push(b"ting\n").as_deref(), Some("data: {}\n\n"));
    // Never in the middle of an event.
    assert_eq!(push(b"data: 1\n: waiting\n"), None);
    assert_eq!(push(b"\n").as_deref(), Some("data: 1\n\n"));
}

#[test]
fn other_data_than_json_is_rejected() {
    let bodies: [&[u8]; 6] = [
        b"data: {\"a\":\n\n",
        b"data: nonsense\n\n",
        b"data: 1e999\n\n",
        b"data: {} {}\n\n",
        b"data: \"\xff\"\n\n",
        b"data: \"\\ud800\"\n\n",
    ];
    for body in bodies {
        assert_eq!(framed(body, 64), Err(SseError::NotJson), "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn endless_line_event_or_body_is_rejected_before_buffering() {
    let line = vec![b'x'; 64 * 1024];
    let mut framer = SseDecoder::default();
    let refused = (0..1000).find_map(|_| framer.push(&line).err());
    assert_eq!(refused, Some(SseError::TooLarge));
    assert!(framer.line.capacity() <= 2 * MAX_EVENT_BYTES);

    let mut framer = SseDecoder::default();
    let refused = (0..1_000_000).find_map(|_| framer.push(b"data: 1111111111\n").err());
    assert_eq!(refused, Some(SseError::TooLarge));
    assert!(framer.data.capacity() <= 2 * MAX_EVENT_BYTES);

    let comment = [b":".as_slice(), &line, b"\n\n"].concat();
    let mut framer = SseDecoder::default();
    let refused = (0..2000).find_map(|_| framer.push(&comment).err());
    assert_eq!(refused, Some(SseError::TooLarge));
}
