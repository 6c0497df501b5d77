//! Looks at the master keys every few seconds and on SIGHUP, puts data keys under the newest, and has sealed what was written
//! before a store was encrypted.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use fleethaven_metastore::Metastore;
use fleethaven_storage_embedded::EmbeddedStore;
use prometheus::Registry;
use tokio::signal::unix::{SignalKind, signal};

use super::masters::Masters;
use super::safe::Safe;
use crate::metrics::EncryptionMetrics;

/// How often the master keys are looked at.
const INTERVAL: Duration = Duration::from_secs(5);
/// The same of those that a service has to be asked for.
const ASKING_INTERVAL: Duration = Duration::from_secs(300);

/// An open store whose values are sealed.
pub(crate) struct Watched {
    pub(crate) safe: Safe,
    pub(crate) seal_plain_values: SealPlainValues,
}

/// Seals what was written before a store was encrypted; how many values are left.
type SealPlainValues = Arc<dyn Fn() -> Result<u64> + Send + Sync>;

impl Watched {
    /// The metadata store.
    pub(crate) fn metastore(safe: Safe, store: Arc<Metastore>) -> Self {
        Self { safe, seal_plain_values: Arc::new(move || Ok(store.seal_plain_values()?)) }
    }

    /// The session store.
    pub(crate) fn sessions(safe: Safe, store: Arc<EmbeddedStore>) -> Self {
        Self { safe, seal_plain_values: Arc::new(move || Ok(store.seal_plain_values()?)) }
    }
}

struct Watch {
    masters: Masters,
    stores: Vec<Watched>,
    metrics: EncryptionMetrics,
    /// Why the master keys could not be used when they were last looked at.
    refused: Option<String>,
}

/// Keeps the stores under the newest master key for as long as the process runs.
///
/// # Errors
/// When SIGHUP cannot be listened to.
pub(crate) fn watch(masters: Masters, stores: Vec<Watched>, registry: &Registry) -> Result<()> {
    let mut watch = Watch { masters, stores, metrics: EncryptionMetrics::new(registry)?, refused: None };
    let interval = if watch.masters.are_elsewhere() { ASKING_INTERVAL } else { INTERVAL };
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(interval);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = hangup.recv() => {}
            }
            let looked = tokio::task::spawn_blocking(move || {
                watch.look();
                watch
            });
            match looked.await {
                Ok(after) => watch = after,
                Err(error) => return tracing::error!(%error, "master keys are not looked at any more"),
            }
        }
    });
    Ok(())
}

impl Watch {
    fn look(&mut self) {
        match self.rotate() {
            Ok(rotated) => {
                self.refused = None;
                self.metrics.rotations.with_label_values(&["success"]).inc_by(u64::from(rotated));
            }
            Err(error) => {
                let reason = format!("{error:#}");
                if self.refused.as_ref() != Some(&reason) {
                    self.metrics.rotations.with_label_values(&["refused"]).inc();
                    tracing::error!(reason, "the master keys cannot be used: data keys stay as they are");
                }
                self.refused = Some(reason);
            }
        }
        for store in &mut self.stores {
            if let Err(error) = store.safe.old_files_are_gone() {
                tracing::error!(
                    store = store.safe.store(),
                    reason = format!("{error:#}"),
                    "the keyring stays"
                );
            }
            if store.safe.keyring().plain_values
                && let Err(error) = seal(store)
            {
                tracing::error!(
                    store = store.safe.store(),
                    reason = format!("{error:#}"),
                    "plain values stay"
                );
            }
            show(&self.metrics, &store.safe);
        }
    }

    fn rotate(&mut self) -> Result<bool> {
        let keys = self.masters.read()?;
        let mut rotated = false;
        for store in &mut self.stores {
            rotated |= store.safe.rotate(&keys)?;
        }
        if rotated {
            // Master keys that are named no more.
            self.metrics.data_keys.reset();
        }
        Ok(rotated)
    }
}

fn seal(store: &mut Watched) -> Result<()> {
    match (store.seal_plain_values)()? {
        0 => store.safe.all_sealed(),
        left => {
            tracing::info!(store = store.safe.store(), left, "values are still to be encrypted");
            Ok(())
        }
    }
}

fn show(metrics: &EncryptionMetrics, safe: &Safe) {
    let store = safe.store();
    for (master_key, count) in safe.keyring().master_keys() {
        let gauge = metrics.data_keys.with_label_values(&[store, master_key]);
        gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    metrics.plain_values.with_label_values(&[store]).set(safe.keyring().plain_values.into());
}
