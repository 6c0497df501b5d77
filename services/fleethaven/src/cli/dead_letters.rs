//! `fleethaven dead-letter`: messages that no rules worker could finish.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use fleethaven_types::AccountId;

/// What is done to dead letters.
#[derive(Subcommand, Clone)]
pub(crate) enum DeadLetterCommand {
    /// Print them, oldest first, each with its reason.
    List(ListDeadLettersArgs),
    /// Put some back at the end of the rules queue, as if they had just come.
    Redrive(SomeDeadLettersArgs),
    /// Forget some.
    Delete(SomeDeadLettersArgs),
}

/// Where messages are.
#[derive(Args, Clone)]
pub(crate) struct RunningArgs {
    /// The data directory of a `fleethaven dev` that runs.
    #[arg(long, value_name = "DIR", group = "target")]
    pub(crate) data_dir: Option<PathBuf>,

    /// The admin port of a `fleethaven dev` or `fleethaven rules-worker` that runs on this machine, as the same user.
    #[arg(long, value_name = "HOST:PORT", group = "target")]
    pub(crate) admin: Option<String>,

    /// Print JSON: one object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `dead-letter list`.
#[derive(Args, Clone)]
pub(crate) struct ListDeadLettersArgs {
    /// Only those of an account.
    #[arg(long, value_name = "ID")]
    pub(crate) account: Option<AccountId>,

    /// Most that are printed.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = limit)]
    pub(crate) limit: usize,

    #[command(flatten)]
    pub(crate) running: RunningArgs,
}

/// Arguments of `dead-letter redrive` and `dead-letter delete`.
#[derive(Args, Clone)]
pub(crate) struct SomeDeadLettersArgs {
    /// Their ids, as the list has them.
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<u64>,

    #[command(flatten)]
    pub(crate) running: RunningArgs,
}

fn limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=1000) => Ok(number),
        _ => Err("a number from 1 to 1000".to_owned()),
    }
}
