//! Lanes between gateways and routers (protocols A1, B1 to B3): state machines that send and receive values and know no
//! runtime, socket or clock. The gRPC adapter moves their frames between processes, the simulation within one.
//!
//! ```text
//!  gateway core                                   router
//!  Lanes ──── Control, Publication ────► Intake (one per lane) ──► fleethaven_router::Lane
//!    ▲                                     │ asks Slots, which Keeper keeps
//!    └──── Answered, Taken, Refused ───────┘
//! ```
//!
//! - [`frame`]: what travels
//! - [`gateway`]: [`Lanes`], a gateway core's side: order, window, replay, who must hold which subscription
//! - [`router`]: [`Slots`](router::Slots), [`Intake`](router::Intake) and [`Keeper`](router::Keeper): a router's side: what it
//!   serves, what it takes, when an acknowledgement may leave
#![warn(missing_docs)]

pub mod frame;
pub mod gateway;
pub mod router;

pub use gateway::Lanes;
