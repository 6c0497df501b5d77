//! A device that connects for the first time: its certificate is not registered, but a registered CA has signed it that lets
//! devices register themselves (provisioning.md sections 3 and 4). Such a connection always ends; the device tries again.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleethaven_authorizers::Endpoint;
use fleethaven_pki::{Attribute, Certificate};
use fleethaven_registry::shapes::{
    CertificateStatus, FirstConnect, FirstConnected, IssuingAuthority, RegisterCertificate, Validity,
};
use fleethaven_registry::{Action, Command, Query, QueryKind, QueryReply, Reply};
use fleethaven_types::{Scope, Timestamp};

use super::{Error, IdentityCache};

/// First connections that are seen to at a time; more have to try again.
pub(super) const AT_A_TIME: usize = 64;

/// What templates know of a subject, by AWS's names.
const SUBJECT: [(&str, Attribute); 7] = [
    ("Country", Attribute::Country),
    ("Organization", Attribute::Organization),
    ("OrganizationalUnit", Attribute::OrganizationalUnit),
    ("DistinguishedNameQualifier", Attribute::DistinguishedNameQualifier),
    ("StateName", Attribute::State),
    ("CommonName", Attribute::CommonName),
    ("SerialNumber", Attribute::SerialNumber),
];

impl IdentityCache {
    /// Whether a certificate looks as if it was signed by a CA that lets devices register themselves: by its issuer's name.
    pub(super) fn may_register_itself(&self, der: &[u8]) -> bool {
        Certificate::parse_der(der).is_ok_and(|certificate| !self.authorities(&certificate).is_empty())
    }

    fn authorities(&self, certificate: &Certificate) -> Vec<IssuingAuthority> {
        let query = QueryKind::IssuingAuthorities(STANDARD.encode(certificate.issuer.der()));
        match self.metadata.query_local(Query::new(self.default_scope, query)) {
            Ok(QueryReply::IssuingAuthorities(found)) => found,
            _ => Vec::new(),
        }
    }

    /// Sees to a client that was refused because nobody has activated its certificate, or nobody knows it; why it is refused
    /// all the same.
    pub(super) async fn first_connect(
        &self,
        der: &[u8],
        endpoint: &Endpoint,
        now: u64,
        refused: Error,
    ) -> Error {
        let Ok(certificate) = Certificate::parse_der(der) else { return refused };
        let mut authorities = self.authorities(&certificate);
        authorities.retain(|authority| endpoint.is_of(authority.scope));
        if authorities.is_empty() || certificate.check_validity(now).is_err() {
            return refused;
        }
        let Ok(_place) = self.first_connects.try_acquire() else { return refused };
        let Some((scope, ca_certificate_id)) = self.signed_by(&certificate, authorities) else {
            return refused;
        };
        let at = |seconds: u64| Timestamp(seconds.saturating_mul(1000));
        let args = FirstConnect {
            subject: subject(&certificate),
            certificate: RegisterCertificate {
                certificate_id: certificate.id.to_string(),
                certificate_pem: certificate.pem(),
                validity: Validity {
                    not_before: at(certificate.not_before),
                    not_after: at(certificate.not_after),
                },
                ca_certificate_id,
                ca_certificate_given: true,
                status: Some(CertificateStatus::PendingActivation),
                set_as_active: false,
            },
        };
        let command = Command::new(scope, Action::FirstConnect(Box::new(args)));
        let (account, certificate_id) = (scope.account, certificate.id);
        match self.metadata.execute(command).await.map(|executed| executed.reply) {
            Ok(Reply::FirstConnected(connected)) => match *connected {
                FirstConnected::Registered => {
                    tracing::info!(%account, %certificate_id, "a device has registered itself");
                    Error::Registered
                }
                FirstConnected::Provisioned(thing) => {
                    tracing::info!(%account, %certificate_id, thing, "a device was provisioned just in time");
                    self.log_provisioned(scope, &certificate_id.to_string(), None);
                    Error::Provisioned
                }
                FirstConnected::NotProvisioned(reason) => {
                    tracing::warn!(
                        %account, %certificate_id, reason, "a device could not be provisioned just in time"
                    );
                    self.log_provisioned(scope, &certificate_id.to_string(), Some(&reason));
                    Error::NotProvisioned
                }
            },
            Ok(_) => refused,
            Err(error) => {
                tracing::info!(%account, %certificate_id, %error, "a device could not register itself");
                refused
            }
        }
    }

    /// The account and CA whose key has signed the certificate: in the default scope, otherwise in the only one there is.
    fn signed_by(
        &self,
        certificate: &Certificate,
        authorities: Vec<IssuingAuthority>,
    ) -> Option<(Scope, String)> {
        let mut signed = authorities.into_iter().filter(|authority| {
            Certificate::parse_pem(&authority.certificate_pem)
                .is_ok_and(|ca| certificate.check_issued_by(&ca).is_ok())
        });
        let first = signed.next()?;
        let others: Vec<_> = signed.collect();
        let is_ours = |authority: &IssuingAuthority| authority.scope == self.default_scope;
        let is_only = others.iter().all(|other| other.scope == first.scope);
        let ours = others.into_iter().find(is_ours);
        let found = match ours {
            _ if is_ours(&first) || is_only => first,
            Some(ours) => ours,
            None => return None,
        };
        Some((found.scope, found.certificate_id))
    }
}

/// The attributes of the subject that are there; the first of each.
fn subject(certificate: &Certificate) -> BTreeMap<String, String> {
    let value = |(name, attribute): (&str, Attribute)| {
        let value = certificate.subject.values(attribute).next()?;
        Some((name.to_owned(), value.to_owned()))
    };
    SUBJECT.into_iter().filter_map(value).collect()
}
