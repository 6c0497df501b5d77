//! The messages of `fleethaven.raft.v1`.

use fleethaven_fabric::raft::{
    AppendEntries, Appended, LogId, NodeChange, RequestVote, TransferLeader, Vote, Voted,
};

use super::Error;
use crate::generated::raft as wire;
use crate::generated::raft::append_response::Outcome;
use crate::generated::raft::change_nodes_request::Change;

pub(crate) fn ballot(vote: Vote) -> wire::Ballot {
    wire::Ballot { term: vote.term, node: vote.node, committed: vote.committed }
}

pub(crate) fn vote(ballot: Option<wire::Ballot>) -> Result<Vote, Error> {
    let wire::Ballot { term, node, committed } = ballot.ok_or(Error::Missing("vote"))?;
    Ok(Vote { term, node, committed })
}

fn id_out(id: LogId) -> wire::LogId {
    wire::LogId { term: id.term, index: id.index }
}

fn id_in(id: wire::LogId) -> LogId {
    LogId { term: id.term, index: id.index }
}

pub(crate) fn append(group: u32, request: AppendEntries) -> wire::AppendRequest {
    wire::AppendRequest {
        group,
        vote: Some(ballot(request.vote)),
        previous: request.previous.map(id_out),
        committed: request.committed.map(id_out),
        entries: request.entries,
    }
}

pub(crate) fn append_in(request: wire::AppendRequest) -> Result<(u32, AppendEntries), Error> {
    let entries = AppendEntries {
        vote: vote(request.vote)?,
        previous: request.previous.map(id_in),
        committed: request.committed.map(id_in),
        entries: request.entries,
    };
    Ok((request.group, entries))
}

pub(crate) fn appended_out(answer: Appended) -> wire::AppendResponse {
    let outcome = match answer {
        Appended::All => Outcome::All(wire::All {}),
        Appended::UpTo(last) => Outcome::UpTo(wire::UpTo { last: last.map(id_out) }),
        Appended::Conflict => Outcome::Conflict(wire::Conflict {}),
        Appended::HigherVote(vote) => Outcome::HigherVote(ballot(vote)),
    };
    wire::AppendResponse { outcome: Some(outcome) }
}

pub(crate) fn appended(response: wire::AppendResponse) -> Result<Appended, Error> {
    Ok(match response.outcome.ok_or(Error::Missing("outcome"))? {
        Outcome::All(wire::All {}) => Appended::All,
        Outcome::UpTo(wire::UpTo { last }) => Appended::UpTo(last.map(id_in)),
        Outcome::Conflict(wire::Conflict {}) => Appended::Conflict,
        Outcome::HigherVote(ballot) => Appended::HigherVote(vote(Some(ballot))?),
    })
}

pub(crate) fn vote_request(group: u32, request: RequestVote) -> wire::VoteRequest {
    let RequestVote { vote, last, leadership_transfer, pre_vote } = request;
    let (vote, last) = (Some(ballot(vote)), last.map(id_out));
    wire::VoteRequest { group, vote, last, leadership_transfer, pre_vote }
}

pub(crate) fn vote_request_in(request: &wire::VoteRequest) -> Result<(u32, RequestVote), Error> {
    let asked = RequestVote {
        vote: vote(request.vote)?,
        last: request.last.map(id_in),
        leadership_transfer: request.leadership_transfer,
        pre_vote: request.pre_vote,
    };
    Ok((request.group, asked))
}

pub(crate) fn voted_out(answer: Voted) -> wire::VoteResponse {
    let Voted { vote, granted, last } = answer;
    wire::VoteResponse { vote: Some(ballot(vote)), granted, last: last.map(id_out) }
}

pub(crate) fn voted(response: &wire::VoteResponse) -> Result<Voted, Error> {
    Ok(Voted { vote: vote(response.vote)?, granted: response.granted, last: response.last.map(id_in) })
}

pub(crate) fn transfer(group: u32, request: TransferLeader) -> wire::TransferLeaderRequest {
    let TransferLeader { from, to, last } = request;
    wire::TransferLeaderRequest { group, from: Some(ballot(from)), to, last: last.map(id_out) }
}

pub(crate) fn transfer_in(request: &wire::TransferLeaderRequest) -> Result<(u32, TransferLeader), Error> {
    let asked = TransferLeader { from: vote(request.from)?, to: request.to, last: request.last.map(id_in) };
    Ok((request.group, asked))
}

pub(crate) fn change_nodes(group: u32, change: NodeChange) -> wire::ChangeNodesRequest {
    let change = match change {
        NodeChange::Add { node, address } => Change::Add(wire::AddNode { node, address }),
        NodeChange::Remove { node } => Change::Remove(wire::RemoveNode { node }),
        NodeChange::Replace { old, new, address } => Change::Replace(wire::ReplaceNode { old, new, address }),
    };
    wire::ChangeNodesRequest { group, change: Some(change) }
}

pub(crate) fn change_nodes_in(request: wire::ChangeNodesRequest) -> Result<(u32, NodeChange), Error> {
    let change = match request.change.ok_or(Error::Missing("change"))? {
        Change::Add(wire::AddNode { node, address }) => NodeChange::Add { node, address },
        Change::Remove(wire::RemoveNode { node }) => NodeChange::Remove { node },
        Change::Replace(wire::ReplaceNode { old, new, address }) => NodeChange::Replace { old, new, address },
    };
    Ok((request.group, change))
}
