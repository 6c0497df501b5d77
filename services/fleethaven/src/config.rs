//! One settings file, the environment, and flags, under the same names: a flag goes before the environment, the environment
//! before the file, the file before the default. The file (TOML) also holds what has no flag: `[limits]` and `[behaviour]`,
//! each on top of the profile's bundle.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::{ArgAction, ArgMatches, CommandFactory, FromArgMatches};
use fleethaven_types::{Behaviour, Limits, Profile};
use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::cli::{Cli, Command, DevArgs};

/// What `fleethaven dev` runs with.
pub(crate) struct Config {
    pub(crate) arguments: DevArgs,
    pub(crate) limits: Limits,
    pub(crate) behaviour: Behaviour,
    /// All of it as a settings file.
    pub(crate) printed: String,
}

/// Tables of the file that have no flag.
const LIMITS: &str = "limits";
const BEHAVIOUR: &str = "behaviour";

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
    for (name, value) in file.iter().filter(|(name, _)| !matches!(name.as_str(), LIMITS | BEHAVIOUR)) {
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
    let limits = overlay(LIMITS, &Limits::of(profile), file)?;
    let behaviour = overlay(BEHAVIOUR, &Behaviour::of(profile), file)?;
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

/// The settings in force as a file that would give them.
fn print(matches: &ArgMatches, limits: &Limits, behaviour: &Behaviour) -> Result<String> {
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
    table.insert(LIMITS.to_owned(), Value::Table(Table::try_from(limits)?));
    table.insert(BEHAVIOUR.to_owned(), Value::Table(Table::try_from(behaviour)?));
    Ok(toml::to_string(&table)?)
}

/// Whether a setting may be given more than once.
fn is_list(command: &clap::Command, id: &str) -> bool {
    let mut arguments = command.find_subcommand("dev").into_iter().flat_map(clap::Command::get_arguments);
    arguments.any(|argument| argument.get_id() == id && matches!(argument.get_action(), ArgAction::Append))
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
        Self { arguments, limits, behaviour, printed: String::new() }
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
        assert_eq!(config.limits.client_id_bytes, 64);
        assert_eq!(config.limits.connections_account, None);
        assert_eq!(config.limits.topic_levels, 8, "the rest is the profile's");
        assert_eq!(config.behaviour.max_qos, fleethaven_types::QoS::AtMostOnce);
    }

    #[test]
    fn what_is_printed_gives_the_same_settings() {
        let file = "profile = \"aws\"\nmqtt = \"127.0.0.1:0\"\n[limits]\ntopic-bytes = 99";
        let first = config(file, "fleethaven dev --san x").unwrap();
        let again = config(&first.printed, "fleethaven dev").unwrap();
        assert_eq!(again.printed, first.printed);
        assert_eq!(again.limits, first.limits);
    }

    #[test]
    fn mistakes_are_named() {
        for (file, part) in [
            ("mqtt_tls = \"127.0.0.1:1\"", "'mqtt_tls' is no setting"),
            ("nonsense = 1", "'nonsense' is no setting"),
            ("mqtt-tls = {}", "'mqtt-tls' is a text"),
            ("[limits]\nclient-id = 3", "in [limits]"),
            ("[behaviour]\nmax-qos = 3", "in [behaviour]"),
        ] {
            let error = format!("{:#}", config(file, "fleethaven dev").err().unwrap());
            assert!(error.contains(part), "{file}: {error}");
        }
    }
}
