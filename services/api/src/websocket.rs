//! Whose WebSocket connection it is: `GET /mqtt`, signed in the query or the header (broker.md section 14).

use bytes::Bytes;
use fleethaven_authorizers::Protocol;
use fleethaven_daemon::clock;
use fleethaven_operators::Operator;
use fleethaven_types::Scope;
use http::Response;
use http::request::Parts;
use http_body_util::Full;

use crate::api::{Api, refusal};
use crate::authentication::{self, Claim, Principal};
use crate::error::Error;
use crate::logging;
use crate::operations::Service;
use crate::peer::Peer;

/// Who signed the upgrade request.
#[derive(Debug, Clone)]
pub struct Signer {
    /// The account of the access key, in the region of the credential scope.
    pub scope: Scope,
    /// The access key.
    pub access_key_id: String,
    /// Whose it is, and what that may do.
    pub operator: Operator,
}

impl Api {
    /// Whether a request asks for MQTT over WebSocket.
    pub fn is_websocket(head: &Parts) -> bool {
        matches!(head.uri.path(), "/mqtt" | "/mqtt/") && head.headers.contains_key(http::header::UPGRADE)
    }

    /// Whether a request is signed, rightly or not.
    pub fn is_signed(head: &Parts) -> bool {
        authentication::is_signed(head)
    }

    /// Who signed the upgrade request `head`.
    ///
    /// # Errors
    ///
    /// The answer to send instead of the upgrade: AWS's error, with its request id.
    pub async fn signer(&self, peer: &Peer, head: &Parts) -> Result<Signer, Box<Response<Full<Bytes>>>> {
        let signer = self.find_signer(peer, head).await;
        signer.map_err(|error| {
            tracing::warn!(
                source_ip = %peer.address.ip(), event = "Connection.AuthNError", reason = %error,
                "WebSocket not authenticated"
            );
            if let Error::Authentication(error) = &error {
                logging::tell_not_authenticated(self.state(), self.endpoint(peer).scope, peer, error);
            }
            Box::new(refusal(error))
        })
    }

    async fn find_signer(&self, peer: &Peer, head: &Parts) -> Result<Signer, Error> {
        let endpoint = self.endpoint(peer);
        let claim = Claim::read(self.state(), head, peer, &endpoint)?;
        claim.check(&endpoint, Protocol::WebSocket)?;
        if !claim.services().contains(&Service::Data) || !matches!(claim, Claim::Signed(_)) {
            return Err(fleethaven_sigv4::Error::Missing.into());
        }
        let candidate = authentication::look_up(self.state(), claim, peer).await?;
        let (scope, principal) =
            authentication::verify(self.state(), &candidate, head, &Bytes::new(), clock::now())?;
        authentication::check_account(&endpoint, scope)?;
        match principal {
            Principal::Operator(signed) => Ok(Signer {
                scope,
                access_key_id: signed.access_key_id.clone(),
                operator: signed.operator.clone(),
            }),
            Principal::Certificate(_) | Principal::Authorized(_) | Principal::Both(..) => {
                Err(fleethaven_sigv4::Error::Missing.into())
            }
        }
    }
}
