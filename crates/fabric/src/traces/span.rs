//! What happened in one place.

use std::borrow::Cow;
use std::sync::Arc;

use fleethaven_types::Message;

use super::{On, TraceContext};

/// A step of a trace that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// What happened; one of few.
    pub name: Cow<'static, str>,
    /// Its part in the trace.
    pub kind: Kind,
    /// The trace, and the span's own id.
    pub context: TraceContext,
    /// The id of the step that led to it; `None` for the first one of a trace.
    pub parent: Option<u64>,
    /// When it began, in nanoseconds since 1970.
    pub start: u64,
    /// When it ended; not before it began.
    pub end: u64,
    /// What it was about, under names of OpenTelemetry's semantic conventions where there are some.
    pub attributes: Vec<(&'static str, Value)>,
    /// Why it failed.
    pub failure: Option<String>,
}

/// The part of a span in its trace, as OpenTelemetry names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A step within the product.
    Internal,
    /// Something asked from elsewhere.
    Server,
    /// Something asked elsewhere.
    Client,
    /// A message handed to its receiver.
    Producer,
    /// A message taken from a queue.
    Consumer,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

/// An observation of a histogram that belongs to a trace.
#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar {
    /// The histogram's name.
    pub histogram: &'static str,
    /// The labels of its series.
    pub labels: Vec<(&'static str, String)>,
    /// What was observed.
    pub value: f64,
    /// The trace.
    pub trace_id: u128,
    /// When, in nanoseconds since 1970.
    pub at: u64,
}

/// A span that has begun. It is recorded when it [ends](Self::end), and not when it is dropped.
pub struct Begun {
    on: Arc<On>,
    span: Span,
}

impl Begun {
    pub(super) fn new(
        on: Arc<On>,
        name: Cow<'static, str>,
        kind: Kind,
        context: TraceContext,
        parent: Option<u64>,
    ) -> Self {
        let start = on.sink.now();
        let (attributes, failure) = (Vec::new(), None);
        Self { on, span: Span { name, kind, context, parent, start, end: start, attributes, failure } }
    }

    /// What it leads to is below this step.
    pub fn context(&self) -> TraceContext {
        self.span.context
    }

    /// A span below this one.
    pub fn child(&self, name: impl Into<Cow<'static, str>>, kind: Kind) -> Option<Self> {
        self.on.child(name, kind, self.span.context)
    }

    /// The `publish` of a message that this step leads to.
    pub fn publish(&self, message: &Message) -> Option<Self> {
        self.on.message(message)?.publish(message, Some(self.span.context))
    }

    /// Names it, once it is known what it is.
    pub fn rename(&mut self, name: impl Into<Cow<'static, str>>) {
        self.span.name = name.into();
    }

    /// Adds an attribute.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        self.span.attributes.push((name, value.into()));
    }

    /// Says why it failed.
    pub fn fail(&mut self, reason: impl ToString) {
        self.span.failure = Some(reason.to_string());
    }

    /// What was observed of `histogram` belongs to this trace.
    pub fn observed(&self, histogram: &'static str, labels: &[(&'static str, &str)], value: f64) {
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let (trace_id, at) = (self.span.context.trace_id(), self.on.sink.now());
        self.on.sink.observed(Exemplar { histogram, labels, value, trace_id, at });
    }

    /// It is over.
    pub fn end(mut self) {
        self.span.end = self.on.sink.now().max(self.span.start);
        self.on.sink.end(self.span);
    }
}
