//! How often an account may call each operation: AWS's rates, or so many hundredths of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fleethaven_quotas::{Rate, SharedMeter};
use fleethaven_types::{Limits, Scope};
use moka::sync::Cache;

use crate::error::Error;
use crate::operations::{Operation, Service};

/// Requests a second where AWS says nothing that we know of.
const OTHERS: u32 = 10;
/// What AWS says (General Reference, "AWS IoT Core API throttling limits"; the credentials provider's in its quotas). A
/// rate is for an account in a region.
const RATES: &[(&str, u32)] = &[
    ("AddThingToBillingGroup", 60),
    ("AddThingToThingGroup", 60),
    ("AssumeRoleWithCertificate", 50),
    ("AttachPolicy", 15),
    ("AttachPrincipalPolicy", 15),
    ("AttachThingPrincipal", 15),
    ("CreateBillingGroup", 25),
    ("CreateCertificateFromCsr", 15),
    ("CreateKeysAndCertificate", 15),
    ("CreateThing", 15),
    ("CreateThingGroup", 25),
    ("DeleteBillingGroup", 15),
    ("DeleteThing", 15),
    ("DeleteThingGroup", 15),
    ("DescribeBillingGroup", 100),
    ("DescribeThing", 350),
    ("DescribeThingGroup", 100),
    ("DetachPolicy", 15),
    ("DetachPrincipalPolicy", 15),
    ("DetachThingPrincipal", 15),
    ("GetEffectivePolicies", 50),
    ("RegisterCertificate", 15),
    ("RegisterCertificateWithoutCA", 15),
    ("RemoveThingFromBillingGroup", 15),
    ("RemoveThingFromThingGroup", 15),
];
/// `sts`: AWS counts all of its operations together, 600 a second.
const STS: u32 = 600;
/// `iam`: AWS tells none. All operations together.
const IAM: u32 = 20;
/// Meters that are kept; one that nobody used for a while is as good as a new one.
const METERS: u64 = 100_000;
const IDLE: Duration = Duration::from_secs(60);

/// What accounts have used of their rates.
pub(crate) struct Throttles {
    meters: Cache<(Scope, &'static str, u32), Arc<SharedMeter>>,
    origin: Instant,
}

impl Throttles {
    pub(crate) fn new(now: Instant) -> Self {
        Self { meters: Cache::builder().max_capacity(METERS).time_to_idle(IDLE).build(), origin: now }
    }

    /// Counts a request, if the rates of its account allow another one. The data planes have rates of their own.
    pub(crate) fn admit(
        &self,
        scope: Scope,
        operation: &Operation,
        limits: &Limits,
        now: Instant,
    ) -> Result<(), Error> {
        let (Some(percent), Some(rate)) = (limits.api_rate_percent, rate(operation)) else { return Ok(()) };
        let per_second = u64::from(rate) * u64::from(percent) / 100;
        let per_second = u32::try_from(per_second).unwrap_or(u32::MAX);
        let rate = Rate::per_second(per_second.max(1), limits.rate_burst_secs);
        // Names of `iam` are also names of the control plane.
        let service = operation.service;
        let name = if service.is_query() { service.name() } else { operation.name };
        let meter = || Arc::new(SharedMeter::new(rate, self.origin));
        let meter = self.meters.get_with((scope, name, per_second), meter);
        if meter.take(1, now) { Ok(()) } else { Err(Error::Throttled) }
    }
}

/// Requests a second, where an operation has a rate here.
fn rate(operation: &Operation) -> Option<u32> {
    match operation.service {
        Service::Data | Service::Jobs => None,
        Service::Sts => Some(STS),
        Service::Iam => Some(IAM),
        Service::Control | Service::Credentials => {
            let known = RATES.iter().find(|(name, _)| *name == operation.name);
            Some(known.map_or(OTHERS, |(_, rate)| *rate))
        }
    }
}

#[cfg(test)]
mod tests {
    use fleethaven_types::Profile;

    use super::*;
    use crate::testing::{House, scope};

    fn named(name: &str) -> Operation {
        Service::ALL.into_iter().flat_map(Operation::all).find(|operation| operation.name == name).unwrap()
    }

    fn admitted(throttles: &Throttles, region: &str, name: &str, limits: &Limits, now: Instant) -> usize {
        let admit = |_: &usize| throttles.admit(scope(region), &named(name), limits, now).is_ok();
        (0..1000).filter(admit).count()
    }

    #[test]
    fn every_row_is_an_operation() {
        for (name, _) in RATES {
            named(name);
        }
    }

    #[tokio::test]
    async fn each_account_region_and_operation_has_its_rate() {
        let now = tokio::time::Instant::now().into_std();
        let throttles = Throttles::new(now);
        let aws = Limits::of(Profile::Aws);
        assert_eq!(admitted(&throttles, "us-east-1", "CreateThing", &aws, now), 15);
        assert_eq!(admitted(&throttles, "eu-west-1", "CreateThing", &aws, now), 15);
        assert_eq!(admitted(&throttles, "us-east-1", "DescribeThing", &aws, now), 350);
        assert_eq!(admitted(&throttles, "us-east-1", "ListThings", &aws, now), 10);
        assert_eq!(admitted(&throttles, "us-east-1", "GetCallerIdentity", &aws, now), 600);
        assert_eq!(admitted(&throttles, "us-east-1", "CreateThing", &aws, now + Duration::from_secs(1)), 15);
        let twice = Limits { api_rate_percent: Some(200), ..aws };
        assert_eq!(admitted(&throttles, "us-west-2", "CreateThing", &twice, now), 30);
        for free in ["Publish", "GetThingShadow"] {
            assert_eq!(admitted(&throttles, "us-east-1", free, &aws, now), 1000);
        }
        let standard = Limits::of(Profile::Standard);
        assert_eq!(admitted(&throttles, "us-west-1", "CreateThing", &standard, now), 1000);
    }

    #[tokio::test]
    async fn above_the_rate_awss_error_is_answered() {
        let house = House::with(|config| {
            let mut limits = Limits::of(Profile::Standard);
            // A hundredth of ten a second is one at least.
            limits.api_rate_percent = Some(1);
            limits.rate_burst_secs = 1;
            config.limits = limits.into();
        });
        house.call("GET", "/things", "").await.ok();
        // However slow this machine is, two come within one second at some time.
        let mut told = house.call("GET", "/things", "").await;
        while told.status == 200 {
            told = house.call("GET", "/things", "").await;
        }
        assert_eq!(told.error(), (400, "ThrottlingException"));
        assert_eq!(told.message(), "Rate exceeded");
        house.call("GET", "/policies", "").await.ok();
    }
}
