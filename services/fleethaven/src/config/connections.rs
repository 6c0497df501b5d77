//! `[[connections]]` of the settings file: where rule actions of this process go, before what the accounts say.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use fleethaven_registry::connections;
use fleethaven_registry::shapes::{Connection, ConnectionDescription};
use fleethaven_types::{AccountId, Timestamp};
use serde::Deserialize;
use toml::Table;

use super::{CONNECTIONS, functions};
use crate::connections::{credentials, tls};

/// An account's connection.
pub(crate) type Entry = (AccountId, ConnectionDescription);

/// As the file has it.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Written {
    /// Default: the account of `--account-id`.
    account: Option<String>,
    name: String,
    kind: String,
    endpoint: Option<String>,
    region: Option<String>,
    credentials_id: Option<String>,
    secret: Option<String>,
    secret_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    certificate_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    #[serde(default)]
    roles: Vec<String>,
    rules: Vec<String>,
    #[serde(default)]
    options: BTreeMap<String, String>,
}

/// The connections of the file.
pub(super) fn read(file: &Table, home: Option<AccountId>) -> Result<Vec<Entry>> {
    let Some(written) = file.get(CONNECTIONS) else { return Ok(Vec::new()) };
    let written: Vec<Written> =
        written.clone().try_into().with_context(|| format!("in [[{CONNECTIONS}]] of the settings"))?;
    let entry = |connection: Written| {
        let name = connection.name.clone();
        entry(connection, home).with_context(|| format!("in [[{CONNECTIONS}]], of {name}"))
    };
    written.into_iter().map(entry).collect()
}

fn entry(written: Written, home: Option<AccountId>) -> Result<Entry> {
    let account = match &written.account {
        Some(id) => id.parse().map_err(|error| anyhow::anyhow!("'{id}': {error}"))?,
        None => home.context("name its account")?,
    };
    let secret = functions::secret("secret", written.secret, written.secret_file)?;
    let identity = match (written.certificate_file.as_deref(), written.key_file.as_deref()) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some((certificate, key)),
        _ => bail!("certificate-file and key-file go together"),
    };
    let tls = tls(written.ca_file.as_deref(), identity)?;
    let credentials = credentials(written.credentials_id, secret, &tls)?;
    let connection = Connection {
        kind: written.kind,
        endpoint: written.endpoint,
        region: written.region,
        credentials,
        roles: written.roles,
        rules: written.rules,
        options: written.options,
        tls,
    };
    connections::check(&written.name, &connection)?;
    Ok((account, ConnectionDescription { name: written.name, connection, created_at: Timestamp(0) }))
}

#[cfg(test)]
mod tests {
    use fleethaven_registry::shapes::{ConnectionCredentials, Secret};

    use super::*;

    fn read_one(lines: &str) -> Result<Entry> {
        let file = format!("[[connections]]\nname = \"lake\"\nkind = \"s3\"\nroles = [\"*\"]\n{lines}");
        let home = Some("123456789012".parse().unwrap());
        read(&file.parse().unwrap(), home).map(|mut all| all.remove(0))
    }

    #[test]
    fn a_connection_is_the_first_accounts_unless_said_otherwise() {
        let lines = "rules = [\"*\"]\ncredentials-id = \"AKIA\"\nsecret = \"hush\"";
        let (account, entry) = read_one(lines).unwrap();
        assert_eq!((account.to_string().as_str(), entry.name.as_str()), ("123456789012", "lake"));
        let key = ConnectionCredentials { id: "AKIA".to_owned(), secret: Secret("hush".to_owned()) };
        assert_eq!(entry.connection.credentials, Some(key));
        let (account, _) = read_one(&format!("{lines}\naccount = \"210987654321\"")).unwrap();
        assert_eq!(account.to_string(), "210987654321");
    }

    #[test]
    fn what_rules_name_needs_no_roles_and_may_have_options() {
        let lines =
            "name = \"logs\"\nkind = \"loki\"\nrules = [\"*\"]\nendpoint = \"https://loki.example.com\"";
        let file = format!("[[connections]]\n{lines}\noptions = {{ tenant = \"a\" }}");
        let read = read(&file.parse().unwrap(), Some("123456789012".parse().unwrap())).unwrap();
        let connection = &read[0].1.connection;
        assert!(connection.roles.is_empty());
        assert_eq!(connection.options.get("tenant").map(String::as_str), Some("a"));
    }

    #[test]
    fn mistakes_are_named() {
        for (lines, part) in [
            ("rules = [\"*\"]\nnonsense = 1", "nonsense"),
            ("", "rules"),
            ("rules = []", "rules that may use it"),
            ("rules = [\"*\"]\nendpoint = \"smoke\"", "smoke"),
            ("rules = [\"*\"]\ncredentials-id = \"a\"", "go together"),
            ("rules = [\"*\"]\nsecret = \"a\"\nsecret-file = \"b\"", "either"),
            ("rules = [\"*\"]\nkey-file = \"b\"", "certificate-file and key-file"),
            ("rules = [\"*\"]\nca-file = \"/nowhere\"", "/nowhere"),
        ] {
            let error = format!("{:#}", read_one(lines).err().unwrap());
            assert!(error.contains(part), "{lines}: {error}");
        }
    }
}
