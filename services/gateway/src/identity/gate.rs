//! What the TLS handshake may ask: answered at once, from the cache or this node's copy of the metadata.

use std::net::SocketAddr;

use fleethaven_net::{CertificateGate, Gate};
use fleethaven_pki::CertificateId;
use fleethaven_registry::shapes::CertificateStatus;
use fleethaven_registry::{Query, QueryKind, QueryReply};

use super::{Error, IdentityCache};

tokio::task_local! {
    /// Who shakes hands in this task.
    static PEER: SocketAddr;
}

/// Runs a handshake so that its refusal is logged with the client's address.
pub async fn on_behalf_of<F: Future>(peer: SocketAddr, handshake: F) -> F::Output {
    PEER.scope(peer, handshake).await
}

impl CertificateGate for IdentityCache {
    /// Only what is certain ends a handshake; everything else is decided by the look-up after it. The refusal is logged
    /// here, as TLS tells the listener no more than that there was one; whose handshake it is, the listener tells through
    /// [`on_behalf_of`] (QUIC has no way to).
    fn check(&self, certificate: &[u8]) -> Gate {
        let id = CertificateId::of_der(certificate);
        let (gate, reason) = match self.known_status(id) {
            Known::Status(CertificateStatus::Active) | Known::Elsewhere => return Gate::Proceed,
            // It may be a device that registers itself, which is seen to after the handshake.
            Known::Status(CertificateStatus::PendingActivation) | Known::Nowhere
                if self.may_register_itself(certificate) =>
            {
                return Gate::Proceed;
            }
            Known::Status(CertificateStatus::Revoked) => (Gate::Inactive, Error::Revoked),
            Known::Status(_) => (Gate::Inactive, Error::Inactive),
            // A node that lags may not know it yet: it is asked for after the handshake.
            Known::Nowhere if !self.is_complete() => {
                return Gate::Proceed;
            }
            Known::Nowhere => (Gate::Unknown, Error::NotRegistered),
        };
        let peer = PEER.try_with(|peer| *peer).ok();
        tracing::warn!(
            source_ip = peer.map(|peer| tracing::field::display(peer.ip())),
            principal_id = %id, event = "Connection.AuthNError", %reason, "TLS handshake refused"
        );
        // Which name the client asked for is not known here: it counts as the default account's.
        let certificate_id = id.to_string();
        self.log_certificate_refused(self.default_scope, (&certificate_id, None), peer, &reason.to_string());
        gate
    }
}

/// What this node knows of a certificate at once.
enum Known {
    /// Its status in the default scope.
    Status(CertificateStatus),
    /// It is registered in another scope or in several, or this node cannot tell.
    Elsewhere,
    /// No account knows it.
    Nowhere,
}

impl IdentityCache {
    fn known_status(&self, id: CertificateId) -> Known {
        let scope = self.default_scope;
        let here = self.registered(&(scope, id)).map(|entry| entry.snapshot().status);
        if here == Some(CertificateStatus::Active) {
            return Known::Status(CertificateStatus::Active);
        }
        let certificate_id = id.to_string();
        let owners = QueryKind::CertificateOwners { certificate_id: certificate_id.clone() };
        match self.metadata.query_local(Query::new(scope, owners)) {
            Ok(QueryReply::Scopes(owners)) if owners.is_empty() => return Known::Nowhere,
            // Of several, the server name decides which counts.
            Ok(QueryReply::Scopes(owners)) if owners.len() == 1 => {}
            _ => return Known::Elsewhere,
        }
        if let Some(status) = here {
            return Known::Status(status);
        }
        let principal = Query::new(scope, QueryKind::Principal { certificate_id });
        match self.metadata.query_local(principal) {
            Ok(QueryReply::Principal(Some(view))) => Known::Status(view.status),
            _ => Known::Elsewhere,
        }
    }
}
