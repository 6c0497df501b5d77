//! The connection that a rule names, and its address.

use std::sync::Arc;

use fleethaven_outbound::{Dialer, OutboundError};
use fleethaven_registry::shapes::Connection;
use http::Uri;

use super::{Error, Invocation};
use crate::connections::Connected;
use crate::lanes::Key;

/// Where an action goes.
pub(super) struct Target {
    /// Its type, as in rules.
    pub(super) kind: &'static str,
    /// The kind of connection that it needs.
    pub(super) system: &'static str,
    /// The name of the connection.
    pub(super) connection: String,
}

impl Target {
    /// The connection, if it lets the rule in.
    pub(super) fn connected(
        &self,
        invocation: &Invocation<'_>,
        resource: &str,
    ) -> Result<Arc<Connected>, Error> {
        let Self { system, connection, .. } = self;
        let (account, rule) = (invocation.scope.account, invocation.input.rule_name);
        let found = invocation.outside.connections.named(account, system, connection, rule);
        found.ok_or_else(|| {
            let reason = format!(
                "AccessDenied: no connection {connection} of kind {system} lets rule {rule} in (`fleethaven connection put`)"
            );
            Error::permanent(resource, reason)
        })
    }

    /// How it is connected to.
    pub(super) fn dialer(
        &self,
        connected: &Connected,
        invocation: &Invocation<'_>,
        resource: &str,
    ) -> Result<Dialer, Error> {
        connected.dialer(&invocation.outside.http).map_err(|reason| Error::permanent(resource, reason))
    }

    /// Makes a call in the lane of the connection.
    pub(super) async fn in_lane<T>(
        &self,
        invocation: &Invocation<'_>,
        resource: &str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let key = Key { account: invocation.scope.account, kind: self.kind, target: self.connection.clone() };
        invocation.outside.lanes.through(&key, resource, invocation.span, call).await
    }
}

/// What is in the endpoint of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
    /// By TLS.
    pub(super) secured: bool,
    /// Without its first `/`.
    pub(super) path: String,
    pub(super) query: String,
}

impl Address {
    /// The endpoint of a connection; `secure` is the scheme that means TLS, and without a port it is one of `ports`: in the clear,
    /// by TLS.
    pub(super) fn of(connection: &Connection, secure: &str, ports: (u16, u16)) -> Result<Self, Error> {
        let endpoint = connection.endpoint.as_deref().unwrap_or_default();
        let wrong = || Error::permanent(endpoint, "the endpoint of the connection is no address");
        let uri: Uri = endpoint.parse().map_err(|_| wrong())?;
        let secured = uri.scheme_str() == Some(secure);
        let default = if secured { ports.1 } else { ports.0 };
        Ok(Self {
            host: uri.host().ok_or_else(wrong)?.to_owned(),
            port: uri.port_u16().unwrap_or(default),
            secured,
            path: uri.path().trim_start_matches('/').to_owned(),
            query: uri.query().unwrap_or_default().to_owned(),
        })
    }
}

/// That a system could not be connected to.
pub(super) fn unreachable(resource: &str, error: &OutboundError) -> Error {
    Error { transient: error.is_transient(), ..Error::permanent(resource, error.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_says_how_and_where() {
        let address = |endpoint: &str| {
            let connection = Connection {
                kind: "redis".to_owned(),
                endpoint: Some(endpoint.to_owned()),
                region: None,
                credentials: None,
                roles: Vec::new(),
                rules: vec!["*".to_owned()],
                options: Default::default(),
                tls: Default::default(),
            };
            Address::of(&connection, "rediss", (6379, 6380))
        };
        let plain = address("redis://cache/2?x=y").unwrap();
        assert_eq!((plain.host.as_str(), plain.port, plain.secured), ("cache", 6379, false));
        assert_eq!((plain.path.as_str(), plain.query.as_str()), ("2", "x=y"));
        let secured = address("rediss://[::1]:7000").unwrap();
        assert_eq!((secured.host.as_str(), secured.port, secured.secured), ("[::1]", 7000, true));
        assert_eq!(address("rediss://cache").unwrap().port, 6380);
        assert!(address("nonsense?").is_err());
    }
}
