//! `--check-config`: everything about the settings that can be tried without leaving a trace. All that is wrong is told at
//! once.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;

use anyhow::{Result, bail};
use fleethaven_daemon::clock;
use fleethaven_pki::ServiceRole;
use fleethaven_telemetry::logs;

use crate::cli::{
    Command, EncryptionArgs, IdentityArgs, ListenerArgs, OutboundArgs, ProcessArgs, ServerArgs, StoreArgs,
};
use crate::encryption::{Masters, issuing_keys};
use crate::wiring::http_client;
use crate::{certificates, cluster_tls, traces};

/// What cannot work.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn note(&mut self, what: &str, outcome: Result<()>) {
        if let Err(error) = outcome {
            self.0.push(format!("{what}: {error:#}"));
        }
    }
}

/// Checks what reading the settings has not: logs, names, certificates, ports, the data directory.
pub(crate) fn check(command: &Command) -> Result<()> {
    let mut problems = Problems::default();
    match command {
        Command::Dev(arguments) => {
            problems.log(&arguments.process);
            problems.server(&arguments.server);
            problems.note("--data-dir", data_dir(&arguments.data_dir));
            problems.encryption(&arguments.encryption);
            problems.outbound(&arguments.outbound);
            let mut ports = listeners(&arguments.listeners);
            ports.push(("--admin", Some(arguments.process.admin)));
            problems.ports(&ports, arguments.listeners.quic);
        }
        Command::Metastore(arguments) => {
            problems.log(&arguments.process);
            problems.cluster_tls(&arguments.identity, ServiceRole::Metastore);
            problems.note("--data-dir", data_dir(&arguments.data_dir));
            problems.encryption(&arguments.encryption);
            let ports =
                [("--listen", Some(arguments.listen.listen)), ("--admin", Some(arguments.process.admin))];
            problems.ports(&ports, None);
        }
        Command::Api(arguments) => {
            problems.log(&arguments.process);
            problems.cluster_tls(&arguments.cluster.identity, ServiceRole::Api);
            problems.store(&arguments.store);
            problems.server(&arguments.server);
            problems.outbound(&arguments.outbound);
            let ports = [("--https", Some(arguments.web.https)), ("--admin", Some(arguments.process.admin))];
            problems.ports(&ports, None);
        }
        Command::Gateway(arguments) => {
            problems.log(&arguments.process);
            problems.cluster_tls(&arguments.cluster.identity, ServiceRole::Gateway);
            problems.store(&arguments.store);
            problems.server(&arguments.server);
            problems.outbound(&arguments.outbound);
            let mut ports = listeners(&arguments.listeners);
            ports.push(("--listen", Some(arguments.member.listen.listen)));
            ports.push(("--admin", Some(arguments.process.admin)));
            problems.ports(&ports, arguments.listeners.quic);
        }
        Command::Router(arguments) => {
            problems.log(&arguments.process);
            problems.cluster_tls(&arguments.cluster.identity, ServiceRole::Router);
            problems.store(&arguments.store);
            let listen = arguments.member.listen.listen;
            let ports = [("--listen", Some(listen)), ("--admin", Some(arguments.process.admin))];
            problems.ports(&ports, None);
        }
        Command::RulesWorker(arguments) => {
            problems.log(&arguments.process);
            problems.cluster_tls(&arguments.cluster.identity, ServiceRole::RulesWorker);
            problems.store(&arguments.store);
            problems.outbound(&arguments.outbound);
            problems.ports(&[("--admin", Some(arguments.process.admin))], None);
        }
        // The others do one thing and end.
        _ => {}
    }
    match problems.0.as_slice() {
        [] => Ok(()),
        problems => bail!("{} of the settings cannot work:\n  {}", problems.len(), problems.join("\n  ")),
    }
}

impl Problems {
    fn encryption(&mut self, arguments: &EncryptionArgs) {
        self.note("--encryption-key-file", Masters::of(arguments).map(drop));
        let sealing = arguments.issuing_key_file.as_deref().map(issuing_keys::read).transpose();
        self.note("--issuing-key-file", sealing.map(drop));
    }

    fn log(&mut self, arguments: &ProcessArgs) {
        let format =
            arguments.log_format.as_ref().map_or(Ok(()), |format| format.parse::<logs::Format>().map(drop));
        let log = logs::check_filter(&arguments.log).and(format);
        self.note("--log, --log-format", log.map_err(anyhow::Error::from));
        self.note("traces", traces::check(&arguments.traces));
    }

    fn outbound(&mut self, arguments: &OutboundArgs) {
        self.note("--outbound-ca", http_client(arguments).map(drop));
    }

    fn server(&mut self, arguments: &ServerArgs) {
        match arguments.given() {
            Some(given) => {
                self.note("--server-cert, --server-key", certificates::identity(&given).map(drop));
            }
            None => {
                self.note("--san, --base-domain", certificates::check_san(arguments, clock::now().as_secs()))
            }
        }
        for pair in &arguments.sni_cert {
            let read = certificates::identity(pair);
            self.note("--sni-cert", read.and_then(|identity| certificates::check_names(pair, &identity)));
        }
    }

    fn store(&mut self, arguments: &StoreArgs) {
        self.note("--redis", arguments.options().map(drop));
    }

    fn cluster_tls(&mut self, arguments: &IdentityArgs, role: ServiceRole) {
        self.note("--cluster-tls", cluster_tls::read(arguments.folder(), &[role]).map(drop));
    }

    /// Binds every port once and lets go of it; all are held until the last is tried, so that two listeners on one port are
    /// noticed.
    fn ports(&mut self, tcp: &[Port], quic: Option<SocketAddr>) {
        let mut held = Vec::new();
        for (flag, address) in tcp {
            let Some(address) = *address else { continue };
            let bound = TcpListener::bind(address).map(|listener| held.push(listener));
            self.note(flag, bound.map_err(|error| in_the_way(address, flag, &error)));
        }
        if let Some(address) = quic {
            let bound = UdpSocket::bind(address).map(drop);
            self.note("--quic", bound.map_err(|error| in_the_way(address, "--quic", &error)));
        }
    }
}

/// A flag and the address that it names.
type Port = (&'static str, Option<SocketAddr>);

fn listeners(arguments: &ListenerArgs) -> Vec<Port> {
    vec![
        ("--mqtt-tls", Some(arguments.mqtt_tls)),
        ("--https", Some(arguments.web.https)),
        ("--https-mtls", arguments.https_mtls),
        ("--mqtt", arguments.mqtt),
    ]
}

/// It is made on first start; whatever stands in its place must be a directory.
fn data_dir(path: &Path) -> Result<()> {
    let nearest = path.ancestors().find(|part| part.exists());
    match nearest {
        Some(part) if !part.is_dir() => {
            bail!("{} is in the way: it is no directory; choose another --data-dir", part.display())
        }
        _ => Ok(()),
    }
}

fn in_the_way(address: SocketAddr, flag: &str, error: &std::io::Error) -> anyhow::Error {
    anyhow::anyhow!(
        "cannot listen on {address}: {error}; stop what listens there (this very instance, if it runs), or choose another \
         {flag}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::parsed;

    fn checked(line: &str) -> Result<()> {
        check(&parsed(&format!("dev --https 127.0.0.1:0 --mqtt-tls 127.0.0.1:0 {line}")))
    }

    #[test]
    fn all_that_is_wrong_is_told_with_the_fix() {
        checked("--san iot.example").unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap();
        let line = format!(
            "--log fleethaven=loud --log-format xml --san a..b --sni-cert cert=/none.pem,key=/none.key \
             --data-dir /dev/null/x --admin {port}"
        );
        let told = checked(&line).unwrap_err().to_string();
        for part in [
            "5 of the settings",
            "fleethaven=loud",
            "a..b",
            "/none.pem",
            "/dev/null is in the way",
            "another --admin",
        ] {
            assert!(told.contains(part), "{part} in {told}");
        }
        let told = checked("--server-cert /none.pem --server-key /none.key").unwrap_err().to_string();
        assert!(told.contains("--server-cert") && told.contains("/none.pem"), "{told}");
    }

    #[test]
    fn a_node_of_the_metadata_store_needs_its_certificate() {
        let line = "metastore --node-id 1 --listen 127.0.0.1:0 --cluster-tls /none";
        let told = check(&parsed(line)).unwrap_err().to_string();
        assert!(told.contains("--cluster-tls") && told.contains("/none/tls.crt"), "{told}");
    }
}
