//! Where actions go (rules-actions.md section 2): the connections of each account, as they change, and which of them an action
//! may use.

use std::any::{Any, TypeId};
use std::future::poll_fn;
use std::sync::{Arc, OnceLock};

use fleethaven_fabric::{Metadata, WatchEvent};
use fleethaven_outbound::dial::Trust;
use fleethaven_outbound::{Dialer, HttpClient};
use fleethaven_registry::shapes::{Connection, ConnectionDescription, ConnectionTls, is_below};
use fleethaven_registry::{connections, keys};
use fleethaven_types::AccountId;
use parking_lot::{Mutex, RwLock};
use rustc_hash::{FxHashMap, FxHashSet};

type Key = (AccountId, String);

/// Clients kept for one connection: one for each service and region.
const MAX_CLIENTS: usize = 64;

/// A connection, with the clients that use it. One that is changed is another, with clients of its own.
pub struct Connected {
    /// Its name.
    pub name: String,
    /// What it is.
    pub connection: Connection,
    clients: Mutex<FxHashMap<(TypeId, String), Box<dyn Any + Send + Sync>>>,
    /// Requests with its own TLS, or why there are none.
    http: OnceLock<Result<HttpClient, String>>,
}

impl Connected {
    fn new(described: ConnectionDescription) -> Arc<Self> {
        let ConnectionDescription { name, connection, .. } = described;
        Arc::new(Self { name, connection, clients: Mutex::default(), http: OnceLock::new() })
    }

    /// Requests to it: `shared`, or with the certificates that it has of its own.
    ///
    /// # Errors
    /// When those cannot be used; for people.
    pub fn http<'a>(&'a self, shared: &'a HttpClient) -> Result<&'a HttpClient, String> {
        if self.connection.tls.is_default() {
            return Ok(shared);
        }
        let own = self.http.get_or_init(|| shared.trusting(&trust(&self.connection.tls)?));
        own.as_ref().map_err(|reason| format!("the certificates of connection {}: {reason}", self.name))
    }

    /// Connections to it, for what speaks no HTTP.
    ///
    /// # Errors
    /// As [`http`](Self::http).
    pub fn dialer(&self, shared: &HttpClient) -> Result<Dialer, String> {
        self.http(shared).map(HttpClient::dialer)
    }

    /// The client of type `C` for a region, made by `make` when there is none yet.
    pub fn client<C: Any + Clone + Send + Sync>(&self, region: &str, make: impl FnOnce() -> C) -> C {
        let key = (TypeId::of::<C>(), region.to_owned());
        let mut clients = self.clients.lock();
        if let Some(client) = clients.get(&key).and_then(|client| client.downcast_ref::<C>()) {
            return client.clone();
        }
        let client = make();
        if clients.len() >= MAX_CLIENTS {
            clients.clear();
        }
        clients.insert(key, Box::new(client.clone()));
        client
    }
}

/// Whom connections by TLS to a system trust, and what they show.
///
/// # Errors
/// When its certificates or its key cannot be used; for people.
pub fn trust(tls: &ConnectionTls) -> Result<Trust, String> {
    let identity =
        tls.identity.as_ref().map(|identity| (identity.certificate.as_str(), identity.key.0.as_str()));
    Trust::from_pem(tls.authorities.as_deref(), identity)
}

/// All connections: those of this process's settings first, then those of the metadata store.
#[derive(Default)]
pub struct Connections {
    settings: Vec<(AccountId, Arc<Connected>)>,
    stored: RwLock<std::collections::BTreeMap<Key, Arc<Connected>>>,
}

impl Connections {
    /// With the connections of the settings.
    pub fn new(settings: impl IntoIterator<Item = (AccountId, ConnectionDescription)>) -> Self {
        let entry = |(account, described)| (account, Connected::new(described));
        Self { settings: settings.into_iter().map(entry).collect(), ..Self::default() }
    }

    /// The connection that `role` stands for in actions of one of `kinds` of a rule: the first kind goes before the second,
    /// the settings before what the account says, and then the names decide.
    pub fn find(&self, account: AccountId, kinds: &[&str], role: &str, rule: &str) -> Option<Arc<Connected>> {
        let stored = self.stored.read();
        let beginning = (account, String::new());
        let of_account = stored.range(beginning..).take_while(|((whose, _), _)| *whose == account);
        let of_settings = self.settings.iter().filter(|(whose, _)| *whose == account);
        let all: Vec<_> = of_settings.map(|(_, one)| one).chain(of_account.map(|(_, one)| one)).collect();
        kinds.iter().find_map(|kind| {
            let serves =
                |one: &&&Arc<Connected>| one.connection.kind == *kind && one.connection.serves(role, rule);
            all.iter().find(serves).map(|one| (*one).clone())
        })
    }

    /// The connection of kind `http` that an address is at or below, if it lets the rule in (`None`: whatever rule will ask); of
    /// several the closest.
    pub fn at(&self, account: AccountId, url: &str, rule: Option<&str>) -> Option<Arc<Connected>> {
        let length = |one: &Arc<Connected>| {
            let endpoint = one.connection.endpoint.as_deref().filter(|_| one.connection.kind == "http")?;
            let lets_in = rule.is_none_or(|rule| one.connection.lets_in(rule));
            (is_below(endpoint, url) && lets_in).then_some(endpoint.len())
        };
        let stored = self.stored.read();
        let beginning = (account, String::new());
        let of_account = stored.range(beginning..).take_while(|((whose, _), _)| *whose == account);
        let of_settings = self.settings.iter().filter(|(whose, _)| *whose == account);
        let all = of_settings.map(|(_, one)| one).chain(of_account.map(|(_, one)| one));
        all.filter_map(|one| Some((length(one)?, one)))
            .max_by_key(|(length, _)| *length)
            .map(|(_, one)| one.clone())
    }

    /// The connection of a kind that an account's rule names.
    pub fn named(&self, account: AccountId, kind: &str, name: &str, rule: &str) -> Option<Arc<Connected>> {
        let serves = |one: &Arc<Connected>| one.connection.kind == kind && one.connection.lets_in(rule);
        let of_settings = self.settings.iter().find(|(whose, one)| *whose == account && one.name == name);
        let found = match of_settings {
            Some((_, one)) => Some(one.clone()),
            None => self.stored.read().get(&(account, name.to_owned())).cloned(),
        };
        found.filter(serves)
    }

    fn put(&self, account: AccountId, described: ConnectionDescription) -> Key {
        let key = (account, described.name.clone());
        self.stored.write().insert(key.clone(), Connected::new(described));
        key
    }
}

/// Follows the metadata store until it shuts down. Changes wait for it from this call on.
pub fn follow(connections: Arc<Connections>, metadata: Arc<dyn Metadata>) -> impl Future<Output = ()> + Send {
    let marker = metadata.register("connections");
    let mut watch = metadata.watch(vec![keys::connections_prefix()], None);
    async move {
        // What a listing does not name is gone.
        let mut listing: Option<FxHashSet<Key>> = None;
        while let Some(event) = poll_fn(|cx| watch.as_mut().poll_next(cx)).await {
            match event {
                WatchEvent::Reset => listing = Some(FxHashSet::default()),
                WatchEvent::Put { key, value, .. } => match connections::decode(&key, &value) {
                    Some((account, described)) => {
                        let key = connections.put(account, described);
                        listing.iter_mut().for_each(|listing| _ = listing.insert(key.clone()));
                    }
                    None => tracing::error!("a connection in the metadata store cannot be read"),
                },
                WatchEvent::Delete { key, .. } => {
                    let gone = connections::key_of(&key);
                    gone.into_iter().for_each(|key| _ = connections.stored.write().remove(&key));
                }
                WatchEvent::Synced(position) => {
                    if let Some(listing) = listing.take() {
                        connections.stored.write().retain(|key, _| listing.contains(key));
                    }
                    marker(position.revision);
                }
                WatchEvent::Progress(position) => marker(position.revision),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use fleethaven_types::Timestamp;

    use super::*;

    const ROLE: &str = "arn:aws:iam::123456789012:role/iot";

    fn described(name: &str, kind: &str, rule: &str) -> ConnectionDescription {
        let connection = Connection {
            kind: kind.to_owned(),
            endpoint: None,
            region: None,
            credentials: None,
            roles: vec![ROLE.to_owned()],
            rules: vec![rule.to_owned()],
            options: std::collections::BTreeMap::new(),
            tls: ConnectionTls::default(),
        };
        ConnectionDescription { name: name.to_owned(), connection, created_at: Timestamp(0) }
    }

    fn account(digits: &str) -> AccountId {
        digits.parse().unwrap()
    }

    #[test]
    fn the_first_kind_and_the_settings_go_first() {
        let home = account("123456789012");
        let connections = Connections::new([(home, described("z", "aws", "*"))]);
        let find = |kinds: &[&str], role, rule| {
            connections.find(home, kinds, role, rule).map(|found| found.name.clone())
        };
        connections.put(home, described("b", "aws", "*"));
        connections.put(home, described("c", "s3", "archive"));
        assert_eq!(find(&["s3", "aws"], ROLE, "archive").as_deref(), Some("c"));
        assert_eq!(find(&["s3", "aws"], ROLE, "other").as_deref(), Some("z"));
        assert_eq!(find(&["s3"], ROLE, "other"), None, "the rule is not let in");
        assert_eq!(find(&["aws"], "arn:aws:iam::123456789012:role/x", "other"), None);
        assert!(connections.find(account("210987654321"), &["aws"], ROLE, "other").is_none());
    }

    #[test]
    fn a_rule_that_is_let_in_may_name_a_connection() {
        let home = account("123456789012");
        let connections = Connections::new([(home, described("a", "redis", "r"))]);
        connections.put(home, described("a", "redis", "*"));
        connections.put(home, described("b", "redis", "*"));
        let named = |kind, name, rule| connections.named(home, kind, name, rule).is_some();
        assert!(named("redis", "a", "r") && named("redis", "b", "other"));
        assert!(!named("redis", "a", "other"), "the settings go first");
        assert!(!named("postgres", "b", "r") && !named("redis", "c", "r"));
        assert!(connections.named(account("210987654321"), "redis", "b", "r").is_none());
    }

    #[test]
    fn an_address_has_the_closest_connection_above_it() {
        let home = account("123456789012");
        let connections = Connections::default();
        for (name, endpoint, rule) in [
            ("host", "https://a.example", "*"),
            ("path", "https://a.example/x", "r"),
            ("other", "https://b.example", "*"),
        ] {
            let mut described = described(name, "http", rule);
            described.connection.endpoint = Some(endpoint.to_owned());
            connections.put(home, described);
        }
        let at = |url, rule| connections.at(home, url, Some(rule)).map(|found| found.name.clone());
        assert_eq!(at("https://a.example/x/y", "r").as_deref(), Some("path"));
        assert_eq!(at("https://a.example/x/y", "other").as_deref(), Some("host"));
        assert_eq!(at("https://a.example/xy", "r").as_deref(), Some("host"));
        assert_eq!(at("https://a.example.evil/", "r"), None);
    }

    #[test]
    fn a_changed_connection_has_clients_of_its_own() {
        let home = account("123456789012");
        let connections = Connections::default();
        connections.put(home, described("a", "s3", "*"));
        let client = |made: u32| {
            let found = connections.find(home, &["s3"], ROLE, "r").unwrap();
            found.client("eu-west-1", || made)
        };
        assert_eq!((client(1), client(2)), (1, 1));
        connections.put(home, described("a", "s3", "*"));
        assert_eq!(client(3), 3);
    }
}
