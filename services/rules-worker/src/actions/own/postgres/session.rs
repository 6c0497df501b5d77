//! The connection to a database.

use std::error::Error as _;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use fleethaven_outbound::Dialer;
use fleethaven_registry::shapes::Connection;
use futures_util::future::join_all;
use rustc_hash::FxHashMap;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_postgres::types::{Format, IsNull, ToSql, Type};
use tokio_postgres::{Client, Config, NoTls, Statement};

use super::super::target::{Address, unreachable};
use super::Error;

/// Statements that are prepared at a time.
const PREPARED: usize = 256;
/// How long the database may take for one statement.
const STATEMENT_WITHIN: Duration = Duration::from_secs(5);

/// A statement and its values.
pub(super) struct Row {
    pub(super) sql: Arc<str>,
    /// `None` is NULL.
    pub(super) values: Vec<Option<String>>,
}

/// A database that is connected to.
pub(super) struct Session {
    client: Client,
    prepared: Mutex<FxHashMap<Arc<str>, Statement>>,
    /// A transaction has begun and not ended. Whoever carries it out can be given up in the middle.
    unfinished: AtomicBool,
}

impl Session {
    /// Whether the connection can be used.
    pub(super) fn is_open(&self) -> bool {
        !self.client.is_closed() && !self.unfinished.load(Ordering::Relaxed)
    }

    /// Carries out all rows in one transaction. When one of them fails, each is tried by itself: what is wrong with one message is
    /// none of the others' business. Nobody else uses the session meanwhile.
    pub(super) async fn carry_out(
        &self,
        rows: &[Row],
        resource: &str,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        if let [row] = rows {
            return Ok(vec![self.one(row, resource).await]);
        }
        match self.together(rows).await {
            Ok(()) => Ok(rows.iter().map(|_| Ok(())).collect()),
            Err(error) if self.client.is_closed() => Err(failed(resource, &error)),
            Err(_) => {
                self.client.batch_execute("ROLLBACK").await.map_err(|error| failed(resource, &error))?;
                self.unfinished.store(false, Ordering::Relaxed);
                let mut outcomes = Vec::with_capacity(rows.len());
                for row in rows {
                    outcomes.push(self.one(row, resource).await);
                }
                Ok(outcomes)
            }
        }
    }

    async fn one(&self, row: &Row, resource: &str) -> Result<(), Error> {
        let done = async { self.execute(row, &self.statement(&row.sql).await?).await };
        done.await.map_err(|error| failed(resource, &error))
    }

    /// All statements are on their way before the first is answered.
    async fn together(&self, rows: &[Row]) -> Result<(), tokio_postgres::Error> {
        let mut statements = Vec::with_capacity(rows.len());
        for row in rows {
            statements.push(self.statement(&row.sql).await?);
        }
        self.unfinished.store(true, Ordering::Relaxed);
        self.client.batch_execute("BEGIN").await?;
        let executed = rows.iter().zip(&statements).map(|(row, statement)| self.execute(row, statement));
        join_all(executed).await.into_iter().collect::<Result<(), _>>()?;
        self.client.batch_execute("COMMIT").await?;
        self.unfinished.store(false, Ordering::Relaxed);
        Ok(())
    }

    async fn execute(&self, row: &Row, statement: &Statement) -> Result<(), tokio_postgres::Error> {
        let values: Vec<_> = row.values.iter().map(|value| Text(value.as_deref())).collect();
        let values: Vec<_> = values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        self.client.execute(statement, &values).await.map(drop)
    }

    async fn statement(&self, sql: &Arc<str>) -> Result<Statement, tokio_postgres::Error> {
        let mut prepared = self.prepared.lock().await;
        if let Some(statement) = prepared.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).await?;
        if prepared.len() >= PREPARED {
            prepared.clear();
        }
        prepared.insert(sql.clone(), statement.clone());
        Ok(statement)
    }
}

/// Connects to the database: by TLS, unless the endpoint says `sslmode=disable`.
pub(super) async fn open(
    dialer: &Dialer,
    connection: &Connection,
    resource: &str,
) -> Result<Arc<Session>, Error> {
    let address = Address::of(connection, "", (5432, 5432))?;
    let secured = match address.query.as_str() {
        "" | "sslmode=require" => true,
        "sslmode=disable" => false,
        _ => {
            return Err(Error::permanent(
                resource,
                "the endpoint says something other than sslmode=require or disable",
            ));
        }
    };
    let mut config = Config::new();
    config.application_name("fleethaven");
    if !address.path.is_empty() {
        config.dbname(&address.path);
    }
    if let Some(key) = &connection.credentials {
        config.user(&key.id);
        // Without one, the certificate says who we are.
        if !key.secret.0.is_empty() {
            config.password(&key.secret.0);
        }
    }
    config.ssl_mode(if secured { SslMode::Require } else { SslMode::Disable });
    let stream = dialer.tcp(&address.host, address.port, secured).await;
    let stream = stream.map_err(|error| unreachable(resource, &error))?;
    let refused = |error: tokio_postgres::Error| failed(resource, &error);
    let client = if secured {
        let tls = Secured { dialer: dialer.clone(), host: address.host };
        let (client, driver) = config.connect_raw(stream, tls).await.map_err(refused)?;
        tokio::spawn(driver);
        client
    } else {
        let (client, driver) = config.connect_raw(stream, NoTls).await.map_err(refused)?;
        tokio::spawn(driver);
        client
    };
    let bound = format!("SET statement_timeout = {}", STATEMENT_WITHIN.as_millis());
    client.batch_execute(&bound).await.map_err(refused)?;
    Ok(Arc::new(Session { client, prepared: Mutex::default(), unfinished: AtomicBool::new(false) }))
}

/// What the database said. It may say something else later when there is no connection, it has no room, or it is shutting down.
fn failed(resource: &str, error: &tokio_postgres::Error) -> Error {
    let Some(said) = error.as_db_error() else {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        // Only what was never sent fails on our side.
        let transient = error.is_closed() || error.source().is_some_and(|cause| cause.is::<io::Error>());
        return Error { transient, ..Error::permanent(resource, format!("{error}{cause}")) };
    };
    let code = said.code().code();
    // Classes: connection, transaction rolled back, too few resources, an operator's doing.
    let transient = ["08", "40", "53", "57"].iter().any(|class| code.starts_with(class));
    let reason = format!("PostgreSQL answered {code}: {}", said.message());
    Error { transient, ..Error::permanent(resource, reason) }
}

/// A value as text: the database reads it as the type of the column or parameter.
#[derive(Debug)]
struct Text<'a>(Option<&'a str>);

impl ToSql for Text<'_> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        let Some(text) = self.0 else { return Ok(IsNull::Yes) };
        out.put_slice(text.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    fn to_sql_checked(
        &self,
        of: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        self.to_sql(of, out)
    }
}

/// TLS as all of our connections have it.
struct Secured {
    dialer: Dialer,
    host: String,
}

impl TlsConnect<TcpStream> for Secured {
    type Stream = Encrypted;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted>> + Send>>;

    fn connect(self, stream: TcpStream) -> Self::Future {
        Box::pin(async move { self.dialer.secure(&self.host, stream).await.map(Encrypted) })
    }
}

/// A stream over TLS that binds no channel: then SCRAM is used without.
struct Encrypted(fleethaven_outbound::dial::TlsStream<TcpStream>);

impl TlsStream for Encrypted {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}
