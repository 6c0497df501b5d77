//! Every operation of AWS's models, and which one a method and path mean.
//!
//! A path belongs to an operation of the service that the request was signed for; the same path may mean
//! different things to two services.

use std::collections::HashMap;

use percent_encoding::percent_decode_str;

#[rustfmt::skip]
mod table;

/// Which of AWS's services a request is for: what its SigV4 scope says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    /// `iot`: the control plane.
    Control,
    /// `iotdata` and `iotdevicegateway`: the data plane.
    Data,
    /// `iot-jobs-data`: the jobs data plane.
    Jobs,
    /// `sts`: who the caller is; assuming roles.
    Sts,
    /// `iam`: users, roles and their policies.
    Iam,
    /// The credentials provider: AWS has no model of it, and requests are not signed but come with a client certificate.
    Credentials,
}

/// What the credentials provider answers.
const CREDENTIALS: &[(&str, &str, &str)] =
    &[("AssumeRoleWithCertificate", "GET", "/role-aliases/{roleAlias}/credentials")];

/// What is answered of `sts`. The operations of a service with the query protocol share one path; the form in the body names one.
const STS: &[(&str, &str, &str)] = &[("AssumeRole", "POST", "/"), ("GetCallerIdentity", "POST", "/")];

/// What is answered of `iam`.
const IAM: &[(&str, &str, &str)] = &[
    ("AttachRolePolicy", "POST", "/"),
    ("AttachUserPolicy", "POST", "/"),
    ("CreateAccessKey", "POST", "/"),
    ("CreatePolicy", "POST", "/"),
    ("CreatePolicyVersion", "POST", "/"),
    ("CreateRole", "POST", "/"),
    ("CreateUser", "POST", "/"),
    ("DeleteAccessKey", "POST", "/"),
    ("DeletePolicy", "POST", "/"),
    ("DeletePolicyVersion", "POST", "/"),
    ("DeleteRole", "POST", "/"),
    ("DeleteRolePolicy", "POST", "/"),
    ("DeleteUser", "POST", "/"),
    ("DeleteUserPolicy", "POST", "/"),
    ("DetachRolePolicy", "POST", "/"),
    ("DetachUserPolicy", "POST", "/"),
    ("GetPolicy", "POST", "/"),
    ("GetPolicyVersion", "POST", "/"),
    ("GetRole", "POST", "/"),
    ("GetRolePolicy", "POST", "/"),
    ("GetUser", "POST", "/"),
    ("GetUserPolicy", "POST", "/"),
    ("ListAccessKeys", "POST", "/"),
    ("ListAttachedRolePolicies", "POST", "/"),
    ("ListAttachedUserPolicies", "POST", "/"),
    ("ListEntitiesForPolicy", "POST", "/"),
    ("ListGroupsForUser", "POST", "/"),
    ("ListInstanceProfilesForRole", "POST", "/"),
    ("ListPolicies", "POST", "/"),
    ("ListPolicyTags", "POST", "/"),
    ("ListPolicyVersions", "POST", "/"),
    ("ListRolePolicies", "POST", "/"),
    ("ListRoleTags", "POST", "/"),
    ("ListRoles", "POST", "/"),
    ("ListUserPolicies", "POST", "/"),
    ("ListUserTags", "POST", "/"),
    ("ListUsers", "POST", "/"),
    ("PutRolePolicy", "POST", "/"),
    ("PutUserPolicy", "POST", "/"),
    ("SetDefaultPolicyVersion", "POST", "/"),
    ("TagPolicy", "POST", "/"),
    ("TagRole", "POST", "/"),
    ("TagUser", "POST", "/"),
    ("UntagPolicy", "POST", "/"),
    ("UntagRole", "POST", "/"),
    ("UntagUser", "POST", "/"),
    ("UpdateAccessKey", "POST", "/"),
    ("UpdateAssumeRolePolicy", "POST", "/"),
    ("UpdateRole", "POST", "/"),
    ("UpdateRoleDescription", "POST", "/"),
];

/// What the control plane answers beside AWS's operations. Their paths begin with a word that no path of AWS's begins with.
const OURS: &[(&str, &str, &str)] =
    &[("GetUsage", "GET", "/fleethaven/usage"), ("TestRuleSql", "POST", "/fleethaven/rules/test-sql")];

impl Service {
    /// Every one.
    pub const ALL: [Self; 6] =
        [Self::Control, Self::Data, Self::Jobs, Self::Sts, Self::Iam, Self::Credentials];

    /// The signing names that mean this service.
    pub const fn signing_names(self) -> &'static [&'static str] {
        match self {
            Self::Control => fleethaven_sigv4::services::CONTROL,
            Self::Data => fleethaven_sigv4::services::DATA,
            Self::Jobs => fleethaven_sigv4::services::JOBS,
            Self::Sts => fleethaven_sigv4::services::STS,
            Self::Iam => fleethaven_sigv4::services::IAM,
            Self::Credentials => &[],
        }
    }

    /// What it is called in records: the signing name, where there is one.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Control => "iot",
            Self::Data => "iotdata",
            Self::Jobs => "iot-jobs-data",
            Self::Sts => "sts",
            Self::Iam => "iam",
            Self::Credentials => "credentials",
        }
    }

    /// Whether it speaks AWS's query protocol: a form that names the operation, and XML back.
    pub const fn is_query(self) -> bool {
        matches!(self, Self::Sts | Self::Iam)
    }

    /// The service with this signing name.
    pub fn signed_as(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.signing_names().contains(&name))
    }

    const fn rows(self) -> &'static [(&'static str, &'static str, &'static str)] {
        match self {
            Self::Control => table::CONTROL,
            Self::Data => table::DATA,
            Self::Jobs => table::JOBS,
            Self::Sts => STS,
            Self::Iam => IAM,
            Self::Credentials => CREDENTIALS,
        }
    }
}

/// One operation of AWS's models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// Its service.
    pub service: Service,
    /// Its name, e.g. `CreateThing`.
    pub name: &'static str,
    /// Its HTTP method.
    pub method: &'static str,
    /// Its path with `{labels}`; a label with `+` may hold slashes.
    pub pattern: &'static str,
}

impl Operation {
    /// Every operation of `service`, by name.
    pub fn all(service: Service) -> impl Iterator<Item = Self> {
        service.rows().iter().map(move |(name, method, pattern)| Self { service, name, method, pattern })
    }

    /// What is answered beside them.
    pub(crate) fn ours() -> impl Iterator<Item = Self> {
        OURS.iter().map(|(name, method, pattern)| Self { service: Service::Control, name, method, pattern })
    }

    /// Whether Fleethaven answers it yet; otherwise the answer is an error that names it.
    pub fn is_built(&self) -> bool {
        match self.service {
            Service::Control => crate::control::is_built(self.name),
            Service::Data => crate::data::is_built(self.name),
            Service::Jobs => false,
            Service::Sts => crate::sts::is_built(self.name),
            Service::Iam => crate::iam::is_built(self.name),
            Service::Credentials => crate::credentials::is_built(self.name),
        }
    }

    /// Whether it changes resources of the control plane, or who may.
    pub fn is_mutation(&self) -> bool {
        let reads = ["Describe", "Get", "List", "Search", "Test", "Validate"];
        matches!(self.service, Service::Control | Service::Iam)
            && !reads.iter().any(|verb| self.name.starts_with(verb))
    }
}

/// Labels of a path by name, percent-decoded once.
pub(crate) type Labels = Vec<(&'static str, String)>;

/// Why a path means no operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// No operation of the service has such a path.
    UnknownPath,
    /// Some have it, none with this method.
    OtherMethod,
    /// A label is not UTF-8 when decoded.
    NotText,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Literal(&'static str),
    Label(&'static str),
    /// The last one: the rest of the path.
    Greedy(&'static str),
}

impl Segment {
    fn read(text: &'static str) -> Self {
        match text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(label) => label.strip_suffix('+').map_or(Self::Label(label), Self::Greedy),
            None => Self::Literal(text),
        }
    }

    /// Literal before label before greedy: the more exact pattern wins.
    const fn rank(self) -> u8 {
        match self {
            Self::Literal(_) => 0,
            Self::Label(_) => 1,
            Self::Greedy(_) => 2,
        }
    }
}

#[derive(Debug)]
struct Route {
    operation: Operation,
    segments: Vec<Segment>,
}

/// Finds operations by method and path.
#[derive(Debug)]
pub(crate) struct Router {
    /// By the first segment of the path, which is a literal in every pattern.
    routes: HashMap<(Service, &'static str), Vec<Route>>,
}

impl Router {
    pub(crate) fn new() -> Self {
        let mut routes: HashMap<_, Vec<Route>> = HashMap::new();
        for operation in Service::ALL.into_iter().flat_map(Operation::all).chain(Operation::ours()) {
            let path = operation.pattern.trim_start_matches('/');
            let segments: Vec<Segment> = path.split('/').map(Segment::read).collect();
            let first = path.split('/').next().unwrap_or_default();
            routes.entry((operation.service, first)).or_default().push(Route { operation, segments });
        }
        for bucket in routes.values_mut() {
            bucket.sort_by_key(|route| route.segments.iter().map(|s| s.rank()).collect::<Vec<_>>());
        }
        Self { routes }
    }

    /// The operation of `service` with this method and path (as on the wire), and the path's labels.
    pub(crate) fn find(
        &self,
        service: Service,
        method: &str,
        path: &str,
    ) -> Result<(Operation, Labels), Mismatch> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let first = path.split('/').next().unwrap_or_default();
        let mut fitting = self
            .routes
            .get(&(service, first))
            .map_or(&[] as &[Route], Vec::as_slice)
            .iter()
            .filter(|route| fits(&route.segments, path))
            .peekable();
        if fitting.peek().is_none() {
            return Err(Mismatch::UnknownPath);
        }
        let route = fitting.find(|route| route.operation.method == method).ok_or(Mismatch::OtherMethod)?;
        Ok((route.operation, labels(&route.segments, path).ok_or(Mismatch::NotText)?))
    }
}

/// Pairs each segment of a pattern with its piece of the path; `None` when the path has too few or too many.
fn pairs<'p>(segments: &[Segment], path: &'p str) -> Option<Vec<(Segment, &'p str)>> {
    let mut rest = Some(path);
    let mut found = Vec::with_capacity(segments.len());
    for segment in segments {
        let (piece, after) = match (segment, rest?) {
            (Segment::Greedy(_), all) => (all, None),
            (_, all) => all.split_once('/').map_or((all, None), |(piece, after)| (piece, Some(after))),
        };
        found.push((*segment, piece));
        rest = after;
    }
    rest.is_none().then_some(found)
}

fn fits(segments: &[Segment], path: &str) -> bool {
    pairs(segments, path).is_some_and(|pairs| {
        pairs.into_iter().all(|(segment, piece)| match segment {
            Segment::Literal(text) => percent_decode_str(piece).eq(text.bytes()),
            Segment::Label(_) | Segment::Greedy(_) => !piece.is_empty(),
        })
    })
}

fn labels(segments: &[Segment], path: &str) -> Option<Labels> {
    let mut labels = Labels::new();
    for (segment, piece) in pairs(segments, path)? {
        if let Segment::Label(name) | Segment::Greedy(name) = segment {
            labels.push((name, percent_decode_str(piece).decode_utf8().ok()?.into_owned()));
        }
    }
    Some(labels)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(service: Service, method: &str, path: &str) -> (&'static str, Vec<String>) {
        let (operation, labels) = Router::new().find(service, method, path).unwrap();
        (operation.name, labels.into_iter().map(|(_, value)| value).collect())
    }

    #[test]
    fn every_operation_is_found_by_its_own_pattern() {
        let router = Router::new();
        let mut seen = 0;
        for operation in Service::ALL.into_iter().flat_map(Operation::all) {
            let (found, _) = router.find(operation.service, operation.method, operation.pattern).unwrap();
            // The form names the operation.
            let is_told = found == operation || operation.service.is_query();
            assert!(is_told && found.service == operation.service, "{found:?}");
            seen += 1;
        }
        assert!(seen > 280, "{seen}");
    }

    #[test]
    fn labels_are_decoded_once() {
        let (name, labels) = found(Service::Control, "GET", "/things/a%3Ab%2525");
        assert_eq!((name, labels), ("DescribeThing", vec!["a:b%25".to_owned()]));
        let target = "arn%3Aaws%3Aiot%3Aus-east-1%3A123456789012%3Acert%2Fab";
        let (name, labels) = found(Service::Control, "POST", &format!("/attached-policies/{target}"));
        assert_eq!(name, "ListAttachedPolicies");
        assert_eq!(labels, ["arn:aws:iot:us-east-1:123456789012:cert/ab"]);
    }

    #[test]
    fn topics_hold_slashes_raw_or_encoded() {
        for path in ["/topics/a/b/c", "/topics/a%2Fb%2fc", "/topics/a/b%2Fc"] {
            assert_eq!(found(Service::Data, "POST", path), ("Publish", vec!["a/b/c".to_owned()]));
        }
        assert_eq!(found(Service::Data, "POST", "/topics//a/").1, ["/a/"]);
    }

    #[test]
    fn literals_come_before_labels() {
        assert_eq!(found(Service::Jobs, "PUT", "/things/t/jobs/$next").0, "StartNextPendingJobExecution");
        assert_eq!(found(Service::Jobs, "PUT", "/things/t/jobs/%24next").0, "StartNextPendingJobExecution");
        assert_eq!(
            found(Service::Control, "PUT", "/thing-groups/addThingToThingGroup").0,
            "AddThingToThingGroup"
        );
    }

    #[test]
    fn what_fits_nothing() {
        let router = Router::new();
        let miss = |service, method, path| router.find(service, method, path).unwrap_err();
        assert_eq!(miss(Service::Control, "GET", "/nothing"), Mismatch::UnknownPath);
        assert_eq!(miss(Service::Control, "GET", "/"), Mismatch::UnknownPath);
        assert_eq!(miss(Service::Control, "POST", "/topics/a"), Mismatch::UnknownPath);
        assert_eq!(miss(Service::Control, "GET", "/things/a/b/c/d"), Mismatch::UnknownPath);
        assert_eq!(miss(Service::Control, "GET", "/things//principals"), Mismatch::UnknownPath);
        assert_eq!(miss(Service::Control, "PUT", "/things/a"), Mismatch::OtherMethod);
        assert_eq!(miss(Service::Data, "GET", "/topics/a"), Mismatch::OtherMethod);
        assert_eq!(miss(Service::Control, "GET", "/things/%ff"), Mismatch::NotText);
    }

    #[test]
    fn signing_names() {
        assert_eq!(Service::signed_as("iot"), Some(Service::Control));
        assert_eq!(Service::signed_as("iotdevicegateway"), Some(Service::Data));
        assert_eq!(Service::signed_as("iot-jobs-data"), Some(Service::Jobs));
        assert_eq!(Service::signed_as("s3"), None);
    }

    #[test]
    fn mutations() {
        let named = |name: &str| Operation::all(Service::Control).find(|o| o.name == name).unwrap();
        assert!(named("AttachPolicy").is_mutation() && named("CreateThing").is_mutation());
        assert!(!named("ListAttachedPolicies").is_mutation() && !named("DescribeEndpoint").is_mutation());
        assert!(named("CreateThing").is_built() && !named("CreateJob").is_built());
    }

    proptest! {
        #[test]
        fn no_path_panics(path in "\\PC{0,40}", method in "[A-Z]{1,6}") {
            let router = Router::new();
            for service in Service::ALL {
                let _ = router.find(service, &method, &path);
                let _ = router.find(service, &method, &format!("/things/{path}"));
            }
        }
    }
}
