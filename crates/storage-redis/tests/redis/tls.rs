//! TLS to Redis, and a user of Redis who may do no more than the store needs.

use fleethaven_storage_redis::{Error, Options, RedisStore, Tls};
use rcgen::{CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::asking::{Asking, token};
use crate::faults::options_at;
use crate::server::{Server, free_port};

/// What `docs/operations.md` says that the user needs.
const USER: [&str; 12] = [
    "--user",
    "fleethaven",
    "on",
    ">p@ss",
    "~fleethaven:*",
    "-@all",
    "+@read",
    "+@write",
    "+@scripting",
    "+@connection",
    "+wait",
    "+info",
];

struct Certified {
    server: Server,
    roots: Vec<u8>,
    identity: (Vec<u8>, Vec<u8>),
    port: String,
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "authority");
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A server that speaks TLS only, to clients with a certificate, beside its socket.
fn start() -> Certified {
    let authority = authority();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (roots, chain, private) = (authority.pem(), certificate.pem(), key.serialize_pem());
    let port = free_port();
    let (ca, cert, key) = (file("ca.pem", &roots), file("cert.pem", &chain), file("key.pem", &private));
    let tls =
        ["--tls-port", &port, "--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", &ca];
    let server = Server::start(&[&tls[..], &USER[..], &["+config|get"]].concat());
    Certified {
        server,
        roots: roots.into_bytes(),
        identity: (chain.into_bytes(), private.into_bytes()),
        port,
    }
}

impl Certified {
    fn open(&self, login: &str, tls: Tls) -> Result<std::sync::Arc<RedisStore>, Error> {
        let address = format!("rediss://{login}127.0.0.1:{}", self.port);
        RedisStore::open(Options { tls, ..options_at(&address) })
    }

    fn tls(&self) -> Tls {
        Tls { roots: Some(self.roots.clone()), identity: Some(self.identity.clone()) }
    }
}

#[test]
fn a_user_with_a_password_and_a_certificate_is_served() {
    let certified = start();
    let store = certified.open("fleethaven:p%40ss@", certified.tls()).unwrap();
    let claimed = Asking::new(&*store).claim("client", token(1)).unwrap();
    assert!(!claimed.session_present);
    certified.server.command(&["PING"]);
}

#[test]
fn nobody_else_is() {
    let certified = start();
    let refused = |login: &str, tls| match certified.open(login, tls) {
        Err(Error::Unreachable(reason) | Error::Refused(reason)) => reason,
        other => panic!("{:?}", other.err()),
    };
    let wrong = refused("fleethaven:wrong@", certified.tls());
    assert!(!wrong.contains("wrong"), "{wrong}");
    refused("fleethaven:p%40ss@", Tls { identity: None, ..certified.tls() });
    let other = Some(authority().pem().into_bytes());
    refused("fleethaven:p%40ss@", Tls { roots: other, ..certified.tls() });
}
