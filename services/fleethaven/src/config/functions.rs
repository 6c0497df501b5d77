//! `[[functions]]` of the settings file: what this process calls where AWS would run Lambda functions, before what the accounts say.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use fleethaven_registry::functions;
use fleethaven_registry::shapes::{FunctionCredentials, FunctionKind, FunctionTarget, Secret};
use fleethaven_types::AccountId;
use serde::Deserialize;
use toml::Table;

use super::FUNCTIONS;

/// An account's function.
pub(crate) type Entry = (AccountId, String, FunctionTarget);

/// As the file has it.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Written {
    /// Default: the account of `--account-id`.
    account: Option<String>,
    arn: String,
    url: String,
    #[serde(default)]
    kind: Kind,
    signing_secret: Option<String>,
    signing_secret_file: Option<PathBuf>,
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    secret_access_key_file: Option<PathBuf>,
}

#[derive(Deserialize, Default, PartialEq, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    #[default]
    Webhook,
    Lambda,
}

/// The functions of the file.
pub(super) fn read(file: &Table, home: Option<AccountId>) -> Result<Vec<Entry>> {
    let Some(written) = file.get(FUNCTIONS) else { return Ok(Vec::new()) };
    let written: Vec<Written> =
        written.clone().try_into().with_context(|| format!("in [[{FUNCTIONS}]] of the settings"))?;
    let entry = |function: Written| {
        let arn = function.arn.clone();
        entry(function, home).with_context(|| format!("in [[{FUNCTIONS}]], of {arn}"))
    };
    written.into_iter().map(entry).collect()
}

fn entry(written: Written, home: Option<AccountId>) -> Result<Entry> {
    functions::check(&written.arn, &written.url)?;
    let account = match &written.account {
        Some(id) => id.parse().map_err(|error| anyhow::anyhow!("'{id}': {error}"))?,
        None => home.context("name its account")?,
    };
    let signing = secret("signing-secret", written.signing_secret, written.signing_secret_file)?;
    let key = secret("secret-access-key", written.secret_access_key, written.secret_access_key_file)?;
    let kind = match (written.kind, written.access_key_id, key) {
        (Kind::Webhook, None, None) => FunctionKind::Webhook { signing_secret: signing.map(Secret) },
        (Kind::Webhook, ..) => bail!("access keys are for kind = \"lambda\""),
        (Kind::Lambda, ..) if signing.is_some() => bail!("a signing secret is for kind = \"webhook\""),
        (Kind::Lambda, None, None) => FunctionKind::Lambda { credentials: None },
        (Kind::Lambda, Some(access_key_id), Some(secret)) => {
            let secret_access_key = Secret(secret);
            FunctionKind::Lambda {
                credentials: Some(FunctionCredentials { access_key_id, secret_access_key }),
            }
        }
        (Kind::Lambda, ..) => bail!("access-key-id and secret-access-key (or its file) go together"),
    };
    Ok((account, written.arn, FunctionTarget { url: written.url, kind }))
}

/// A secret that stands there or in a file.
pub(super) fn secret(name: &str, text: Option<String>, file: Option<PathBuf>) -> Result<Option<String>> {
    match (text, file) {
        (Some(_), Some(_)) => bail!("either {name} or {name}-file"),
        (Some(text), None) => Ok(Some(text)),
        (None, Some(file)) => from_file(&file).map(Some),
        (None, None) => Ok(None),
    }
}

/// The secret in a file, without the line's end.
pub(crate) fn from_file(file: &std::path::Path) -> Result<String> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:lambda:us-east-1:123456789012:function:f";

    fn read_one(lines: &str) -> Result<Entry> {
        let file = format!("[[functions]]\narn = \"{ARN}\"\nurl = \"https://f.example.com\"\n{lines}");
        let home = Some("123456789012".parse().unwrap());
        read(&file.parse().unwrap(), home).map(|mut all| all.remove(0))
    }

    #[test]
    fn a_function_is_a_webhook_of_the_first_account_unless_said_otherwise() {
        let (account, arn, target) = read_one("").unwrap();
        assert_eq!((account.to_string().as_str(), arn.as_str()), ("123456789012", ARN));
        assert_eq!(target.kind, FunctionKind::Webhook { signing_secret: None });
        let (account, ..) = read_one("account = \"210987654321\"").unwrap();
        assert_eq!(account.to_string(), "210987654321");
        let (_, _, target) =
            read_one("kind = \"lambda\"\naccess-key-id = \"a\"\nsecret-access-key = \"b\"").unwrap();
        assert!(matches!(target.kind, FunctionKind::Lambda { credentials: Some(_) }));
    }

    #[test]
    fn secrets_may_stand_in_files() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "hush\n").unwrap();
        let (_, _, target) = read_one(&format!("signing-secret-file = \"{}\"", file.display())).unwrap();
        assert_eq!(target.kind, FunctionKind::Webhook { signing_secret: Some(Secret("hush".to_owned())) });
    }

    #[test]
    fn mistakes_are_named() {
        for (lines, part) in [
            ("nonsense = 1", "nonsense"),
            ("kind = \"smoke\"", "smoke"),
            ("account = \"12\"", "'12'"),
            ("access-key-id = \"a\"", "are for kind"),
            ("kind = \"lambda\"\naccess-key-id = \"a\"", "go together"),
            ("kind = \"lambda\"\nsigning-secret = \"a\"", "is for kind"),
            ("signing-secret = \"a\"\nsigning-secret-file = \"b\"", "either"),
            ("signing-secret-file = \"/nowhere\"", "/nowhere"),
        ] {
            let error = format!("{:#}", read_one(lines).err().unwrap());
            assert!(error.contains(part), "{lines}: {error}");
        }
    }
}
