//! `fleethaven server-certificate`.

use anyhow::{Context, Result};
use fleethaven_daemon::clock;
use fleethaven_pki::ServerChain;
use fleethaven_registry::shapes::{PutServerCertificate, Secret};
use fleethaven_types::Timestamp;

use crate::ask::operate;
use crate::cli::ServerCertificateCommand;
use crate::config::from_file;
use crate::operators::Request;

/// Carries out the command.
pub(crate) async fn run(command: ServerCertificateCommand) -> Result<()> {
    match command {
        ServerCertificateCommand::Put(put) => {
            let (of, server_certificate_arn) = (put.certificate.of, put.certificate.server_certificate_arn);
            let request = Request::PutServerCertificate {
                account: of.account,
                server_certificate_arn,
                certificate_chain: from_file(&put.cert)?,
                private_key: Secret(from_file(&put.key)?),
            };
            operate(&of.place, request).await
        }
        ServerCertificateCommand::List(of) => {
            operate(&of.place, Request::ListServerCertificates { account: of.account }).await
        }
        ServerCertificateCommand::Delete(named) => {
            let (of, server_certificate_arn) = (named.of, named.server_certificate_arn);
            let request = Request::DeleteServerCertificate { account: of.account, server_certificate_arn };
            operate(&of.place, request).await
        }
    }
}

/// The command's arguments, of a chain that may be shown with this key.
pub(crate) fn checked(
    server_certificate_arn: String,
    certificate_chain: String,
    private_key: Secret,
) -> Result<PutServerCertificate> {
    let chain = ServerChain::check(&certificate_chain, &private_key.0, clock::now().as_secs());
    let ServerChain { names, not_after, .. } = chain.context("the certificate cannot be put")?;
    let not_after = Timestamp(not_after.saturating_mul(1000));
    Ok(PutServerCertificate { server_certificate_arn, certificate_chain, private_key, names, not_after })
}
