//! `fleethaven pki`: the CA of a cluster, and the certificates that it issues.
//!
//! The CA's folder holds `trust.pem`, every CA that is trusted, the newest first, and `ca-key.pem`, the key of the one that
//! issues. A process gets `tls.crt`, `tls.key` and, copied from `trust.pem`, `ca.crt`; a node of the metadata store gets `issuing-keys`, too,
//! what seals the private keys of issuing CAs, which is made in the CA's folder when the first node is issued its certificate.

use std::path::Path;

use anyhow::{Context, Result, bail};
use fleethaven_daemon::clock;
use fleethaven_pki::{
    Attribute, Authority, Certificate, Name, Serial, ServerName, ServiceIdentity, ServiceRole, Validity,
};
use serde::Serialize;

use crate::certificates;
use crate::cli::{CaArgs, InitArgs, IssueArgs, PkiCommand, ServerCertificateArgs};
use crate::data_dir::DataDir;
use crate::encryption::issuing_keys;
use crate::process;

mod kubernetes;

const CA_KEY: &str = "ca-key.pem";
const TRUST: &str = "trust.pem";
const DAY: u64 = 86_400;
const CA_DAYS: u64 = 3650;
/// Certificates are valid already, for clocks that lag.
const BACKDATED: u64 = 3600;

/// What was done, printed as a line of JSON.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Done {
    Authority {
        cluster: String,
        trusted: usize,
        not_after: u64,
    },
    Issued {
        identity: String,
        folder: String,
        not_after: u64,
    },
    Server {
        ca_file: String,
        server_cert: String,
        server_key: String,
    },
    /// Secrets that were made or changed.
    Kept {
        changed: Vec<String>,
    },
}

/// Runs the command.
pub(crate) fn main(command: &PkiCommand) -> Result<()> {
    process::print_line(&carry_out(command, clock::now().as_secs())?)
}

fn carry_out(command: &PkiCommand, now: u64) -> Result<Done> {
    match command {
        PkiCommand::Init(arguments) => init(arguments, now),
        PkiCommand::Issue(arguments) => issue(arguments, now),
        PkiCommand::Rotate(arguments) => rotate(arguments, now),
        PkiCommand::Retire(arguments) => retire(arguments),
        PkiCommand::Server(arguments) => server(arguments, now),
        PkiCommand::Kubernetes(arguments) => process::brief(kubernetes::keep(arguments, now)),
    }
}

fn init(arguments: &InitArgs, now: u64) -> Result<Done> {
    // Any role will do: the name is what is checked.
    ServiceIdentity::new(&arguments.cluster, ServiceRole::Operator)?;
    let folder = DataDir::open(&arguments.ca.dir)?;
    if folder.read(CA_KEY)?.is_some() {
        if arguments.if_absent {
            let (present, trusted) = (load(&folder)?, trusted(&folder)?.len());
            let not_after = present.certificate().not_after;
            return Ok(Done::Authority { cluster: cluster(&present)?, trusted, not_after });
        }
        bail!("{} has a CA already: `fleethaven pki rotate` makes the next one", arguments.ca.dir.display());
    }
    let authority = create(&arguments.cluster, now)?;
    write(&folder, &authority, &[])
}

fn rotate(arguments: &CaArgs, now: u64) -> Result<Done> {
    let folder = DataDir::open(&arguments.dir)?;
    let present = load(&folder)?;
    let next = create(&cluster(&present)?, now)?;
    // Expired ones vouch for nothing any more.
    let mut trusted = trusted(&folder)?;
    trusted.retain(|ca| ca.check_validity(now).is_ok());
    write(&folder, &next, &trusted)
}

fn retire(arguments: &CaArgs) -> Result<Done> {
    let folder = DataDir::open(&arguments.dir)?;
    write(&folder, &load(&folder)?, &[])
}

fn issue(arguments: &IssueArgs, now: u64) -> Result<Done> {
    let folder = DataDir::open(&arguments.ca.dir)?;
    let authority = load(&folder)?;
    let ca = authority.certificate();
    ca.check_validity(now)
        .context("the CA cannot issue any more: `fleethaven pki rotate` makes the next one")?;
    let identity = ServiceIdentity::new(&cluster(&authority)?, arguments.role)?;
    // A certificate that outlived its CA would stop working without notice.
    let not_after = (now + arguments.days * DAY).min(ca.not_after);
    let validity = Validity { not_before: now - BACKDATED, not_after };
    let names = [ServerName::Dns(arguments.name.clone())];
    let issued = authority.issue_service(&identity, &names, serial(), validity)?;
    let trust = folder.read(TRUST)?.with_context(|| missing(&folder, TRUST))?;
    let out = arguments.out.clone().unwrap_or_else(|| folder.path(&arguments.name));
    let out = DataDir::open(&out)?;
    // The key last: until both are there, a process that looks keeps what it has.
    out.write("ca.crt", &trust)?;
    out.write("tls.crt", &issued.certificate.pem())?;
    out.write("tls.key", &issued.private_key_pem)?;
    if arguments.role == ServiceRole::Metastore {
        // The same for all nodes. What an operator has put there stays.
        let made = folder.make(issuing_keys::FILE, &issuing_keys::new_file()?)?;
        let keys = std::fs::read_to_string(&made);
        out.make(issuing_keys::FILE, &keys.with_context(|| format!("cannot read {}", made.display()))?)?;
    }
    Ok(Done::Issued { identity: identity.to_string(), folder: shown(&out.path("")), not_after })
}

fn server(arguments: &ServerCertificateArgs, now: u64) -> Result<Done> {
    let folder = DataDir::open(&arguments.dir)?;
    let names = certificates::names(&arguments.san, arguments.base_domain.as_deref());
    let files = certificates::own(&folder, &names, now)?;
    Ok(Done::Server {
        ca_file: shown(&files.ca_file),
        server_cert: shown(&files.default.certificate),
        server_key: shown(&files.default.key),
    })
}

fn create(cluster: &str, now: u64) -> Result<Authority> {
    let name = Name::new(&[(Attribute::Organization, "Fleethaven"), (Attribute::CommonName, cluster)])?;
    let validity = Validity { not_before: now - BACKDATED, not_after: now + CA_DAYS * DAY };
    Authority::create(&name, serial(), validity).context("cannot make a CA")
}

fn serial() -> Serial {
    Serial(*uuid::Uuid::new_v4().as_bytes())
}

/// The CA whose key is there: after a crash in the middle of a rotation, the one before.
fn load(folder: &DataDir) -> Result<Authority> {
    let key = folder.read(CA_KEY)?.with_context(|| missing(folder, CA_KEY))?;
    let mut tried = trusted(folder)?.into_iter().map(|ca| Authority::from_pem(&ca.pem(), &key));
    let found = tried.find_map(Result::ok);
    found.with_context(|| format!("{} is no key of a CA in {TRUST}", folder.path(CA_KEY).display()))
}

fn missing(folder: &DataDir, name: &str) -> String {
    format!("there is no {}: `fleethaven pki init` makes a CA", folder.path(name).display())
}

/// A CA bears the name of its cluster.
fn cluster(authority: &Authority) -> Result<String> {
    let name = authority.certificate().subject.common_name();
    name.map(str::to_owned).context("the CA has no common name, which is the cluster's")
}

fn trusted(folder: &DataDir) -> Result<Vec<Certificate>> {
    let bundle = folder.read(TRUST)?.with_context(|| missing(folder, TRUST))?;
    let blocks = bundle.split_inclusive("-----END CERTIFICATE-----").filter(|block| block.contains("BEGIN"));
    let read = blocks.map(Certificate::parse_pem).collect::<Result<_, _>>();
    read.with_context(|| format!("{} cannot be read", folder.path(TRUST).display()))
}

/// Writes the CA that issues, and what is trusted beside it.
fn write(folder: &DataDir, authority: &Authority, others: &[Certificate]) -> Result<Done> {
    let ca = authority.certificate();
    let trust: String = std::iter::once(ca)
        .chain(others.iter().filter(|other| other.id != ca.id))
        .map(Certificate::pem)
        .collect();
    // Trusted before it can issue.
    folder.write(TRUST, &trust)?;
    folder.write(CA_KEY, authority.private_key_pem())?;
    let trusted = trust.matches("BEGIN CERTIFICATE").count();
    Ok(Done::Authority { cluster: cluster(authority)?, trusted, not_after: ca.not_after })
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use fleethaven_fabric_grpc::tls::{Files, Tls};

    use super::*;
    use crate::cli::{Command, parsed};

    const NOW: u64 = 1_800_000_000;

    fn run(line: &str, now: u64) -> Result<Done> {
        let Command::Pki(command) = parsed(&format!("pki {line}")) else { panic!("another command") };
        carry_out(&command, now)
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_cluster_has_one_ca_and_a_process_one_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("pki");
        let at = format!("--dir {}", dir.display());
        let early = run(&format!("issue {at} --role api --name api-0"), NOW).unwrap_err();
        assert!(format!("{early:#}").contains("pki init"), "{early:#}");
        assert!(run(&format!("init {at} --cluster Prod"), NOW).unwrap_err().to_string().contains("'Prod'"));
        run(&format!("init {at} --cluster prod"), NOW).unwrap();
        assert!(run(&format!("init {at}"), NOW).unwrap_err().to_string().contains("has a CA already"));
        run(&format!("issue {at} --role rules-worker --name worker-0 --days 7"), NOW).unwrap();
        assert_eq!((mode(&dir), mode(&dir.join(CA_KEY))), (0o700, 0o600));
        assert_eq!(mode(&dir.join("worker-0/tls.key")), 0o600);
        for node in ["node-1", "node-2", "node-1"] {
            run(&format!("issue {at} --role metastore --name {node}"), NOW).unwrap();
        }
        let keys = |node: &str| std::fs::read(dir.join(node).join(issuing_keys::FILE)).unwrap();
        assert_eq!(keys("node-1"), keys("node-2"), "nodes open what others have sealed");
        assert_eq!(mode(&dir.join("node-1").join(issuing_keys::FILE)), 0o600);
        assert!(!dir.join("worker-0").join(issuing_keys::FILE).exists());
        let pem = std::fs::read_to_string(dir.join("worker-0/tls.crt")).unwrap();
        let certificate = Certificate::parse_pem(&pem).unwrap();
        assert_eq!(ServiceIdentity::of(&certificate).unwrap().to_string(), "spiffe://prod/role/rules-worker");
        assert_eq!(certificate.not_after, NOW + 7 * DAY);
        // Never longer than its CA.
        run(&format!("issue {at} --role api --name api-0 --days 3650"), NOW + DAY).unwrap();
        let pem = std::fs::read_to_string(dir.join("api-0/tls.crt")).unwrap();
        assert_eq!(Certificate::parse_pem(&pem).unwrap().not_after, NOW + CA_DAYS * DAY);
        let late = run(&format!("issue {at} --role api --name api-0"), NOW + 2 * CA_DAYS * DAY).unwrap_err();
        assert!(late.to_string().contains("pki rotate"), "{late:#}");
    }

    #[test]
    fn a_rotation_trusts_both_cas_until_the_old_one_retires() {
        let folder = tempfile::tempdir().unwrap();
        let at = format!("--dir {}", folder.path().display());
        let now = clock::now().as_secs();
        let issue = |name: &str| run(&format!("issue {at} --role gateway --name {name}"), now).unwrap();
        let opens = |name: &str, trust: &str| {
            let files =
                Files { trust: folder.path().join(trust), ..Files::in_folder(&folder.path().join(name)) };
            Tls::open(files, &[ServiceRole::Gateway]).is_ok()
        };
        run(&format!("init {at}"), now).unwrap();
        issue("before");
        assert!(matches!(run(&format!("rotate {at}"), now).unwrap(), Done::Authority { trusted: 2, .. }));
        issue("after");
        assert!(opens("before", TRUST) && opens("after", TRUST));
        assert!(!opens("after", "before/ca.crt"), "those who do not trust the new CA yet");
        assert!(matches!(run(&format!("retire {at}"), now).unwrap(), Done::Authority { trusted: 1, .. }));
        assert!(!opens("before", TRUST) && opens("after", TRUST));
    }

    #[test]
    fn a_crash_during_a_rotation_leaves_a_ca_that_issues() {
        let folder = tempfile::tempdir().unwrap();
        let at = format!("--dir {}", folder.path().display());
        run(&format!("init {at}"), NOW).unwrap();
        let key = std::fs::read(folder.path().join(CA_KEY)).unwrap();
        run(&format!("rotate {at}"), NOW).unwrap();
        std::fs::write(folder.path().join(CA_KEY), key).unwrap();
        run(&format!("issue {at} --role api --name api-0"), NOW).unwrap();
        assert!(matches!(run(&format!("rotate {at}"), NOW).unwrap(), Done::Authority { trusted: 3, .. }));
        std::fs::write(folder.path().join(CA_KEY), "nonsense").unwrap();
        assert!(run(&format!("rotate {at}"), NOW).unwrap_err().to_string().contains("is no key of a CA"));
    }
}
