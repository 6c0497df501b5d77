//! `iam`: users, roles, their access keys and policies. They are what `fleethaven user`, `role` and `access-key` make, so that
//! AWS's tutorials, its CLI and Terraform need nothing else for the roles that they name.
//!
//! Each operation asks whether its caller may do it by taking what it is about out of its [`Asked`].

use crate::control::built;

mod access_keys;
mod asked;
mod attached_policies;
mod inline_policies;
mod managed_policies;
mod not_built;
mod roles;
mod tags;
mod users;

pub(crate) use not_built::NOT_BUILT;

use asked::Asked;

pub(crate) const NAMESPACE: &str = "https://iam.amazonaws.com/doc/2010-05-08/";
pub(crate) const VERSION: &str = "2010-05-08";

built! {
    "AttachRolePolicy" => attached_policies::attach,
    "AttachUserPolicy" => attached_policies::attach,
    "CreateAccessKey" => access_keys::create,
    "CreatePolicy" => managed_policies::create,
    "CreatePolicyVersion" => managed_policies::create_version,
    "CreateRole" => roles::create,
    "CreateUser" => users::create,
    "DeleteAccessKey" => access_keys::delete,
    "DeletePolicy" => managed_policies::delete,
    "DeletePolicyVersion" => managed_policies::delete_version,
    "DeleteRole" => roles::delete,
    "DeleteRolePolicy" => inline_policies::delete,
    "DeleteUser" => users::delete,
    "DeleteUserPolicy" => inline_policies::delete,
    "DetachRolePolicy" => attached_policies::detach,
    "DetachUserPolicy" => attached_policies::detach,
    "GetPolicy" => managed_policies::get,
    "GetPolicyVersion" => managed_policies::get_version,
    "GetRole" => roles::get,
    "GetRolePolicy" => inline_policies::get,
    "GetUser" => users::get,
    "GetUserPolicy" => inline_policies::get,
    "ListAccessKeys" => access_keys::list,
    "ListAttachedRolePolicies" => attached_policies::list,
    "ListAttachedUserPolicies" => attached_policies::list,
    "ListEntitiesForPolicy" => managed_policies::list_entities,
    "ListGroupsForUser" => users::list_groups,
    "ListInstanceProfilesForRole" => roles::list_instance_profiles,
    "ListPolicies" => managed_policies::list,
    "ListPolicyTags" => tags::list,
    "ListPolicyVersions" => managed_policies::list_versions,
    "ListRolePolicies" => inline_policies::list,
    "ListRoleTags" => tags::list,
    "ListRoles" => roles::list,
    "ListUserPolicies" => inline_policies::list,
    "ListUserTags" => tags::list,
    "ListUsers" => users::list,
    "PutRolePolicy" => inline_policies::put,
    "PutUserPolicy" => inline_policies::put,
    "SetDefaultPolicyVersion" => managed_policies::set_default_version,
    "TagPolicy" => tags::tag,
    "TagRole" => tags::tag,
    "TagUser" => tags::tag,
    "UntagPolicy" => tags::untag,
    "UntagRole" => tags::untag,
    "UntagUser" => tags::untag,
    "UpdateAccessKey" => access_keys::update,
    "UpdateAssumeRolePolicy" => roles::update_trust,
    "UpdateRole" => roles::update,
    "UpdateRoleDescription" => roles::update_description,
}

#[cfg(test)]
mod tests;
