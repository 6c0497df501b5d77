//! Domain configurations.

use prost::Message;

use crate::shapes::{ApplicationProtocol, AuthenticationType, DomainConfigurationStatus, ServiceType};

/// A domain configuration.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct DomainConfiguration {
    /// The last part of its ARN.
    #[prost(string, tag = "1")]
    pub id: String,
    /// `domainName`.
    #[prost(string, tag = "2")]
    pub domain_name: String,
    /// `serverCertificateArns`.
    #[prost(string, repeated, tag = "3")]
    pub server_certificate_arns: Vec<String>,
    /// `validationCertificateArn`.
    #[prost(string, optional, tag = "4")]
    pub validation_certificate_arn: Option<String>,
    /// `authorizerConfig`.
    #[prost(message, optional, tag = "5")]
    pub authorizer: Option<DomainAuthorizer>,
    /// What the endpoint is for.
    #[prost(enumeration = "ServiceType", tag = "6")]
    pub service_type: i32,
    /// How clients authenticate.
    #[prost(enumeration = "AuthenticationType", tag = "7")]
    pub authentication_type: i32,
    /// What clients speak.
    #[prost(enumeration = "ApplicationProtocol", tag = "8")]
    pub application_protocol: i32,
    /// `tlsConfig.securityPolicy`.
    #[prost(string, tag = "9")]
    pub security_policy: String,
    /// Whether it is served.
    #[prost(enumeration = "DomainConfigurationStatus", tag = "10")]
    pub status: i32,
    /// When that last changed.
    #[prost(uint64, tag = "11")]
    pub status_changed_at: u64,
    /// Whether its name was made, not chosen.
    #[prost(bool, tag = "12")]
    pub managed: bool,
    /// `serverCertificateConfig.enableOCSPCheck`.
    #[prost(bool, tag = "13")]
    pub ocsp_check: bool,
    /// `clientCertificateConfig.clientCertificateCallbackArn`; empty where there is none.
    #[prost(string, tag = "14")]
    pub certificate_callback_arn: String,
    /// `serverCertificateConfig.ocspLambdaArn`; empty where there is none.
    #[prost(string, tag = "15")]
    pub ocsp_function_arn: String,
    /// `serverCertificateConfig.ocspAuthorizedResponderArn`; empty where there is none.
    #[prost(string, tag = "16")]
    pub ocsp_responder_arn: String,
}

/// `authorizerConfig`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct DomainAuthorizer {
    /// `defaultAuthorizerName`.
    #[prost(string, optional, tag = "1")]
    pub default_name: Option<String>,
    /// `allowAuthorizerOverride`.
    #[prost(bool, optional, tag = "2")]
    pub allow_override: Option<bool>,
}

/// Whose domain configuration has a name.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct DomainOwner {
    /// Account.
    #[prost(uint64, tag = "1")]
    pub account: u64,
    /// Region.
    #[prost(string, tag = "2")]
    pub region: String,
    /// Name of the domain configuration.
    #[prost(string, tag = "3")]
    pub configuration: String,
    /// ARN of its server certificate.
    #[prost(string, optional, tag = "4")]
    pub server_certificate_arn: Option<String>,
    /// Whether an OCSP answer is stapled to it.
    #[prost(bool, tag = "5")]
    pub ocsp_check: bool,
    /// The function that is asked for that answer, in place of the responder that the certificate names; empty where there is none.
    #[prost(string, tag = "6")]
    pub ocsp_function_arn: String,
    /// The last part of the domain configuration's ARN.
    #[prost(string, tag = "7")]
    pub id: String,
    /// ARN of the certificate that alone may sign that answer; empty where there is none.
    #[prost(string, tag = "8")]
    pub ocsp_responder_arn: String,
}
