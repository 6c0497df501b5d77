//! Who a client with a certificate is at the endpoint that it came to: domain configurations may ask for more, or refuse it.

use fleethaven_authorizers::{Attempt, Certificate, Credentials, Endpoint, NotTaken, Protocol};
use fleethaven_net::tls::{Carries, DomainTls, SecurityPolicy};
use fleethaven_pki::CertificateId;
use fleethaven_registry::shapes::{ApplicationProtocol, AuthenticationType, Domain};
use rustls::pki_types::CertificateDer;

use super::{Error, IdentityCache, Principal};

/// A client whose certificate is accepted.
pub struct Admitted {
    /// Who it is.
    pub principal: Principal,
    /// What is known of it, where a custom authorizer is to decide as well.
    pub stranger: Option<Box<Attempt>>,
}

impl IdentityCache {
    /// What the domain configuration of a server name says of the TLS handshake, where the name has one.
    pub fn domain_tls(&self, server_name: Option<&str>) -> Option<DomainTls> {
        let domain = self.endpoint(server_name).domain?;
        // The metadata has only names that there are.
        let policy = SecurityPolicy::of_name(&domain.security_policy).unwrap_or(SecurityPolicy::Tls13And12);
        Some(DomainTls { policy, carries: carries(&domain) })
    }

    /// Who comes without certificate or signature to an endpoint that takes such clients: may do nothing before a custom
    /// authorizer has decided.
    pub fn admit_stranger(&self, server_name: Option<&str>) -> Result<Admitted, Error> {
        let endpoint = self.endpoint(server_name);
        endpoint.take(Credentials::Neither, Protocol::Mqtt)?;
        let principal = self.stranger(endpoint.scope);
        let stranger = Attempt {
            endpoint,
            connection_id: uuid::Uuid::new_v4().to_string(),
            server_name: server_name.map(Into::into),
            http: None,
            mqtt: None,
            certificate: None,
        };
        Ok(Admitted { principal, stranger: Some(Box::new(stranger)) })
    }

    /// The endpoint that a server name means.
    pub fn endpoint(&self, server_name: Option<&str>) -> Endpoint {
        Endpoint::of(&*self.metadata, server_name, self.default_scope)
    }

    /// The principal of a client that proved to hold the first certificate of this chain, at `now` (seconds since the epoch),
    /// and asked for this server name.
    pub async fn admit(
        &self,
        chain: &[CertificateDer<'_>],
        server_name: Option<&str>,
        protocol: Protocol,
        now: u64,
    ) -> Result<Admitted, Error> {
        let der = chain.first().ok_or(Error::NotTaken(NotTaken::Authentication))?;
        let endpoint = self.endpoint(server_name);
        endpoint.take(Credentials::Certificate, protocol)?;
        let principal = self.certificate(der, &endpoint, server_name.is_some(), now).await?;
        let called_back =
            endpoint.domain.as_ref().is_some_and(|domain| domain.certificate_callback.is_some());
        // Nearly always nobody is asked: a connection costs neither another hash nor random bytes then.
        if !called_back && !endpoint.asks_about_certificates() {
            return Ok(Admitted { principal, stranger: None });
        }
        let (id, connection_id) = (CertificateId::of_der(der), uuid::Uuid::new_v4().to_string());
        let asked_for = (server_name.unwrap_or_default(), connection_id.as_str());
        self.callbacks.ask(&endpoint, (chain, id), asked_for).await?;
        if !endpoint.asks_about_certificates() {
            return Ok(Admitted { principal, stranger: None });
        }
        let stranger = Attempt {
            endpoint,
            connection_id,
            server_name: server_name.map(Into::into),
            http: None,
            mqtt: None,
            certificate: Some(Certificate {
                pem: fleethaven_pki::pem::encode("CERTIFICATE", der),
                certificate_id: id.to_string(),
            }),
        };
        Ok(Admitted { principal, stranger: Some(Box::new(stranger)) })
    }
}

/// What connections to a domain are for; `None` where the listener and ALPN decide.
fn carries(domain: &Domain) -> Option<Carries> {
    use AuthenticationType::{AwsSigv4, AwsX509, CustomAuth, CustomAuthX509, Default};
    let certificate = match domain.authentication_type {
        Default => return None,
        AwsX509 | CustomAuthX509 => true,
        CustomAuth | AwsSigv4 => false,
    };
    match (domain.application_protocol, certificate) {
        (ApplicationProtocol::Default, _) => None,
        (ApplicationProtocol::SecureMqtt, true) => Some(Carries::MqttWithCertificate),
        (ApplicationProtocol::SecureMqtt, false) => Some(Carries::Mqtt),
        (ApplicationProtocol::MqttWss | ApplicationProtocol::Https, true) => {
            Some(Carries::HttpWithCertificate)
        }
        (ApplicationProtocol::MqttWss | ApplicationProtocol::Https, false) => Some(Carries::Http),
    }
}
