//! `fleethaven connection`.

use anyhow::Result;
use fleethaven_registry::shapes::{Connection, ConnectionCredentials, Secret};

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
    let credentials = put.credentials_id.clone().zip(secret);
    Ok(Connection {
        kind: put.kind.clone(),
        endpoint: put.endpoint.clone(),
        region: put.region.clone(),
        credentials: credentials.map(|(id, secret)| ConnectionCredentials { id, secret: Secret(secret) }),
        roles: put.role.clone(),
        rules: put.rule.clone(),
        options: put.option.iter().cloned().collect(),
    })
}
