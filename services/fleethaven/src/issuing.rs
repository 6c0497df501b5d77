//! `fleethaven issuing-ca`: the CA that issues an account's certificates.

use std::io::Write;

use anyhow::{Context, Result, bail};
use fleethaven_daemon::clock;
use fleethaven_issuing::Signer;
use fleethaven_pki::{
    Attribute, Authority, Certificate, ExternalAuthority, Name, Serial, Unsigned, Validity,
};
use fleethaven_registry::shapes::{IssuingCa, IssuingKey, Secret};
use fleethaven_types::AccountId;

use crate::ask::operate;
use crate::cli::{IssuingCaCommand, MakeIssuingCaArgs};
use crate::config::from_file;
use crate::operators::{Line, Request};

const DAY: u64 = 24 * 60 * 60;

/// Carries out the command.
pub(crate) async fn run(command: IssuingCaCommand) -> Result<()> {
    match command {
        IssuingCaCommand::Make(arguments) => make(arguments).await,
        IssuingCaCommand::Put(put) => {
            let key = match (put.external_key, &put.key) {
                (Some(name), _) => IssuingKey::ExternalKey(name),
                (None, Some(file)) => IssuingKey::PrivateKeyPem(Secret(from_file(file)?)),
                (None, None) => bail!("name --external-key or --key"),
            };
            let certificate_pem = from_file(&put.certificate)?;
            let ca = IssuingCa { certificate_pem, key, sealed_under: None };
            operate(&put.of.place, Request::PutIssuingCa { account: put.of.account, ca }).await
        }
        IssuingCaCommand::Show(of) => {
            operate(&of.place, Request::ShowIssuingCa { account: of.account }).await
        }
    }
}

/// The signature shows that the signer has the key: a certificate that is not signed by it is none.
async fn make(arguments: MakeIssuingCaArgs) -> Result<()> {
    let MakeIssuingCaArgs { signer, external_key, public_key, common_name, days } = arguments;
    let file = &public_key;
    let public_key = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let name = Name::new(&[(Attribute::CommonName, common_name.as_str())])?;
    let now = clock::now().as_secs();
    let validity = Validity { not_before: now - DAY, not_after: now + u64::from(days) * DAY };
    let serial = Serial(uuid::Uuid::new_v4().into_bytes());
    let unsigned = Unsigned::authority(&public_key, &name, serial, validity)?;
    let signature = Signer::at(signer).sign(&external_key, unsigned.digest()).await?;
    let certificate = unsigned.signed(&signature).context("the external signer's key is another one")?;
    std::io::stdout().lock().write_all(certificate.pem().as_bytes()).context("cannot print the certificate")
}

/// A CA that can issue.
pub(crate) fn checked(ca: IssuingCa) -> Result<IssuingCa> {
    match &ca.key {
        IssuingKey::PrivateKeyPem(key) => drop(Authority::from_pem(&ca.certificate_pem, &key.0)?),
        IssuingKey::ExternalKey(_) => drop(ExternalAuthority::from_pem(&ca.certificate_pem)?),
        IssuingKey::SealedKey(_) => bail!("its key is sealed already"),
    }
    Ok(ca)
}

/// What is told of a CA.
pub(crate) fn told(account: AccountId, ca: IssuingCa) -> Result<Line> {
    let certificate = Certificate::parse_pem(&ca.certificate_pem)?;
    let common_names: Vec<&str> = certificate.subject.values(Attribute::CommonName).collect();
    let (external_key, sealed_under, opens) = match ca.key {
        IssuingKey::ExternalKey(name) => (Some(name), None, None),
        IssuingKey::PrivateKeyPem(_) => (None, ca.sealed_under, Some(true)),
        IssuingKey::SealedKey(sealed) => (None, Some(sealed.under), Some(false)),
    };
    Ok(Line::IssuingCa {
        account_id: account.to_string(),
        common_name: common_names.join(" "),
        not_after: certificate.not_after,
        external_key,
        sealed_under,
        opens,
        certificate_pem: ca.certificate_pem,
    })
}
