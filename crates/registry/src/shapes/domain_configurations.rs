//! Domain configurations: endpoints under names of their own (security.md section 5).

use fleethaven_types::{Scope, Timestamp};
use serde::{Deserialize, Serialize};

use super::{ServerCertificateSummary, Tag, timestamp};

/// What a domain's endpoint is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, prost::Enumeration)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[repr(i32)]
pub enum ServiceType {
    /// Devices' messages.
    Data = 0,
    /// Not supported, as at AWS.
    CredentialProvider = 1,
    /// Not supported, as at AWS.
    Jobs = 2,
}

/// How clients of a domain authenticate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, prost::Enumeration)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[repr(i32)]
pub enum AuthenticationType {
    /// Port and ALPN decide.
    Default = 0,
    /// A client certificate, and a custom authorizer.
    #[serde(rename = "CUSTOM_AUTH_X509")]
    CustomAuthX509 = 1,
    /// A custom authorizer.
    CustomAuth = 2,
    /// A client certificate.
    #[serde(rename = "AWS_X509")]
    AwsX509 = 3,
    /// Signed requests.
    #[serde(rename = "AWS_SIGV4")]
    AwsSigv4 = 4,
}

/// What clients of a domain speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, prost::Enumeration)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[repr(i32)]
pub enum ApplicationProtocol {
    /// Port and ALPN decide.
    Default = 0,
    /// MQTT over TLS.
    SecureMqtt = 1,
    /// MQTT over WebSocket.
    MqttWss = 2,
    /// HTTPS.
    Https = 3,
}

/// Whether a domain is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, prost::Enumeration)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[repr(i32)]
pub enum DomainConfigurationStatus {
    /// It is.
    Enabled = 0,
    /// Its clients are refused.
    Disabled = 1,
}

/// `authorizerConfig`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizerConfig {
    /// The authorizer that is asked where the client names none.
    pub default_authorizer_name: Option<String>,
    /// Whether clients may name another; must be given beside a default authorizer.
    pub allow_authorizer_override: Option<bool>,
}

/// Arguments of CreateDomainConfiguration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateDomainConfiguration {
    /// 1 to 128 of `\w.-`.
    pub domain_configuration_name: String,
    /// The name that clients ask for (SNI), fully qualified.
    pub domain_name: String,
    /// Whether the name was made for it, as none was given.
    pub managed: bool,
    /// At most one ARN, of a server certificate that is there; none beside a name that was made.
    pub server_certificate_arns: Vec<String>,
    /// ARN of the certificate that proves ownership.
    pub validation_certificate_arn: Option<String>,
    /// Authorizer.
    pub authorizer_config: Option<AuthorizerConfig>,
    /// What the endpoint is for.
    pub service_type: ServiceType,
    /// How clients authenticate.
    pub authentication_type: AuthenticationType,
    /// What clients speak.
    pub application_protocol: ApplicationProtocol,
    /// `tlsConfig.securityPolicy`.
    pub security_policy: Option<String>,
    /// `serverCertificateConfig.enableOCSPCheck`.
    #[serde(default)]
    pub ocsp_check: bool,
    /// `serverCertificateConfig.ocspLambdaArn`.
    #[serde(default)]
    pub ocsp_function_arn: Option<String>,
    /// `serverCertificateConfig.ocspAuthorizedResponderArn`.
    #[serde(default)]
    pub ocsp_responder_arn: Option<String>,
    /// `clientCertificateConfig.clientCertificateCallbackArn`.
    #[serde(default)]
    pub certificate_callback_arn: Option<String>,
    /// Tags.
    pub tags: Vec<Tag>,
}

/// Arguments of UpdateDomainConfiguration; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateDomainConfiguration {
    /// Which configuration.
    pub domain_configuration_name: String,
    /// The new authorizer.
    pub authorizer_config: Option<AuthorizerConfig>,
    /// Takes the authorizer away.
    pub remove_authorizer_config: bool,
    /// Whether it is served.
    pub status: Option<DomainConfigurationStatus>,
    /// How clients authenticate.
    pub authentication_type: Option<AuthenticationType>,
    /// What clients speak.
    pub application_protocol: Option<ApplicationProtocol>,
    /// `tlsConfig.securityPolicy`.
    pub security_policy: Option<String>,
    /// `serverCertificateConfig.enableOCSPCheck`.
    #[serde(default)]
    pub ocsp_check: Option<bool>,
    /// `serverCertificateConfig.ocspLambdaArn`; an empty one takes it away.
    #[serde(default)]
    pub ocsp_function_arn: Option<String>,
    /// `serverCertificateConfig.ocspAuthorizedResponderArn`; an empty one takes it away.
    #[serde(default)]
    pub ocsp_responder_arn: Option<String>,
    /// `clientCertificateConfig.clientCertificateCallbackArn`; an empty one takes it away.
    #[serde(default)]
    pub certificate_callback_arn: Option<String>,
}

/// Answer of CreateDomainConfiguration and UpdateDomainConfiguration, and an item of ListDomainConfigurations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainConfigurationSummary {
    /// Name.
    pub domain_configuration_name: String,
    /// ARN.
    pub domain_configuration_arn: String,
    /// What the endpoint is for.
    pub service_type: ServiceType,
}

/// Answer of DescribeDomainConfiguration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainConfigurationDescription {
    /// Name and ARN.
    pub summary: DomainConfigurationSummary,
    /// The name that clients ask for.
    pub domain_name: String,
    /// Whether that was made for it.
    pub managed: bool,
    /// Server certificates.
    pub server_certificates: Vec<ServerCertificateSummary>,
    /// Authorizer.
    pub authorizer_config: Option<AuthorizerConfig>,
    /// Whether it is served.
    pub status: DomainConfigurationStatus,
    /// When that last changed.
    #[serde(with = "timestamp")]
    pub status_changed_at: Timestamp,
    /// How clients authenticate.
    pub authentication_type: AuthenticationType,
    /// What clients speak.
    pub application_protocol: ApplicationProtocol,
    /// `tlsConfig.securityPolicy`.
    pub security_policy: String,
    /// `serverCertificateConfig.enableOCSPCheck`.
    #[serde(default)]
    pub ocsp_check: bool,
    /// `serverCertificateConfig.ocspLambdaArn`.
    #[serde(default)]
    pub ocsp_function_arn: Option<String>,
    /// `serverCertificateConfig.ocspAuthorizedResponderArn`.
    #[serde(default)]
    pub ocsp_responder_arn: Option<String>,
    /// `clientCertificateConfig.clientCertificateCallbackArn`.
    #[serde(default)]
    pub certificate_callback_arn: Option<String>,
}

/// How clients that ask for a name are treated: what listeners need of a domain configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// The account and region that it belongs to.
    pub scope: Scope,
    /// Whether it is served.
    pub enabled: bool,
    /// How clients authenticate.
    pub authentication_type: AuthenticationType,
    /// What clients speak.
    pub application_protocol: ApplicationProtocol,
    /// The authorizer that is asked where the client names none.
    pub default_authorizer_name: Option<String>,
    /// Whether clients may name an authorizer.
    pub allow_authorizer_override: bool,
    /// Which versions of TLS clients may use.
    pub security_policy: String,
    /// The function that is asked about each client certificate.
    #[serde(default)]
    pub certificate_callback: Option<DomainFunction>,
}

/// A function that a domain configuration names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DomainFunction {
    /// Its ARN.
    pub function_arn: String,
    /// ARN of the domain configuration.
    pub domain_configuration_arn: String,
}
