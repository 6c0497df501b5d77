//! Which role may call what. What is not listed, nobody may.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use fleethaven_pki::{ServiceIdentity, ServiceRole};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};
use tower_layer::Layer;

use crate::trace;

/// Who is at the other end of a connection; among the extensions of its requests.
#[derive(Debug, Clone)]
pub struct Peer {
    /// By its certificate.
    pub identity: ServiceIdentity,
    /// Where it calls from.
    pub address: SocketAddr,
}

use ServiceRole::{Api, Gateway, Metastore, Operator, Router, RulesWorker};

/// What a path begins with, and who may call it: the first that fits counts.
const RULES: [(&str, &[ServiceRole]); 13] = [
    // A node that joins asks who leads, and to be added. The rest a node could do by Raft as well: so an operator who is in one of
    // its containers needs no certificate of his own.
    ("/fleethaven.admin.v1.Admin/", &[Metastore, Operator]),
    ("/fleethaven.raft.v1.Raft/", &[Metastore]),
    // What devices ask for changes the state of one thing.
    ("/fleethaven.metadata.v1.Metadata/ExecuteForThing", &[Api, Gateway, RulesWorker, Operator]),
    // What a device asks for that wants a certificate of its own.
    ("/fleethaven.metadata.v1.Metadata/ExecuteForDevice", &[Api, Gateway, Operator]),
    // What processes have counted.
    ("/fleethaven.metadata.v1.Metadata/ReportUsage", &[Api, Gateway, RulesWorker]),
    // Commands change accounts, certificates and policies.
    ("/fleethaven.metadata.v1.Metadata/Execute", &[Api, Operator]),
    ("/fleethaven.metadata.v1.Metadata/", &[Api, Gateway, Router, RulesWorker, Operator]),
    ("/fleethaven.membership.v1.Membership/SetDepth", &[Metastore, Operator]),
    ("/fleethaven.membership.v1.Membership/Table", &[Api, Gateway, Metastore, Router, RulesWorker, Operator]),
    ("/fleethaven.membership.v1.Membership/", &[Api, Gateway, Router, RulesWorker]),
    ("/fleethaven.routing.v1.", &[Api, Gateway, Metastore, Router, RulesWorker]),
    ("/fleethaven.connections.v1.Connections/TakenOver", &[Gateway]),
    ("/fleethaven.connections.v1.", &[Api]),
];

/// Whether a service of this role may call the method at `path`.
pub fn allows(path: &str, role: ServiceRole) -> bool {
    let rule = RULES.iter().find(|(prefix, _)| path.starts_with(prefix));
    rule.is_some_and(|(_, roles)| roles.contains(&role))
}

/// Refuses what the rules do not allow.
#[derive(Clone, Copy)]
pub(super) struct AccessLayer;

impl<S> Layer<S> for AccessLayer {
    type Service = Access<S>;

    fn layer(&self, inner: S) -> Access<S> {
        Access(inner)
    }
}

#[derive(Clone)]
pub(super) struct Access<S>(S);

type Answering<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

impl<S> Service<Request<Body>> for Access<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Answering<S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (path, peer) = (request.uri().path(), request.extensions().get::<Peer>());
        if peer.is_some_and(|peer| allows(path, peer.identity.role())) {
            return Box::pin(self.0.call(request));
        }
        let caller = peer.map(|peer| (peer.identity.to_string(), peer.address));
        let trace_id = trace::current_id();
        tracing::warn!(path, ?caller, trace_id, "a service called what its role may not");
        let refused = Status::permission_denied("the role of the certificate may not call this");
        Box::pin(std::future::ready(Ok(refused.into_http())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_call_what_they_need_and_no_more() {
        let callers =
            |path: &str| ServiceRole::ALL.into_iter().filter(|role| allows(path, *role)).collect::<Vec<_>>();
        assert_eq!(callers("/fleethaven.raft.v1.Raft/Append"), [Metastore]);
        assert_eq!(callers("/fleethaven.admin.v1.Admin/Backup"), [Metastore, Operator]);
        assert!(callers("/fleethaven.membership.v1.Membership/Table").contains(&Metastore));
        assert!(!callers("/fleethaven.membership.v1.Membership/Join").contains(&Metastore));
        assert_eq!(callers("/fleethaven.metadata.v1.Metadata/Execute"), [Api, Operator]);
        let for_thing = callers("/fleethaven.metadata.v1.Metadata/ExecuteForThing");
        assert!(for_thing.contains(&Gateway) && !for_thing.contains(&Router));
        let for_device = callers("/fleethaven.metadata.v1.Metadata/ExecuteForDevice");
        assert!(for_device.contains(&Gateway) && !for_device.contains(&RulesWorker));
        let usage = callers("/fleethaven.metadata.v1.Metadata/ReportUsage");
        assert!(usage.contains(&RulesWorker) && !usage.contains(&Router));
        assert!(callers("/fleethaven.metadata.v1.Metadata/Watch").contains(&Gateway));
        assert_eq!(callers("/fleethaven.connections.v1.ConnectionsService/Describe"), [Api]);
        for path in ["", "/", "/fleethaven.raft.v2.Raft/Append", "/grpc.reflection.v1.ServerReflection/x"] {
            assert_eq!(callers(path), [], "{path}");
        }
    }
}
