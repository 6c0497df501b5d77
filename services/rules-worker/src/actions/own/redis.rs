//! `redisStream`, `redisSet` and `redisPublish`: XADD, SET and PUBLISH.

use std::sync::Arc;

use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_outbound::Dialer;
use fleethaven_registry::shapes::Connection;
use fleethaven_rulesql::Template;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, RedisConnectionInfo, RedisError, RetryMethod};

use super::target::{Address, Target, unreachable};
use super::{Action, Error, Invocation, Settings, rendered};
use crate::actions::kept::Kept;

/// One of the three, with its templates parsed.
pub(super) struct Redis {
    target: Target,
    name: &'static str,
    /// The key, or the channel.
    key: Template,
    what: What,
}

enum What {
    Stream { most: Option<u64>, fields: Vec<(String, Template)> },
    Set { ttl: Option<Template> },
    Publish,
}

impl Redis {
    pub(super) fn new(settings: &Settings<'_>) -> Result<Self, String> {
        let (name, key, what) = match settings.own.kind.name {
            "redisStream" => {
                let what = What::Stream { most: settings.own.number("maxLen"), fields: settings.map()? };
                ("RedisStreamAction", "key", what)
            }
            "redisSet" => ("RedisSetAction", "key", What::Set { ttl: settings.template_if_given("ttl")? }),
            _ => ("RedisPublishAction", "channel", What::Publish),
        };
        Ok(Self { target: settings.target(), name, key: settings.template(key)?, what })
    }

    fn command(&self, invocation: &Invocation<'_>, key: &str) -> Result<Cmd, Error> {
        let payload: &[u8] = &invocation.payload;
        let mut command = Cmd::new();
        match &self.what {
            What::Stream { most, fields } => {
                command.arg("XADD").arg(key);
                if let Some(most) = most {
                    command.arg("MAXLEN").arg("~").arg(*most);
                }
                command.arg("*");
                if fields.is_empty() {
                    command.arg("payload").arg(payload);
                }
                for (name, value) in rendered(fields, invocation, key)? {
                    command.arg(name).arg(value);
                }
            }
            What::Set { ttl } => {
                command.arg("SET").arg(key).arg(payload);
                if let Some(ttl) = invocation.optional(ttl.as_ref(), key)? {
                    let seconds: Option<u64> = ttl.parse().ok().filter(|seconds| *seconds > 0);
                    let wrong = || Error::permanent(key, format!("ttl '{ttl}' is no number of seconds"));
                    command.arg("EX").arg(seconds.ok_or_else(wrong)?);
                }
            }
            What::Publish => _ = command.arg("PUBLISH").arg(key).arg(payload),
        }
        Ok(command)
    }
}

impl Action for Redis {
    fn name(&self) -> &'static str {
        self.name
    }

    fn kind(&self) -> &str {
        self.target.kind
    }

    fn run<'a>(&'a self, invocation: &'a Invocation<'a>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let key = invocation.text(&self.key, "key", self.target.kind)?;
            let command = self.command(invocation, &key)?;
            let connected = self.target.connected(invocation, &key)?;
            let kept = connected.client::<Arc<Kept<MultiplexedConnection>>>("", Arc::default);
            let dialer = self.target.dialer(&connected, invocation, &key)?;
            let open = || open(&dialer, &connected.connection, &key);
            let call = async {
                let (number, mut connection) = kept.get(&key, |_| true, open).await?;
                let Err(error) = command.query_async::<redis::Value>(&mut connection).await else {
                    return Ok(());
                };
                if error.is_unrecoverable_error() {
                    kept.forget(number).await;
                }
                Err(failed(&key, &error))
            };
            self.target.in_lane(invocation, &key, call).await
        })
    }
}

async fn open(
    dialer: &Dialer,
    connection: &Connection,
    resource: &str,
) -> Result<MultiplexedConnection, Error> {
    let address = Address::of(connection, "rediss", (6379, 6380))?;
    let mut info = RedisConnectionInfo::default();
    if !address.path.is_empty() {
        let number = address.path.parse();
        let number = number
            .map_err(|_| Error::permanent(resource, "the path of the endpoint is no number of a database"))?;
        info = info.set_db(number);
    }
    if let Some(key) = &connection.credentials {
        info = info.set_username(&key.id);
        // Without one, the certificate says who we are.
        if !key.secret.0.is_empty() {
            info = info.set_password(&key.secret.0);
        }
    }
    let stream = dialer.open(&address.host, address.port, address.secured).await;
    let stream = stream.map_err(|error| unreachable(resource, &error))?;
    let opened =
        MultiplexedConnection::new_with_config(&info, stream, AsyncConnectionConfig::default()).await;
    let (connection, driver) = opened.map_err(|error| failed(resource, &error))?;
    tokio::spawn(driver);
    Ok(connection)
}

fn failed(resource: &str, error: &RedisError) -> Error {
    let transient = !matches!(error.retry_method(), RetryMethod::NoRetry);
    Error { transient, ..Error::permanent(resource, format!("Redis answered: {error}")) }
}
