//! `fleethaven connection`.

use std::path::Path;

use anyhow::{Context, Result, bail};
use fleethaven_registry::shapes::{
    Connection, ConnectionCredentials, ConnectionIdentity, ConnectionTls, Secret,
};
use fleethaven_rules_worker::connections::trust;

use crate::ask::operate;
use crate::cli::{ConnectionCommand, PutConnectionArgs};
use crate::config::from_file;
use crate::operators::Request;

/// Carries out the command.
pub(crate) async fn run(command: ConnectionCommand) -> Result<()> {
    match command {
        ConnectionCommand::Put(put) => {
            let connection = connection(&put)?;
            let (of, name) = (put.connection.of, put.connection.name);
            operate(&of.place, Request::PutConnection { account: of.account, name, connection }).await
        }
        ConnectionCommand::List(of) => {
            operate(&of.place, Request::ListConnections { account: of.account }).await
        }
        ConnectionCommand::Delete(connection) => {
            let (of, name) = (connection.of, connection.name);
            operate(&of.place, Request::DeleteConnection { account: of.account, name }).await
        }
    }
}

fn connection(put: &PutConnectionArgs) -> Result<Connection> {
    let secret = put.secret_file.as_deref().map(from_file).transpose()?;
    let tls = tls(put.ca_file.as_deref(), put.certificate_file.as_deref().zip(put.key_file.as_deref()))?;
    let credentials = credentials(put.credentials_id.clone(), secret, &tls)?;
    Ok(Connection {
        kind: put.kind.clone(),
        endpoint: put.endpoint.clone(),
        region: put.region.clone(),
        credentials,
        roles: put.role.clone(),
        rules: put.rule.clone(),
        options: put.option.iter().cloned().collect(),
        tls,
    })
}

/// A user or an access key, with a secret or, where there is a client certificate, without.
pub(crate) fn credentials(
    id: Option<String>,
    secret: Option<String>,
    tls: &ConnectionTls,
) -> Result<Option<ConnectionCredentials>> {
    match (id, secret) {
        (None, None) => Ok(None),
        (Some(id), Some(secret)) => Ok(Some(ConnectionCredentials { id, secret: Secret(secret) })),
        (Some(id), None) if tls.identity.is_some() => {
            Ok(Some(ConnectionCredentials { id, secret: Secret(String::new()) }))
        }
        _ => bail!("the id and the secret of the credentials go together"),
    }
}

/// Certificates from files, once it is seen that they can be used.
pub(crate) fn tls(authorities: Option<&Path>, identity: Option<(&Path, &Path)>) -> Result<ConnectionTls> {
    let read =
        |file: &Path| std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()));
    let identity = identity.map(|(certificate, key)| {
        Ok::<_, anyhow::Error>(ConnectionIdentity {
            certificate: read(certificate)?,
            key: Secret(read(key)?),
        })
    });
    let tls =
        ConnectionTls { authorities: authorities.map(read).transpose()?, identity: identity.transpose()? };
    trust(&tls).map_err(anyhow::Error::msg).context("the certificates of the connection")?;
    Ok(tls)
}
