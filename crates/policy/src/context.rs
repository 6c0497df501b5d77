//! What is known of a caller when a policy is evaluated; it borrows, so that it costs nothing to build.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::certificate::CertificateAttributes;

/// The values of variables and condition keys (security.md 9.6). What is absent does not resolve.
///
/// `iot:ConnectAttributes` and `iot:LastWillTopic` exist for `iot:Connect` alone and `iot:Topic` for
/// `iot:SendDirectMessage` alone, so one context serves a connection's whole life.
#[derive(Debug, Clone, Copy, Default)]
pub struct Context<'a> {
    /// `iot:ClientId`: over MQTT only.
    pub client_id: Option<&'a str>,
    /// `aws:SourceIp`: in conditions only.
    pub source_ip: Option<IpAddr>,
    /// `aws:SourceVpc`: a label of the listener or its network.
    pub source_vpc: Option<&'a str>,
    /// `aws:SourceVpce`: a label of the private endpoint.
    pub source_vpce: Option<&'a str>,
    /// `aws:VpcSourceIp`: the address within the private network.
    pub vpc_source_ip: Option<IpAddr>,
    /// `iot:CertificateId`.
    pub certificate_id: Option<&'a str>,
    /// `iot:Certificate.*`.
    pub certificate: Option<&'a CertificateAttributes>,
    /// `iot:Connection.Thing.*`: over MQTT only.
    pub thing: Option<ThingContext<'a>>,
    /// `iot:ConnectAttributes`.
    pub connect: Option<ConnectAttributes>,
    /// `iot:LastWillTopic`: the ARN of the will's topic, if this CONNECT has a will.
    pub last_will_topic: Option<&'a str>,
    /// `iot:DomainName`: the name in the TLS server name indication.
    pub domain_name: Option<&'a str>,
    /// `iot:Topic`: where a direct message goes.
    pub topic: Option<&'a str>,
    /// Any other key.
    pub custom: Option<&'a CustomKeys>,
}

/// The thing a connection stands for: that named as the client id, or the exclusive thing of the certificate.
#[derive(Debug, Clone, Copy)]
pub struct ThingContext<'a> {
    /// `iot:Connection.Thing.ThingName`.
    pub name: &'a str,
    /// `iot:Connection.Thing.ThingTypeName`.
    pub type_name: Option<&'a str>,
    /// `iot:Connection.Thing.Attributes[name]`.
    pub attributes: Option<&'a BTreeMap<String, String>>,
    /// `iot:Connection.Thing.IsAttached`: whether the principal is attached to it. If it is not, the name,
    /// type and attributes do not resolve.
    pub is_attached: bool,
}

/// `iot:ConnectAttributes`: what a CONNECT makes use of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConnectAttributes {
    /// `PersistentConnect`: the session outlives the connection.
    pub persistent_connect: bool,
    /// `LastWill`: there is a will message.
    pub last_will: bool,
}

/// Further keys, such as `aws:RequestTag/k` or `aws:username`; letter case of names does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CustomKeys {
    values: BTreeMap<String, Vec<String>>,
}

impl CustomKeys {
    /// No keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value to a key. A key with several values is for `ForAllValues` and `ForAnyValue`.
    pub fn insert(&mut self, key: &str, value: impl Into<String>) {
        self.values.entry(key.to_ascii_lowercase()).or_default().push(value.into());
    }

    /// Adds all values of others.
    pub fn extend(&mut self, others: Option<&Self>) {
        for (key, values) in others.iter().flat_map(|others| &others.values) {
            self.values.entry(key.clone()).or_default().extend(values.iter().cloned());
        }
    }

    pub(crate) fn values(&self, lower_case_key: &str) -> &[String] {
        self.values.get(lower_case_key).map_or(&[], Vec::as_slice)
    }
}
