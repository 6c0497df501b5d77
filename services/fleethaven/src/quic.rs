//! MQTT over QUIC: clients of the UDP socket go to the gateway's cores like all others.

use std::net::SocketAddr;
use std::sync::Arc;

use fleethaven_authorizers::Protocol;
use fleethaven_daemon::clock;
use fleethaven_daemon::shutdown::Shutdown;
use fleethaven_gateway::identity::Admitted;
use fleethaven_gateway::{Arrival, Gateway, IdentityCache};
use fleethaven_net::quic::{Endpoint, Incoming};

/// Serves `endpoint` until it is time to stop: new clients are refused from then on, and established connections end as the
/// gateway drains. The endpoint is closed last.
pub(crate) async fn serve(
    mut endpoint: Endpoint,
    identity: Arc<IdentityCache>,
    gateway: Arc<Gateway>,
    mut shutdown: Shutdown,
) {
    let local = endpoint.local_addr().ok();
    loop {
        let accepted = tokio::select! {
            accepted = endpoint.accept() => accepted,
            () = shutdown.wait() => break,
        };
        match accepted {
            Some(Ok(incoming)) => {
                tokio::spawn(admit(incoming, local, identity.clone(), gateway.clone()));
            }
            // The gate has logged it, with the certificate.
            Some(Err(error)) if error.is_refusal() => {
                tracing::debug!(reason = %error, "QUIC handshake refused");
            }
            Some(Err(error)) => {
                tracing::info!(event = "Connection.AuthNError", reason = %error, "QUIC handshake failed");
            }
            None => break,
        }
    }
    endpoint.close().await;
}

/// Who the client is decides whether it gets a connection.
async fn admit(
    incoming: Incoming,
    local: Option<SocketAddr>,
    identity: Arc<IdentityCache>,
    gateway: Arc<Gateway>,
) {
    let Some(certificate) = incoming.client_certificates.first() else {
        return tracing::warn!(source_ip = %incoming.peer.ip(), event = "Connection.AuthNError", "no client certificate");
    };
    let name = incoming.server_name.as_deref();
    if identity.domain_tls(name).is_some_and(|domain| !domain.policy.permits_tls13()) {
        return tracing::warn!(
            source_ip = %incoming.peer.ip(), event = "Connection.AuthNError",
            reason = "DOMAIN_CONFIGURATION_SECURITY_POLICY: its clients speak TLS 1.2, and QUIC has 1.3", "not authenticated"
        );
    }
    match identity.admit(&incoming.client_certificates, name, Protocol::Mqtt, clock::now().as_secs()).await {
        Ok(Admitted { principal, stranger }) => {
            let arrival = Arrival { peer: incoming.peer, local, principal, websocket: false, stranger };
            gateway.adopt_stream(Box::pin(incoming.stream), arrival);
        }
        Err(error) => {
            let certificate_id = fleethaven_pki::CertificateId::of_der(certificate).to_string();
            identity.log_refused((&certificate_id, name), incoming.peer, &error.to_string());
            tracing::warn!(
                source_ip = %incoming.peer.ip(), event = "Connection.AuthNError", reason = %error, "not authenticated"
            );
        }
    }
}
