//! One settings file, the environment, and flags, under the same names: a flag goes before the environment, the environment
//! before the file, the file before the default. The file (TOML) also holds what has no flag: `[limits]` and `[behaviour]`,
//! each on top of the profile's bundle.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::{ArgAction, ArgMatches, CommandFactory, FromArgMatches};
use fleethaven_types::{AccountId, AccountLimits, Behaviour, Limits, Profile};
use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::cli::{Cli, Command, DevArgs};

/// What `fleethaven dev` runs with.
pub(crate) struct Config {
    pub(crate) arguments: DevArgs,
    pub(crate) limits: AccountLimits,
    pub(crate) behaviour: Behaviour,
    /// All of it as a settings file.
    pub(crate) printed: String,
}

/// Tables of the file that have no flag.
const LIMITS: &str = "limits";
const BEHAVIOUR: &str = "behaviour";
/// `[accounts.ID.limits]`: what an account's limits have instead of `[limits]`.
const ACCOUNTS: &str = "accounts";

/// Reads command line, environment and file; prints help or a usage error and ends the process where clap does.
pub(crate) fn read() -> Result<Config> {
    let file = match config_path(std::env::args_os(), std::env::var_os("FLEETHAVEN_CONFIG")) {
        Some(path) => load(Path::new(&path))?,
        None => Table::new(),
    };
    let command = with_defaults(Cli::command(), &file)?;
    let matches = command.get_matches();
    build(&matches, &file)
}

/// The file that `--config` names; looked for before the rest is parsed, as the file is where defaults come from.
fn config_path(arguments: impl Iterator<Item = OsString>, environment: Option<OsString>) -> Option<OsString> {
    let mut arguments = arguments.skip_while(|argument| {
        argument != "--config" && !argument.to_string_lossy().starts_with("--config=")
    });
    match arguments.next() {
        Some(flag) if flag == "--config" => arguments.next(),
        Some(flag) => flag.to_string_lossy().strip_prefix("--config=").map(OsString::from),
        None => environment,
    }
}

fn load(path: &Path) -> Result<Table> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the settings in {}", path.display()))?;
    text.parse().with_context(|| format!("the settings in {} are not TOML", path.display()))
}

/// Makes each setting of the file the default of its flag.
fn with_defaults(mut command: clap::Command, file: &Table) -> Result<clap::Command> {
    for (name, value) in
        file.iter().filter(|(name, _)| !matches!(name.as_str(), LIMITS | BEHAVIOUR | ACCOUNTS))
    {
        let id = name.replace('-', "_");
        let dev = command.find_subcommand("dev");
        if name.contains('_')
            || !dev.is_some_and(|dev| dev.get_arguments().any(|argument| argument.get_id() == id.as_str()))
        {
            bail!("'{name}' is no setting: `fleethaven dev --help` lists them");
        }
        let values = texts(name, value)?;
        command =
            command.mut_subcommand("dev", |dev| dev.mut_arg(id, |argument| argument.default_values(values)));
    }
    Ok(command)
}

fn texts(name: &str, value: &Value) -> Result<Vec<String>> {
    Ok(match value {
        Value::String(text) => vec![text.clone()],
        Value::Integer(number) => vec![number.to_string()],
        Value::Boolean(on) => vec![on.to_string()],
        Value::Array(values) => {
            values.iter().map(|value| texts(name, value)).collect::<Result<Vec<_>>>()?.concat()
        }
        _ => bail!("'{name}' is a text, a number, true, false, or a list of them"),
    })
}

fn build(matches: &ArgMatches, file: &Table) -> Result<Config> {
    let Cli { command: Command::Dev(arguments) } = Cli::from_arg_matches(matches)?;
    arguments.check().map_err(anyhow::Error::msg)?;
    let profile: Profile = arguments.profile;
    let default = overlay(LIMITS, &Limits::of(profile), file)?;
    let accounts = accounts(&default, file)?;
    let limits = AccountLimits { default, accounts };
    let behaviour = overlay(BEHAVIOUR, &Behaviour::of(profile), file)?;
    behaviour.check().map_err(anyhow::Error::msg).with_context(|| format!("in [{BEHAVIOUR}]"))?;
    let printed = print(matches, &limits, &behaviour)?;
    Ok(Config { arguments: *arguments, limits, behaviour, printed })
}

/// The bundle with what the file's table says instead. In the file, `"unlimited"` stands for no limit.
fn overlay<T: Serialize + DeserializeOwned>(table: &str, bundle: &T, file: &Table) -> Result<T> {
    let mut settings = Table::try_from(bundle)?;
    let Some(changes) = file.get(table) else { return Ok(settings.try_into()?) };
    let changes = changes.as_table().with_context(|| format!("[{table}] is a table"))?;
    for (name, value) in changes {
        if value.as_str() == Some("unlimited") {
            settings.remove(name);
        } else {
            settings.insert(name.clone(), value.clone());
        }
    }
    settings.try_into().with_context(|| format!("in [{table}] of the settings"))
}

/// The limits of accounts that have some of their own, on top of those of all.
fn accounts(default: &Limits, file: &Table) -> Result<BTreeMap<AccountId, Limits>> {
    let Some(accounts) = file.get(ACCOUNTS) else { return Ok(BTreeMap::new()) };
    let accounts = accounts.as_table().with_context(|| format!("[{ACCOUNTS}] is a table"))?;
    let own = |(id, settings): (&String, &Value)| {
        let account = id.parse().map_err(|error| anyhow::anyhow!("[{ACCOUNTS}.{id}]: {error}"))?;
        let settings = settings.as_table().with_context(|| format!("[{ACCOUNTS}.{id}] is a table"))?;
        if let Some(other) = settings.keys().find(|name| *name != LIMITS) {
            bail!("'{other}' is no setting of an account: only [{ACCOUNTS}.{id}.{LIMITS}] is");
        }
        let limits = overlay(LIMITS, default, settings).with_context(|| format!("in [{ACCOUNTS}.{id}]"))?;
        Ok((account, limits))
    };
    accounts.iter().map(own).collect()
}

/// The settings in force as a file that would give them.
fn print(matches: &ArgMatches, limits: &AccountLimits, behaviour: &Behaviour) -> Result<String> {
    let mut table = Table::new();
    let described = Cli::command();
    if let Some(("dev", dev)) = matches.subcommand() {
        for id in dev.ids() {
            let name = id.as_str().replace('_', "-");
            let Ok(Some(values)) = dev.try_get_raw(id.as_str()) else { continue };
            let mut values: Vec<Value> = values.map(|value| typed(&value.to_string_lossy())).collect();
            let one = values.len() == 1 && !is_list(&described, id.as_str());
            let value = if one { values.swap_remove(0) } else { Value::Array(values) };
            if !matches!(name.as_str(), "config" | "print-config" | "check-config") && id != "DevArgs" {
                table.insert(name, value);
            }
        }
    }
    table.insert(LIMITS.to_owned(), Value::Table(explicit(&limits.default)?));
    let accounts = limits.accounts.iter().map(|(account, limits)| {
        let own = Table::from_iter([(LIMITS.to_owned(), Value::Table(explicit(limits)?))]);
        Ok((account.to_string(), Value::Table(own)))
    });
    let accounts = accounts.collect::<Result<Table>>()?;
    if !accounts.is_empty() {
        table.insert(ACCOUNTS.to_owned(), Value::Table(accounts));
    }
    table.insert(BEHAVIOUR.to_owned(), Value::Table(Table::try_from(behaviour)?));
    Ok(toml::to_string(&table)?)
}

/// Whether a setting may be given more than once.
fn is_list(command: &clap::Command, id: &str) -> bool {
    let mut arguments = command.find_subcommand("dev").into_iter().flat_map(clap::Command::get_arguments);
    arguments.any(|argument| argument.get_id() == id && matches!(argument.get_action(), ArgAction::Append))
}

/// Limits with what is unlimited written out: left out, the profile's bundle would come back.
fn explicit(limits: &Limits) -> Result<Table> {
    let mut table = Table::try_from(limits)?;
    let all = Table::try_from(Limits::of(Profile::Aws))?;
    for name in all.keys().filter(|name| !table.contains_key(*name)).cloned().collect::<Vec<_>>() {
        table.insert(name, Value::String("unlimited".to_owned()));
    }
    Ok(table)
}

fn typed(text: &str) -> Value {
    match text {
        "true" => Value::Boolean(true),
        "false" => Value::Boolean(false),
        text => Value::String(text.to_owned()),
    }
}

#[cfg(test)]
impl Config {
    /// These arguments with the profile's bundles.
    pub(crate) fn for_tests(arguments: DevArgs) -> Self {
        let profile = arguments.profile;
        let (limits, behaviour) = (Limits::of(profile), Behaviour::of(profile));
        Self { arguments, limits: limits.into(), behaviour, printed: String::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(file: &str, line: &str) -> Result<Config> {
        let file: Table = file.parse()?;
        let command = with_defaults(Cli::command(), &file)?;
        build(&command.try_get_matches_from(line.split(' '))?, &file)
    }

    #[test]
    fn flags_go_before_the_file_and_the_file_before_defaults() {
        let file =
            "mqtt-tls = \"127.0.0.1:1\"\nhttps = \"127.0.0.1:2\"\nsan = [\"a\", \"b\"]\nsingle-region = true";
        let arguments = config(file, "fleethaven dev --https 127.0.0.1:3").unwrap().arguments;
        assert_eq!(arguments.mqtt_tls.port(), 1);
        assert_eq!(arguments.https.port(), 3);
        assert_eq!(arguments.san, ["a", "b"]);
        assert!(arguments.single_region);
        assert_eq!(arguments.region.as_str(), "us-east-1");
    }

    #[test]
    fn limits_and_behaviour_change_the_profile() {
        let file = "profile = \"aws\"\n[limits]\nclient-id-bytes = 64\nconnections-account = \"unlimited\"\n[behaviour]\nmax-qos = 0";
        let config = config(file, "fleethaven dev").unwrap();
        assert_eq!(config.limits.default.client_id_bytes, 64);
        assert_eq!(config.limits.default.connections_account, None);
        assert_eq!(config.limits.default.topic_levels, 8, "the rest is the profile's");
        assert_eq!(config.behaviour.max_qos, fleethaven_types::QoS::AtMostOnce);
    }

    #[test]
    fn what_is_printed_gives_the_same_settings() {
        let file = "profile = \"aws\"\nmqtt = \"127.0.0.1:0\"\n[limits]\ntopic-bytes = 99\nconnections-account = \"unlimited\"\n\
                    [accounts.210987654321.limits]\nconnections-account = 7";
        let first = config(file, "fleethaven dev --san x").unwrap();
        let again = config(&first.printed, "fleethaven dev").unwrap();
        assert_eq!(again.printed, first.printed);
        assert_eq!(again.limits, first.limits);
    }

    #[test]
    fn accounts_have_limits_on_top_of_those_of_all() {
        let file = "profile = \"aws\"\n[limits]\ntopic-bytes = 99\n[accounts.210987654321.limits]\n\
                    connections-account = 7\nretained-count = \"unlimited\"";
        let limits = config(file, "fleethaven dev").unwrap().limits;
        let own = limits.of("210987654321".parse().unwrap());
        assert_eq!((own.connections_account, own.retained_count, own.topic_bytes), (Some(7), None, 99));
        let other = limits.of("123456789012".parse().unwrap());
        assert_eq!((other.connections_account, other.topic_bytes), (Some(500_000), 99));
    }

    #[test]
    fn mistakes_are_named() {
        for (file, part) in [
            ("mqtt_tls = \"127.0.0.1:1\"", "'mqtt_tls' is no setting"),
            ("nonsense = 1", "'nonsense' is no setting"),
            ("mqtt-tls = {}", "'mqtt-tls' is a text"),
            ("[limits]\nclient-id = 3", "in [limits]"),
            ("[behaviour]\nmax-qos = 3", "in [behaviour]"),
            ("[behaviour]\nresponse-information-prefix = \"a/+/\"", "in [behaviour]"),
            ("[accounts.12.limits]\ntopic-bytes = 3", "[accounts.12]"),
            ("[accounts.210987654321.limits]\nnonsense = 3", "in [accounts.210987654321]"),
            ("[accounts.210987654321]\ntopic-bytes = 3", "'topic-bytes' is no setting of an account"),
        ] {
            let error = format!("{:#}", config(file, "fleethaven dev").err().unwrap());
            assert!(error.contains(part), "{file}: {error}");
        }
    }
}
