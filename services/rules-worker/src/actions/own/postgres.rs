//! `postgres`: each message is a statement with bound values. Those that come together are one transaction.
//!
//! - `statement`: a statement with named parameters
//! - `session`: the connection to the database

mod session;
mod statement;

use std::sync::Arc;

use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_rulesql::Template;

use super::target::Target;
use super::{Action, Error, Invocation, Settings};
use crate::actions::group::Group;
use crate::actions::kept::Kept;
use crate::connections::Connected;

use session::{Row, Session};

/// Most statements of one transaction.
const MOST: usize = 500;
/// The parameter that is the payload, unless the rule says otherwise.
const PAYLOAD: &str = "payload";

/// A postgres action with its templates parsed.
pub(super) struct Postgres {
    target: Target,
    /// With `$1`, `$2`, … for the parameters.
    sql: Arc<str>,
    /// What is bound to them; `None`: the payload.
    parameters: Vec<(String, Option<Template>)>,
}

/// What the actions for one database share.
#[derive(Default)]
struct Database {
    rows: Group<Row>,
    session: Kept<Arc<Session>>,
}

impl Postgres {
    pub(super) fn new(settings: &Settings<'_>) -> Result<Self, String> {
        let (sql, names) = statement::numbered(settings.own.field("sql").unwrap_or_default())?;
        let mut given = settings.map()?;
        let mut parameters = Vec::with_capacity(names.len());
        for name in names {
            let at = given.iter().position(|(given, _)| *given == name);
            match at.map(|at| given.swap_remove(at)) {
                Some((name, template)) => parameters.push((name, Some(template))),
                None if name == PAYLOAD => parameters.push((name, None)),
                None => {
                    return Err(format!(
                        "the statement has a parameter :{name}, and the rule no param.{name}"
                    ));
                }
            }
        }
        match given.first() {
            Some((name, _)) => Err(format!("the rule has param.{name}, and the statement no :{name}")),
            None => Ok(Self { target: settings.target(), sql: sql.into(), parameters }),
        }
    }

    /// The values for a message. What comes to nothing is NULL.
    fn row(&self, invocation: &Invocation<'_>, resource: &str) -> Result<Row, Error> {
        let mut values = Vec::with_capacity(self.parameters.len());
        for (name, template) in &self.parameters {
            let value = match template {
                Some(template) => invocation.optional(Some(template), resource)?,
                None => {
                    let text = String::from_utf8(invocation.payload.to_vec());
                    Some(text.map_err(|_| Error::permanent(resource, "the payload is no text"))?)
                }
            };
            // PostgreSQL has no way to store it in text.
            if value.as_deref().is_some_and(|value| value.contains('\0')) {
                return Err(Error::permanent(resource, format!("the parameter {name} has a null character")));
            }
            values.push(value);
        }
        Ok(Row { sql: self.sql.clone(), values })
    }

    async fn carry(
        &self,
        invocation: &Invocation<'_>,
        connected: &Connected,
        database: &Database,
        rows: Vec<Row>,
    ) -> Vec<Result<(), Error>> {
        let resource = self.target.connection.as_str();
        let call = async {
            let dialer = self.target.dialer(connected, invocation, resource)?;
            let open = || session::open(&dialer, &connected.connection, resource);
            let alive = |session: &Arc<Session>| session.is_open();
            let (_, session) = database.session.get(resource, alive, open).await?;
            session.carry_out(&rows, resource).await
        };
        match self.target.in_lane(invocation, resource, call).await {
            Ok(outcomes) => outcomes,
            Err(error) => vec![Err(error); rows.len()],
        }
    }
}

impl Action for Postgres {
    fn name(&self) -> &'static str {
        "PostgresAction"
    }

    fn kind(&self) -> &str {
        self.target.kind
    }

    fn run<'a>(&'a self, invocation: &'a Invocation<'a>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let resource = self.target.connection.as_str();
            let row = self.row(invocation, resource)?;
            let connected = self.target.connected(invocation, resource)?;
            let database = connected.client::<Arc<Database>>("", Arc::default);
            let carry = |rows: Vec<Row>| self.carry(invocation, &connected, &database, rows);
            database.rows.join(row, MOST, resource, carry).await
        })
    }
}
