//! The W3C trace context on every call: who calls sends `traceparent`, who is called goes on under it, so that what one request
//! caused in all processes can be found by one id. Where its trace is recorded, a call is a span.

use std::pin::Pin;
use std::task::{Context, Poll};

use fleethaven_fabric::traces::{Begun, TRACEPARENT, TraceContext, Traces};
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{HeaderValue, Request, Response};
use tonic::service::Interceptor;
use tonic::{Request as Call, Status};
use tower_layer::Layer;

tokio::task_local! {
    static CURRENT: TraceContext;
}

/// A trace of its own; not recorded.
pub fn begin() -> TraceContext {
    loop {
        let (_, span_id) = uuid::Uuid::new_v4().as_u64_pair();
        // Version 4 fixes six bits, one of them in each half to 1: neither id can be the invalid 0.
        if let Ok(context) = TraceContext::new(uuid::Uuid::new_v4().as_u128(), span_id, false) {
            return context;
        }
    }
}

/// The step that the current task is part of.
pub fn current() -> Option<TraceContext> {
    CURRENT.try_with(|context| *context).ok()
}

/// The id of the current trace, as 32 hexadecimal digits.
pub(crate) fn current_id() -> Option<String> {
    current().map(|context| format!("{:032x}", context.trace_id()))
}

/// Runs `task` as part of a trace.
pub async fn scope<F: Future>(context: TraceContext, task: F) -> F::Output {
    CURRENT.scope(context, task).await
}

/// The context that a request brings.
pub fn of_header(header: Option<&HeaderValue>) -> Option<TraceContext> {
    header?.to_str().ok()?.parse().ok()
}

/// Adds the context to calls that go out.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing;

impl Interceptor for Outgoing {
    fn call(&mut self, mut call: Call<()>) -> Result<Call<()>, Status> {
        let context = current().unwrap_or_else(begin);
        if let Ok(value) = context.to_string().parse() {
            call.metadata_mut().insert(TRACEPARENT, value);
        }
        Ok(call)
    }
}

/// Takes the context from calls that come in; one that brings none begins a trace.
#[derive(Clone)]
pub(crate) struct IncomingLayer(pub(crate) Traces);

impl<S> Layer<S> for IncomingLayer {
    type Service = Incoming<S>;

    fn layer(&self, inner: S) -> Incoming<S> {
        Incoming(inner, self.0.clone())
    }
}

#[derive(Clone)]
pub(crate) struct Incoming<S>(S, Traces);

type Answering<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

impl<S> Service<Request<Body>> for Incoming<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Answering<S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let brought = of_header(request.headers().get(TRACEPARENT)).unwrap_or_else(begin);
        let method = || request.uri().path().trim_start_matches('/').to_owned();
        let span = self.1.call(brought, method);
        let context = span.as_ref().map_or(brought, Begun::context);
        // The inner service decides what to do while it is called, and goes on as a future.
        let inner = CURRENT.sync_scope(context, || self.0.call(request));
        Box::pin(scope(context, async move {
            let answer = inner.await;
            if let Some(span) = span {
                end(span, &answer);
            }
            answer
        }))
    }
}

/// A call that fails before it answers anything says so in the head of its answer.
fn end<E>(mut span: Begun, answer: &Result<Response<Body>, E>) {
    span.set("rpc.system", "grpc");
    let status = answer.as_ref().ok().and_then(|answer| Status::from_header_map(answer.headers()));
    if let Some(status) = status.filter(|status| status.code() != tonic::Code::Ok) {
        span.fail(status.message());
    }
    span.end();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_goes_on_under_the_trace_it_belongs_to() {
        let context = begin();
        let sent = scope(context, async { Outgoing.call(Call::new(())).unwrap() }).await;
        let sent = sent.metadata().get(TRACEPARENT).unwrap().to_str().unwrap().parse();
        assert_eq!(sent, Ok(context));
        assert_eq!(current(), None);
    }
}
