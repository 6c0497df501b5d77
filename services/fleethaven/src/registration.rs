//! `fleethaven register-things`.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use fleethaven_registry::thing_registration_tasks::{UPLOAD_PIECE, UPLOAD_PIECES};

use crate::ask::{answer_in_order, print};
use crate::cli::RegisterThingsArgs;
use crate::operators::upload;

/// Most bytes of an input.
const MOST: u64 = UPLOAD_PIECES * UPLOAD_PIECE as u64;

/// Uploads the input, starts the task and prints its id.
pub(crate) async fn run(arguments: RegisterThingsArgs) -> Result<()> {
    let RegisterThingsArgs { input, template, region, of } = arguments;
    let unreadable = |path: &Path| format!("cannot read {}", path.display());
    let template_body = std::fs::read_to_string(&template).with_context(|| unreadable(&template))?;
    let bytes = read(&input).with_context(|| unreadable(&input))?;
    ensure!(!bytes.is_empty(), "{} is empty", input.display());
    ensure!(
        bytes.len() as u64 <= MOST,
        "{} has more than {MOST} bytes: put it into a bucket (`aws iot start-thing-registration-task`)",
        input.display()
    );
    let requests = upload(of.account, region, template_body, &bytes);
    print(&answer_in_order(&of.place, requests).await?, of.place.json)
}

/// No more than is enough to tell that it is too much.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let source: Box<dyn Read> = match path.to_str() {
        Some("-") => Box::new(std::io::stdin()),
        _ => Box::new(std::fs::File::open(path)?),
    };
    source.take(MOST + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
