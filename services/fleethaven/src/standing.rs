//! How the nodes of the metadata store stand, as a table to be read.

use anyhow::Result;
use fleethaven_fabric::admin::{GroupStatus, NodeRole, Status};

use crate::columns::aligned;

const HEADINGS: [&str; 10] =
    ["NODE", "ADDRESS", "VERSION", "ROLE", "TERM", "APPLIED", "BEHIND", "LEADS", "DISK", "STANDING"];

/// One row for each node. BEHIND is by how many entries a node's log is shorter than the leader's in the group where it is
/// most, as far as leaders tell; LEADS lists the state groups that it leads.
pub(crate) fn table(nodes: &[(String, Result<Status>)]) -> String {
    let all: Vec<&Status> = nodes.iter().filter_map(|(_, status)| status.as_ref().ok()).collect();
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    for (address, status) in nodes {
        rows.push(match status {
            Ok(status) => row(address, status, &all),
            Err(error) => {
                let unknown = || "-".to_owned();
                let mut row: [String; 10] = std::array::from_fn(|_| unknown());
                let [_, named, .., standing] = &mut row;
                named.clone_from(address);
                *standing = format!("{error:#}");
                row
            }
        });
    }
    aligned(&rows)
}

fn row(address: &str, status: &Status, all: &[&Status]) -> [String; 10] {
    let leads = (1..).zip(&status.state).filter(|(_, group)| group.role == NodeRole::Leader);
    let leads: Vec<String> = leads.map(|(number, _): (u32, _)| number.to_string()).collect();
    let behind = all.iter().flat_map(|node| node.groups()).filter_map(|group| lag(group, status.node)).max();
    let out_of_touch = status.groups().filter(|group| !group.confirmed).count();
    let role = match status.control.role {
        NodeRole::Leader => "leader",
        NodeRole::Follower => "follower",
        NodeRole::Candidate => "candidate",
        NodeRole::Learner => "learner",
    };
    [
        status.node.to_string(),
        address.to_owned(),
        or_dash(&status.version),
        role.to_owned(),
        status.control.term.to_string(),
        status.control.applied.to_string(),
        behind.map_or_else(|| "-".to_owned(), |entries| entries.to_string()),
        if leads.is_empty() { "-".to_owned() } else { leads.join(",") },
        format!("{:.1} MiB", status.disk_bytes as f64 / f64::from(1 << 20)),
        match out_of_touch {
            0 => "in touch".to_owned(),
            groups => format!("out of touch in {groups} groups"),
        },
    ]
}

/// A version, where one was told.
pub(crate) fn or_dash(version: &str) -> String {
    if version.is_empty() { "-".to_owned() } else { version.to_owned() }
}

/// By how much `node` is behind, if this is the leader's view of the group.
fn lag(group: &GroupStatus, node: u64) -> Option<u64> {
    let leads = group.role == NodeRole::Leader && group.confirmed;
    leads.then(|| group.lag(node)).flatten()
}

#[cfg(test)]
mod tests {
    use fleethaven_fabric::admin::Node;

    use super::*;

    fn group(role: NodeRole, applied: u64, matched: &[(u64, u64)]) -> GroupStatus {
        let nodes = matched.iter().map(|(node, matched)| Node {
            node: *node,
            address: String::new(),
            votes: true,
            matched: Some(*matched),
        });
        GroupStatus {
            role,
            leader: Some(1),
            term: 3,
            last: applied,
            committed: applied,
            applied,
            snapshot: 0,
            confirmed: true,
            nodes: nodes.collect(),
        }
    }

    #[test]
    fn each_node_has_a_row_also_one_that_is_silent() {
        let leader = Status {
            node: 1,
            version: "0.2.0".to_owned(),
            disk_bytes: 3 << 19,
            master_keys: Vec::new(),
            issuing_keys: Vec::new(),
            control: group(NodeRole::Leader, 120, &[(1, 120), (2, 118)]),
            state: vec![group(NodeRole::Follower, 7, &[]), group(NodeRole::Leader, 9, &[(2, 4)])],
        };
        let mut lost = group(NodeRole::Candidate, 7, &[]);
        lost.confirmed = false;
        let follower = Status {
            node: 2,
            version: String::new(),
            disk_bytes: 0,
            master_keys: Vec::new(),
            issuing_keys: Vec::new(),
            control: group(NodeRole::Follower, 118, &[]),
            state: vec![lost, group(NodeRole::Follower, 4, &[])],
        };
        let nodes = [
            ("10.0.0.1:7400".to_owned(), Ok(leader)),
            ("10.0.0.12:7400".to_owned(), Ok(follower)),
            ("10.0.0.3:7400".to_owned(), Err(anyhow::anyhow!("it does not answer"))),
        ];
        let expected = "\
NODE  ADDRESS         VERSION  ROLE      TERM  APPLIED  BEHIND  LEADS  DISK     STANDING
1     10.0.0.1:7400   0.2.0    leader    3     120      0       2      1.5 MiB  in touch
2     10.0.0.12:7400  -        follower  3     118      5       -      0.0 MiB  out of touch in 1 groups
-     10.0.0.3:7400   -        -         -     -        -       -      -        it does not answer
";
        assert_eq!(table(&nodes), expected);
    }
}
