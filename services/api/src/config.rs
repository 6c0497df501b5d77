//! What the API is told at start.

use std::time::Duration;

use fleethaven_types::{AccountLimits, Behaviour, Limits, Profile, Scope};

use crate::cors::Origins;

/// Settings of the API.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// The account and region meant where a request does not say.
    pub default_scope: Scope,
    /// Refuse every region but that of `default_scope` in credential scopes.
    pub single_region: bool,
    /// What DescribeEndpoint answers.
    pub endpoints: Endpoints,
    /// The web pages that may call the data plane and open WebSockets, by their origin.
    pub origins: Origins,
    /// Where AWS and MQTT differ: which topics may be published to.
    pub behaviour: Behaviour,
    /// How large a published message may be, and how many requests there may be.
    pub limits: AccountLimits,
    /// Most bytes of a request's body outside the data plane. Larger ones get 413.
    pub body_bytes: usize,
    /// How long the certificate of a provisioning claim is valid.
    pub provisioning_claim: Duration,
    /// How long a request's body may take to arrive.
    pub body_timeout: Duration,
}

impl ApiConfig {
    /// The settings of `profile`: bodies of 1 MiB in 60 seconds, every region.
    pub fn new(default_scope: Scope, endpoints: Endpoints, profile: Profile) -> Self {
        Self {
            default_scope,
            single_region: false,
            endpoints,
            origins: Origins::default(),
            behaviour: Behaviour::of(profile),
            limits: Limits::of(profile).into(),
            body_bytes: 1 << 20,
            provisioning_claim: Duration::from_secs(300),
            body_timeout: Duration::from_secs(60),
        }
    }
}

/// A host name and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// Name or address; IPv6 in brackets.
    pub host: String,
    /// Port; 443 is left out of endpoint addresses, being AWS's own.
    pub port: u16,
}

/// Where clients find each service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// With a base domain the host names are `<account>.{data,jobs,credentials}.<base domain>`, and only the
    /// ports below count.
    pub base_domain: Option<String>,
    /// The data plane.
    pub data: HostPort,
    /// The jobs data plane.
    pub jobs: HostPort,
    /// The credential provider.
    pub credentials: HostPort,
}
