//! The messages of `fleethaven.admin.v1`.

use fleethaven_fabric::admin::{Node, NodeRole, Status};

use super::Error;
use crate::generated::admin as wire;

fn role_out(role: NodeRole) -> wire::NodeRole {
    match role {
        NodeRole::Leader => wire::NodeRole::Leader,
        NodeRole::Follower => wire::NodeRole::Follower,
        NodeRole::Candidate => wire::NodeRole::Candidate,
        NodeRole::Learner => wire::NodeRole::Learner,
    }
}

fn role(role: wire::NodeRole) -> Result<NodeRole, Error> {
    match role {
        wire::NodeRole::Leader => Ok(NodeRole::Leader),
        wire::NodeRole::Follower => Ok(NodeRole::Follower),
        wire::NodeRole::Candidate => Ok(NodeRole::Candidate),
        wire::NodeRole::Learner => Ok(NodeRole::Learner),
        wire::NodeRole::Unspecified => Err(Error::Missing("role")),
    }
}

pub(crate) fn status_out(status: Status) -> wire::StatusResponse {
    let node = |Node { node, address, votes, matched }| wire::Node { node, address, votes, matched };
    wire::StatusResponse {
        node: status.node,
        role: role_out(status.role).into(),
        leader: status.leader,
        term: status.term,
        last: status.last,
        committed: status.committed,
        applied: status.applied,
        snapshot: status.snapshot,
        confirmed: status.confirmed,
        disk_bytes: status.disk_bytes,
        nodes: status.nodes.into_iter().map(node).collect(),
    }
}

pub(crate) fn status(response: wire::StatusResponse) -> Result<Status, Error> {
    let node = |wire::Node { node, address, votes, matched }| Node { node, address, votes, matched };
    Ok(Status {
        node: response.node,
        role: role(response.role())?,
        leader: response.leader,
        term: response.term,
        last: response.last,
        committed: response.committed,
        applied: response.applied,
        snapshot: response.snapshot,
        confirmed: response.confirmed,
        disk_bytes: response.disk_bytes,
        nodes: response.nodes.into_iter().map(node).collect(),
    })
}
