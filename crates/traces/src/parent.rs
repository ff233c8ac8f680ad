//! The parent of a span: W3C Trace Context, of which only `traceparent` is supported.
//!
//! `tracestate` belongs to other systems, can be long and contain anything; it is dropped. `traceparent` is parsed here
//! because the SDK's parser accepts more than the specification allows (short ids, signs).

use opentelemetry::context::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};

/// The length of a `traceparent` of version 00.
const LENGTH: usize = 55;

/// Parent of a span.
#[derive(Debug, Clone, Default)]
pub enum Parent {
    /// The current span; without one, a trace starts.
    #[default]
    Current,
    /// A span of another process or of an earlier time; without one, a trace starts.
    Remote(Option<SpanContext>),
}

impl Parent {
    /// Returns the span that a `traceparent` names; an invalid one starts a trace.
    pub fn from_traceparent(traceparent: Option<&str>) -> Self {
        Self::Remote(traceparent.and_then(parse))
    }

    pub(super) fn context(self) -> Context {
        match self {
            Self::Current => Context::current(),
            Self::Remote(None) => Context::new(),
            Self::Remote(Some(span)) => Context::new().with_remote_span_context(span),
        }
    }
}

/// Parses a `traceparent`.
fn parse(text: &str) -> Option<SpanContext> {
    let bytes = text.as_bytes();
    let version = hex(bytes.get(..2)?)?;
    // A later version has the same fields in the same places; more may follow after a hyphen.
    let fits = match version {
        0 => bytes.len() == LENGTH,
        0xff => false,
        _ => bytes.len() == LENGTH || bytes.get(LENGTH) == Some(&b'-'),
    };
    let separated = [2, 35, 52].iter().all(|at| bytes.get(*at) == Some(&b'-'));
    if !fits || !separated {
        return None;
    }
    let trace = TraceId::from(hex(bytes.get(3..35)?)?);
    let span = SpanId::from(u64::try_from(hex(bytes.get(36..52)?)?).ok()?);
    let flags = u8::try_from(hex(bytes.get(53..55)?)?).ok()?;
    // Version 00 defines only the `sampled` flag.
    let flags = TraceFlags::new(flags) & TraceFlags::SAMPLED;
    Some(SpanContext::new(trace, span, flags, true, TraceState::NONE)).filter(SpanContext::is_valid)
}

/// Parses lower-case hexadecimal digits.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number: u128, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

/// Formats the `traceparent` of a span; `None` if the span has no ids.
pub(super) fn format(span: &SpanContext) -> Option<String> {
    let sampled = u8::from(span.is_sampled());
    span.is_valid().then(|| format!("00-{}-{}-{sampled:02x}", span.trace_id(), span.span_id()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    #[test]
    fn valid_traceparent_is_parsed_and_unknown_flags_are_dropped() {
        for (text, sampled) in [
            (format!("00-{TRACE}-{SPAN}-01"), true),
            (format!("00-{TRACE}-{SPAN}-00"), false),
            (format!("00-{TRACE}-{SPAN}-ff"), true),
            (format!("00-{TRACE}-{SPAN}-02"), false),
            (format!("cc-{TRACE}-{SPAN}-01"), true),
            (format!("cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like"), true),
        ] {
            let span = parse(&text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(
                (span.trace_id().to_string(), span.span_id().to_string()),
                (TRACE.into(), SPAN.into())
            );
            assert_eq!((span.is_sampled(), span.is_remote()), (sampled, true), "{text}");
            assert_eq!(format(&span), Some(format!("00-{TRACE}-{SPAN}-0{}", u8::from(sampled))));
        }
    }

    #[test]
    fn invalid_traceparent_is_ignored() {
        let zeros = "0".repeat(32);
        for text in [
            String::new(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!(" 00-{TRACE}-{SPAN}-01"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("cc-{TRACE}-{SPAN}-01."),
            format!("0-{TRACE}-{SPAN}-01"),
            format!("+1-{TRACE}-{SPAN}-01"),
            format!("00-{zeros}-{SPAN}-01"),
            format!("00-{TRACE}-{}-01", &zeros[..16]),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{}-{SPAN}-01", &TRACE[1..]),
            format!("00-+{}-{SPAN}-01", &TRACE[1..]),
            format!("00_{TRACE}_{SPAN}_01"),
            format!("00-{TRACE}-{SPAN}-0é"),
        ] {
            assert!(parse(&text).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_yields_no_invalid_span(text in "\\PC{0,80}") {
            prop_assert!(parse(&text).is_none_or(|span| span.is_valid()));
        }
    }
}
