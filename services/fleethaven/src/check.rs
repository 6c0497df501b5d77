//! `--check-config`: everything about the settings that can be tried without leaving a trace. All that is wrong is told at
//! once.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;

use anyhow::{Result, bail};
use fleethaven_daemon::clock;
use fleethaven_telemetry::logs;

use crate::certificates;
use crate::cli::{DevArgs, SniCertificate};
use crate::config::Config;

/// Checks what reading the settings has not: logs, names, certificates, ports, the data directory.
pub(crate) fn check(config: &Config) -> Result<()> {
    let arguments = &config.arguments;
    let mut problems = Vec::new();
    let mut note = |what: &str, outcome: Result<()>| {
        if let Err(error) = outcome {
            problems.push(format!("{what}: {error:#}"));
        }
    };
    note("--log, --log-format", log(arguments));
    match (&arguments.server_cert, &arguments.server_key) {
        (Some(certificate), Some(key)) => {
            let pair =
                SniCertificate { certificate: certificate.clone(), key: key.clone(), names: Vec::new() };
            note("--server-cert, --server-key", certificates::identity(&pair).map(drop));
        }
        _ => note("--san, --base-domain", certificates::check_san(arguments, clock::now().as_secs())),
    }
    for pair in &arguments.sni_cert {
        let read = certificates::identity(pair);
        note("--sni-cert", read.and_then(|identity| certificates::check_names(pair, &identity)));
    }
    note("--data-dir", data_dir(&arguments.data_dir));
    for (flag, outcome) in ports(arguments) {
        note(flag, outcome);
    }
    match problems.is_empty() {
        true => Ok(()),
        false => bail!("{} of the settings cannot work:\n  {}", problems.len(), problems.join("\n  ")),
    }
}

fn log(arguments: &DevArgs) -> Result<()> {
    logs::check_filter(&arguments.log)?;
    if let Some(format) = &arguments.log_format {
        format.parse::<logs::Format>()?;
    }
    Ok(())
}

/// It is made on first start; whatever stands in its place must be a directory.
fn data_dir(path: &Path) -> Result<()> {
    let nearest = path.ancestors().find(|part| part.exists());
    match nearest {
        Some(part) if !part.is_dir() => {
            bail!("{} is in the way: it is no directory; choose another --data-dir", part.display())
        }
        _ => Ok(()),
    }
}

/// Binds every port once and lets go of it; all are held until the last is tried, so that two listeners on one port are
/// noticed.
fn ports(arguments: &DevArgs) -> Vec<(&'static str, Result<()>)> {
    let tcp = [
        ("--mqtt-tls", Some(arguments.mqtt_tls)),
        ("--https", Some(arguments.https)),
        ("--https-mtls", arguments.https_mtls),
        ("--mqtt", arguments.mqtt),
        ("--admin", Some(arguments.admin)),
    ];
    let (mut held, mut outcomes) = (Vec::new(), Vec::new());
    for (flag, address) in tcp {
        let Some(address) = address else { continue };
        let bound = TcpListener::bind(address).map(|listener| held.push(listener));
        outcomes.push((flag, bound.map_err(|error| in_the_way(address, flag, &error))));
    }
    if let Some(address) = arguments.quic {
        let bound = UdpSocket::bind(address).map(drop);
        outcomes.push(("--quic", bound.map_err(|error| in_the_way(address, "--quic", &error))));
    }
    outcomes
}

fn in_the_way(address: SocketAddr, flag: &str, error: &std::io::Error) -> anyhow::Error {
    anyhow::anyhow!(
        "cannot listen on {address}: {error}; stop what listens there (this very instance, if it runs), or choose another \
         {flag}"
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn checked(line: &str) -> Result<()> {
        let all = format!("fleethaven dev --https 127.0.0.1:0 --mqtt-tls 127.0.0.1:0 {line}");
        let Cli { command: Command::Dev(arguments) } = Cli::parse_from(all.split_whitespace());
        check(&Config::for_tests(*arguments))
    }

    #[test]
    fn all_that_is_wrong_is_told_with_the_fix() {
        checked("--san iot.example").unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap();
        let line = format!(
            "--log fleethaven=loud --log-format xml --san a..b --sni-cert cert=/none.pem,key=/none.key \
             --data-dir /dev/null/x --admin {port}"
        );
        let told = checked(&line).unwrap_err().to_string();
        for part in [
            "5 of the settings",
            "fleethaven=loud",
            "a..b",
            "/none.pem",
            "/dev/null is in the way",
            "another --admin",
        ] {
            assert!(told.contains(part), "{part} in {told}");
        }
        let told = checked("--server-cert /none.pem --server-key /none.key").unwrap_err().to_string();
        assert!(told.contains("--server-cert") && told.contains("/none.pem"), "{told}");
    }
}
