//! Addresses of servers, as one text and as what connects to them.

use std::str::FromStr;

use redis::{Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, TlsCertificates};

use crate::connection::Failure;
use crate::options::{Options, Server};

impl FromStr for Server {
    type Err = crate::Error;

    /// - `redis://[user:password@]host[:port][/database]`, `unix:///path`: one server
    /// - `redis+cluster://[user:password@]host[:port],host[:port],…`: some nodes of a Redis Cluster
    /// - `redis+sentinel://[user:password@]host[:port],…/name`: sentinels, and the name of the primary in their configuration;
    ///   user and password are those of the primary, the sentinels are asked without
    ///
    /// `rediss` instead of `redis` for TLS. User and password are percent-encoded.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text.split_once("://").ok_or_else(|| refused("no scheme such as redis://"))?;
        let (plain, kind) = scheme.split_once('+').unwrap_or((scheme, ""));
        if kind != "cluster" && kind != "sentinel" {
            return checked(text.to_owned()).map(Self::Primary);
        }
        let (credentials, rest) = rest.rsplit_once('@').map_or(("", rest), |(login, rest)| (login, rest));
        let (hosts, name) = rest.split_once('/').map_or((rest, ""), |(hosts, name)| (hosts, name));
        let login = if credentials.is_empty() { String::new() } else { format!("{credentials}@") };
        let addresses = |login: &str| {
            let address = |host: &str| checked(format!("{plain}://{login}{host}"));
            hosts.split(',').map(address).collect::<Result<Vec<_>, _>>()
        };
        match kind {
            "cluster" if name.is_empty() => Ok(Self::Cluster(addresses(&login)?)),
            "cluster" => Err(refused("a cluster has no databases")),
            _ if name.is_empty() => Err(refused("the name of the primary is missing behind the sentinels")),
            _ => Ok(Self::Sentinel {
                sentinels: addresses("")?,
                name: name.to_owned(),
                // The host is the one that the sentinels tell.
                primary: checked(format!("{plain}://{login}primary"))?,
            }),
        }
    }
}

fn checked(url: String) -> Result<String, crate::Error> {
    match url.as_str().into_connection_info() {
        Ok(_) => Ok(url),
        Err(error) => Err(refused(error.category())),
    }
}

/// An address that cannot be understood. The address itself is not told: it may hold a password.
fn refused(reason: &str) -> crate::Error {
    crate::Error::Refused(format!("the address of Redis: {reason}"))
}

fn invalid(error: &redis::RedisError) -> Failure {
    Failure::Never(format!("the address of Redis: {}", error.category()))
}

/// What connects to a server that is no cluster: the primary, as the sentinels tell if there are any.
pub(crate) fn primary(options: &Options) -> Result<Client, Failure> {
    match &options.server {
        Server::Primary(url) => seed(options, url),
        Server::Sentinel { sentinels, name, primary } => {
            let found = ask_sentinels(options, sentinels, name)?;
            node(options, std::slice::from_ref(primary), &found)
        }
        Server::Cluster(_) => Err(Failure::Never("a cluster has several primaries".to_owned())),
    }
}

/// Asks one sentinel after another.
fn ask_sentinels(options: &Options, sentinels: &[String], name: &str) -> Result<(String, u16), Failure> {
    let mut failure = Failure::Never("the address of no sentinel is given".to_owned());
    for sentinel in sentinels {
        let asked = seed(options, sentinel).and_then(|client| {
            let mut connection = client.get_connection_with_timeout(options.connect_timeout)?;
            connection.set_read_timeout(Some(options.answer_timeout))?;
            let mut command = redis::cmd("SENTINEL");
            command.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
            Ok(command.query::<Option<(String, u16)>>(&mut connection)?)
        });
        match asked {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => failure = Failure::Broken(format!("no sentinel knows a primary called '{name}'")),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// What connects to the server at a URL.
pub(crate) fn seed(options: &Options, url: &str) -> Result<Client, Failure> {
    let info = url.into_connection_info().map_err(|error| invalid(&error))?;
    client(options, info)
}

/// What connects to a server that was told by another one, by the same means as to the first of `seeds`.
pub(crate) fn node(
    options: &Options,
    seeds: &[String],
    (host, port): &(String, u16),
) -> Result<Client, Failure> {
    let seed = seeds.first().map_or("", String::as_str);
    let info = seed.into_connection_info().map_err(|error| invalid(&error))?;
    let (host, port) = (host.clone(), *port);
    let address = match info.addr() {
        ConnectionAddr::TcpTls { insecure, .. } => {
            ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: None }
        }
        _ => ConnectionAddr::Tcp(host, port),
    };
    client(options, info.set_addr(address))
}

fn client(options: &Options, info: ConnectionInfo) -> Result<Client, Failure> {
    let opened = match info.addr() {
        ConnectionAddr::TcpTls { .. } => {
            let identity = options.tls.identity.clone();
            let client_tls =
                identity.map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
            Client::build_with_tls(info, TlsCertificates { client_tls, root_cert: options.tls.roots.clone() })
        }
        _ => Client::open(info),
    };
    opened.map_err(|error| Failure::Never(format!("the TLS settings for Redis: {}", error.category())))
}

/// The host that a client connects to.
pub(crate) fn host(client: &Client) -> String {
    match client.get_connection_info().addr() {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host.clone(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Server {
        text.parse().unwrap_or_else(|error: crate::Error| panic!("{text}: {error}"))
    }

    #[test]
    fn addresses_of_each_kind() {
        for url in ["redis://h", "rediss://u:p%40@h:1/2", "unix:///run/redis.sock"] {
            assert!(matches!(parsed(url), Server::Primary(primary) if primary == url));
        }
        let Server::Cluster(nodes) = parsed("rediss+cluster://u:p@a:1,b:2") else { panic!("no cluster") };
        assert_eq!(nodes, ["rediss://u:p@a:1", "rediss://u:p@b:2"]);
        let Server::Sentinel { sentinels, name, primary } = parsed("redis+sentinel://:p@a,b:2/main") else {
            panic!("no sentinels")
        };
        assert_eq!(
            (sentinels, name),
            (vec!["redis://a".to_owned(), "redis://b:2".to_owned()], "main".to_owned())
        );
        assert_eq!(primary, "redis://:p@primary");
    }

    #[test]
    fn what_is_no_address_is_refused_without_telling_it() {
        let secret = "redis+cluster://user:secret@a/1";
        for text in ["h:6379", "http://h", "redis+sentinel://a", secret, "redis+cluster://user:secret@a b"] {
            let refused = text.parse::<Server>().err().map(|error| error.to_string()).unwrap_or_default();
            assert!(
                refused.contains("the address of Redis") && !refused.contains("secret"),
                "{text}: {refused}"
            );
        }
    }
}
