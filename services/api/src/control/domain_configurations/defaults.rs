//! The endpoints that every account has: AWS lists them among its domain configurations, where nobody can change them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleethaven_registry::DEFAULT_POLICY;
use fleethaven_registry::shapes::{PageRequest, ServiceType};
use serde_json::{Value, json};

use super::super::endpoint::host_of;
use crate::answer::{Answer, word};
use crate::call::Call;
use crate::config::HostPort;

/// Most items of a page, and how many there are where nobody says.
const MOST: u32 = 250;

/// An account's own endpoint.
#[derive(Clone, Copy)]
pub(super) struct Default {
    name: &'static str,
    service_type: ServiceType,
    label: &'static str,
}

/// In the order in which they are listed.
const DEFAULTS: [Default; 3] = [
    Default {
        name: "iot:CredentialProvider",
        service_type: ServiceType::CredentialProvider,
        label: "credentials",
    },
    Default { name: "iot:Data-ATS", service_type: ServiceType::Data, label: "data" },
    Default { name: "iot:Jobs", service_type: ServiceType::Jobs, label: "jobs" },
];

/// The one of this name.
pub(super) fn named(name: &str) -> Option<Default> {
    DEFAULTS.into_iter().find(|default| default.name == name)
}

impl Default {
    /// What DescribeDomainConfiguration answers.
    pub(super) fn describe(self, call: &Call<'_>) -> Answer {
        let endpoints = &call.state.config.endpoints;
        let at = match self.service_type {
            ServiceType::Data => &endpoints.data,
            ServiceType::CredentialProvider => &endpoints.credentials,
            ServiceType::Jobs => &endpoints.jobs,
        };
        // A domain has no port.
        let at = HostPort { port: 443, ..at.clone() };
        Answer::of([
            ("domainConfigurationName", self.name.into()),
            ("domainConfigurationArn", self.arn(call).into()),
            ("domainName", host_of(self.label, &at, endpoints, call.scope.account).into()),
            ("serverCertificates", json!([])),
            ("domainConfigurationStatus", "ENABLED".into()),
            ("serviceType", word(self.service_type)),
            ("domainType", "ENDPOINT".into()),
            ("tlsConfig", json!({"securityPolicy": DEFAULT_POLICY})),
            ("authenticationType", "DEFAULT".into()),
            ("applicationProtocol", "DEFAULT".into()),
        ])
    }

    fn arn(self, call: &Call<'_>) -> String {
        let scope = call.scope;
        format!("arn:aws:iot:{}:{}:domainconfiguration/{}", scope.region, scope.account, self.name)
    }

    fn summary(self, call: &Call<'_>) -> Value {
        json!({
            "domainConfigurationName": self.name,
            "domainConfigurationArn": self.arn(call),
            "serviceType": self.service_type,
        })
    }
}

/// The beginning of a page: those of the defaults that belong to it.
pub(super) struct Beginning {
    pub(super) items: Vec<Value>,
    /// The registry's part of the page; or that it has none, and the marker of the page after.
    pub(super) rest: Result<PageRequest, String>,
}

/// Divides a page between the defaults, which come first, and the registry.
pub(super) fn begin(call: &Call<'_>, page: PageRequest, service_type: Option<ServiceType>) -> Beginning {
    let all: Vec<_> = DEFAULTS
        .into_iter()
        .filter(|default| service_type.is_none_or(|kind| kind == default.service_type))
        .collect();
    let (from, limit) = (first(page.token.as_deref()), page.limit.unwrap_or(MOST));
    // What is no page is the registry's to refuse.
    let (Some(from), 1..=MOST) = (from, limit) else {
        return Beginning { items: Vec::new(), rest: Ok(page) };
    };
    let taken: Vec<_> = all.iter().skip(from).take(limit as usize).collect();
    let (next, left) = (from + taken.len(), limit - u32::try_from(taken.len()).unwrap_or(limit));
    let rest = match left {
        0 => Err(STANDARD.encode(format!("default:{next}"))),
        left => Ok(PageRequest { token: None, limit: Some(left) }),
    };
    Beginning { items: taken.into_iter().map(|default| default.summary(call)).collect(), rest }
}

/// How many of the defaults earlier pages had; `None` where a page is all the registry's.
fn first(marker: Option<&str>) -> Option<usize> {
    let Some(marker) = marker else { return Some(0) };
    let text = String::from_utf8(STANDARD.decode(marker).ok()?).ok()?;
    text.strip_prefix("default:")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_of_the_defaults() {
        assert_eq!(first(None), Some(0));
        assert_eq!(first(Some(&STANDARD.encode("default:2"))), Some(2));
        assert_eq!(first(Some("the registry's")), None);
        assert_eq!(first(Some(&STANDARD.encode("default:-1"))), None);
    }
}
