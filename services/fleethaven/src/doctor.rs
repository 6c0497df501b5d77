//! `fleethaven doctor`: looks at what an installation stands on, and says what to do about what is not well.
//!
//! - `local`: this machine: files that may be open, the disk, certificates
//! - `remote`: what is reached over the network: the cluster, the session store, HTTPS

mod local;
mod remote;

use anyhow::{Result, bail};
use serde::Serialize;

use crate::cli::DoctorArgs;
use crate::columns::aligned;
use crate::process::{print_line, print_text};

/// What came of looking at one thing. Keys are only ever added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    check: String,
    verdict: Verdict,
    detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Well,
    Warning,
    Failed,
}

impl Finding {
    fn well(check: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { check: check.into(), verdict: Verdict::Well, detail: detail.into(), advice: None }
    }

    fn warning(check: impl Into<String>, detail: impl Into<String>, advice: impl Into<String>) -> Self {
        let advice = Some(advice.into());
        Self { check: check.into(), verdict: Verdict::Warning, detail: detail.into(), advice }
    }

    fn failed(check: impl Into<String>, detail: impl Into<String>, advice: impl Into<String>) -> Self {
        let advice = Some(advice.into());
        Self { check: check.into(), verdict: Verdict::Failed, detail: detail.into(), advice }
    }
}

/// Carries out the command: an error when something failed.
pub(crate) async fn run(arguments: DoctorArgs) -> Result<()> {
    let mut findings = vec![local::open_files()];
    if let Some(folder) = &arguments.data_dir {
        findings.extend(local::data_dir(folder));
    }
    if let Some(folder) = &arguments.cluster_tls {
        findings.extend(local::cluster_tls(folder));
        findings.extend(remote::cluster(&arguments.metastore, folder).await);
    }
    if arguments.session_store {
        findings.push(remote::session_store(&arguments.store).await);
    }
    for place in &arguments.https {
        findings.extend(remote::https(place, arguments.ca.as_deref()).await);
    }
    if arguments.json {
        findings.iter().try_for_each(print_line)?;
    } else {
        print_text(&text(&findings))?;
    }
    match findings.iter().filter(|finding| finding.verdict == Verdict::Failed).count() {
        0 => Ok(()),
        count => bail!("{count} of {} checks failed", findings.len()),
    }
}

fn text(findings: &[Finding]) -> String {
    let rows: Vec<_> = findings
        .iter()
        .map(|finding| {
            let verdict = match finding.verdict {
                Verdict::Well => "well",
                Verdict::Warning => "WARNING",
                Verdict::Failed => "FAILED",
            };
            let detail = match &finding.advice {
                Some(advice) => format!("{}: {advice}", finding.detail),
                None => finding.detail.clone(),
            };
            [verdict.to_owned(), finding.check.clone(), detail]
        })
        .collect();
    aligned(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_say_what_to_do() {
        let findings = [
            Finding::well("open files", "65536"),
            Finding::failed("certificate a", "expired", "issue a new one"),
        ];
        let expected = "well    open files     65536\nFAILED  certificate a  expired: issue a new one\n";
        assert_eq!(text(&findings), expected);
        let json = serde_json::to_string(&findings[1]).unwrap();
        assert_eq!(
            json,
            r#"{"check":"certificate a","verdict":"failed","detail":"expired","advice":"issue a new one"}"#
        );
    }
}
