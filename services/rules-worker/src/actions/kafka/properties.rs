//! What `clientProperties` and the connection say about a producer (rules-actions.md 5.10).

use fleethaven_outbound::dial::Trust;
use fleethaven_registry::shapes::Connection;

use super::records::Compression;
use super::stores;
use crate::connections;

/// What a producer is told by.
pub(super) struct Properties {
    /// Hosts and ports that are asked first.
    pub(super) servers: Vec<(String, u16)>,
    /// By TLS.
    pub(super) secured: bool,
    pub(super) login: Option<Login>,
    pub(super) acks: Acks,
    pub(super) compression: Compression,
    pub(super) trust: Trust,
}

/// Who has taken a record when it counts as sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acks {
    /// Nobody is asked.
    None,
    Leader,
    /// The leader and the replicas that are in sync.
    All,
}

impl Acks {
    /// As on the wire.
    pub(super) fn number(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

/// How a broker is told who we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mechanism {
    Plain,
    ScramSha512,
}

impl Mechanism {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// Who we are.
pub(super) struct Login {
    pub(super) mechanism: Mechanism,
    pub(super) user: String,
    pub(super) password: String,
}

/// Servers that are asked.
const MAX_SERVERS: usize = 16;
/// Kafka's usual port.
const PORT: u16 = 9092;

/// What is taken, besides the names of [`Given`].
const SERIALIZERS: &[(&str, &str)] =
    &[("key.serializer", "StringSerializer"), ("value.serializer", "ByteBufferSerializer")];

const KNOWN: &[&str] = &[
    "acks",
    "bootstrap.servers",
    "compression.type",
    "key.serializer",
    "sasl.mechanism",
    "sasl.plain.password",
    "sasl.plain.username",
    "sasl.scram.password",
    "sasl.scram.username",
    "security.protocol",
    "ssl.key.password",
    "ssl.keystore",
    "ssl.keystore.password",
    "ssl.truststore",
    "ssl.truststore.password",
    "value.serializer",
];

/// Properties for one message. One that comes to nothing is as good as not given.
struct Given<'a>(&'a [(String, String)]);

impl<'a> Given<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The value of a property that is one of several, the first if it is not given.
    fn one_of<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Result<T, String> {
        let given = self.get(name).or(choices.first().map(|(first, _)| *first)).unwrap_or_default();
        let found = choices.iter().find(|(choice, _)| *choice == given);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let choices: Vec<_> = choices.iter().map(|(choice, _)| *choice).collect();
            format!("clientProperties: {name} is '{given}', and must be one of {}", choices.join(", "))
        })
    }
}

impl Properties {
    /// Reads them. The connection's endpoint goes before `bootstrap.servers`; its credentials and certificates count where the
    /// properties have none.
    ///
    /// # Errors
    /// What is wrong; for people, without any secret.
    pub(super) fn read(given: &[(String, String)], connection: &Connection) -> Result<Self, String> {
        if let Some((name, _)) = given.iter().find(|(name, _)| name.starts_with("sasl.kerberos")) {
            return Err(format!("clientProperties: {name}: Kerberos (GSSAPI) is not available"));
        }
        if let Some((name, _)) = given.iter().find(|(name, _)| !KNOWN.contains(&name.as_str())) {
            return Err(format!("clientProperties: '{name}' is not known"));
        }
        let given = Given(given);
        for (name, only) in SERIALIZERS {
            let value = given.get(name).map(|value| value.rsplit('.').next().unwrap_or_default());
            if value.is_some_and(|value| value != *only) {
                return Err(format!("clientProperties: {name} must be {only}"));
            }
        }
        let (secured, authenticated) = given.one_of(
            "security.protocol",
            &[
                ("SSL", (true, false)),
                ("SASL_SSL", (true, true)),
                ("PLAINTEXT", (false, false)),
                ("SASL_PLAINTEXT", (false, true)),
            ],
        )?;
        Ok(Self {
            servers: servers(&given, connection)?,
            secured,
            login: if authenticated { Some(login(&given, connection)?) } else { None },
            acks: given.one_of(
                "acks",
                &[("1", Acks::Leader), ("0", Acks::None), ("all", Acks::All), ("-1", Acks::All)],
            )?,
            compression: given.one_of(
                "compression.type",
                &[
                    ("none", Compression::None),
                    ("gzip", Compression::Gzip),
                    ("snappy", Compression::Snappy),
                    ("lz4", Compression::Lz4),
                    ("zstd", Compression::Zstd),
                ],
            )?,
            trust: if secured { trust(&given, connection)? } else { Trust::default() },
        })
    }
}

fn servers(given: &Given<'_>, connection: &Connection) -> Result<Vec<(String, u16)>, String> {
    let endpoint = connection.endpoint.as_deref().and_then(|endpoint| endpoint.strip_prefix("kafka://"));
    let text = endpoint.map(|rest| rest.split(['/', '?']).next().unwrap_or_default());
    let text = text.or(given.get("bootstrap.servers")).unwrap_or_default();
    let wrong = || {
        format!("bootstrap.servers is <host>:<port>, up to {MAX_SERVERS} of them with commas between them")
    };
    let server = |text: &str| match text.trim().rsplit_once(':') {
        Some((host, port)) if !host.is_empty() => Some((host.to_owned(), port.parse().ok()?)),
        None if !text.trim().is_empty() => Some((text.trim().to_owned(), PORT)),
        _ => None,
    };
    let servers: Option<Vec<_>> = text.split(',').map(server).collect();
    servers.filter(|servers| servers.len() <= MAX_SERVERS).ok_or_else(wrong)
}

fn login(given: &Given<'_>, connection: &Connection) -> Result<Login, String> {
    let mechanism = given.one_of(
        "sasl.mechanism",
        &[
            ("PLAIN", Some(Mechanism::Plain)),
            ("SCRAM-SHA-512", Some(Mechanism::ScramSha512)),
            ("GSSAPI", None),
        ],
    )?;
    let mechanism = mechanism.ok_or("clientProperties: Kerberos (GSSAPI) is not available")?;
    let names = match mechanism {
        Mechanism::Plain => ("sasl.plain.username", "sasl.plain.password"),
        Mechanism::ScramSha512 => ("sasl.scram.username", "sasl.scram.password"),
    };
    let own = given.get(names.0).zip(given.get(names.1));
    let of_connection =
        || connection.credentials.as_ref().map(|key| (key.id.as_str(), key.secret.0.as_str()));
    let (user, password) = own.or_else(of_connection).ok_or_else(|| {
        format!("{} needs {} and {}, or credentials of the connection", mechanism.name(), names.0, names.1)
    })?;
    if user.contains('\0') || password.contains('\0') {
        return Err("the user and the password cannot be sent".to_owned());
    }
    Ok(Login { mechanism, user: user.to_owned(), password: password.to_owned() })
}

/// The stores of the properties go before the certificates of the connection.
fn trust(given: &Given<'_>, connection: &Connection) -> Result<Trust, String> {
    let authorities = given.get("ssl.truststore");
    let authorities =
        authorities.map(|store| stores::authorities(store, given.get("ssl.truststore.password"))).transpose();
    let identity = given.get("ssl.keystore").map(|store| {
        let (store_password, key_password) =
            (given.get("ssl.keystore.password"), given.get("ssl.key.password"));
        stores::identity(store, store_password, key_password.or(store_password))
    });
    let (authorities, identity) = (
        authorities.map_err(|reason| format!("ssl.truststore: {reason}"))?,
        identity.transpose().map_err(|reason| format!("ssl.keystore: {reason}"))?,
    );
    let own = connections::trust(&connection.tls)?;
    Ok(Trust { authorities: authorities.unwrap_or(own.authorities), identity: identity.or(own.identity) })
}

#[cfg(test)]
mod tests {
    use fleethaven_registry::shapes::{ConnectionCredentials, Secret};

    use super::*;

    fn connection(endpoint: Option<&str>) -> Connection {
        Connection {
            kind: "kafka".to_owned(),
            endpoint: endpoint.map(str::to_owned),
            region: None,
            credentials: endpoint
                .map(|_| ConnectionCredentials { id: "own".to_owned(), secret: Secret("hush".to_owned()) }),
            roles: Vec::new(),
            rules: Vec::new(),
            options: Default::default(),
            tls: Default::default(),
        }
    }

    fn read(given: &[(&str, &str)], endpoint: Option<&str>) -> Result<Properties, String> {
        let given: Vec<_> =
            given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Properties::read(&given, &connection(endpoint))
    }

    #[test]
    fn what_aws_has_is_read() {
        let least = read(&[("bootstrap.servers", "a:9094, b:9095,c")], None).unwrap();
        let servers = [("a".to_owned(), 9094), ("b".to_owned(), 9095), ("c".to_owned(), 9092)];
        assert_eq!(least.servers, servers);
        assert!(least.secured && least.login.is_none() && least.acks == Acks::Leader);
        assert_eq!(least.compression, Compression::None);
        let most = read(
            &[
                ("bootstrap.servers", "[::1]:9094"),
                ("security.protocol", "SASL_SSL"),
                ("sasl.mechanism", "SCRAM-SHA-512"),
                ("sasl.scram.username", "user"),
                ("sasl.scram.password", "secret"),
                ("acks", "all"),
                ("compression.type", "zstd"),
                ("key.serializer", "org.apache.kafka.common.serialization.StringSerializer"),
                ("value.serializer", "ByteBufferSerializer"),
            ],
            None,
        )
        .unwrap();
        let login = most.login.unwrap();
        assert_eq!((login.user.as_str(), login.mechanism), ("user", Mechanism::ScramSha512));
        assert_eq!((most.acks.number(), most.compression), (-1, Compression::Zstd));
        assert_eq!(most.servers, [("[::1]".to_owned(), 9094)]);
    }

    #[test]
    fn the_connection_says_where_and_who_unless_the_rule_does() {
        let given = [("bootstrap.servers", "a:1"), ("security.protocol", "SASL_SSL")];
        let read = |given: &[(&str, &str)]| read(given, Some("kafka://b:2,c:3/")).unwrap();
        let of_connection = read(&given);
        assert_eq!(of_connection.servers, [("b".to_owned(), 2), ("c".to_owned(), 3)]);
        assert_eq!(of_connection.login.unwrap().user, "own");
        let own = [&given[..], &[("sasl.plain.username", "u"), ("sasl.plain.password", "p")]].concat();
        assert_eq!(read(&own).login.unwrap().user, "u");
    }

    #[test]
    fn what_cannot_be_is_named_and_no_secret_with_it() {
        let servers = ("bootstrap.servers", "a:1");
        for (given, told) in [
            (vec![], "bootstrap.servers"),
            (vec![("bootstrap.servers", "a:x")], "bootstrap.servers"),
            (vec![servers, ("linger.ms", "5")], "'linger.ms' is not known"),
            (vec![servers, ("acks", "2")], "acks is '2'"),
            (vec![servers, ("compression.type", "br")], "none, gzip"),
            (vec![servers, ("security.protocol", "SASL_SSL")], "sasl.plain.username"),
            (vec![servers, ("security.protocol", "SASL_SSL"), ("sasl.mechanism", "GSSAPI")], "Kerberos"),
            (vec![servers, ("sasl.kerberos.principal", "p")], "Kerberos"),
            (vec![servers, ("value.serializer", "StringSerializer")], "ByteBufferSerializer"),
            (vec![servers, ("ssl.truststore", "hush")], "ssl.truststore: "),
            (vec![servers, ("ssl.keystore", "hush")], "ssl.keystore: "),
        ] {
            let reason = read(&given, None).err().unwrap();
            assert!(reason.contains(told) && !reason.contains("hush"), "{reason}");
        }
    }
}
