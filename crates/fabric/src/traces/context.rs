//! The W3C trace context (Trace Context level 1): what travels from one step of a trace to the next.

use std::fmt;
use std::str::FromStr;

/// The name under which it travels: a header of HTTP and gRPC, a user property of MQTT 5.
pub const TRACEPARENT: &str = "traceparent";

/// One step of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    sampled: bool,
}

/// Not a `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent")]
pub struct Malformed;

impl TraceContext {
    /// The step `span_id` of the trace `trace_id`.
    ///
    /// # Errors
    /// Neither may be 0.
    pub fn new(trace_id: u128, span_id: u64, sampled: bool) -> Result<Self, Malformed> {
        if trace_id == 0 || span_id == 0 { Err(Malformed) } else { Ok(Self { trace_id, span_id, sampled }) }
    }

    /// The trace.
    pub fn trace_id(self) -> u128 {
        self.trace_id
    }

    /// The step: the parent of what it leads to.
    pub fn span_id(self) -> u64 {
        self.span_id
    }

    /// Whether the steps of this trace are recorded.
    pub fn is_sampled(self) -> bool {
        self.sampled
    }

    /// The same step, recorded or not.
    #[must_use]
    pub fn with_sampled(self, sampled: bool) -> Self {
        Self { sampled, ..self }
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }
}

impl FromStr for TraceContext {
    type Err = Malformed;

    /// Later versions are read as far as version 0 goes (section 4.3).
    fn from_str(text: &str) -> Result<Self, Malformed> {
        let mut fields = text.split('-');
        let mut field = |digits: usize| {
            let field = fields.next().filter(|field| field.len() == digits);
            let lower_hex = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
            field.filter(|field| field.bytes().all(lower_hex)).ok_or(Malformed)
        };
        let (version, trace_id, span_id, flags) = (field(2)?, field(32)?, field(16)?, field(2)?);
        let trace_id = u128::from_str_radix(trace_id, 16).map_err(|_| Malformed)?;
        let span_id = u64::from_str_radix(span_id, 16).map_err(|_| Malformed)?;
        let flags = u8::from_str_radix(flags, 16).map_err(|_| Malformed)?;
        let more = fields.next().is_some();
        if version == "ff" || (version == "00" && more) {
            return Err(Malformed);
        }
        Self::new(trace_id, span_id, flags & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let context: TraceContext = text.parse().unwrap();
        assert_eq!(context.trace_id(), 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!((context.span_id(), context.is_sampled()), (0x00f0_67aa_0ba9_02b7, true));
        assert_eq!(context.to_string(), text);
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes";
        assert_eq!(later.parse(), Ok(context));
        assert!(context.with_sampled(false).to_string().ends_with("-00"));
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for text in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(text.parse::<TraceContext>(), Err(Malformed), "{text}");
        }
    }
}
