//! The control group: what its leader decides about members, slots and leases.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use fleethaven_fabric::membership::{Incarnation, RoutingTable};
use fleethaven_membership::{Cluster, Command, Leases, Refusal, Renewal};

use crate::Bug;
use crate::world::{MILLI, Micros, Node, World};

/// How often the leader looks at its leases.
const LOOK_EVERY: Micros = 100 * MILLI;
/// How often members ask whether they have missed a table.
const TABLES_EVERY: Micros = 150 * MILLI;

/// Why a call did not do what it was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallError {
    /// The member is out.
    Refused,
    /// Nobody knows.
    Unavailable,
}

/// The answer to a call: the incarnation of who joined.
pub(crate) type Answer = Result<Option<Incarnation>, CallError>;

/// The leader.
pub(crate) struct Metastore {
    pub(crate) cluster: Cluster,
    leases: Leases,
    term: u64,
    pub(crate) table: Arc<RoutingTable>,
}

/// What members ask of it.
#[derive(Debug, Clone)]
pub(crate) enum Call {
    Change(Command),
    Renew(Incarnation),
}

impl Metastore {
    pub(crate) fn new() -> Self {
        let cluster = Cluster::new(1000);
        let table = Arc::new(cluster.table());
        let mut leases = Leases::default();
        leases.begin(1, [], Duration::ZERO);
        Self { cluster, leases, term: 1, table }
    }
}

impl World {
    pub(crate) fn start_metastore(&mut self) {
        self.after(LOOK_EVERY, Node::Metastore, World::look_at_leases);
        self.after(TABLES_EVERY, Node::Metastore, World::repeat_tables);
    }

    /// Another leader begins: it grants everybody a full lease.
    pub(crate) fn change_leader(&mut self) {
        let now = Duration::from_micros(self.now);
        let Metastore { cluster, leases, term, .. } = &mut self.metastore;
        *term += 1;
        leases.begin(*term, cluster.members.keys().copied(), now);
    }

    fn look_at_leases(&mut self) {
        let now = Duration::from_micros(self.now);
        let Metastore { cluster, leases, .. } = &mut self.metastore;
        for over in leases.look(cluster.members.keys().copied(), now) {
            self.note(format_args!("lease of {over} is over"));
            // There is nothing to refuse.
            let _ = self.change(&Command::Remove { incarnation: over });
        }
        self.after(LOOK_EVERY, Node::Metastore, World::look_at_leases);
    }

    fn change(&mut self, command: &Command) -> Answer {
        let before = self.metastore.cluster.version;
        let answer = self.metastore.cluster.apply(command).map_err(|refusal| match refusal {
            Refusal::Gone(_) | Refusal::Backwards { .. } | Refusal::Changing => CallError::Refused,
            refusal => panic!("{command:?}: {refusal}"),
        });
        if self.metastore.cluster.version != before {
            self.tell();
        }
        answer
    }

    fn tell(&mut self) {
        self.metastore.table = Arc::new(self.metastore.cluster.table());
        self.members().into_iter().for_each(|member| self.send_table(member));
    }

    /// An operator asks for other depths, or takes back what was asked for.
    pub(crate) fn change_depths(&mut self) {
        let prefix = if self.random.percent(50) { String::new() } else { "t/1".to_owned() };
        let depth = Some(self.random.index(4) + 1).filter(|depth| *depth > 1 || prefix.is_empty());
        // While another change goes on it is refused.
        let _ = self.change(&Command::SetDepth { prefix, depth });
        let cluster = &mut self.metastore.cluster;
        if self.bug == Some(Bug::DepthsAtOnce)
            && let Some(next) = cluster.depths.next.take()
        {
            (cluster.depths.now, cluster.changing) = (next, None);
            cluster.version += 1;
            self.tell();
        }
    }

    fn answer(&mut self, call: &Call) -> Answer {
        match call {
            Call::Change(command) => self.change(command),
            Call::Renew(member) if !self.metastore.cluster.members.contains_key(member) => {
                Err(CallError::Refused)
            }
            Call::Renew(member) => {
                let Metastore { leases, term, .. } = &mut self.metastore;
                match leases.renew(*term, *member, Duration::from_micros(self.now)) {
                    Renewal::Renewed => Ok(None),
                    _ => Err(CallError::Unavailable),
                }
            }
        }
    }

    /// Asks the metastore; `then` hears the answer, or after `patience` that there was none.
    pub(crate) fn call(
        &mut self,
        from: Node,
        call: Call,
        patience: Micros,
        then: impl FnOnce(&mut World, Answer) + 'static,
    ) {
        let then = Rc::new(RefCell::new(Some(then)));
        let too_late = then.clone();
        self.after(patience, from, move |world| {
            if let Some(then) = too_late.take() {
                then(world, Err(CallError::Unavailable));
            }
        });
        self.datagram(from, Node::Metastore, move |world| {
            let answer = world.answer(&call);
            world.datagram(Node::Metastore, from, move |world| {
                if let Some(then) = then.take() {
                    then(world, answer);
                }
            });
        });
    }

    fn send_table(&mut self, to: Node) {
        let table = self.metastore.table.clone();
        self.datagram(Node::Metastore, to, move |world| match to {
            Node::Router(router) => world.router_table(router, table),
            Node::Gateway(gateway) => world.gateway_table(gateway, table),
            Node::Metastore | Node::Store | Node::Client(_) => {}
        });
    }

    fn repeat_tables(&mut self) {
        self.members().into_iter().for_each(|member| self.send_table(member));
        self.after(TABLES_EVERY, Node::Metastore, World::repeat_tables);
    }

    /// Everybody who follows the table.
    fn members(&self) -> Vec<Node> {
        let routers = (0..self.routers.len()).map(Node::Router);
        routers.chain((0..self.gateways.len()).map(Node::Gateway)).collect()
    }
}
