//! The topics of fleet provisioning.

use super::wire::Format;

const CERTIFICATES: &str = "$aws/certificates/";
const TEMPLATES: &str = "$aws/provisioning-templates/";

/// What a client asks for, by its topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    /// `$aws/certificates/create/…`
    CreateKeysAndCertificate,
    /// `$aws/certificates/create-from-csr/…`
    CreateCertificateFromCsr,
    /// `$aws/provisioning-templates/{template}/provision/…`
    RegisterThing {
        /// The template.
        template_name: String,
    },
}

impl Call {
    /// AWS's name of the operation.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::CreateKeysAndCertificate => "CreateKeysAndCertificate",
            Self::CreateCertificateFromCsr => "CreateCertificateFromCsr",
            Self::RegisterThing { .. } => "RegisterThing",
        }
    }

    /// Tells the operations apart: each has a rate of its own.
    pub(crate) fn number(&self) -> usize {
        match self {
            Self::CreateKeysAndCertificate => 0,
            Self::CreateCertificateFromCsr => 1,
            Self::RegisterThing { .. } => 2,
        }
    }
}

/// Whether `topic` begins like one of these: what most messages cost.
pub(crate) fn may_be_request(topic: &str) -> bool {
    topic.starts_with(CERTIFICATES) || topic.starts_with(TEMPLATES)
}

/// What is asked for on `topic`; `None` when that is no topic of a request.
pub(crate) fn request(topic: &str) -> Option<(Call, Format)> {
    if let Some(rest) = topic.strip_prefix(CERTIFICATES) {
        let (operation, format) = rest.split_once('/')?;
        let call = match operation {
            "create" => Call::CreateKeysAndCertificate,
            "create-from-csr" => Call::CreateCertificateFromCsr,
            _ => return None,
        };
        return Some((call, Format::of(format)?));
    }
    let (template, rest) = topic.strip_prefix(TEMPLATES)?.split_once('/')?;
    let format = Format::of(rest.strip_prefix("provision/")?)?;
    Some((Call::RegisterThing { template_name: template.to_owned() }, format))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_from_answers() {
        for (topic, call, format) in [
            ("$aws/certificates/create/json", Call::CreateKeysAndCertificate, Format::Json),
            ("$aws/certificates/create-from-csr/cbor", Call::CreateCertificateFromCsr, Format::Cbor),
            (
                "$aws/provisioning-templates/T-1/provision/json",
                Call::RegisterThing { template_name: "T-1".to_owned() },
                Format::Json,
            ),
        ] {
            assert!(may_be_request(topic));
            assert_eq!(request(topic), Some((call, format)), "{topic}");
            for answer in ["accepted", "rejected"] {
                assert_eq!(request(&format!("{topic}/{answer}")), None);
            }
        }
        for other in [
            "$aws/certificates/create",
            "$aws/certificates/create/xml",
            "$aws/certificates/delete/json",
            "$aws/provisioning-templates/T/provision",
            "$aws/provisioning-templates/T/provision/json/",
            "$aws/provisioning-templates/T/U/provision/json",
            "$aws/things/t/shadow/get",
        ] {
            assert_eq!(request(other), None, "{other}");
        }
    }
}
