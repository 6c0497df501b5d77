//! This machine: files that may be open, the disk, certificates.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fleethaven_daemon::clock;
use fleethaven_pki::Certificate;
use rustix::fs::statvfs;
use rustix::process::{Resource, getrlimit};

use super::Finding;
use crate::encryption::{STORES, safe};

/// Fewer files than this keep a gateway from serving many devices.
const FILES: u64 = 65_536;
/// Less of a disk than this is too little for a journal, in bytes and in hundredths.
const FREE_BYTES: u64 = 1 << 30;
const FREE_HUNDREDTHS: u64 = 10;
/// Days before a certificate expires from which on it is told.
const DAYS: u64 = 14;

/// How many files a process may have open: every connection is one.
pub(super) fn open_files() -> Finding {
    let name = "open files";
    match getrlimit(Resource::Nofile).current {
        Some(most) if most < FILES => Finding::warning(
            name,
            format!("at most {most}, and every connection is one"),
            "raise the limit (`ulimit -n`, LimitNOFILE= of the unit)",
        ),
        Some(most) => Finding::well(name, format!("at most {most}")),
        None => Finding::well(name, "any number"),
    }
}

/// A data directory: who may read it, how full its disk is, when the certificates in it expire.
pub(super) fn data_dir(folder: &Path) -> Vec<Finding> {
    let name = format!("data directory {}", folder.display());
    let about = match fs::metadata(folder) {
        Ok(about) => about,
        Err(error) => {
            return vec![Finding::failed(name, error.to_string(), "name the directory that it runs on")];
        }
    };
    let mode = about.permissions().mode() & 0o777;
    let mut findings = vec![match mode & 0o077 {
        0 => Finding::well(&name, "only its owner may read it"),
        _ => Finding::failed(&name, format!("mode {mode:03o}, and keys are in it"), "chmod 700"),
    }];
    findings.push(disk(format!("disk of {}", folder.display()), folder));
    findings.extend(STORES.iter().filter_map(|store| keyring(&folder.join(store))));
    let certificates = ["ca.pem", "server.pem"].map(|file| folder.join(file));
    findings.extend(certificates.iter().filter(|file| file.exists()).map(|file| certificate(file)));
    findings
}

/// The master keys that a store needs, if it is encrypted.
fn keyring(store: &Path) -> Option<Finding> {
    let name = format!("keyring of {}", store.display());
    let keyring = match safe::read(&safe::path(store)) {
        Ok(keyring) => keyring?,
        Err(error) => {
            let advice = "restore the directory from a copy: without its keyring the store is lost";
            return Some(Finding::failed(name, format!("{error:#}"), advice));
        }
    };
    let names = keyring.master_keys().into_iter().map(|(name, count)| format!("{name} ({count} data keys)"));
    let names = names.collect::<Vec<_>>().join(", ");
    Some(match keyring.plain_values || keyring.old_files {
        true => Finding::well(name, format!("under {names}; values from before may still be plain")),
        false => Finding::well(name, format!("under {names}")),
    })
}

fn disk(name: String, folder: &Path) -> Finding {
    let about = match statvfs(folder) {
        Ok(about) => about,
        Err(error) => return Finding::warning(name, error.to_string(), "look at it by `df`"),
    };
    let free = about.f_bavail.saturating_mul(about.f_frsize);
    let hundredths = about.f_bavail.saturating_mul(100) / about.f_blocks.max(1);
    let detail = format!("{:.1} GiB free ({hundredths} %)", free as f64 / f64::from(1 << 30));
    match free < FREE_BYTES || hundredths < FREE_HUNDREDTHS {
        true => Finding::warning(name, detail, "make room: nothing is acknowledged once it is full"),
        false => Finding::well(name, detail),
    }
}

/// The certificates by which a process is known in its cluster.
pub(super) fn cluster_tls(folder: &Path) -> Vec<Finding> {
    ["tls.crt", "ca.crt"].iter().map(|file| certificate(&folder.join(file))).collect()
}

/// The certificates of a file: the one that expires first counts.
fn certificate(file: &Path) -> Finding {
    let name = format!("certificate {}", file.display());
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => return Finding::failed(name, error.to_string(), "`fleethaven pki issue` makes one"),
    };
    validity(name, &text, clock::now().as_secs())
}

/// When the first of these certificates (PEM) expires.
pub(super) fn validity(name: String, text: &str, now: u64) -> Finding {
    const END: &str = "-----END CERTIFICATE-----";
    let blocks = text.split_inclusive(END).filter(|block| block.contains(END));
    let parsed: Result<Vec<Certificate>, _> = blocks.map(Certificate::parse_pem).collect();
    let ends = match parsed {
        Ok(all) => all.iter().map(|one| (one.not_after, one.not_before)).min(),
        Err(error) => return Finding::failed(name, error.to_string(), "replace it"),
    };
    let Some((not_after, not_before)) = ends else {
        return Finding::failed(name, "there is no certificate in it", "replace it");
    };
    let days = not_after.saturating_sub(now) / 86_400;
    if not_after <= now {
        Finding::failed(name, "it has expired", "replace it: it is taken up without a restart")
    } else if now < not_before {
        Finding::failed(name, "it is not valid yet", "set this machine's clock, or replace it")
    } else if days < DAYS {
        Finding::warning(
            name,
            format!("it expires in {days} days"),
            "replace it: it is taken up without a restart",
        )
    } else {
        Finding::well(name, format!("it expires in {days} days"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn certificates_are_told_before_they_expire() {
        let now = clock::now().as_secs();
        let (pem, _) = crate::certificates::issuing_ca("a", now).unwrap();
        let end = Certificate::parse_pem(&pem).unwrap().not_after;
        let verdict = |now| validity("c".to_owned(), &pem, now).verdict;
        assert_eq!(verdict(now), Verdict::Well);
        assert_eq!(verdict(end - 13 * 86_400), Verdict::Warning);
        assert_eq!(verdict(end), Verdict::Failed);
        assert_eq!(verdict(0), Verdict::Failed);
        assert_eq!(validity("c".to_owned(), &format!("{pem}\n{pem}"), now).verdict, Verdict::Well);
        assert_eq!(validity("c".to_owned(), "", now).verdict, Verdict::Failed);
    }

    #[test]
    fn a_directory_that_others_may_read_fails() {
        let folder = tempfile::tempdir().unwrap();
        let verdict = || data_dir(folder.path()).first().map(|finding| finding.verdict);
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(verdict(), Some(Verdict::Failed));
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(verdict(), Some(Verdict::Well));
        assert_eq!(data_dir(Path::new("/nowhere")).len(), 1);
    }
}
