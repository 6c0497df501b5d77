//! The endpoint that a client came to: what the server name that it asked for (SNI) says (security.md section 5).

use fleethaven_fabric::Metadata;
use fleethaven_registry::shapes::{ApplicationProtocol, AuthenticationType, Domain};
use fleethaven_registry::{Query, QueryKind, QueryReply};
use fleethaven_types::Scope;

/// Whose endpoint it is, and what its domain configuration says, where it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Account and region.
    pub scope: Scope,
    /// Whether the name says whose it is: then it takes nobody of another account.
    pub named: bool,
    /// The domain configuration of the name.
    pub domain: Option<Box<Domain>>,
}

/// With what a client comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credentials {
    /// A client certificate.
    Certificate,
    /// A signed request.
    Signature,
    /// Neither: an authorizer is to decide.
    Neither,
}

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// MQTT over TLS or QUIC.
    Mqtt,
    /// MQTT over WebSocket.
    WebSocket,
    /// HTTPS.
    Https,
}

/// Why an endpoint does not take a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// Its domain configuration is disabled.
    #[error("DOMAIN_CONFIGURATION_DISABLED")]
    Disabled,
    /// Its clients authenticate otherwise.
    #[error("DOMAIN_CONFIGURATION_AUTHENTICATION_TYPE: clients of this name authenticate otherwise")]
    Authentication,
    /// Its clients speak something else.
    #[error("DOMAIN_CONFIGURATION_APPLICATION_PROTOCOL: clients of this name speak another protocol")]
    Protocol,
}

impl Endpoint {
    /// The endpoint that a server name means: that of a domain configuration, by what this node knows; else of the account that
    /// the name begins with (`<account>.data.<base domain>`); else the default one.
    pub fn of(metadata: &dyn Metadata, server_name: Option<&str>, default: Scope) -> Self {
        let asked =
            |name: &str| metadata.query_local(Query::new(default, QueryKind::Domain(name.to_owned())));
        if let Some(Ok(QueryReply::Domain(Some(domain)))) = server_name.map(asked) {
            return Self { scope: domain.scope, named: true, domain: Some(domain) };
        }
        let label = server_name.and_then(|name| name.split('.').next());
        let account = label.and_then(|label| label.parse().ok());
        let scope = Scope { account: account.unwrap_or(default.account), ..default };
        Self { scope, named: account.is_some(), domain: None }
    }

    /// Whether who or what belongs to this scope may come here: of a domain account and region count, of an account's own
    /// endpoints the account.
    pub fn is_of(&self, scope: Scope) -> bool {
        match &self.domain {
            Some(domain) => domain.scope == scope,
            None => !self.named || self.scope.account == scope.account,
        }
    }

    /// Whether the endpoint takes a client that comes so.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn take(&self, credentials: Credentials, protocol: Protocol) -> Result<(), NotTaken> {
        let Some(domain) = &self.domain else { return Ok(()) };
        if !domain.enabled {
            return Err(NotTaken::Disabled);
        }
        let spoken = match domain.application_protocol {
            ApplicationProtocol::Default => true,
            ApplicationProtocol::SecureMqtt => protocol == Protocol::Mqtt,
            ApplicationProtocol::MqttWss => protocol == Protocol::WebSocket,
            ApplicationProtocol::Https => protocol == Protocol::Https,
        };
        if !spoken {
            return Err(NotTaken::Protocol);
        }
        let authenticates = match domain.authentication_type {
            AuthenticationType::Default => true,
            AuthenticationType::AwsX509 | AuthenticationType::CustomAuthX509 => {
                credentials == Credentials::Certificate
            }
            AuthenticationType::CustomAuth => credentials == Credentials::Neither,
            AuthenticationType::AwsSigv4 => credentials == Credentials::Signature,
        };
        if authenticates { Ok(()) } else { Err(NotTaken::Authentication) }
    }

    /// Whether an authorizer decides about a client beside its certificate.
    pub fn asks_about_certificates(&self) -> bool {
        let kind = self.domain.as_ref().map(|domain| domain.authentication_type);
        kind == Some(AuthenticationType::CustomAuthX509)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authorizers::tests::attempt;

    fn endpoint(kind: AuthenticationType, protocol: ApplicationProtocol, enabled: bool) -> Endpoint {
        let scope = attempt().endpoint.scope;
        let domain = Domain {
            scope,
            enabled,
            authentication_type: kind,
            application_protocol: protocol,
            default_authorizer_name: None,
            allow_authorizer_override: true,
            security_policy: String::new(),
            certificate_callback: None,
        };
        Endpoint { scope, named: true, domain: Some(Box::new(domain)) }
    }

    #[test]
    fn a_domain_takes_those_whom_it_is_for() {
        use ApplicationProtocol as P;
        use AuthenticationType as A;
        let one = endpoint(A::CustomAuth, P::SecureMqtt, true);
        assert_eq!(one.take(Credentials::Neither, Protocol::Mqtt), Ok(()));
        assert_eq!(one.take(Credentials::Neither, Protocol::WebSocket), Err(NotTaken::Protocol));
        assert_eq!(one.take(Credentials::Certificate, Protocol::Mqtt), Err(NotTaken::Authentication));
        let signed = endpoint(A::AwsSigv4, P::Https, true);
        assert_eq!(signed.take(Credentials::Signature, Protocol::Https), Ok(()));
        assert_eq!(signed.take(Credentials::Neither, Protocol::Https), Err(NotTaken::Authentication));
        let both = endpoint(A::CustomAuthX509, P::SecureMqtt, true);
        assert_eq!(both.take(Credentials::Certificate, Protocol::Mqtt), Ok(()));
        assert!(both.asks_about_certificates() && !one.asks_about_certificates());
        let any = endpoint(A::Default, P::Default, true);
        assert_eq!(any.take(Credentials::Certificate, Protocol::Https), Ok(()));
        let disabled = endpoint(A::Default, P::Default, false);
        assert_eq!(disabled.take(Credentials::Certificate, Protocol::Mqtt), Err(NotTaken::Disabled));
        let none = Endpoint { domain: None, ..disabled };
        assert_eq!(none.take(Credentials::Neither, Protocol::Mqtt), Ok(()));
    }

    #[test]
    fn a_name_tells_whose_it_is() {
        let domain = endpoint(AuthenticationType::Default, ApplicationProtocol::Default, true);
        let here = domain.scope;
        let region = Scope { region: "ap-south-1".parse().unwrap(), ..here };
        let account = Scope { account: "210987654321".parse().unwrap(), ..here };
        assert!(domain.is_of(here) && !domain.is_of(region) && !domain.is_of(account));
        let own = Endpoint { domain: None, ..domain };
        assert!(own.is_of(here) && own.is_of(region) && !own.is_of(account));
        let any = Endpoint { named: false, ..own };
        assert!(any.is_of(account));
    }
}
