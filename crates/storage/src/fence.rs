//! Fences of topic slots: what keeps a router that is not a slot's owner any more from writing, whatever its clock says.
//!
//! The owner of a slot has the slot's epoch, which grows with each new owner. A new owner raises the slot's fence to its
//! epoch before it serves the slot ([`Request::RaiseFence`](crate::Request::RaiseFence)); every publish names the epoch under
//! which it was matched ([`DurablePublish::fence`](crate::DurablePublish::fence)).

/// The epoch of one topic slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fence {
    /// Index of the slot.
    pub slot: u16,
    /// Epoch of its owner.
    pub epoch: u64,
}
