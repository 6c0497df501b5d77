//! `fleethaven check`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

/// Arguments of `fleethaven check`.
#[derive(Args, Clone)]
pub(crate) struct CheckArgs {
    /// Where the API is.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) api: Place,

    /// Where devices connect: MQTT over TLS with client certificates.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) mqtt: Place,

    /// The CA that certified both (PEM).
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: PathBuf,

    /// The region whose things are tried.
    #[arg(long, value_name = "R", env = "AWS_REGION", default_value = "us-east-1")]
    pub(crate) region: String,

    /// An access key of the account.
    #[arg(long, value_name = "ID", env = "AWS_ACCESS_KEY_ID")]
    pub(crate) access_key_id: String,

    /// Its secret: better in the variable than on the command line.
    #[arg(long, value_name = "SECRET", env = "AWS_SECRET_ACCESS_KEY", hide_env_values = true)]
    pub(crate) secret_access_key: String,
}

/// A host, without brackets, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        match parts {
            Some((host, port)) if !host.is_empty() && port > 0 => {
                let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
                Ok(Self { host, port })
            }
            _ => Err(format!("'{text}' is not HOST:PORT")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let place = |host: &str, port| Ok(Place { host: host.to_owned(), port });
        assert_eq!("iot.example:443".parse(), place("iot.example", 443));
        assert_eq!("[::1]:8883".parse(), place("::1", 8883));
        for text in ["", "iot.example", ":443", "iot.example:0", "iot.example:https"] {
            assert!(text.parse::<Place>().unwrap_err().contains("HOST:PORT"), "{text}");
        }
    }
}
