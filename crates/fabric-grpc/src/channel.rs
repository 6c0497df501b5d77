//! Channels to other services. Whatever travels on one carries the trace context of who asked for it.

use tonic::service::interceptor::InterceptedService;

use crate::trace::Outgoing;

/// A channel as every client of this crate takes it.
pub type Channel = InterceptedService<tonic::transport::Channel, Outgoing>;

/// Adds the trace context to what travels on `channel`.
pub fn traced(channel: tonic::transport::Channel) -> Channel {
    InterceptedService::new(channel, Outgoing)
}
