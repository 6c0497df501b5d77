//! The ready line on standard output, and the AWS shared-config file that goes with it. Keys are only ever added: programs
//! depend on them.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Result;
use fleethaven_types::Scope;
use serde::Serialize;

use crate::account::Credentials;
use crate::data_dir::DataDir;

/// Where everything is. Paths are absolute; a listener that is off is null.
#[derive(Serialize)]
pub(crate) struct Ready {
    ready: bool,
    account_id: String,
    region: String,
    iot_endpoint: String,
    data_endpoint: String,
    jobs_endpoint: String,
    mqtt_tls: String,
    mqtt: Option<String>,
    mqtt_quic: Option<String>,
    https_mtls: Option<String>,
    admin: String,
    ca_file: PathBuf,
    access_key_id: String,
    secret_access_key: String,
    aws_config_file: PathBuf,
}

/// The bound addresses.
pub(crate) struct Bound {
    pub(crate) mqtt_tls: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) https_mtls: Option<SocketAddr>,
    pub(crate) mqtt: Option<SocketAddr>,
    pub(crate) quic: Option<SocketAddr>,
    pub(crate) admin: SocketAddr,
}

/// The host name that clients on this machine use for a bound address: it must be in the server certificate.
pub(crate) fn host(address: IpAddr) -> String {
    match address {
        address if address.is_loopback() || address.is_unspecified() => "localhost".to_owned(),
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// A bound address as clients on this machine use it.
pub(crate) fn host_port(address: SocketAddr) -> String {
    format!("{}:{}", host(address.ip()), address.port())
}

impl Ready {
    pub(crate) fn new(
        scope: Scope,
        bound: &Bound,
        credentials: Credentials,
        ca_file: PathBuf,
        data: &DataDir,
    ) -> Result<Self> {
        let endpoint = format!("https://{}", host_port(bound.https));
        let config = config(scope, &endpoint, &credentials, &ca_file);
        let aws_config_file = data.write("aws-config", &config)?;
        Ok(Self {
            ready: true,
            account_id: scope.account.to_string(),
            region: scope.region.to_string(),
            iot_endpoint: endpoint.clone(),
            data_endpoint: endpoint.clone(),
            jobs_endpoint: endpoint,
            mqtt_tls: host_port(bound.mqtt_tls),
            mqtt: bound.mqtt.map(host_port),
            mqtt_quic: bound.quic.map(host_port),
            https_mtls: bound.https_mtls.map(host_port),
            admin: host_port(bound.admin),
            ca_file,
            access_key_id: credentials.access_key_id,
            secret_access_key: credentials.secret_access_key,
            aws_config_file,
        })
    }
}

/// A shared-config file with everything that the AWS CLI and SDKs need: profile `fleethaven`.
fn config(scope: Scope, endpoint: &str, credentials: &Credentials, ca_file: &Path) -> String {
    let Credentials { access_key_id, secret_access_key } = credentials;
    let ca_bundle = ca_file.display();
    let region = scope.region;
    format!(
        "[profile fleethaven]\n\
         aws_access_key_id = {access_key_id}\n\
         aws_secret_access_key = {secret_access_key}\n\
         region = {region}\n\
         ca_bundle = {ca_bundle}\n\
         services = fleethaven\n\
         \n\
         [services fleethaven]\n\
         iot =\n  endpoint_url = {endpoint}\n\
         iot_data_plane =\n  endpoint_url = {endpoint}\n\
         iot_jobs_data_plane =\n  endpoint_url = {endpoint}\n\
         sts =\n  endpoint_url = {endpoint}\n\
         iam =\n  endpoint_url = {endpoint}\n"
    )
}
