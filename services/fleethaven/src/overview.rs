//! `fleethaven status`: a cluster at a glance: the metadata store's nodes and leaders, the members, the slots.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use fleethaven_fabric::Membership;
use fleethaven_fabric::admin::Status;
use fleethaven_fabric::membership::{Member, Phase, Role, RoutingTable};
use fleethaven_fabric_grpc::membership::MembershipClient;
use fleethaven_pki::ServiceRole;
use futures_util::StreamExt;
use serde::Serialize;

use crate::cli::{ReachArgs, StatusArgs};
use crate::cluster_tls;
use crate::columns::aligned;
use crate::operate::{Line, Store, line};
use crate::process::{print_line, print_text};
use crate::standing::or_dash;

/// How long the table of members may take.
const TABLE_WITHIN: Duration = Duration::from_secs(5);

/// A cluster as it was looked at.
pub(crate) struct Overview {
    pub(crate) nodes: Vec<(String, Result<Status>)>,
    /// `None`: no node tells.
    pub(crate) table: Option<Arc<RoutingTable>>,
}

/// What `--json` prints. Keys are only ever added.
#[derive(Serialize)]
struct Document {
    metastore: Vec<Line>,
    members: Vec<MemberLine>,
    slots: Option<Slots>,
}

#[derive(Serialize)]
struct MemberLine {
    role: &'static str,
    address: String,
    phase: &'static str,
    /// The release that it runs.
    #[serde(skip_serializing_if = "String::is_empty")]
    version: String,
    incarnation: String,
    /// Slots that a router owns.
    #[serde(skip_serializing_if = "Option::is_none")]
    slots: Option<usize>,
}

/// How slots are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Slots {
    pub(crate) all: usize,
    /// With an owner.
    pub(crate) owned: usize,
    /// Going from one router to another.
    pub(crate) moving: usize,
    /// Of the table of members and slots.
    pub(crate) table_version: u64,
}

/// Carries out the command.
pub(crate) async fn run(arguments: StatusArgs) -> Result<()> {
    let overview = look(&arguments.reach).await?;
    let answered = overview.nodes.iter().any(|(_, status)| status.is_ok());
    match arguments.json {
        true => print_line(&overview.document())?,
        false => print_text(&overview.text())?,
    }
    match answered {
        true => Ok(()),
        false => bail!("no node of the metadata store answers"),
    }
}

/// Asks every node that is given or named by one, and one of them for the members.
pub(crate) async fn look(reach: &ReachArgs) -> Result<Overview> {
    let store = Store::open(reach)?;
    let mut tables = membership(reach)?.table();
    let (nodes, table) = tokio::join!(store.standing(), tokio::time::timeout(TABLE_WITHIN, tables.next()));
    Ok(Overview { nodes, table: table.ok().flatten() })
}

/// The members and slots of the cluster, as any node of its metadata store tells them.
pub(crate) fn membership(reach: &ReachArgs) -> Result<MembershipClient> {
    let tls = cluster_tls::of_operator(&reach.cluster_tls)?;
    let channel = |address: &String| tls.channel(address, ServiceRole::Metastore).map_err(anyhow::Error::msg);
    let channels = reach.metastore.iter().map(channel).collect::<Result<_>>()?;
    Ok(MembershipClient::new(channels, TABLE_WITHIN))
}

impl Overview {
    /// How slots are served, as far as somebody tells.
    pub(crate) fn slots(&self) -> Option<Slots> {
        let table = self.table.as_ref()?;
        Some(Slots {
            all: table.slots.len(),
            owned: table.slots.iter().filter(|slot| slot.owner.is_some()).count(),
            moving: table.slots.iter().filter(|slot| slot.next.is_some()).count(),
            table_version: table.version,
        })
    }

    /// All members, by role and address.
    fn members(&self) -> Vec<MemberLine> {
        let Some(table) = &self.table else { return Vec::new() };
        let mut members: Vec<_> = table.members.iter().map(|member| member_line(table, member)).collect();
        members.sort_by(|one, other| (one.role, &one.address).cmp(&(other.role, &other.address)));
        members
    }

    fn document(self) -> Document {
        let (members, slots) = (self.members(), self.slots());
        let nodes = self.nodes.into_iter();
        Document { metastore: nodes.map(|(address, status)| line(address, status)).collect(), members, slots }
    }

    fn text(&self) -> String {
        let mut text = crate::standing::table(&self.nodes);
        text.push('\n');
        let mut rows = vec![["MEMBER", "ADDRESS", "VERSION", "PHASE", "SLOTS"].map(str::to_owned)];
        rows.extend(self.members().into_iter().map(|member| {
            let slots = member.slots.map_or_else(|| "-".to_owned(), |slots| slots.to_string());
            let version = or_dash(&member.version);
            [member.role.to_owned(), member.address, version, member.phase.to_owned(), slots]
        }));
        text += &aligned(&rows);
        text += &match self.slots() {
            Some(Slots { all, owned, moving, table_version }) => {
                format!("\n{owned} of {all} slots are served, {moving} are moving; table {table_version}\n")
            }
            None => "\nnobody tells which members and slots there are\n".to_owned(),
        };
        text
    }
}

fn member_line(table: &RoutingTable, member: &Member) -> MemberLine {
    let owns = || table.slots.iter().filter(|slot| slot.owner == Some(member.incarnation)).count();
    MemberLine {
        role: role(member.role),
        address: member.address.clone(),
        phase: match member.phase {
            Phase::Loading => "loading",
            Phase::Serving => "serving",
            Phase::Leaving => "leaving",
        },
        version: member.version.clone(),
        incarnation: format!("{:016x}", member.incarnation.0),
        slots: (member.role == Role::Router).then(owns),
    }
}

/// A role as commands are called.
pub(crate) fn role(role: Role) -> &'static str {
    match role {
        Role::Gateway => "gateway",
        Role::Router => "router",
        Role::RulesWorker => "rules-worker",
        Role::Api => "api",
    }
}
