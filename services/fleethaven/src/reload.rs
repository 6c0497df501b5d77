//! Server certificates are replaced while running: their files are looked at every few seconds, and on SIGHUP. What cannot be
//! used is refused with a line in the log, and what is shown stays.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use fleethaven_net::{Identity, ServerCertificates};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::certificates::{ServerFiles, check_names};
use crate::metrics::Metrics;

/// How often the files are looked at. Contents are compared, not times: a mounted secret is swapped by a link.
const INTERVAL: Duration = Duration::from_secs(5);

/// The certificates in use and where they come from.
pub(crate) struct Reload {
    files: ServerFiles,
    shown: Arc<ServerCertificates>,
    metrics: Metrics,
    /// Of the files' contents when they were last read, good or not.
    seen: u64,
    hangup: Signal,
}

impl Reload {
    /// Reads the certificates that the start shows. What is wrong with them ends the start.
    pub(crate) fn start(files: ServerFiles, metrics: Metrics) -> Result<Self> {
        let seen = fingerprint(&files);
        let (default, others) = read(&files)?;
        let shown = Arc::new(ServerCertificates::new(&default, &others));
        // From here on SIGHUP no longer ends the process.
        let this = Self { files, shown, metrics, seen, hangup: signal(SignalKind::hangup())? };
        this.tell(&default, &others);
        Ok(this)
    }

    /// What the listeners are to show.
    pub(crate) fn certificates(&self) -> Arc<ServerCertificates> {
        self.shown.clone()
    }

    /// Looks at the files for as long as the process runs.
    pub(crate) async fn run(mut self) {
        let mut ticks = tokio::time::interval(INTERVAL);
        loop {
            let asked = tokio::select! {
                _ = ticks.tick() => false,
                _ = self.hangup.recv() => true,
            };
            let looked = tokio::task::spawn_blocking(move || {
                self.look(asked);
                self
            });
            match looked.await {
                Ok(this) => self = this,
                Err(error) => {
                    return tracing::error!(%error, "server certificates are not reloaded any more");
                }
            }
        }
    }

    fn look(&mut self, asked: bool) {
        let found = fingerprint(&self.files);
        if found == self.seen && !asked {
            return;
        }
        self.seen = found;
        match read(&self.files) {
            Ok((default, others)) => {
                self.shown.replace(&default, &others);
                self.tell(&default, &others);
                self.metrics.certificate_reloads.with_label_values(&["success"]).inc();
                tracing::info!(certificates = 1 + others.len(), "server certificates reloaded");
            }
            Err(error) => {
                self.metrics.certificate_reloads.with_label_values(&["refused"]).inc();
                let reason = format!("{error:#}");
                tracing::error!(reason, "the new server certificates cannot be used: the old ones stay");
            }
        }
    }

    fn tell(&self, default: &Identity, others: &[Identity]) {
        for (files, identity) in self.files.all().zip(std::iter::once(default).chain(others)) {
            let Some(not_after) = identity.not_after() else { continue };
            let file = files.certificate.display().to_string();
            let gauge = self.metrics.certificate_expiry.with_label_values(&[file.as_str()]);
            gauge.set(i64::try_from(not_after).unwrap_or(i64::MAX));
        }
    }
}

fn read(files: &ServerFiles) -> Result<(Identity, Vec<Identity>)> {
    let (default, others) = files.read()?;
    files.others.iter().zip(&others).try_for_each(|(files, identity)| check_names(files, identity))?;
    Ok((default, others))
}

/// Of the contents of all files; one that cannot be read has none.
fn fingerprint(files: &ServerFiles) -> u64 {
    let mut hasher = DefaultHasher::new();
    for file in files.all().flat_map(|pair| [&pair.certificate, &pair.key]) {
        std::fs::read(file).ok().hash(&mut hasher);
    }
    hasher.finish()
}
