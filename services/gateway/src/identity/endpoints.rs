//! Who a client with a certificate is at the endpoint that it came to: domain configurations may ask for more, or refuse it.

use fleethaven_authorizers::{Attempt, Certificate, Credentials, Endpoint, NotTaken, Protocol};
use fleethaven_pki::CertificateId;

use super::{Error, IdentityCache, Principal};

/// A client whose certificate is accepted.
pub struct Admitted {
    /// Who it is.
    pub principal: Principal,
    /// What is known of it, where a custom authorizer is to decide as well.
    pub stranger: Option<Box<Attempt>>,
}

impl IdentityCache {
    /// The endpoint that a server name means.
    pub fn endpoint(&self, server_name: Option<&str>) -> Endpoint {
        Endpoint::of(&*self.metadata, server_name, self.default_scope)
    }

    /// The principal of a client that proved to hold this certificate (DER), at `now` (seconds since the epoch), and asked for
    /// this server name.
    pub async fn admit(
        &self,
        der: &[u8],
        server_name: Option<&str>,
        protocol: Protocol,
        now: u64,
    ) -> Result<Admitted, Error> {
        let endpoint = self.endpoint(server_name);
        endpoint.take(Credentials::Certificate, protocol)?;
        let principal = self.certificate(der, server_name.is_some(), now).await?;
        let Some(domain) = &endpoint.domain else { return Ok(Admitted { principal, stranger: None }) };
        if domain.scope != principal.scope {
            return Err(Error::NotRegistered);
        }
        if !endpoint.asks_about_certificates() {
            return Ok(Admitted { principal, stranger: None });
        }
        // Requests come with a certificate or an authorizer's decision, not yet with both.
        if protocol == Protocol::Https {
            return Err(NotTaken::Authentication.into());
        }
        let stranger = Attempt {
            endpoint,
            connection_id: uuid::Uuid::new_v4().to_string(),
            server_name: server_name.map(Into::into),
            http: None,
            mqtt: None,
            certificate: Some(Certificate {
                pem: fleethaven_pki::pem::encode("CERTIFICATE", der),
                certificate_id: CertificateId::of_der(der).to_string(),
            }),
        };
        Ok(Admitted { principal, stranger: Some(Box::new(stranger)) })
    }
}
