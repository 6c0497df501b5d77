//! The checks of `RegisterCACertificate` ("Register your CA certificate", developer guide).

use aws_lc_rs::constant_time::verify_slices_are_equal;

use crate::{Certificate, Error, name::Attribute};

/// Checks that a certificate may be registered as a CA at `now` (unix seconds): X.509 version 3, CA=TRUE,
/// keyCertSign where there is a key usage, and current. All that SNI_ONLY mode asks for.
///
/// # Errors
///
/// [`Error::CaVersion`], [`Error::NotCa`], [`Error::CaKeyUsage`], [`Error::NotYetValid`], [`Error::Expired`].
pub fn check_ca(ca: &Certificate, now: u64) -> Result<(), Error> {
    check_may_issue(ca)?;
    ca.check_validity(now)
}

/// The same without the validity period.
pub(crate) fn check_may_issue(ca: &Certificate) -> Result<(), Error> {
    if ca.version != 3 {
        return Err(Error::CaVersion(ca.version));
    }
    if !ca.is_ca {
        return Err(Error::NotCa(ca.id));
    }
    if ca.key_cert_sign == Some(false) {
        return Err(Error::CaKeyUsage(ca.id));
    }
    Ok(())
}

/// Checks a registration in DEFAULT mode: the CA may be registered, and whoever registers it holds its key,
/// shown by a current certificate that the key signed and whose only common name is the account's
/// registration code.
///
/// # Errors
///
/// Those of [`check_ca`] and [`Certificate::check_issued_by`], the validity errors for the verification
/// certificate, and last [`Error::RegistrationCode`]. The code is compared in constant time.
pub fn verify_registration(
    ca: &Certificate,
    verification: &Certificate,
    registration_code: &str,
    now: u64,
) -> Result<(), Error> {
    check_ca(ca, now)?;
    verification.check_issued_by(ca)?;
    verification.check_validity(now)?;
    let mut names = verification.subject.values(Attribute::CommonName);
    match (names.next(), names.next()) {
        (Some(name), None) => verify_slices_are_equal(name.as_bytes(), registration_code.as_bytes())
            .map_err(|_| Error::RegistrationCode),
        _ => Err(Error::RegistrationCode),
    }
}

#[cfg(test)]
mod tests;
