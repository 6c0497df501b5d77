//! Real handshakes over loopback, with certificates made for each test.

mod backpressure;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use fleethaven_fabric::Metadata;
use fleethaven_fabric::Traces;
use fleethaven_fabric::metadata::Error as CallError;
use fleethaven_pki::{Attribute, Authority, Issued, Name, Serial, ServiceIdentity, ServiceRole, Validity};
use fleethaven_registry::shapes::CreateThing;
use fleethaven_registry::{Action, Command, Query, QueryKind};
use fleethaven_types::Timestamp;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tonic::{Code, Request};

use super::*;
use crate::client::{Client, Options};
use crate::generated::metadata as wire;
use crate::generated::metadata::metadata_client::MetadataClient;
use crate::generated::raft::TransferLeaderRequest;
use crate::generated::raft::raft_client::RaftClient;
use crate::server;
use crate::tests::fake::Fake;

const DAY: u64 = 86_400;

fn now() -> u64 {
    UnixTime::now().as_secs()
}

fn serial() -> Serial {
    Serial(*uuid::Uuid::new_v4().as_bytes())
}

fn valid() -> Validity {
    Validity { not_before: now() - DAY, not_after: now() + DAY }
}

fn authority() -> Authority {
    let name = Name::new(&[(Attribute::CommonName, "cluster CA")]).unwrap();
    Authority::create(&name, serial(), valid()).unwrap()
}

fn issue(ca: &Authority, cluster: &str, role: ServiceRole, validity: Validity) -> Issued {
    let identity = ServiceIdentity::new(cluster, role).unwrap();
    ca.issue_service(&identity, &[], serial(), validity).unwrap()
}

/// Files of a service in a folder of their own.
struct Service {
    folder: TempDir,
}

impl Service {
    fn new(ca: &Authority, role: ServiceRole, trust: &[&Authority]) -> Self {
        Self::of_cluster(ca, "prod", role, trust)
    }

    fn of_cluster(ca: &Authority, cluster: &str, role: ServiceRole, trust: &[&Authority]) -> Self {
        let service = Self { folder: tempfile::tempdir().unwrap() };
        service.replace(&issue(ca, cluster, role, valid()));
        service.trust(trust);
        service
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn replace(&self, issued: &Issued) {
        fs::write(self.path().join("tls.key"), &issued.private_key_pem).unwrap();
        fs::write(self.path().join("tls.crt"), issued.certificate.pem()).unwrap();
    }

    fn trust(&self, trusted: &[&Authority]) {
        let bundle: String = trusted.iter().map(|ca| ca.certificate().pem()).collect();
        fs::write(self.path().join("ca.crt"), bundle).unwrap();
    }

    fn try_open(&self) -> Result<Arc<Tls>, Error> {
        Tls::open(Files::in_folder(self.path()), &ServiceRole::ALL)
    }

    fn open(&self) -> Arc<Tls> {
        self.try_open().unwrap()
    }
}

/// A metastore that answers from memory.
async fn metastore(tls: &Arc<Tls>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(
        listener,
        tls.clone(),
        server::service(Fake::new()),
        Traces::off(),
        std::future::pending(),
    ));
    address
}

fn options() -> Options {
    let clock = || Timestamp(1_700_000_000_000);
    Options { prefixes: vec![Bytes::new()], timeout: Duration::from_secs(10), clock, first_node: 0 }
}

async fn ask(tls: &Arc<Tls>, address: SocketAddr, role: ServiceRole) -> Result<(), tonic::Status> {
    ask_on(tls.channel(&address.to_string(), role).unwrap()).await
}

async fn ask_on(channel: Channel) -> Result<(), tonic::Status> {
    let query = Query::new(Fake::new().scope(), QueryKind::Accounts);
    let message = crate::convert::query::request(&query).unwrap();
    MetadataClient::new(channel).query(Request::new(message)).await.map(drop)
}

#[tokio::test(start_paused = true)]
async fn what_no_connection_could_be_made_for_in_time_was_not_sent() {
    let ca = authority();
    let caller = Service::new(&ca, ServiceRole::Api, &[&ca]).open();
    // Nobody answers who connects here.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let late = ask(&caller, listener.local_addr().unwrap(), ServiceRole::Metastore).await.unwrap_err();
    assert!(crate::status::was_not_sent(&late), "{late:?}");
}

#[tokio::test]
async fn threads_of_their_own_serve_until_they_are_closed() {
    let ca = authority();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    static BEGUN: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let served = Served {
        tls: Service::new(&ca, ServiceRole::Metastore, &[&ca]).open(),
        routes: server::service(Fake::new()),
        traces: Traces::off(),
        begin: || {
            BEGUN.fetch_add(1, Ordering::SeqCst);
        },
    };
    let cores = Cores::start(2, listener, &served).unwrap();
    let caller = Service::new(&ca, ServiceRole::Api, &[&ca]).open();
    for _ in 0..3 {
        ask(&caller, address, ServiceRole::Metastore).await.unwrap();
    }
    let another = authority();
    let stranger = Service::new(&another, ServiceRole::Api, &[&another]).open();
    ask(&stranger, address, ServiceRole::Metastore).await.unwrap_err();

    let kept = caller.channel(&address.to_string(), ServiceRole::Metastore).unwrap();
    ask_on(kept.clone()).await.unwrap();
    cores.close().await;
    ask_on(kept).await.unwrap_err();
    assert_eq!(BEGUN.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn services_of_a_cluster_talk() {
    let ca = authority();
    let address = metastore(&Service::new(&ca, ServiceRole::Metastore, &[&ca]).open()).await;
    for role in [ServiceRole::Gateway, ServiceRole::Router, ServiceRole::Api, ServiceRole::RulesWorker] {
        let caller = Service::new(&ca, role, &[&ca]).open();
        ask(&caller, address, ServiceRole::Metastore).await.unwrap();
    }
}

#[tokio::test]
async fn a_role_calls_only_what_it_may() {
    let ca = authority();
    let address = metastore(&Service::new(&ca, ServiceRole::Metastore, &[&ca]).open()).await;
    let gateway = Service::new(&ca, ServiceRole::Gateway, &[&ca]).open();
    let channel = gateway.channel(&address.to_string(), ServiceRole::Metastore).unwrap();
    let raft = RaftClient::new(channel.clone()).transfer_leader(TransferLeaderRequest::default()).await;
    assert_eq!(raft.unwrap_err().code(), Code::PermissionDenied);
    let execute = MetadataClient::new(channel).execute(wire::ExecuteRequest::default()).await;
    assert_eq!(execute.unwrap_err().code(), Code::PermissionDenied);
    let node = Service::new(&ca, ServiceRole::Metastore, &[&ca]).open();
    let channel = node.channel(&address.to_string(), ServiceRole::Metastore).unwrap();
    let raft = RaftClient::new(channel).transfer_leader(TransferLeaderRequest::default()).await;
    assert_eq!(raft.unwrap_err().code(), Code::Unimplemented, "admitted; this server has no raft");
}

#[tokio::test]
async fn a_command_that_a_role_may_not_give_is_known_to_have_changed_nothing() {
    let ca = authority();
    let address = metastore(&Service::new(&ca, ServiceRole::Metastore, &[&ca]).open()).await;
    let router = Service::new(&ca, ServiceRole::Router, &[&ca]).open();
    let channel = router.channel(&address.to_string(), ServiceRole::Metastore).unwrap();
    let client = Client::new(vec![channel], options());
    let thing = CreateThing { thing_name: "sensor01".to_owned(), ..CreateThing::default() };
    let command = Command::new(Fake::new().scope(), Action::CreateThing(Box::new(thing)));
    match client.execute(command).await {
        Err(CallError::Unavailable(why)) => assert!(why.contains("role of the certificate"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_caller_notices_that_it_has_reached_another_role() {
    let ca = authority();
    let address = metastore(&Service::new(&ca, ServiceRole::Gateway, &[&ca]).open()).await;
    let caller = Service::new(&ca, ServiceRole::Api, &[&ca]).open();
    let refused = ask(&caller, address, ServiceRole::Metastore).await.unwrap_err();
    assert!(crate::status::was_not_sent(&refused), "{refused:?}");
    ask(&caller, address, ServiceRole::Gateway).await.unwrap();
}

#[tokio::test]
async fn strangers_are_refused_by_either_side() {
    let (ca, other) = (authority(), authority());
    let server = Service::new(&ca, ServiceRole::Metastore, &[&ca]);
    let address = metastore(&server.open()).await;
    // Trusts our CA, but has its certificate from another one: our side refuses it.
    let stranger = Service::new(&other, ServiceRole::Api, &[&other, &ca]).open();
    assert!(ask(&stranger, address, ServiceRole::Metastore).await.is_err());
    // Has a good certificate, but trusts another CA: it refuses us.
    let misled = Service::new(&other, ServiceRole::Metastore, &[&other]);
    let caller = Service::new(&ca, ServiceRole::Api, &[&ca]).open();
    let address = metastore(&misled.open()).await;
    assert!(ask(&caller, address, ServiceRole::Metastore).await.is_err());
    // One CA for two clusters.
    let neighbour = Service::of_cluster(&ca, "test", ServiceRole::Api, &[&ca]).open();
    let address = metastore(&server.open()).await;
    assert!(ask(&neighbour, address, ServiceRole::Metastore).await.is_err());
}

/// A handshake by hand, to its end: with TLS 1.3 a client learns that it was refused from the first read.
async fn handshake(
    server: &Arc<Tls>,
    address: SocketAddr,
    issued: Option<&Issued>,
) -> std::io::Result<usize> {
    let trust = server.current().trust.clone();
    let verifier = verify::Server { trust, role: ServiceRole::Metastore };
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let config = match issued {
        None => config.with_no_client_auth(),
        Some(issued) => {
            let chain = vec![CertificateDer::from(issued.certificate.der().to_vec())];
            let key = PrivateKeyDer::from_pem_slice(issued.private_key_pem.as_bytes()).unwrap();
            config.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from("any.name").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
    stream.read(&mut [0; 16]).await
}

#[tokio::test]
async fn without_a_valid_certificate_nobody_gets_in() {
    let ca = authority();
    let server = Service::new(&ca, ServiceRole::Metastore, &[&ca]).open();
    let address = metastore(&server).await;
    let good = issue(&ca, "prod", ServiceRole::Api, valid());
    assert!(handshake(&server, address, Some(&good)).await.unwrap() > 0, "HTTP/2 settings arrive");
    let expired = Validity { not_before: now() - 2 * DAY, not_after: now() - DAY };
    let early = Validity { not_before: now() + DAY / 2, not_after: now() + DAY };
    let [expired, early] = [expired, early].map(|validity| issue(&ca, "prod", ServiceRole::Api, validity));
    let names = [fleethaven_pki::ServerName::Dns("api".into())];
    let nobody = ca.issue_server(&names, fleethaven_pki::EndEntityUse::Peer, serial(), valid()).unwrap();
    for (what, issued) in
        [("none", None), ("expired", Some(&expired)), ("early", Some(&early)), ("no service", Some(&nobody))]
    {
        assert!(handshake(&server, address, issued).await.is_err(), "{what}");
    }
}

#[tokio::test]
async fn certificates_and_cas_change_while_connected() {
    let (old, new) = (authority(), authority());
    let files = Service::new(&old, ServiceRole::Metastore, &[&old]);
    let server = files.open();
    let address = metastore(&server).await;
    let client_files = Service::new(&old, ServiceRole::Api, &[&old]);
    let client = client_files.open();
    let channel = client.channel(&address.to_string(), ServiceRole::Metastore).unwrap();
    ask_on(channel.clone()).await.unwrap();
    assert!(!server.reload().unwrap(), "nothing has changed");

    // First everyone trusts both CAs, then certificates come from the new one.
    for (tls, files) in [(&server, &files), (&client, &client_files)] {
        files.trust(&[&new, &old]);
        assert!(tls.reload().unwrap());
        ask_on(channel.clone()).await.unwrap();
    }
    files.replace(&issue(&new, "prod", ServiceRole::Metastore, valid()));
    assert!(server.reload().unwrap());
    ask_on(channel.clone()).await.expect("the connection goes on");
    ask(&client, address, ServiceRole::Metastore).await.expect("and a new one sees the new certificate");

    // Whoever still has a certificate of the old CA when that is dropped is cut off, connected or not.
    files.trust(&[&new]);
    assert!(server.reload().unwrap());
    assert!(ask_on(channel.clone()).await.is_err());
    assert!(ask(&client, address, ServiceRole::Metastore).await.is_err());
    client_files.replace(&issue(&new, "prod", ServiceRole::Api, valid()));
    assert!(client.reload().unwrap());
    ask_on(channel).await.expect("the same channel, with the new certificate");
}

#[tokio::test]
async fn what_cannot_be_used_leaves_what_is_in_force() {
    let (ca, other) = (authority(), authority());
    let files = Service::new(&ca, ServiceRole::Metastore, &[&ca]);
    let server = files.open();
    let address = metastore(&server).await;
    let caller = Service::new(&ca, ServiceRole::Api, &[&ca]).open();
    let write = |name: &str, text: &str| fs::write(files.path().join(name), text).unwrap();
    let good = issue(&ca, "prod", ServiceRole::Metastore, valid());
    let expired = Validity { not_before: now() - 2 * DAY, not_after: now() - DAY };
    let expired = issue(&ca, "prod", ServiceRole::Metastore, expired);
    let stranger = issue(&other, "prod", ServiceRole::Metastore, valid());
    let changes: [(&str, &dyn Fn(), &str); 7] = [
        ("a key that is not the certificate's", &|| write("tls.key", &stranger.private_key_pem), "tls.crt"),
        ("no key", &|| write("tls.key", "nothing"), "tls.key"),
        ("no certificate", &|| write("tls.crt", ""), "there is no certificate"),
        ("no CA", &|| write("ca.crt", ""), "ca.crt: there is no CA certificate"),
        ("another CA's certificate", &|| files.replace(&stranger), "no trusted CA issued it"),
        ("an expired one", &|| files.replace(&expired), "expired"),
        (
            "another role's",
            &|| files.replace(&issue(&ca, "prod", ServiceRole::Router, valid())),
            "spiffe://prod/role/router, not for spiffe://prod/role/metastore",
        ),
    ];
    for (what, change, told) in changes {
        files.replace(&good);
        files.trust(&[&ca]);
        server.reload().unwrap();
        change();
        let error = server.reload().expect_err(what).to_string();
        assert!(error.contains(told), "{what}: {error}");
        assert!(!server.reload().unwrap(), "told once");
        ask(&caller, address, ServiceRole::Metastore).await.unwrap();
    }
    fs::remove_file(files.path().join("tls.crt")).unwrap();
    assert!(server.reload().is_err());
    ask(&caller, address, ServiceRole::Metastore).await.unwrap();
}

#[test]
fn a_process_starts_only_with_a_certificate_of_its_role() {
    let ca = authority();
    let files = Service::new(&ca, ServiceRole::Gateway, &[&ca]);
    let open = |roles: &[ServiceRole]| Tls::open(Files::in_folder(files.path()), roles);
    assert_eq!(open(&[ServiceRole::Gateway]).ok().unwrap().identity().role(), ServiceRole::Gateway);
    let refused = open(&[ServiceRole::Metastore]).err().unwrap().to_string();
    assert!(refused.ends_with("is for spiffe://prod/role/gateway, not for role metastore"), "{refused}");
}

#[tokio::test]
async fn a_metadata_client_follows_over_tls() {
    let ca = authority();
    let address = metastore(&Service::new(&ca, ServiceRole::Metastore, &[&ca]).open()).await;
    let api = Service::new(&ca, ServiceRole::Api, &[&ca]).open();
    let channel = api.channel(&address.to_string(), ServiceRole::Metastore).unwrap();
    let client = Client::new(vec![channel], options());
    client.level().await;
    let absent = Query::new(Fake::new().scope(), QueryKind::DescribeThing("absent".into()));
    assert!(matches!(client.query_local(absent), Err(CallError::Refused(_))));
}
