//! Server certificates of domain configurations: what stands where AWS names certificates of its certificate manager by ARN, of
//! each account. Chain, key and purpose were checked by whoever sends the command (`fleethaven-pki`).

use fleethaven_types::{AccountId, Scope, Timestamp};
use prost::Message;

use crate::command::{Context, Reply};
use crate::domain_configurations;
use crate::error::{Error, ErrorCode};
use crate::keys;
use crate::limits;
use crate::page::{self, Listing};
use crate::query::QueryReply;
use crate::record;
use crate::shapes::{
    DomainFunction, Listed, PageRequest, PutServerCertificate, ServerCertificateDescription,
    ServerCertificateSummary,
};
use crate::store::{Outcome, Store, done};
use crate::syntax;
use crate::view::Effects;

/// PutServerCertificate: also in place of one that is there. Domains that show it must be covered by the new one, too.
pub(crate) fn put(store: &Store<'_>, context: &Context, args: &PutServerCertificate) -> Outcome {
    let account = store.scope.account;
    if !store.exists(&keys::account(account)) {
        return Err(Error::not_found("Account", &account.to_string()));
    }
    let arn = &args.server_certificate_arn;
    syntax::server_certificate_arn(arn)?;
    if args.not_after <= context.now {
        return Err(invalid("a server certificate is not past its end"));
    }
    let domains = domains_of(store, arn)?;
    if let Some(domain) = domains.iter().find(|domain| !covers(&args.names, domain)) {
        return Err(invalid(format!("the certificate is not for '{domain}', where its ARN is shown")));
    }
    let key = keys::server_certificate(account, arn);
    let before: Option<record::ServerCertificate> = store.record(&key)?;
    let most = limits::SERVER_CERTIFICATES;
    let prefix = keys::server_certificates_of_account(account);
    if before.is_none() && store.count(&prefix, most) >= most {
        return Err(Error::limit(format!("an account has at most {most} server certificates")));
    }
    let record = record::ServerCertificate {
        certificate_chain: args.certificate_chain.clone(),
        private_key: args.private_key.0.clone(),
        names: args.names.clone(),
        not_after: args.not_after.as_millis(),
        put_at: context.now.as_millis(),
    };
    let mut effects = Effects::default();
    effects.put(key, record.encode_to_vec());
    Ok((Reply::ServerCertificate(Box::new(description(arn, &record, domains))), effects))
}

/// DeleteServerCertificate: of one that no domain configuration names.
pub(crate) fn delete(store: &Store<'_>, arn: &str) -> Outcome {
    let key = keys::server_certificate(store.scope.account, arn);
    if !store.exists(&key) {
        return Err(Error::not_found("Server certificate", arn));
    }
    let conflict = |message: String| Err(Error::new(ErrorCode::DeleteConflictException, message));
    if let Some(domain) = domains_of(store, arn)?.first() {
        return conflict(format!("Server certificate '{arn}' is shown for '{domain}'"));
    }
    if let Some(domain) = domains_answered_by(store, arn)?.first() {
        return conflict(format!("Server certificate '{arn}' is the authorized responder of '{domain}'"));
    }
    let mut effects = Effects::default();
    effects.delete(key);
    done(effects)
}

/// The account's server certificates, in the order of their ARNs, without their keys.
pub(crate) fn list(store: &Store<'_>, page: &PageRequest, now: Timestamp) -> Result<QueryReply, Error> {
    let prefix = keys::server_certificates_of_account(store.scope.account);
    let (pairs, next) = page::read(store, &Listing::new("ListServerCertificates", &[], prefix), page, now)?;
    let mut items = Vec::with_capacity(pairs.len());
    for (key, value) in &pairs {
        let Some(arn) = keys::last_part(key) else { continue };
        let record: record::ServerCertificate = record::decode(value)?;
        items.push(description(arn, &record, domains_of(store, arn)?));
    }
    Ok(QueryReply::ServerCertificates(Listed { items, next }))
}

/// Whether a domain configuration of the scope's account may name the certificate.
pub(crate) fn check_for(store: &Store<'_>, arn: &str, domain: &str, now: Timestamp) -> Result<(), Error> {
    match fault(store, arn, domain, now)? {
        None => Ok(()),
        Some(fault) => Err(invalid(fault)),
    }
}

/// Refuses a certificate that is not there.
pub(crate) fn required(store: &Store<'_>, arn: &str) -> Result<(), Error> {
    match store.exists(&keys::server_certificate(store.scope.account, arn)) {
        true => Ok(()),
        false => Err(invalid(absent(arn))),
    }
}

fn absent(arn: &str) -> String {
    format!(
        "there is no certificate '{arn}': put one with `fleethaven server-certificate put {arn} --cert FILE --key FILE`"
    )
}

/// How it stands with a certificate that a domain configuration names.
pub(crate) fn standing(
    store: &Store<'_>,
    arn: &str,
    domain: &str,
    now: Timestamp,
) -> Result<ServerCertificateSummary, Error> {
    let fault = fault(store, arn, domain, now)?;
    Ok(ServerCertificateSummary { server_certificate_arn: arn.to_owned(), fault })
}

/// What is wrong with a certificate for a domain.
fn fault(store: &Store<'_>, arn: &str, domain: &str, now: Timestamp) -> Result<Option<String>, Error> {
    let key = keys::server_certificate(store.scope.account, arn);
    let Some(record) = store.record::<record::ServerCertificate>(&key)? else {
        return Ok(Some(absent(arn)));
    };
    if !covers(&record.names, domain) {
        let names = record.names.join(", ");
        return Ok(Some(format!("the certificate is for {names}, not for '{domain}'")));
    }
    let expired = Timestamp(record.not_after) <= now;
    Ok(expired.then(|| "the certificate has expired".to_owned()))
}

/// The domains of the scope's account that show the certificate.
fn domains_of(store: &Store<'_>, arn: &str) -> Result<Vec<String>, Error> {
    domains_with(store, |owner| owner.server_certificate_arn.as_deref() == Some(arn))
}

/// Those that have answers of OCSP stapled which the certificate alone may sign.
fn domains_answered_by(store: &Store<'_>, arn: &str) -> Result<Vec<String>, Error> {
    domains_with(store, |owner| owner.ocsp_responder_arn == arn)
}

fn domains_with(
    store: &Store<'_>,
    is_meant: impl Fn(&record::DomainOwner) -> bool,
) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    for (key, value) in store.all(&keys::domain_owners_prefix()) {
        let owner: record::DomainOwner = record::decode(&value)?;
        let ours = owner.account == store.scope.account.as_u64();
        if ours && is_meant(&owner) {
            found.extend(keys::last_part(&key).map(str::to_owned));
        }
    }
    Ok(found)
}

/// Whether one of `names` is `domain`, or its wildcard for the first label. All in lower case.
fn covers(names: &[String], domain: &str) -> bool {
    let parent = domain.split_once('.').map(|(_, parent)| parent);
    names.iter().any(|name| match name.strip_prefix("*.") {
        Some(below) => parent == Some(below),
        None => name == domain,
    })
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorCode::CertificateValidationException, message)
}

fn description(
    arn: &str,
    record: &record::ServerCertificate,
    domains: Vec<String>,
) -> ServerCertificateDescription {
    ServerCertificateDescription {
        server_certificate_arn: arn.to_owned(),
        names: record.names.clone(),
        not_after: Timestamp(record.not_after),
        put_at: Timestamp(record.put_at),
        domains,
    }
}

/// What changed about the server certificates of domains, for those who show them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// A certificate, or that it is gone.
    Certificate {
        /// Whose.
        account: AccountId,
        /// Its ARN.
        arn: String,
        /// Chain and key.
        certificate: Option<record::ServerCertificate>,
    },
    /// A domain, or that it is gone.
    Domain {
        /// Its name.
        name: String,
        /// What it shows, where it has a certificate.
        shows: Option<Shows>,
    },
}

/// What a domain shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shows {
    /// Whose it is.
    pub scope: Scope,
    /// Its domain configuration.
    pub configuration: String,
    /// The ARN of its certificate.
    pub server_certificate_arn: String,
    /// Whether an OCSP answer is stapled to it.
    pub ocsp_check: bool,
    /// The function that is asked for that, in place of the responder that the certificate names.
    pub ocsp_function: Option<DomainFunction>,
    /// The ARN of the certificate that alone may sign that answer.
    pub ocsp_responder_arn: Option<String>,
}

/// What a changed key below [`server_certificates_prefix`](keys::server_certificates_prefix) or
/// [`domain_owners_prefix`](keys::domain_owners_prefix) means, with its value unless it is gone.
pub fn changed(key: &[u8], value: Option<&[u8]>) -> Option<Changed> {
    let parsed = keys::parse(key)?;
    match (parsed.account, parsed.collection, &parsed.parts[..]) {
        ("global", "server-certificate", [account, arn]) => Some(Changed::Certificate {
            account: account.parse().ok()?,
            arn: (*arn).to_owned(),
            certificate: value.and_then(|value| record::decode(value).ok()),
        }),
        ("global", "domain", [name]) => {
            let owner = value.and_then(|value| record::decode::<record::DomainOwner>(value).ok());
            let shows = owner.and_then(|owner| {
                let account = AccountId::from_u64(owner.account)?;
                let scope = Scope { account, region: owner.region.parse().ok()? };
                let named = (owner.configuration.as_str(), owner.id.as_str());
                Some(Shows {
                    scope,
                    ocsp_function: domain_configurations::function(scope, named, &owner.ocsp_function_arn),
                    configuration: owner.configuration,
                    server_certificate_arn: owner.server_certificate_arn?,
                    ocsp_check: owner.ocsp_check,
                    ocsp_responder_arn: Some(owner.ocsp_responder_arn).filter(|arn| !arn.is_empty()),
                })
            });
            Some(Changed::Domain { name: (*name).to_owned(), shows })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
