//! Names of variables and condition keys, and their values for a request (security.md 9.6).

use std::borrow::Cow;
use std::net::IpAddr;

use crate::action::{Action, RequestedAction};
use crate::certificate::CertificateField;
use crate::context::{ConnectAttributes, Context, ThingContext};
use crate::settings::Settings;

/// A variable or a condition key; both have the same names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Variable {
    ClientId,
    SourceIp,
    SourceVpc,
    SourceVpce,
    VpcSourceIp,
    ConnectAttributes,
    LastWillTopic,
    Topic,
    DomainName,
    CertificateId,
    ThingName,
    ThingTypeName,
    ThingIsAttached,
    ThingAttribute(Box<str>),
    Certificate(CertificateField, Which),
    AvailableKeys,
    /// Any other, in lower case.
    Custom(Box<str>),
}

/// Which value of a certificate field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// Counted from 0: a bare name is the first, the suffix `.1` the second.
    At(usize),
    /// All: the suffix `.List`.
    List,
}

/// What a request offers to variables.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) action: RequestedAction<'a>,
    pub(crate) context: &'a Context<'a>,
    pub(crate) settings: Settings,
}

impl Variable {
    /// Reads a name. Letter case matters in the names of thing attributes only.
    pub(crate) fn read(name: &str) -> Self {
        let lower = name.to_ascii_lowercase();
        match lower.as_str() {
            "iot:clientid" => Self::ClientId,
            "aws:sourceip" => Self::SourceIp,
            "aws:sourcevpc" => Self::SourceVpc,
            "aws:sourcevpce" => Self::SourceVpce,
            "aws:vpcsourceip" => Self::VpcSourceIp,
            "iot:connectattributes" => Self::ConnectAttributes,
            "iot:lastwilltopic" => Self::LastWillTopic,
            "iot:topic" => Self::Topic,
            "iot:domainname" => Self::DomainName,
            "iot:certificateid" => Self::CertificateId,
            // One AWS example writes the short form.
            "iot:connection.thing.thingname" | "iot:thing.thingname" => Self::ThingName,
            "iot:connection.thing.thingtypename" => Self::ThingTypeName,
            "iot:connection.thing.isattached" => Self::ThingIsAttached,
            "iot:certificate.availablekeys" => Self::AvailableKeys,
            _ => read_attribute(name)
                .or_else(|| read_certificate(&lower))
                .unwrap_or(Self::Custom(lower.into_boxed_str())),
        }
    }

    /// The values for a request; none if the key is absent.
    pub(crate) fn values<'a>(&self, scope: &Scope<'a>) -> Vec<Cow<'a, str>> {
        match self {
            Self::ConnectAttributes => connect_attributes(scope),
            Self::Certificate(field, which) => certificate_values(scope, *field, *which),
            Self::AvailableKeys => available_keys(scope),
            Self::Custom(key) => {
                let values = scope.context.custom.map_or(&[][..], |custom| custom.values(key));
                values.iter().map(|value| Cow::Borrowed(value.as_str())).collect()
            }
            _ => self.single(scope).into_iter().collect(),
        }
    }

    fn single<'a>(&self, scope: &Scope<'a>) -> Option<Cow<'a, str>> {
        let context = scope.context;
        let attached = context.thing.filter(|thing| thing.is_attached);
        match self {
            Self::SourceIp => address(context.source_ip),
            Self::VpcSourceIp => address(context.vpc_source_ip),
            Self::ThingIsAttached => context.thing.map(|thing| thing.is_attached.to_string().into()),
            Self::ClientId => context.client_id.map(Cow::Borrowed),
            Self::SourceVpc => context.source_vpc.map(Cow::Borrowed),
            Self::SourceVpce => context.source_vpce.map(Cow::Borrowed),
            Self::LastWillTopic => of_connect(scope, context.last_will_topic).map(Cow::Borrowed),
            Self::Topic => of_direct_message(scope, context.topic).map(Cow::Borrowed),
            Self::DomainName => context.domain_name.map(Cow::Borrowed),
            Self::CertificateId => context.certificate_id.map(Cow::Borrowed),
            Self::ThingName => attached.map(|thing| Cow::Borrowed(thing.name)),
            Self::ThingTypeName => attached.and_then(|thing| thing.type_name).map(Cow::Borrowed),
            Self::ThingAttribute(name) => {
                attached.and_then(|thing| attribute(thing, name)).map(Cow::Borrowed)
            }
            Self::ConnectAttributes | Self::Certificate(..) | Self::AvailableKeys | Self::Custom(_) => None,
        }
    }

    /// Whether the request says anything of the key. A CONNECT with neither a will nor a lasting session has
    /// said so.
    pub(crate) fn is_known(&self, scope: &Scope<'_>) -> bool {
        let said = *self == Self::ConnectAttributes && of_connect(scope, scope.context.connect).is_some();
        said || !self.values(scope).is_empty()
    }

    /// The text that takes the variable's place; `None` leaves it unresolved. A key with several values has
    /// none.
    pub(crate) fn substitute<'a>(&self, scope: &Scope<'a>) -> Option<Cow<'a, str>> {
        match self {
            Self::ClientId if scope.settings.reject_wildcards_in_variables => {
                let client_id = scope.context.client_id?;
                (!client_id.contains(['+', '#', '*', '?'])).then_some(Cow::Borrowed(client_id))
            }
            Self::Certificate(field, Which::At(at)) => {
                let value = scope.context.certificate?.values(*field).get(*at)?;
                value.substitutable.then_some(Cow::Borrowed(&*value.escaped))
            }
            Self::Certificate(_, Which::List) | Self::ConnectAttributes | Self::AvailableKeys => None,
            _ => only(self.values(scope)),
        }
    }
}

fn read_attribute(name: &str) -> Option<Variable> {
    let (start, rest) = name.split_at_checked("iot:Connection.Thing.Attributes[".len())?;
    let attribute = rest.strip_suffix(']')?;
    let is_attribute =
        start.eq_ignore_ascii_case("iot:Connection.Thing.Attributes[") && !attribute.is_empty();
    is_attribute.then(|| Variable::ThingAttribute(attribute.into()))
}

fn read_certificate(lower: &str) -> Option<Variable> {
    let name = lower.strip_prefix("iot:certificate.")?;
    if let Some(field) = CertificateField::read(name) {
        return Some(Variable::Certificate(field, Which::At(0)));
    }
    let (name, suffix) = name.rsplit_once('.')?;
    let which = match suffix {
        "list" => Which::List,
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => Which::At(digits.parse().ok()?),
        _ => return None,
    };
    Some(Variable::Certificate(CertificateField::read(name)?, which))
}

fn attribute<'a>(thing: ThingContext<'a>, name: &str) -> Option<&'a str> {
    thing.attributes?.get(name).map(String::as_str)
}

fn of_connect<T>(scope: &Scope<'_>, value: Option<T>) -> Option<T> {
    value.filter(|_| scope.action == RequestedAction::Data(Action::Connect))
}

fn of_direct_message<T>(scope: &Scope<'_>, value: Option<T>) -> Option<T> {
    value.filter(|_| scope.action == RequestedAction::Data(Action::SendDirectMessage))
}

fn connect_attributes<'a>(scope: &Scope<'_>) -> Vec<Cow<'a, str>> {
    let ConnectAttributes { persistent_connect, last_will } =
        of_connect(scope, scope.context.connect).unwrap_or_default();
    let named = [(persistent_connect, "PersistentConnect"), (last_will, "LastWill")];
    named.into_iter().filter(|(used, _)| *used).map(|(_, name)| Cow::Borrowed(name)).collect()
}

fn certificate_values<'a>(scope: &Scope<'a>, field: CertificateField, which: Which) -> Vec<Cow<'a, str>> {
    let values = scope.context.certificate.map_or(&[][..], |certificate| certificate.values(field));
    let chosen = match which {
        Which::List => values,
        Which::At(at) => values.get(at..=at).unwrap_or_default(),
    };
    chosen.iter().map(|value| Cow::Borrowed(&*value.escaped)).collect()
}

fn available_keys<'a>(scope: &Scope<'_>) -> Vec<Cow<'a, str>> {
    let fields = scope.context.certificate.into_iter().flat_map(|certificate| certificate.available());
    fields.map(|field| Cow::Owned(field.to_string())).collect()
}

fn only<T>(values: Vec<T>) -> Option<T> {
    let mut values = values.into_iter();
    values.next().filter(|_| values.next().is_none())
}

/// An IPv4 address that arrived on an IPv6 socket is written as IPv4.
fn address<'a>(address: Option<IpAddr>) -> Option<Cow<'a, str>> {
    address.map(|address| address.to_canonical().to_string().into())
}
