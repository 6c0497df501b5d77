//! Encryption at rest: under which master keys, and `fleethaven encryption-key`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::DEFAULT_DATA_DIR;

/// The master keys of what is written to disk.
#[derive(Args, Clone, Default)]
pub(crate) struct EncryptionArgs {
    /// Encrypt what the stores write to disk under a key of this file: 32 bytes in base64 or hexadecimal a line, as
    /// `fleethaven encryption-key new` makes them. The first key is for what is new, the others open what is old. The file is
    /// looked at every few seconds and on SIGHUP. Without it a store that was never encrypted is plain.
    #[arg(
        id = "encryption_key_file",
        long = "encryption-key-file",
        value_name = "FILE",
        env = "FLEETHAVEN_ENCRYPTION_KEY_FILE"
    )]
    pub(crate) key_file: Option<PathBuf>,

    /// Seal the private keys of issuing CAs under the first key of this file, and open them by all of its keys, whether or not anything
    /// else is encrypted. The file is made as that of --encryption-key-file, the same for all nodes of a cluster, and looked at as often.
    /// Unless given: `issuing-keys` beside the certificate of a node of the metadata store, otherwise `issuing-keys` in the data directory,
    /// made on first start.
    #[arg(long, value_name = "FILE", env = "FLEETHAVEN_ISSUING_KEY_FILE")]
    pub(crate) issuing_key_file: Option<PathBuf>,

    /// Encrypt under this key of AWS KMS, or of a service that speaks its API: an id, an ARN or `alias/NAME`. What was encrypted under a
    /// key of --encryption-key-file stays readable where that is given, too. Access keys come from the variables of the AWS SDKs
    /// (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN), the region from the ARN or AWS_REGION. The service is asked at
    /// the start, every five minutes and on SIGHUP.
    #[arg(
        id = "encryption_kms_key",
        long = "encryption-kms-key",
        value_name = "KEY",
        env = "FLEETHAVEN_ENCRYPTION_KMS_KEY"
    )]
    pub(crate) kms_key: Option<String>,

    /// Where the key service is, if it is not AWS's in the key's region.
    #[arg(
        long = "encryption-kms-url",
        value_name = "URL",
        env = "FLEETHAVEN_ENCRYPTION_KMS_URL",
        requires = "encryption_kms_key"
    )]
    pub(crate) kms_url: Option<String>,

    /// Certificates (PEM) of authorities that may certify the key service, beside the system's. May be repeated.
    #[arg(
        long = "encryption-kms-ca",
        value_name = "FILE",
        env = "FLEETHAVEN_ENCRYPTION_KMS_CA",
        value_delimiter = ','
    )]
    pub(crate) kms_ca: Vec<PathBuf>,
}

/// What is done with master keys.
#[derive(Subcommand)]
pub(crate) enum EncryptionKeyCommand {
    /// Print a new key: a line of a file for --encryption-key-file.
    New,
    /// Tell which master keys the stores of a data directory need: whether a process runs on it or not, and without any key.
    Status(KeyStatusArgs),
    /// Stop encrypting: make the stores of a data directory plain, on which no process runs, and take their keyrings away.
    Remove(KeyRemoveArgs),
}

/// Arguments of `encryption-key status`.
#[derive(Args)]
pub(crate) struct KeyStatusArgs {
    /// The data directory of a `fleethaven dev` or of a node of the metadata store.
    #[arg(long, value_name = "DIR", env = "FLEETHAVEN_DATA_DIR", default_value = DEFAULT_DATA_DIR)]
    pub(crate) data_dir: PathBuf,
}

/// Arguments of `encryption-key remove`.
#[derive(Args)]
pub(crate) struct KeyRemoveArgs {
    /// The data directory of a `fleethaven dev` or of a node of the metadata store.
    #[arg(long, value_name = "DIR", env = "FLEETHAVEN_DATA_DIR", default_value = DEFAULT_DATA_DIR)]
    pub(crate) data_dir: PathBuf,

    #[command(flatten)]
    pub(crate) encryption: EncryptionArgs,
}
