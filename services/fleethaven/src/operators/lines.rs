//! The lines of answers.

use std::collections::BTreeMap;

use anyhow::Result;
use fleethaven_audit::Record;
use fleethaven_logging::Entry;
use fleethaven_registry::shapes::{
    AccessKey, AccessKeyDescription, AccountDescription, ConnectionDescription, ConnectionTls,
    FunctionDescription, FunctionKind, OperatorPolicy, RoleDescription, ServerCertificateDescription,
    UserDescription,
};
use fleethaven_types::{AccountId, Region};
use fleethaven_usage::summary::Sum;
use serde::Serialize;

use crate::dead_letters::DeadLetterLine;

/// A line of an answer. Keys are only ever added: programs depend on them.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Line {
    Account {
        account_id: String,
        name: String,
        created_at: u64,
    },
    Credentials {
        account_id: String,
        access_key_id: String,
        secret_access_key: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        user_name: Option<String>,
    },
    AccessKey {
        account_id: String,
        access_key_id: String,
        status: &'static str,
        created_at: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        user_name: Option<String>,
    },
    User {
        account_id: String,
        user_name: String,
        user_id: String,
        arn: String,
        created_at: u64,
        policies: Vec<String>,
        /// Managed ones.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        attached_policies: Vec<String>,
    },
    Role {
        account_id: String,
        role_name: String,
        role_id: String,
        arn: String,
        created_at: u64,
        max_session_seconds: u64,
        policies: Vec<String>,
        #[serde(skip_serializing_if = "String::is_empty")]
        description: String,
        trust_policy: String,
        /// Managed ones.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        attached_policies: Vec<String>,
    },
    OperatorPolicy {
        policy_name: String,
        policy_document: String,
    },
    Audit {
        time: String,
        #[serde(flatten)]
        record: Box<Record>,
    },
    Log {
        id: String,
        #[serde(flatten)]
        entry: Box<Entry>,
    },
    Connection {
        account_id: String,
        name: String,
        kind: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        endpoint: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        region: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        credentials_id: Option<String>,
        roles: Vec<String>,
        rules: Vec<String>,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        options: BTreeMap<String, String>,
        /// Of its certificates, which it has of its own.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        certificates: Vec<&'static str>,
    },
    Function {
        account_id: String,
        function_arn: String,
        kind: &'static str,
        url: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        signing_secret: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        access_key_id: Option<String>,
    },
    ServerCertificate {
        account_id: String,
        server_certificate_arn: String,
        names: Vec<String>,
        not_after: u64,
        put_at: u64,
        domains: Vec<String>,
    },
    DeadLetter(DeadLetterLine),
    Usage(Box<Sum>),
    /// A task that registers things.
    RegistrationTask {
        account_id: String,
        region: Region,
        task_id: String,
    },
    IssuingCa {
        account_id: String,
        common_name: String,
        not_after: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        external_key: Option<String>,
        /// The id of what seals the key in the metadata store.
        #[serde(skip_serializing_if = "Option::is_none")]
        sealed_under: Option<String>,
        /// Whether the metadata store can open it.
        #[serde(skip_serializing_if = "Option::is_none")]
        opens: Option<bool>,
        certificate_pem: String,
    },
}

/// One JSON object a line.
pub(crate) fn lines(answer: &[Line]) -> Result<String> {
    let mut text = String::new();
    for line in answer {
        text += &serde_json::to_string(line)?;
        text.push('\n');
    }
    Ok(text)
}

pub(super) fn account(account: AccountDescription) -> Line {
    Line::Account {
        account_id: account.account.to_string(),
        name: account.name,
        created_at: account.created_at.as_secs(),
    }
}

pub(super) fn operator_policy(policy: OperatorPolicy) -> Line {
    let OperatorPolicy { policy_name, policy_document } = policy;
    Line::OperatorPolicy { policy_name, policy_document }
}

pub(super) fn credentials(account: AccountId, key: AccessKey) -> Line {
    let AccessKey { access_key_id, secret_access_key, user_name } = key;
    Line::Credentials {
        account_id: account.to_string(),
        access_key_id,
        secret_access_key: secret_access_key.0,
        user_name,
    }
}

pub(super) fn access_key(account: AccountId, key: AccessKeyDescription) -> Line {
    Line::AccessKey {
        account_id: account.to_string(),
        access_key_id: key.access_key_id,
        status: if key.active { "Active" } else { "Inactive" },
        created_at: key.created_at.as_secs(),
        user_name: key.user_name,
    }
}

pub(super) fn user(user: UserDescription) -> Line {
    Line::User {
        account_id: user.account.to_string(),
        arn: user.arn(),
        user_name: user.user_name,
        user_id: user.user_id,
        created_at: user.created_at.as_secs(),
        policies: names(user.policies),
        attached_policies: names(user.attached),
    }
}

pub(super) fn role(role: RoleDescription) -> Line {
    Line::Role {
        account_id: role.account.to_string(),
        arn: role.arn(),
        role_name: role.role_name,
        role_id: role.role_id,
        created_at: role.created_at.as_secs(),
        max_session_seconds: role.max_session_duration,
        policies: names(role.policies),
        description: role.description,
        trust_policy: role.assume_role_policy_document,
        attached_policies: names(role.attached),
    }
}

fn names(policies: Vec<OperatorPolicy>) -> Vec<String> {
    policies.into_iter().map(|policy| policy.policy_name).collect()
}

pub(super) fn connection(account: AccountId, listed: ConnectionDescription) -> Line {
    let ConnectionDescription { name, connection, .. } = listed;
    let ConnectionTls { authorities, identity } = &connection.tls;
    let certificates = [("authorities", authorities.is_some()), ("client", identity.is_some())];
    Line::Connection {
        account_id: account.to_string(),
        name,
        kind: connection.kind,
        endpoint: connection.endpoint,
        region: connection.region,
        credentials_id: connection.credentials.map(|credentials| credentials.id),
        roles: connection.roles,
        rules: connection.rules,
        options: connection.options,
        certificates: certificates.into_iter().filter_map(|(kind, own)| own.then_some(kind)).collect(),
    }
}

pub(super) fn function(account: AccountId, function: FunctionDescription) -> Line {
    let (kind, signing_secret, access_key_id) = match function.target.kind {
        FunctionKind::Webhook { signing_secret } => ("webhook", signing_secret.map(|secret| secret.0), None),
        FunctionKind::Lambda { credentials } => ("lambda", None, credentials.map(|key| key.access_key_id)),
    };
    Line::Function {
        account_id: account.to_string(),
        function_arn: function.function_arn,
        kind,
        url: function.target.url,
        signing_secret,
        access_key_id,
    }
}

pub(super) fn server_certificate(account: AccountId, listed: ServerCertificateDescription) -> Line {
    Line::ServerCertificate {
        account_id: account.to_string(),
        server_certificate_arn: listed.server_certificate_arn,
        names: listed.names,
        not_after: listed.not_after.as_secs(),
        put_at: listed.put_at.as_secs(),
        domains: listed.domains,
    }
}
