//! The W3C trace context (Trace Context level 1) on every call: who calls sends `traceparent`, who is called goes on under it,
//! so that what one request caused in all processes can be found by one id.

use std::fmt;
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll};

use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{HeaderValue, Request, Response};
use tonic::service::Interceptor;
use tonic::{Request as Call, Status};
use tower_layer::Layer;

/// The header, of HTTP and of gRPC alike.
pub const TRACEPARENT: &str = "traceparent";

tokio::task_local! {
    static CURRENT: TraceContext;
}

/// One step of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
    parent_id: u64,
    sampled: bool,
}

/// Not a `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent header")]
pub struct Malformed;

impl TraceContext {
    /// A trace of its own.
    pub fn begin() -> Self {
        // Version 4 fixes six bits, none of them zero in all: neither id can be the invalid 0.
        let (_, parent_id) = uuid::Uuid::new_v4().as_u64_pair();
        Self { trace_id: uuid::Uuid::new_v4().as_u128(), parent_id, sampled: false }
    }

    /// The next step of the same trace.
    pub fn next(self) -> Self {
        Self { parent_id: Self::begin().parent_id, ..self }
    }

    /// The trace's id, as 32 hexadecimal digits.
    pub fn trace_id(self) -> String {
        format!("{:032x}", self.trace_id)
    }

    /// Runs `task` as part of this trace.
    pub async fn scope<F: Future>(self, task: F) -> F::Output {
        CURRENT.scope(self, task).await
    }
}

/// The trace that the current task is part of.
pub fn current() -> Option<TraceContext> {
    CURRENT.try_with(|context| *context).ok()
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.parent_id, u8::from(self.sampled))
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
        let (version, trace_id, parent_id, flags) = (field(2)?, field(32)?, field(16)?, field(2)?);
        let trace_id = u128::from_str_radix(trace_id, 16).map_err(|_| Malformed)?;
        let parent_id = u64::from_str_radix(parent_id, 16).map_err(|_| Malformed)?;
        let flags = u8::from_str_radix(flags, 16).map_err(|_| Malformed)?;
        let more = fields.next().is_some();
        if version == "ff" || (version == "00" && more) || trace_id == 0 || parent_id == 0 {
            return Err(Malformed);
        }
        Ok(Self { trace_id, parent_id, sampled: flags & 1 == 1 })
    }
}

/// Adds the context to calls that go out.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing;

impl Interceptor for Outgoing {
    fn call(&mut self, mut call: Call<()>) -> Result<Call<()>, Status> {
        let context = current().map_or_else(TraceContext::begin, TraceContext::next);
        if let Ok(value) = context.to_string().parse() {
            call.metadata_mut().insert(TRACEPARENT, value);
        }
        Ok(call)
    }
}

/// Takes the context from calls that come in; one that brings none begins a trace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IncomingLayer;

impl<S> Layer<S> for IncomingLayer {
    type Service = Incoming<S>;

    fn layer(&self, inner: S) -> Incoming<S> {
        Incoming(inner)
    }
}

#[derive(Clone)]
pub(crate) struct Incoming<S>(S);

/// The context that a request brings, or a new one.
pub fn of_header(header: Option<&HeaderValue>) -> TraceContext {
    let brought = header.and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    brought.unwrap_or_else(TraceContext::begin)
}

type Answering<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

impl<S> Service<Request<Body>> for Incoming<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Answering<S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let context = of_header(request.headers().get(TRACEPARENT));
        // The inner service decides what to do while it is called, and goes on as a future.
        let inner = CURRENT.sync_scope(context, || self.0.call(request));
        Box::pin(context.scope(inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let context: TraceContext =
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap();
        assert_eq!(context.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.to_string().parse(), Ok(context));
        let next = context.next();
        assert!(next.trace_id == context.trace_id && next.parent_id != context.parent_id && next.sampled);
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes";
        assert_eq!(later.parse(), Ok(context));
    }

    #[test]
    fn what_is_malformed_begins_a_trace() {
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

    #[tokio::test]
    async fn a_call_goes_on_under_the_trace_it_belongs_to() {
        let context = TraceContext::begin();
        let sent = context.scope(async { Outgoing.call(Call::new(())).unwrap() }).await;
        let sent: TraceContext = sent.metadata().get(TRACEPARENT).unwrap().to_str().unwrap().parse().unwrap();
        assert_eq!(sent.trace_id(), context.trace_id());
        assert_ne!(sent, context);
        assert_eq!(current(), None);
    }
}
