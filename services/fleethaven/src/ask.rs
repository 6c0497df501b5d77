//! Where an operator's request is carried out: in the process that runs, on a data directory, or by a cluster's metadata store.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fleethaven_daemon::clock;
use fleethaven_fabric::Metadata;
use fleethaven_metastore::{Config as MetastoreConfig, Error as StoreError, Metastore, NoPeers};
use fleethaven_registry::Limits;
use fleethaven_types::Profile;
use serde_json::{Map, Value};

use crate::audit;
use crate::cli::{DEFAULT_DATA_DIR, EncryptionArgs, PlaceArgs};
use crate::cluster;
use crate::data_dir::{ADMIN_FILE, DataDir};
use crate::encryption::{Masters, Safe, issuing_keys};
use crate::logs;
use crate::operators::{self, Request};

/// How long the process behind an admin port may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// Longest answer that is read.
const MAX_ANSWER: u64 = 64 << 20;

/// Has a request carried out where the accounts are, and prints the answer.
pub(crate) async fn operate(place: &PlaceArgs, request: Request) -> Result<()> {
    print(&answer(place, request).await?, place.json)
}

/// Has a request carried out where the accounts are.
pub(crate) async fn answer(place: &PlaceArgs, request: Request) -> Result<String> {
    if let (None, None) = (&place.admin, &place.cluster_tls)
        && let Some(answer) = read_directory(&data_dir(place)?, &request)?
    {
        return Ok(answer);
    }
    answer_in_order(place, vec![request]).await
}

/// Has requests carried out one after the other where the accounts are, up to the first that is refused; the last one's answer.
pub(crate) async fn answer_in_order(place: &PlaceArgs, requests: Vec<Request>) -> Result<String> {
    match (&place.admin, &place.cluster_tls) {
        (Some(admin), _) => ask_process(admin, &requests),
        (None, Some(folder)) => ask_metadata(&cluster::ask_nodes(folder, &place.metastore)?, requests).await,
        (None, None) => ask_directory(&data_dir(place)?, &place.encryption, requests).await,
    }
}

fn data_dir(place: &PlaceArgs) -> Result<DataDir> {
    DataDir::open(place.data_dir.as_deref().unwrap_or(Path::new(DEFAULT_DATA_DIR)))
}

async fn ask_metadata(metadata: &dyn Metadata, requests: Vec<Request>) -> Result<String> {
    let mut last = Vec::new();
    for request in requests {
        last = operators::answer(metadata, request).await?;
    }
    operators::lines(&last)
}

/// Prints an answer: as it is, or for people.
pub(crate) fn print(answer: &str, json: bool) -> Result<()> {
    let readable = if json { answer.to_owned() } else { readable(answer)? };
    std::io::stdout().lock().write_all(readable.as_bytes()).context("cannot write to standard output")
}

/// The answer to a request for what lies in folders of a data directory, which no process need be asked for.
fn read_directory(data: &DataDir, request: &Request) -> Result<Option<String>> {
    if let Request::Audit { filter } = request {
        let dir = data.path("audit");
        let records = fleethaven_audit::read(&dir, filter);
        let records = records.with_context(|| format!("cannot read the journal in {}", dir.display()))?;
        return operators::lines(&audit::told(records)).map(Some);
    }
    if let Request::Logs { filter } = request {
        let dir = data.path("logs");
        let found = fleethaven_logging::read(&dir, filter);
        let found = found.with_context(|| format!("cannot read the log entries in {}", dir.display()))?;
        return operators::lines(&logs::told(found)).map(Some);
    }
    Ok(None)
}

/// The process that runs on a data directory is asked; when there is none, the directory is opened here.
async fn ask_directory(
    data: &DataDir,
    encryption: &EncryptionArgs,
    requests: Vec<Request>,
) -> Result<String> {
    let limits = Limits::of(Profile::default());
    let dir = data.path("metastore");
    // The process that runs on the directory has the key, whether or not it was given here.
    let safe = match Safe::opened(Masters::of(encryption)?.as_ref(), "metastore", &dir).await {
        Err(error) => match data.read(ADMIN_FILE)? {
            Some(admin) => return ask_process(admin.trim(), &requests),
            None => return Err(error),
        },
        safe => safe?,
    };
    let vault = safe.as_ref().map(Safe::vault);
    let sealing = issuing_keys::sealing(&issuing_keys::of_directory(encryption, data)?)?;
    let config = MetastoreConfig { vault, sealing, ..MetastoreConfig::new(dir, clock::now, limits) };
    let store = match Metastore::open(config, Arc::new(NoPeers)).await {
        Err(StoreError::Locked(dir)) => match data.read(ADMIN_FILE)? {
            Some(admin) => return ask_process(admin.trim(), &requests),
            None => {
                return Err(StoreError::Locked(dir))
                    .context("name the --admin of the process that runs on it");
            }
        },
        store => store.context("cannot open the metadata store")?,
    };
    let answered = ask_metadata(&*store, requests).await;
    store.shutdown().await.context("the metadata store did not close in order")?;
    answered
}

/// Has the process behind an admin port carry requests out.
fn ask_process(admin: &str, requests: &[Request]) -> Result<String> {
    let mut last = String::new();
    for request in requests {
        last = ask_process_for(admin, request)?;
    }
    Ok(last)
}

fn ask_process_for(admin: &str, request: &Request) -> Result<String> {
    let failed = || format!("no answer from --admin {admin}");
    let address = admin.to_socket_addrs().with_context(failed)?.next().with_context(failed)?;
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN).with_context(failed)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    let body = serde_json::to_string(request)?;
    let length = body.len();
    // HTTP/1.0, so that the answer is what comes until the connection ends.
    let head = format!(
        "POST /operator HTTP/1.0\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all((head + &body).as_bytes()).with_context(failed)?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut answer).with_context(failed)?;
    let (head, body) = answer.split_once("\r\n\r\n").with_context(failed)?;
    match head.split_whitespace().nth(1) {
        Some("200") => Ok(body.to_owned()),
        Some("404" | "405") => {
            bail!("the process at {admin} answers no operators: ask `fleethaven dev` or `api`")
        }
        Some(_) => bail!("{}", body.trim()),
        None => bail!(failed()),
    }
}

/// The answer for people: one line for each object, without its names.
fn readable(answer: &str) -> Result<String> {
    let mut text = String::new();
    for line in answer.lines() {
        let object: Map<String, Value> = serde_json::from_str(line)?;
        let cells =
            object.values().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        text += &cells.collect::<Vec<_>>().join("\t");
        text.push('\n');
    }
    Ok(text)
}
