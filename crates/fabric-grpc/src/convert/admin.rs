//! The messages of `fleethaven.admin.v1`.

use fleethaven_fabric::admin::{GroupStatus, Node, NodeRole, Status};

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

fn nodes_out(nodes: Vec<Node>) -> Vec<wire::Node> {
    let node = |Node { node, address, votes, matched }| wire::Node { node, address, votes, matched };
    nodes.into_iter().map(node).collect()
}

fn nodes(nodes: Vec<wire::Node>) -> Vec<Node> {
    let node = |wire::Node { node, address, votes, matched }| Node { node, address, votes, matched };
    nodes.into_iter().map(node).collect()
}

fn group_out(group: GroupStatus) -> wire::GroupStatus {
    wire::GroupStatus {
        role: role_out(group.role).into(),
        leader: group.leader,
        term: group.term,
        last: group.last,
        committed: group.committed,
        applied: group.applied,
        snapshot: group.snapshot,
        confirmed: group.confirmed,
        nodes: nodes_out(group.nodes),
    }
}

fn group(group: wire::GroupStatus) -> Result<GroupStatus, Error> {
    Ok(GroupStatus {
        role: role(group.role())?,
        leader: group.leader,
        term: group.term,
        last: group.last,
        committed: group.committed,
        applied: group.applied,
        snapshot: group.snapshot,
        confirmed: group.confirmed,
        nodes: nodes(group.nodes),
    })
}

pub(crate) fn status_out(status: Status) -> wire::StatusResponse {
    let control = status.control;
    wire::StatusResponse {
        node: status.node,
        version: status.version,
        role: role_out(control.role).into(),
        leader: control.leader,
        term: control.term,
        last: control.last,
        committed: control.committed,
        applied: control.applied,
        snapshot: control.snapshot,
        confirmed: control.confirmed,
        disk_bytes: status.disk_bytes,
        master_keys: status.master_keys,
        issuing_keys: status.issuing_keys,
        nodes: nodes_out(control.nodes),
        state_groups: status.state.into_iter().map(group_out).collect(),
    }
}

pub(crate) fn status(response: wire::StatusResponse) -> Result<Status, Error> {
    Ok(Status {
        node: response.node,
        version: response.version.clone(),
        disk_bytes: response.disk_bytes,
        master_keys: response.master_keys.clone(),
        issuing_keys: response.issuing_keys.clone(),
        control: GroupStatus {
            role: role(response.role())?,
            leader: response.leader,
            term: response.term,
            last: response.last,
            committed: response.committed,
            applied: response.applied,
            snapshot: response.snapshot,
            confirmed: response.confirmed,
            nodes: nodes(response.nodes),
        },
        state: response.state_groups.into_iter().map(group).collect::<Result<_, _>>()?,
    })
}
