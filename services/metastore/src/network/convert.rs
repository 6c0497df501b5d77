//! openraft's messages to the fabric's and back.

use std::io;

use fleethaven_fabric::raft::{self as fabric, LogId as FabricLogId, Vote as FabricVote};
use openraft::raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest, VoteResponse};

use crate::error::damaged;
use crate::record::{decode_entry, encode_entry};
use crate::types::{LogId, Types, Vote, log_id};

pub(super) fn vote_out(vote: &Vote) -> FabricVote {
    FabricVote { term: vote.leader_id.term, node: vote.leader_id.voted_for, committed: vote.committed }
}

pub(super) fn vote_in(vote: FabricVote) -> Vote {
    match vote.committed {
        true => Vote::new_committed(vote.term, vote.node),
        false => Vote::new(vote.term, vote.node),
    }
}

pub(super) fn log_id_out(id: LogId) -> FabricLogId {
    FabricLogId { term: id.leader_id.term, index: id.index }
}

pub(super) fn log_id_in(id: FabricLogId) -> LogId {
    log_id(id.term, id.index)
}

pub(super) fn append_request(request: &AppendEntriesRequest<Types>) -> io::Result<fabric::AppendEntries> {
    let entries: io::Result<Vec<_>> =
        request.entries.iter().map(|entry| Ok(encode_entry(entry)?.into())).collect();
    Ok(fabric::AppendEntries {
        vote: vote_out(&request.vote),
        previous: request.prev_log_id.map(log_id_out),
        committed: request.leader_commit.map(log_id_out),
        entries: entries?,
    })
}

/// Entries that do not follow on each other are a mistake of the sender, and refused before openraft sees them.
pub(super) fn append_request_in(request: &fabric::AppendEntries) -> io::Result<AppendEntriesRequest<Types>> {
    let mut index = request.previous.map_or(0, |id| id.index + 1);
    let mut entries = Vec::with_capacity(request.entries.len());
    for bytes in &request.entries {
        let entry = decode_entry(index, bytes)?;
        index = index.checked_add(1).ok_or_else(|| damaged("log entry", "its index is out of bounds"))?;
        entries.push(entry);
    }
    Ok(AppendEntriesRequest {
        vote: vote_in(request.vote),
        prev_log_id: request.previous.map(log_id_in),
        leader_commit: request.committed.map(log_id_in),
        entries,
    })
}

pub(super) fn vote_request(request: &VoteRequest<Types>, pre_vote: bool) -> fabric::RequestVote {
    fabric::RequestVote {
        vote: vote_out(&request.vote),
        last: request.last_log_id.map(log_id_out),
        leadership_transfer: request.leadership_transfer,
        pre_vote,
    }
}

pub(super) fn vote_request_in(request: fabric::RequestVote) -> VoteRequest<Types> {
    VoteRequest {
        vote: vote_in(request.vote),
        last_log_id: request.last.map(log_id_in),
        leadership_transfer: request.leadership_transfer,
    }
}

pub(super) fn vote_response(response: &VoteResponse<Types>) -> fabric::Voted {
    fabric::Voted {
        vote: vote_out(&response.vote),
        granted: response.vote_granted,
        last: response.last_log_id.map(log_id_out),
    }
}

pub(super) fn vote_response_in(response: fabric::Voted) -> VoteResponse<Types> {
    VoteResponse {
        vote: vote_in(response.vote),
        vote_granted: response.granted,
        last_log_id: response.last.map(log_id_in),
    }
}

pub(super) fn transfer_request(request: &TransferLeaderRequest<Types>) -> fabric::TransferLeader {
    fabric::TransferLeader {
        from: vote_out(request.from_leader()),
        to: *request.to_node_id(),
        last: request.last_log_id().copied().map(log_id_out),
    }
}

pub(super) fn transfer_request_in(request: fabric::TransferLeader) -> TransferLeaderRequest<Types> {
    TransferLeaderRequest::new(vote_in(request.from), request.to, request.last.map(log_id_in))
}

#[cfg(test)]
mod tests {
    use openraft::EntryPayload;

    use super::*;
    use crate::types::Entry;

    #[test]
    fn entries_travel_and_gaps_are_refused() {
        let entry = |index| Entry { log_id: log_id(2, index), payload: EntryPayload::Blank };
        let request = AppendEntriesRequest::<Types> {
            vote: Vote::new_committed(2, 1),
            prev_log_id: Some(log_id(1, 4)),
            leader_commit: Some(log_id(1, 3)),
            entries: vec![entry(5), entry(6)],
        };
        let mut wire = append_request(&request).unwrap();
        let arrived = append_request_in(&wire).unwrap();
        assert_eq!(
            (arrived.vote, arrived.prev_log_id, arrived.leader_commit),
            (request.vote, request.prev_log_id, request.leader_commit)
        );
        assert_eq!(arrived.entries, request.entries);
        wire.entries.remove(0);
        assert!(append_request_in(&wire).is_err());
    }

    #[test]
    fn votes_travel() {
        for vote in [Vote::new(3, 2), Vote::new_committed(3, 2)] {
            assert_eq!(vote_in(vote_out(&vote)), vote);
        }
        let request = VoteRequest::<Types> {
            vote: Vote::new(3, 2),
            last_log_id: Some(log_id(2, 9)),
            leadership_transfer: true,
        };
        assert_eq!(vote_request_in(vote_request(&request, true)), request);
        let transfer = TransferLeaderRequest::<Types>::new(Vote::new_committed(3, 2), 1, Some(log_id(3, 9)));
        assert_eq!(transfer_request_in(transfer_request(&transfer)), transfer);
    }
}
