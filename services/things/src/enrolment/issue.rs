//! Keys and certificates for devices, off the threads that serve others.

use fleethaven_fabric::metadata::Error as CallError;
use fleethaven_pki::authority::DEVICE_NOT_AFTER;
use fleethaven_pki::{Certificate, DeviceKey, SigningRequest};
use fleethaven_registry::shapes::IssuingCa;
use fleethaven_registry::{Query, QueryKind, QueryReply};
use fleethaven_types::Scope;
use tokio::task::spawn_blocking;

use super::Enrolments;
use super::operations::Refusal;
use crate::patience::patiently;

impl Enrolments {
    /// A new key with a certificate for it, which is not registered yet.
    pub(super) async fn keys_and_certificate(
        &self,
        scope: Scope,
    ) -> Result<(DeviceKey, Certificate), Refusal> {
        let ca = self.issuing_ca(scope).await?;
        // The permit goes along, so that it is held until the work ends.
        let permit = self.key_makers.clone().acquire_owned().await.map_err(|_| Refusal::internal())?;
        let made = spawn_blocking(move || {
            let _permit = permit;
            DeviceKey::generate()
        });
        let key = made.await.map_err(|_| Refusal::internal())?.map_err(failed)?;
        let certificate = self.issue(ca, key.signing_request().clone()).await?;
        Ok((key, certificate))
    }

    /// A certificate for a request, which is not registered yet.
    pub(super) async fn certificate(
        &self,
        scope: Scope,
        request: SigningRequest,
    ) -> Result<Certificate, Refusal> {
        let ca = self.issuing_ca(scope).await?;
        self.issue(ca, request).await
    }

    async fn issue(&self, ca: Box<IssuingCa>, request: SigningRequest) -> Result<Certificate, Refusal> {
        let now = (self.settings.clock)().as_secs();
        self.settings.issuer.issue(*ca, request, (now, DEVICE_NOT_AFTER)).await.map_err(failed)
    }

    async fn issuing_ca(&self, scope: Scope) -> Result<Box<IssuingCa>, Refusal> {
        let query = Query::new(scope, QueryKind::IssuingCa);
        match patiently(|| self.settings.metadata.query(query.clone())).await {
            Ok(QueryReply::IssuingCa(Some(ca))) => Ok(ca),
            Ok(_) => {
                tracing::error!(account = %scope.account, "the account has no issuing CA");
                Err(Refusal::internal())
            }
            Err(error) => Err(unavailable(&error)),
        }
    }
}

fn failed(error: impl std::fmt::Display) -> Refusal {
    tracing::error!(%error, "a certificate could not be issued");
    Refusal::internal()
}

fn unavailable(error: &CallError) -> Refusal {
    tracing::warn!(%error, "the issuing CA could not be read");
    Refusal::internal()
}
