//! DescribeEndpoint.

use fleethaven_types::AccountId;

use crate::answer::{Answer, Outcome};
use crate::call::Call;
use crate::config::{Endpoints, HostPort};
use crate::error::Error;

/// AWS's own port, which addresses leave out.
const HTTPS: u16 = 443;

pub(super) async fn describe(call: &Call<'_>) -> Outcome {
    let kind = call.input.query("endpointType").unwrap_or("iot:Data");
    let address = address(&call.state.config.endpoints, kind, call.scope.account)?;
    Ok(Answer::of([("endpointAddress", address.into())]))
}

/// `host[:port]` of an endpoint type.
fn address(endpoints: &Endpoints, kind: &str, account: AccountId) -> Result<String, Error> {
    let (word, at) = match kind {
        "iot:Data" | "iot:Data-ATS" => ("data", &endpoints.data),
        "iot:Jobs" => ("jobs", &endpoints.jobs),
        "iot:CredentialProvider" => ("credentials", &endpoints.credentials),
        other => {
            let known = "iot:Data, iot:Data-ATS, iot:CredentialProvider, iot:Jobs";
            let shown: String = other.chars().take(128).collect();
            return Err(Error::invalid(format!("Endpoint type '{shown}' is not one of: {known}")));
        }
    };
    Ok(host_of(word, at, endpoints, account))
}

/// `host[:port]` of a service of an account.
pub(crate) fn host_of(word: &str, at: &HostPort, endpoints: &Endpoints, account: AccountId) -> String {
    let host = match &endpoints.base_domain {
        Some(base) => format!("{account}.{word}.{base}"),
        None => at.host.clone(),
    };
    if at.port == HTTPS { host } else { format!("{host}:{}", at.port) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_base_domains() {
        let at = |port| HostPort { host: "localhost".to_owned(), port };
        let mut endpoints =
            Endpoints { base_domain: None, data: at(443), jobs: at(8443), credentials: at(9000) };
        let account = "000000000012".parse().unwrap();
        let told = |endpoints: &Endpoints, kind| address(endpoints, kind, account).unwrap();
        assert_eq!(told(&endpoints, "iot:Data"), "localhost");
        assert_eq!(told(&endpoints, "iot:Jobs"), "localhost:8443");
        endpoints.base_domain = Some("iot.example".to_owned());
        assert_eq!(told(&endpoints, "iot:Data-ATS"), "000000000012.data.iot.example");
        assert_eq!(told(&endpoints, "iot:CredentialProvider"), "000000000012.credentials.iot.example:9000");
        assert!(matches!(address(&endpoints, "iot:data", account), Err(Error::Invalid(_))));
    }
}
