//! Where rule actions go (rules-actions.md section 2): systems by name, of each account, with the roles that stand for them in
//! rules and the rules that may use them.

use fleethaven_types::{AccountId, Timestamp};
use prost::Message;

use crate::command::Context;
use crate::error::Error;
use crate::keys;
use crate::limits;
use crate::page::{self, Listing};
use crate::query::QueryReply;
use crate::record;
use crate::shapes::{
    Connection, ConnectionCredentials, ConnectionDescription, ConnectionIdentity, ConnectionTls, Listed,
    PageRequest, PutConnection, Secret,
};
use crate::store::{Outcome, Store, done};
use crate::syntax;
use crate::view::Effects;

/// A kind of connection.
struct Kind {
    name: &'static str,
    /// How its address begins.
    schemes: &'static [&'static str],
    /// Rules name the connection itself, and no role that stands for it.
    named: bool,
    /// There is no address that it has without one.
    endpoint: bool,
    /// What else it can be told: names, and the values that will do (none: all).
    options: &'static [(&'static str, &'static [&'static str])],
}

const WEB: &[&str] = &["https", "http"];

/// One that is for a type of action as rules name it, by roles.
const fn by_role(name: &'static str) -> Kind {
    Kind { name, schemes: WEB, named: false, endpoint: false, options: &[] }
}

/// One that is for [actions of ours](crate::own_actions).
const fn named(name: &'static str, schemes: &'static [&'static str]) -> Kind {
    Kind { name, schemes, named: true, endpoint: true, options: &[] }
}

/// Whose logs or samples they are.
const TENANT: &[(&str, &[&str])] = &[("tenant", &[])];

/// All kinds. `aws` is for all of AWS's services that have no connection of their own.
const KINDS: &[Kind] = &[
    named("amqp", &["amqps", "amqp"]),
    by_role("aws"),
    by_role("cloudwatchAlarm"),
    by_role("cloudwatchLogs"),
    by_role("cloudwatchMetric"),
    by_role("dynamoDB"),
    by_role("firehose"),
    by_role("http"),
    Kind { endpoint: true, options: &[("version", &["V1", "V2", "V3"])], ..by_role("influxDB") },
    by_role("iotAnalytics"),
    by_role("iotEvents"),
    by_role("iotSiteWise"),
    Kind { schemes: &["kafka"], ..by_role("kafka") },
    by_role("kinesis"),
    by_role("location"),
    Kind { endpoint: true, ..by_role("machineLearning") },
    Kind { options: TENANT, ..named("loki", WEB) },
    named("mqtt", &["mqtts", "mqtt"]),
    named("nats", &["tls", "nats"]),
    Kind { options: &[("auth", &["basic", "sigv4"])], ..by_role("openSearch") },
    named("postgres", &["postgres"]),
    Kind { options: TENANT, ..named("prometheus", WEB) },
    named("redis", &["rediss", "redis"]),
    by_role("s3"),
    by_role("secretsManager"),
    by_role("sns"),
    by_role("sqs"),
    by_role("stepFunctions"),
    by_role("timestream"),
];

impl Kind {
    /// What differs between the kinds.
    fn check(&self, connection: &Connection) -> Result<(), Error> {
        let Self { name, schemes, named, endpoint, options } = self;
        match &connection.endpoint {
            Some(endpoint) => syntax::address(endpoint, schemes)?,
            None if *endpoint => {
                let scheme = schemes.first().unwrap_or(&"https");
                return Err(Error::invalid(format!(
                    "a connection of kind {name} has an endpoint: {scheme}://<host>"
                )));
            }
            None => {}
        }
        let by_address = connection.kind == "http" && connection.endpoint.is_some();
        if connection.rules.is_empty() || connection.roles.is_empty() && !*named && !by_address {
            return Err(Error::invalid(
                "name the roles that stand for the connection and the rules that may use it",
            ));
        }
        if *named && !connection.roles.is_empty() {
            return Err(Error::invalid(format!(
                "no role stands for a connection of kind {name}: rules name it"
            )));
        }
        for (option, value) in &connection.options {
            let known = options.iter().find(|(known, _)| known == option);
            let Some((_, choices)) = known else {
                let option = syntax::shortened(option);
                return Err(Error::invalid(format!("a connection of kind {name} has no option '{option}'")));
            };
            if !choices.is_empty() && !choices.contains(&value.as_str()) {
                let choices = choices.join(", ");
                return Err(Error::invalid(format!("the option {option} must be one of {choices}")));
            }
        }
        Ok(())
    }
}

/// Most patterns of roles or rules, and most options.
const MAX_ENTRIES: usize = 64;
/// Most bytes of any text of a connection.
const MAX_TEXT: usize = 4096;
/// Most bytes of certificates, or of a key, in PEM.
const MAX_PEM: usize = 64 << 10;
/// Schemes of addresses that are called in the clear.
const IN_THE_CLEAR: &[&str] = &["amqp://", "http://", "mqtt://", "nats://", "redis://"];

/// Checks a connection and its name.
///
/// # Errors
/// `InvalidRequestException`, with what is expected.
pub fn check(name: &str, connection: &Connection) -> Result<(), Error> {
    syntax::registry_name("connection name", name)?;
    let kind = KINDS.iter().find(|kind| kind.name == connection.kind).ok_or_else(|| {
        let all: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
        let kind = syntax::shortened(&connection.kind);
        Error::invalid(format!("'{kind}' is no kind of connection: {}", all.join(", ")))
    })?;
    kind.check(connection)?;
    let region = connection.region.as_deref();
    if region.is_some_and(|region| region.parse::<fleethaven_types::Region>().is_err()) {
        return Err(Error::invalid("the region of a connection is a name such as eu-west-1"));
    }
    check_tls(connection)?;
    if let Some(ConnectionCredentials { id, secret }) = &connection.credentials
        && (id.is_empty() || secret.0.is_empty() && connection.tls.identity.is_none())
    {
        return Err(Error::invalid(
            "credentials have an id and a secret, or a client certificate in its place",
        ));
    }
    let counts = [connection.roles.len(), connection.rules.len(), connection.options.len()];
    if counts.into_iter().any(|count| count > MAX_ENTRIES) {
        return Err(Error::invalid(format!(
            "a connection has at most {MAX_ENTRIES} roles, rules and options"
        )));
    }
    let credentials = connection.credentials.iter();
    let credentials =
        credentials.flat_map(|key| [Some(&key.id), Some(&key.secret.0).filter(|it| !it.is_empty())]);
    let options = connection.options.iter().flat_map(|(name, value)| [name, value]);
    let mut texts =
        connection.roles.iter().chain(&connection.rules).chain(credentials.flatten()).chain(options);
    if texts.any(|text| text.is_empty() || text.len() > MAX_TEXT) {
        return Err(Error::invalid(format!("texts of a connection have 1 to {MAX_TEXT} bytes")));
    }
    Ok(())
}

/// Whether certificates and keys are PEM and of use is for whoever sends the command to see.
fn check_tls(connection: &Connection) -> Result<(), Error> {
    let ConnectionTls { authorities, identity } = &connection.tls;
    if connection.tls.is_default() {
        return Ok(());
    }
    let endpoint = connection.endpoint.as_deref().unwrap_or_default();
    if IN_THE_CLEAR.iter().any(|scheme| endpoint.starts_with(scheme)) {
        return Err(Error::invalid("certificates are for TLS, and the endpoint is called in the clear"));
    }
    let identity = identity.iter().flat_map(|identity| [&identity.certificate, &identity.key.0]);
    if authorities.iter().chain(identity).any(|pem| pem.is_empty() || pem.len() > MAX_PEM) {
        return Err(Error::invalid(format!(
            "certificates and keys of a connection have 1 to {MAX_PEM} bytes"
        )));
    }
    Ok(())
}

/// PutConnection.
pub(crate) fn put(store: &Store<'_>, context: &Context, args: &PutConnection) -> Outcome {
    let account = store.scope.account;
    if !store.exists(&keys::account(account)) {
        return Err(Error::not_found("Account", &account.to_string()));
    }
    let PutConnection { name, connection } = args;
    check(name, connection)?;
    let key = keys::connection(account, name);
    let before: Option<record::Connection> = store.record(&key)?;
    let most = limits::CONNECTIONS;
    if before.is_none() && store.all(&keys::connections_of_account(account)).len() >= most {
        return Err(Error::limit(format!("an account has at most {most} connections")));
    }
    let (id, secret) = match connection.credentials.clone() {
        Some(ConnectionCredentials { id, secret }) => (id, secret.0),
        None => (String::new(), String::new()),
    };
    let (certificate, private_key) = match connection.tls.identity.clone() {
        Some(ConnectionIdentity { certificate, key }) => (certificate, key.0),
        None => (String::new(), String::new()),
    };
    let record = record::Connection {
        kind: connection.kind.clone(),
        endpoint: connection.endpoint.clone().unwrap_or_default(),
        region: connection.region.clone().unwrap_or_default(),
        id,
        secret,
        roles: connection.roles.clone(),
        rules: connection.rules.clone(),
        options: connection.options.clone(),
        created_at: before.map_or(context.now.as_millis(), |before| before.created_at),
        authorities: connection.tls.authorities.clone().unwrap_or_default(),
        certificate,
        key: private_key,
    };
    let mut effects = Effects::default();
    effects.put(key, record.encode_to_vec());
    done(effects)
}

/// DeleteConnection.
pub(crate) fn delete(store: &Store<'_>, name: &str) -> Outcome {
    syntax::registry_name("connection name", name)?;
    let key = keys::connection(store.scope.account, name);
    if !store.exists(&key) {
        return Err(Error::not_found("Connection", name));
    }
    let mut effects = Effects::default();
    effects.delete(key);
    done(effects)
}

/// The account's connections, in the order of their names.
pub(crate) fn list(store: &Store<'_>, page: &PageRequest, now: Timestamp) -> Result<QueryReply, Error> {
    let prefix = keys::connections_of_account(store.scope.account);
    let (pairs, next) = page::read(store, &Listing::new("ListConnections", &[], prefix), page, now)?;
    let mut items = Vec::with_capacity(pairs.len());
    for (key, value) in &pairs {
        let Some(name) = keys::last_part(key) else { continue };
        items.push(describe(name, record::decode(value)?));
    }
    Ok(QueryReply::Connections(Listed { items, next }))
}

/// The account of a connection's key, and what its value says.
pub fn decode(key: &[u8], value: &[u8]) -> Option<(AccountId, ConnectionDescription)> {
    let (account, name) = key_of(key)?;
    Some((account, describe(&name, record::decode(value).ok()?)))
}

/// The account and name that a key below [`connections_prefix`](keys::connections_prefix) names.
pub fn key_of(key: &[u8]) -> Option<(AccountId, String)> {
    let parsed = keys::parse(key)?;
    match (parsed.account, parsed.collection, &parsed.parts[..]) {
        ("global", "connection", [account, name]) => Some((account.parse().ok()?, (*name).to_owned())),
        _ => None,
    }
}

fn describe(name: &str, record: record::Connection) -> ConnectionDescription {
    let given = |text: String| (!text.is_empty()).then_some(text);
    let (secret, key) = (Secret(record.secret), Secret(record.key));
    ConnectionDescription {
        name: name.to_owned(),
        connection: Connection {
            kind: record.kind,
            endpoint: given(record.endpoint),
            region: given(record.region),
            credentials: given(record.id).map(|id| ConnectionCredentials { id, secret }),
            roles: record.roles,
            rules: record.rules,
            options: record.options,
            tls: ConnectionTls {
                authorities: given(record.authorities),
                identity: given(record.certificate)
                    .map(|certificate| ConnectionIdentity { certificate, key }),
            },
        },
        created_at: Timestamp(record.created_at),
    }
}

#[cfg(test)]
mod tests;
