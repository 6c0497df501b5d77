//! `fleethaven user` and `fleethaven role`.

use std::path::Path;

use anyhow::{Context, Result};
use fleethaven_registry::shapes::{CreateRole, PolicyHolder, UpdateRole};

use crate::ask::operate;
use crate::cli::{
    CreateRoleArgs, DocumentArgs, OfRoleArgs, OfUserArgs, RoleCommand, RolePolicyCommand, UpdateRoleArgs,
    UserCommand, UserPolicyCommand,
};
use crate::operators::Request;

/// `fleethaven user`.
pub(crate) async fn run(command: UserCommand) -> Result<()> {
    let (of, request) = match command {
        UserCommand::Create(user) => {
            (user.of.clone(), Request::CreateUser { account: user.of.account, user_name: user.user })
        }
        UserCommand::List(of) => {
            let account = of.account;
            (of, Request::ListUsers { account })
        }
        UserCommand::Delete(delete) => {
            let (of, user_name, force) = (delete.user.of, delete.user.user, delete.force);
            (of.clone(), Request::DeleteUser { account: of.account, user_name, force })
        }
        UserCommand::Policy(command) => return policy_of_user(command).await,
    };
    operate(&of.place, request).await
}

/// `fleethaven role`.
pub(crate) async fn run_role(command: RoleCommand) -> Result<()> {
    let (of, request) = match command {
        RoleCommand::Create(CreateRoleArgs { role, trust, max_session, description, of }) => {
            let role = CreateRole {
                role_name: role,
                assume_role_policy_document: read(&trust)?,
                max_session_duration: Some(max_session),
                description,
                tags: Vec::new(),
            };
            (of.clone(), Request::CreateRole { account: of.account, role })
        }
        RoleCommand::Update(UpdateRoleArgs { role, trust, max_session, description, of }) => {
            let role = UpdateRole {
                role_name: role,
                assume_role_policy_document: trust.as_deref().map(read).transpose()?,
                max_session_duration: max_session,
                description,
            };
            (of.clone(), Request::UpdateRole { account: of.account, role })
        }
        RoleCommand::List(of) => {
            let account = of.account;
            (of, Request::ListRoles { account })
        }
        RoleCommand::Delete(delete) => {
            let (of, role_name, force) = (delete.of, delete.role, delete.force);
            (of.clone(), Request::DeleteRole { account: of.account, role_name, force })
        }
        RoleCommand::Policy(command) => return policy_of_role(command).await,
    };
    operate(&of.place, request).await
}

async fn policy_of_user(command: UserPolicyCommand) -> Result<()> {
    let holder = |user: &OfUserArgs| PolicyHolder::User(user.user.clone());
    let (of, request) = match command {
        UserPolicyCommand::Put(put) => {
            let request = put_policy(put.user.of.account, holder(&put.user), &put.document)?;
            (put.user.of, request)
        }
        UserPolicyCommand::List(user) => {
            let request = Request::ListOperatorPolicies { account: user.of.account, holder: holder(&user) };
            (user.of, request)
        }
        UserPolicyCommand::Delete(delete) => {
            let (account, holder) = (delete.user.of.account, holder(&delete.user));
            let request = Request::DeleteOperatorPolicy { account, holder, policy_name: delete.policy };
            (delete.user.of, request)
        }
    };
    operate(&of.place, request).await
}

async fn policy_of_role(command: RolePolicyCommand) -> Result<()> {
    let holder = |role: &OfRoleArgs| PolicyHolder::Role(role.role.clone());
    let (of, request) = match command {
        RolePolicyCommand::Put(put) => {
            let request = put_policy(put.role.of.account, holder(&put.role), &put.document)?;
            (put.role.of, request)
        }
        RolePolicyCommand::List(role) => {
            let request = Request::ListOperatorPolicies { account: role.of.account, holder: holder(&role) };
            (role.of, request)
        }
        RolePolicyCommand::Delete(delete) => {
            let (account, holder) = (delete.role.of.account, holder(&delete.role));
            let request = Request::DeleteOperatorPolicy { account, holder, policy_name: delete.policy };
            (delete.role.of, request)
        }
    };
    operate(&of.place, request).await
}

fn put_policy(
    account: Option<fleethaven_types::AccountId>,
    holder: PolicyHolder,
    document: &DocumentArgs,
) -> Result<Request> {
    let (policy_name, policy_document) = (document.policy.clone(), read(&document.document)?);
    Ok(Request::PutOperatorPolicy { account, holder, policy_name, policy_document })
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}
