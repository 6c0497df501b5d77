//! Private keys of issuing CAs: what is kept of them, and who opens it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use fleethaven_fabric::Admin;
use fleethaven_fabric::metadata::{Error as CallError, Metadata};
use fleethaven_registry::shapes::{IssuingCa, IssuingKey, Secret};
use fleethaven_registry::testing::account_arguments;
use fleethaven_registry::{self as registry, Action, Query, QueryKind, QueryReply};
use fleethaven_vault::{KeyFile, master};
use futures_util::TryStreamExt;

use super::backup::to_restore;
use super::fixture::{clock, command, config, open, scope};
use crate::evaluator::Request;
use crate::{Config, Metastore, Sealed, Sealing, restore};

/// What the key says, which is looked for on disks.
const MARKER: &str = "private-key-of-the-issuing-ca-4711";

fn keys(secrets: &[u8]) -> Option<KeyFile> {
    let lines: String = secrets.iter().map(|secret| master::line(&[*secret; 32]) + "\n").collect();
    (!secrets.is_empty()).then(|| KeyFile::parse(lines.as_bytes()).unwrap())
}

fn sealing(dir: &Path, secrets: &[u8]) -> Config {
    Config { sealing: Sealing::new(keys(secrets)), ..config(dir) }
}

fn id(secret: u8) -> String {
    keys(&[secret]).unwrap().first().id().to_owned()
}

fn create_account() -> Action {
    let mut arguments = account_arguments("AKIATESTTESTTEST");
    arguments.issuing_ca.key = IssuingKey::PrivateKeyPem(Secret(MARKER.to_owned()));
    Action::CreateAccount(Box::new(arguments))
}

async fn told(node: &Metastore) -> IssuingCa {
    match node.query(Query::new(scope(), QueryKind::IssuingCa)).await.unwrap() {
        QueryReply::IssuingCa(Some(ca)) => *ca,
        other => panic!("{other:?}"),
    }
}

/// What opens the key, which is as it was given.
async fn opened_under(node: &Metastore) -> String {
    let ca = told(node).await;
    assert_eq!(ca.key, IssuingKey::PrivateKeyPem(Secret(MARKER.to_owned())));
    ca.sealed_under.unwrap()
}

fn kept(node: &Metastore) -> IssuingKey {
    let view = node.control.state.now();
    match registry::query(&view, &Query::new(scope(), QueryKind::IssuingCa), clock()).unwrap() {
        QueryReply::IssuingCa(Some(ca)) => ca.key,
        other => panic!("{other:?}"),
    }
}

async fn close(node: Arc<Metastore>) {
    node.shutdown().await.unwrap();
}

/// In how many files below `dir` the key is.
fn found(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let holds = |path: &Path| {
        fs::read(path).unwrap_or_default().windows(MARKER.len()).any(|part| part == MARKER.as_bytes())
    };
    entries.map(|path| if path.is_dir() { found(&path) } else { usize::from(holds(&path)) }).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_on_no_disk_and_in_no_backup_and_opens_where_its_seal_is() {
    let (dir, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let node = open(sealing(dir.path(), &[1])).await;
    node.execute(command(create_account())).await.unwrap();
    assert_eq!(opened_under(&node).await, id(1));
    assert!(matches!(kept(&node), IssuingKey::SealedKey(_)));
    assert_eq!(node.status().await.unwrap().issuing_keys, [id(1)]);
    let file = files.path().join("backup");
    let pieces: Vec<_> = node.backup().await.unwrap().try_collect().await.unwrap();
    fs::write(&file, pieces.concat()).unwrap();
    close(node).await;
    assert_eq!((found(dir.path()), found(files.path())), (0, 0));

    let restored = files.path().join("restored");
    let told_of = restore(to_restore(&file, &restored)).await.unwrap().issuing_keys;
    assert_eq!(told_of.into_iter().collect::<Vec<_>>(), [id(1)]);
    let second = |secrets| Config { cluster: "restored".to_owned(), ..sealing(&restored, secrets) };
    let other = open(Config { state_groups: 1.try_into().unwrap(), ..second(&[2]) }).await;
    assert!(matches!(told(&other).await.key, IssuingKey::SealedKey(sealed) if sealed.under == id(1)));
    let unopened = [(id(1), 1)].into();
    assert_eq!(other.seal_issuing_keys().await.unwrap(), Sealed { changed: 0, unopened });
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_no_private_key_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let node = open(config(dir.path())).await;
    let refused = node.execute(command(create_account())).await.unwrap_err();
    assert!(
        matches!(&refused, CallError::Refused(error) if error.message.contains("--issuing-key-file")),
        "{refused}"
    );
    let mut elsewhere = account_arguments("AKIATESTTESTTEST");
    elsewhere.issuing_ca.key = IssuingKey::ExternalKey("01".to_owned());
    node.execute(command(Action::CreateAccount(Box::new(elsewhere)))).await.unwrap();
    assert_eq!(node.seal_issuing_keys().await.unwrap(), Sealed::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_keys_of_before_are_sealed_and_sealed_ones_follow_the_first_key() {
    let dir = tempfile::tempdir().unwrap();
    let config = sealing(dir.path(), &[]);
    let sealing = config.sealing.clone();
    let node = open(config).await;
    // As an older release wrote it.
    let (request, answer) = Request::new(command(create_account()));
    node.control.requests().unwrap().try_send(request).unwrap();
    answer.await.unwrap().unwrap();
    assert_eq!(
        told(&node).await.key,
        IssuingKey::PrivateKeyPem(Secret(MARKER.to_owned())),
        "it goes on working"
    );
    let none = node.seal_issuing_keys().await.unwrap();
    assert_eq!((none, told(&node).await.sealed_under), (Sealed::default(), None));
    for secrets in [&[1_u8][..], &[2, 1], &[2]] {
        sealing.replace(keys(secrets).unwrap());
        let sealed = node.seal_issuing_keys().await.unwrap();
        let changes = u64::from(secrets != [2]);
        assert_eq!(sealed, Sealed { changed: changes, ..Sealed::default() }, "{secrets:?}");
        assert_eq!(opened_under(&node).await, id(secrets[0]));
    }
    assert_eq!(node.seal_issuing_keys().await.unwrap(), Sealed::default(), "once");
}
