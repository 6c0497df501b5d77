//! `fleethaven user` and `fleethaven role`: who may do what in an account, besides the account itself.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::accounts::AccountPlaceArgs;

/// What is done to the users of an account.
#[derive(Subcommand, Clone)]
pub(crate) enum UserCommand {
    /// Make a user, who may do nothing until it has a policy. Its access keys: `fleethaven access-key create --user`.
    Create(NamedUserArgs),
    /// Print every user, with the names of its policies.
    List(AccountPlaceArgs),
    /// Remove a user.
    Delete(DeleteUserArgs),
    /// Say what a user may do: put, list and delete its policies.
    #[command(subcommand)]
    Policy(UserPolicyCommand),
}

/// What is done to the roles of an account.
#[derive(Subcommand, Clone)]
pub(crate) enum RoleCommand {
    /// Make a role, whose sessions may do nothing until it has a policy.
    Create(CreateRoleArgs),
    /// Change who may assume a role, or for how long.
    Update(UpdateRoleArgs),
    /// Print every role, with the names of its policies.
    List(AccountPlaceArgs),
    /// Remove a role, and end its sessions.
    Delete(DeleteRoleArgs),
    /// Say what a role's sessions may do: put, list and delete its policies.
    #[command(subcommand)]
    Policy(RolePolicyCommand),
}

/// What is done to the policies of a user.
#[derive(Subcommand, Clone)]
pub(crate) enum UserPolicyCommand {
    /// Give a user a policy, or replace it.
    Put(PutUserPolicyArgs),
    /// Print the policies of a user.
    List(OfUserArgs),
    /// Take a policy from a user.
    Delete(DeleteUserPolicyArgs),
}

/// What is done to the policies of a role.
#[derive(Subcommand, Clone)]
pub(crate) enum RolePolicyCommand {
    /// Give a role a policy, or replace it.
    Put(PutRolePolicyArgs),
    /// Print the policies of a role.
    List(OfRoleArgs),
    /// Take a policy from a role.
    Delete(DeleteRolePolicyArgs),
}

/// A user.
#[derive(Args, Clone)]
pub(crate) struct NamedUserArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    pub(crate) user: String,

    #[command(flatten)]
    pub(crate) of: AccountPlaceArgs,
}

/// Arguments of `user delete`.
#[derive(Args, Clone)]
pub(crate) struct DeleteUserArgs {
    #[command(flatten)]
    pub(crate) user: NamedUserArgs,

    /// Remove its access keys and policies, too; otherwise it may have none.
    #[arg(long)]
    pub(crate) force: bool,
}

/// The user whose policies are meant.
#[derive(Args, Clone)]
pub(crate) struct OfUserArgs {
    /// The user.
    #[arg(long, value_name = "NAME")]
    pub(crate) user: String,

    #[command(flatten)]
    pub(crate) of: AccountPlaceArgs,
}

/// A policy document.
#[derive(Args, Clone)]
pub(crate) struct DocumentArgs {
    /// The policy's name.
    #[arg(value_name = "POLICY")]
    pub(crate) policy: String,

    /// A file with its document: JSON in the language of IAM's identity policies.
    #[arg(long, value_name = "FILE")]
    pub(crate) document: PathBuf,
}

/// Arguments of `user policy put`.
#[derive(Args, Clone)]
pub(crate) struct PutUserPolicyArgs {
    #[command(flatten)]
    pub(crate) document: DocumentArgs,

    #[command(flatten)]
    pub(crate) user: OfUserArgs,
}

/// Arguments of `user policy delete`.
#[derive(Args, Clone)]
pub(crate) struct DeleteUserPolicyArgs {
    /// The policy's name.
    #[arg(value_name = "POLICY")]
    pub(crate) policy: String,

    #[command(flatten)]
    pub(crate) user: OfUserArgs,
}

/// Arguments of `role create`.
#[derive(Args, Clone)]
pub(crate) struct CreateRoleArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    pub(crate) role: String,

    /// A file with its trust policy: who may assume it.
    #[arg(long, value_name = "FILE")]
    pub(crate) trust: PathBuf,

    /// How long its sessions may last, in seconds: 3600 to 43200.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    pub(crate) max_session: u64,

    /// What people say of it.
    #[arg(long, default_value = "")]
    pub(crate) description: String,

    #[command(flatten)]
    pub(crate) of: AccountPlaceArgs,
}

/// Arguments of `role update`; what is not given stays.
#[derive(Args, Clone)]
pub(crate) struct UpdateRoleArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    pub(crate) role: String,

    /// A file with its trust policy.
    #[arg(long, value_name = "FILE")]
    pub(crate) trust: Option<PathBuf>,

    /// How long its sessions may last, in seconds: 3600 to 43200.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) max_session: Option<u64>,

    /// What people say of it.
    #[arg(long)]
    pub(crate) description: Option<String>,

    #[command(flatten)]
    pub(crate) of: AccountPlaceArgs,
}

/// Arguments of `role delete`.
#[derive(Args, Clone)]
pub(crate) struct DeleteRoleArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    pub(crate) role: String,

    /// Remove its policies, too; otherwise it may have none.
    #[arg(long)]
    pub(crate) force: bool,

    #[command(flatten)]
    pub(crate) of: AccountPlaceArgs,
}

/// The role whose policies are meant.
#[derive(Args, Clone)]
pub(crate) struct OfRoleArgs {
    /// The role.
    #[arg(long, value_name = "NAME")]
    pub(crate) role: String,

    #[command(flatten)]
    pub(crate) of: AccountPlaceArgs,
}

/// Arguments of `role policy put`.
#[derive(Args, Clone)]
pub(crate) struct PutRolePolicyArgs {
    #[command(flatten)]
    pub(crate) document: DocumentArgs,

    #[command(flatten)]
    pub(crate) role: OfRoleArgs,
}

/// Arguments of `role policy delete`.
#[derive(Args, Clone)]
pub(crate) struct DeleteRolePolicyArgs {
    /// The policy's name.
    #[arg(value_name = "POLICY")]
    pub(crate) policy: String,

    #[command(flatten)]
    pub(crate) role: OfRoleArgs,
}
