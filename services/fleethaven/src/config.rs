//! One settings file, the environment, and flags, under the same names: a flag goes before the environment, the environment
//! before the file, the file before the default. The file (TOML) also holds what has no flag: `[limits]` and `[behaviour]`,
//! each on top of the profile's bundle.

mod connections;
mod functions;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::{ArgAction, ArgMatches, CommandFactory, FromArgMatches};
use fleethaven_types::{AccountId, AccountLimits, Behaviour, Limits, Profile};
use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::cli::{Cli, Command};

pub(crate) use functions::from_file;

/// What a command runs with beside its arguments.
pub(crate) struct Settings {
    pub(crate) limits: AccountLimits,
    pub(crate) behaviour: Behaviour,
    /// Where rule actions go, before what the accounts say.
    pub(crate) connections: Vec<connections::Entry>,
    /// What is called where AWS would run Lambda functions, before what the accounts say.
    pub(crate) functions: Vec<functions::Entry>,
    /// All of it, arguments too, as a settings file.
    pub(crate) printed: String,
}

/// Tables of the file that have no flag.
const LIMITS: &str = "limits";
const BEHAVIOUR: &str = "behaviour";
/// `[accounts.ID.limits]`: what an account's limits have instead of `[limits]`.
const ACCOUNTS: &str = "accounts";
/// `[[connections]]`: see the module.
const CONNECTIONS: &str = "connections";
/// `[[functions]]`: see the module.
const FUNCTIONS: &str = "functions";

/// Reads command line, environment and file; prints help or a usage error and ends the process where clap does.
pub(crate) fn read() -> Result<(Command, Settings)> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let name = command_name(&arguments);
    let file = match config_path(&name, arguments.iter(), std::env::var_os("FLEETHAVEN_CONFIG")) {
        Some(path) => load(Path::new(&path))?,
        None => Table::new(),
    };
    let command = with_defaults(Cli::command(), &name, &file)?;
    build(&command.get_matches_from(arguments), &file)
}

/// The first word that is no option.
fn command_name(arguments: &[OsString]) -> String {
    let mut words = arguments.iter().skip(1).map(|word| word.to_string_lossy());
    words.find(|word| !word.starts_with('-')).unwrap_or_default().into_owned()
}

/// The file that `--config` names; looked for before the rest is parsed, as the file is where defaults come from.
fn config_path<'a>(
    name: &str,
    arguments: impl Iterator<Item = &'a OsString>,
    environment: Option<OsString>,
) -> Option<OsString> {
    if !takes(&Cli::command(), name, "config") {
        return None;
    }
    let mut arguments = arguments.skip_while(|argument| {
        *argument != "--config" && !argument.to_string_lossy().starts_with("--config=")
    });
    match arguments.next() {
        Some(flag) if flag == "--config" => arguments.next().cloned(),
        Some(flag) => flag.to_string_lossy().strip_prefix("--config=").map(OsString::from),
        None => environment,
    }
}

/// Whether a command has this option.
fn takes(all: &clap::Command, command: &str, id: &str) -> bool {
    let mut arguments = all.find_subcommand(command).into_iter().flat_map(clap::Command::get_arguments);
    arguments.any(|argument| argument.get_id() == id)
}

fn load(path: &Path) -> Result<Table> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the settings in {}", path.display()))?;
    text.parse().with_context(|| format!("the settings in {} are not TOML", path.display()))
}

/// Makes each setting of the file the default of its flag. One file may serve several commands: what only others know is
/// left out.
fn with_defaults(mut all: clap::Command, command: &str, file: &Table) -> Result<clap::Command> {
    for (name, value) in file
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), LIMITS | BEHAVIOUR | ACCOUNTS | CONNECTIONS | FUNCTIONS))
    {
        let id = name.replace('-', "_");
        let known = || all.get_subcommands().any(|other| takes(&all, other.get_name(), &id));
        if name.contains('_') || !known() {
            bail!("'{name}' is no setting: `fleethaven {command} --help` lists them");
        }
        let values = texts(name, value)?;
        if takes(&all, command, &id) {
            all = all.mut_subcommand(command, |command| {
                command.mut_arg(id, |argument| argument.required(false).default_values(values))
            });
        }
    }
    Ok(all)
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

fn build(matches: &ArgMatches, file: &Table) -> Result<(Command, Settings)> {
    let Cli { command } = Cli::from_arg_matches(matches)?;
    let profile = command.profile();
    command.check().map_err(anyhow::Error::msg)?;
    let default = overlay(LIMITS, &Limits::of(profile), file)?;
    let accounts = accounts(&default, file)?;
    let limits = AccountLimits { default, accounts };
    let behaviour = overlay(BEHAVIOUR, &Behaviour::of(profile), file)?;
    behaviour.check().map_err(anyhow::Error::msg).with_context(|| format!("in [{BEHAVIOUR}]"))?;
    let connections = connections::read(file, command.account())?;
    let functions = functions::read(file, command.account())?;
    let printed = print(matches, &limits, &behaviour)?;
    Ok((command, Settings { limits, behaviour, connections, functions, printed }))
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
    let all = Cli::command();
    if let Some((name, matches)) = matches.subcommand() {
        let arguments = all.find_subcommand(name).into_iter().flat_map(clap::Command::get_arguments);
        for argument in arguments {
            let id = argument.get_id().as_str();
            let Ok(Some(values)) = matches.try_get_raw(id) else { continue };
            let mut values: Vec<Value> =
                values.map(|value| typed(&without_password(&value.to_string_lossy()))).collect();
            // An option that may be given more than once is a list.
            let one = values.len() == 1 && !matches!(argument.get_action(), ArgAction::Append);
            let value = if one { values.swap_remove(0) } else { Value::Array(values) };
            if !matches!(id, "config" | "print_config" | "check_config") {
                table.insert(id.replace('_', "-"), value);
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

/// Limits with what is unlimited written out: left out, the profile's bundle would come back.
fn explicit(limits: &Limits) -> Result<Table> {
    let mut table = Table::try_from(limits)?;
    let all = Table::try_from(Limits::of(Profile::Aws))?;
    for name in all.keys().filter(|name| !table.contains_key(*name)).cloned().collect::<Vec<_>>() {
        table.insert(name, Value::String("unlimited".to_owned()));
    }
    Ok(table)
}

/// An address without the password in it: what is printed is shown around.
fn without_password(text: &str) -> String {
    let parts = text.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.split_once('@')?)));
    match parts.and_then(|(scheme, (user, host))| Some((scheme, user.split_once(':')?.0, host))) {
        Some((scheme, user, host)) => format!("{scheme}://{user}:***@{host}"),
        None => text.to_owned(),
    }
}

fn typed(text: &str) -> Value {
    match text {
        "true" => Value::Boolean(true),
        "false" => Value::Boolean(false),
        text => Value::String(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str, line: &str) -> Result<(Command, Settings)> {
        let file: Table = file.parse()?;
        let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let command = with_defaults(Cli::command(), &command_name(&arguments), &file)?;
        build(&command.try_get_matches_from(arguments)?, &file)
    }

    fn config(file: &str, line: &str) -> Result<Settings> {
        read(file, line).map(|(_, settings)| settings)
    }

    #[test]
    fn flags_go_before_the_file_and_the_file_before_defaults() {
        let file =
            "mqtt-tls = \"127.0.0.1:1\"\nhttps = \"127.0.0.1:2\"\nsan = [\"a\", \"b\"]\nsingle-region = true";
        let (Command::Dev(arguments), _) = read(file, "fleethaven dev --https 127.0.0.1:3").unwrap() else {
            panic!("another command")
        };
        assert_eq!(arguments.listeners.mqtt_tls.port(), 1);
        assert_eq!(arguments.listeners.web.https.port(), 3);
        assert_eq!(arguments.server.san, ["a", "b"]);
        assert!(arguments.scope.single_region);
        assert_eq!(arguments.scope.region.as_str(), "us-east-1");
    }

    #[test]
    fn one_file_serves_several_commands() {
        let file =
            "cluster-tls = \"tls\"\nnode-id = 1\npeer = [\"1=a:1\", \"2=b:1\"]\nhttps = \"127.0.0.1:2\"";
        let (Command::Metastore(arguments), settings) = read(file, "fleethaven metastore").unwrap() else {
            panic!("another command")
        };
        assert_eq!((arguments.node_id, arguments.peer.len()), (Some(1), 2));
        let again = config(&settings.printed, "fleethaven metastore").unwrap();
        assert_eq!(again.printed, settings.printed);
        assert!(config(file, "fleethaven dev").is_ok());
    }

    #[test]
    fn passwords_are_not_printed() {
        for (address, printed) in [
            ("redis://h:1/2", "redis://h:1/2"),
            ("rediss://u:p%40@h", "rediss://u:***@h"),
            ("redis+sentinel://:p@a:1,b:2/n", "redis+sentinel://:***@a:1,b:2/n"),
            ("127.0.0.1:1", "127.0.0.1:1"),
        ] {
            assert_eq!(without_password(address), printed);
        }
    }

    #[test]
    fn the_file_is_named_by_flag_or_environment() {
        let named = |line: &str, environment: Option<&str>| {
            let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            config_path(&command_name(&arguments), arguments.iter(), environment.map(OsString::from))
        };
        assert_eq!(named("fleethaven dev --config a", Some("b")), Some("a".into()));
        assert_eq!(named("fleethaven metastore --config=a", None), Some("a".into()));
        assert_eq!(named("fleethaven metastore", Some("b")), Some("b".into()));
        assert_eq!(named("fleethaven pki init", Some("b")), None, "it takes none");
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
