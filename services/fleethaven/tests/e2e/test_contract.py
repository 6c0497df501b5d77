"""The contract with AWS's SDKs: every operation that `docs/compatibility.md` calls done or partial is driven through boto3,
and every answer and error is held against botocore's model of the service.

Each call is first made with what the model rules out, one thing after the other: those must be refused with an error of the
model. Then it is made as it is. Listings are walked through by pages.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.model import Shape

from authorizer import Authorizer, Key
from contract import Contract, pattern
from control_plane import ANY
from device import certificate, make_device, new_key, pem, signing_request
from enrolment import template
from instance import Fleethaven, eventually
from mqtt_client import Client
from test_accounts import OTHER, Account, admin, other  # noqa: F401  (fixtures)
from test_actions_http import Receiver

# The first test waits for the whole scenario: some 1,500 calls.
pytestmark = pytest.mark.timeout(300)
PAGE = Path(__file__).resolve().parents[4] / "docs" / "compatibility.md"
SERVICES = ("iot", "iot-data", "iot-jobs-data")
ROLE = "arn:aws:iam::123456789012:role/any"
TAGS = [{"Key": "team", "Value": "a"}]

_models = botocore.session.get_session()
_loader = _models.get_component("data_loader")


def built() -> list[tuple[str, str]]:
    """Service and operation of what the page calls done or partial; `tests/repository` holds the page against the code."""
    page = PAGE.read_text()
    found = []
    for service in SERVICES:
        section = page.split(f"### Operations of `{service}`\n")[1].split("\n#")[0]
        rows = re.findall(r"^\| `(\w+)` \| (done|partial) \|", section, re.MULTILINE)
        found += [(service, operation) for operation, _ in rows]
    return found


BUILT = built()
PAGINATORS = {
    (service, operation): settings
    for service in SERVICES
    if service != "iot-jobs-data"
    for operation, settings in _loader.load_service_model(service, "paginators-1")["pagination"].items()
    if (service, operation) in BUILT
}
# What the model rules out and AWS takes, as far as is known.
_CLASSIC = "an empty name is the classic shadow's"
ACCEPTED = {(f"{verb}ThingShadow", "shadowName is empty"): _CLASSIC for verb in ("Get", "Update", "Delete")}


# What the model rules out


def spoilt(shape: Shape, value: object) -> Iterator[tuple[str, object]]:
    """Values like this one that the shape does not allow, each with what is wrong with it."""
    kind, limits, place = shape.type_name, shape.metadata, shape.serialization.get("location")
    if kind == "structure":
        yield from without_or_spoilt(shape, value)
    elif kind == "list":
        for what, item in spoilt(shape.member, value[0]) if value else ():
            yield f"[] {what}", [item, *value[1:]]
        if limits.get("min") and value:
            yield "is empty", []
    elif kind == "map":
        for key, item in list(value.items())[:1]:
            for what, bad in spoilt(shape.value, item):
                yield f"<> {what}", value | {key: bad}
            for what, bad in spoilt(shape.key, key):
                if isinstance(bad, str):
                    yield f"<key> {what}", {bad: item}
    elif kind == "string":
        if place is None:
            yield "is a number", 7
        if shape.enum:
            yield "is another word", "NONSENSE"
        elif limits.get("max", 10**6) < 10**5:
            yield "is too long", (value * (limits["max"] // max(len(value), 1) + 1) + "x")[: limits["max"] + 1]
        if limits.get("min") and place != "uri":
            yield "is empty", ""
        allowed = pattern(limits["pattern"]) if "pattern" in limits else None
        odd = f"{value[: limits.get('max', 10**6) - 2]} *"
        if allowed and not shape.enum and not allowed.fullmatch(odd):
            yield "does not match", odd
    elif kind in ("integer", "long"):
        if "max" in limits:
            yield "is too high", limits["max"] + 1
        if "min" in limits:
            yield "is too low", limits["min"] - 1
        if place != "uri":
            yield "is a word", "seven"
    elif kind == "boolean":
        yield "is a word", "perhaps"


def without_or_spoilt(shape: Shape, value: dict) -> Iterator[tuple[str, dict]]:
    for name, member in shape.members.items():
        if name in shape.required_members and name in value and member.serialization.get("location") is None:
            yield f"without {name}", {key: item for key, item in value.items() if key != name}
        if name in value:
            for what, bad in spoilt(member, value[name]):
                yield f"{name} {what}", value | {name: bad}


class Driven:
    """A boto3 client that tries what is ruled out before it does what it is asked."""

    def __init__(self, client, unchecked, contract: Contract):
        self.client, self.unchecked, self.contract = contract.holds(client), contract.holds(unchecked), contract
        self.tried, self.walked = set(), {}

    def __getattr__(self, method: str):
        operation = self.client.meta.method_to_api_mapping[method]

        def call(**arguments):
            if (operation, *arguments) not in self.tried:
                self.tried.add((operation, *arguments))
                self._refuses(operation, method, arguments)
            return getattr(self.client, method)(**arguments)

        return call

    def _answers(self, operation: str):
        return self.contract.seen[self.client.meta.service_model.service_name, operation]

    def _refuses(self, operation: str, method: str, arguments: dict):
        answers = self._answers(operation)
        shape = self.client.meta.service_model.operation_model(operation).input_shape
        for what, bad in without_or_spoilt(shape, arguments) if shape else ():
            before = answers.successes
            try:
                getattr(self.unchecked, method)(**bad)
                if (operation, what) not in ACCEPTED:
                    answers.violations.append(f"accepted: {what}")
            except ClientError as error:
                status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                if not 400 <= status < 500:
                    answers.violations.append(f"{status} for: {what}")
            answers.successes = before

    def walk(self, method: str, least: int = 2, **arguments) -> list:
        """A listing item by item must be the listing at once; its items."""
        operation = self.client.meta.method_to_api_mapping[method]
        service = self.client.meta.service_model.service_name
        settings = PAGINATORS[service, operation]
        whole = getattr(self, method)(**arguments)[settings["result_key"]]
        paginator = self.client.get_paginator(method)
        size = {"PageSize": 1} if "limit_key" in settings else {}
        pages = list(paginator.paginate(PaginationConfig=size, **arguments))
        parts = [item for page in pages for item in page.get(settings["result_key"], [])]
        answers = self._answers(operation)
        if parts != whole:
            answers.violations.append(f"by pages it is {parts}, at once {whole}")
        if len(parts) < least:
            answers.violations.append(f"{len(parts)} items are too few to walk through: {parts}")
        if size and any(len(page.get(settings["result_key"], [])) > 1 for page in pages):
            answers.violations.append("a page has more items than were asked for")
        for token in ("bWFkZSB1cA==", "{}"):
            try:
                getattr(self.client, method)(**arguments, **{settings["input_token"]: token})
                answers.violations.append("accepted: a token that nobody gave out")
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] != 400:
                    answers.violations.append(f"a made-up token: {error}")
        self.walked[service, operation] = len(parts)
        return parts


FAMILIES = (
    "things",
    "thing_types",
    "thing_groups",
    "billing_groups",
    "certificates",
    "authorities",
    "transfers",
    "policies",
    "principals",
    "authorizers",
    "providers",
    "domains",
    "role_aliases",
    "templates",
    "registration_tasks",
    "rules",
    "rule_destinations",
    "events_and_endpoints",
    "logging",
    "shadows",
    "messages",
    "connections",
)


class Scenario:
    """Drives every operation; each of `FAMILIES` is a method."""

    def __init__(self, fleet: Fleethaven, other: Account, folder: Path):  # noqa: F811
        self.fleet, self.other, self.folder = fleet, other, folder
        self.contract = Contract(gathered=True)
        self.iot, self.data = self.driven(fleet, "iot"), self.driven(fleet, "iot-data")
        self.their_iot = self.contract.holds(other.iot)
        self.account = fleet.account
        self.failures: dict[str, Exception] = {}

    def driven(self, fleet, service: str) -> Driven:
        unchecked = Config(parameter_validation=False, retries={"total_max_attempts": 1})
        return Driven(fleet.client(service), fleet.client(service, config=unchecked), self.contract)

    def run(self):
        for family in FAMILIES:
            try:
                getattr(self, family)()
            except Exception as failure:  # its own test tells of it, so that one family does not hide the others
                self.failures[family] = failure
        return self

    def things(self):
        iot = self.iot
        iot.create_thing_type(thingTypeName="kind")
        iot.create_billing_group(billingGroupName="bill")
        attributes = {"attributes": {"site": "b"}, "merge": False}
        whole = {"thingTypeName": "kind", "attributePayload": attributes, "billingGroupName": "bill"}
        iot.create_thing(thingName="lamp-1", **whole)
        iot.create_thing(thingName="lamp-2", **whole)
        self.conflicts("create_thing", thingName="lamp-1", attributePayload={"attributes": {"site": "c"}})
        iot.describe_thing(thingName="lamp-1")
        iot.walk("list_things")
        iot.walk("list_things", attributeName="site", attributeValue="b", usePrefixAttributeValue=True, thingTypeName="kind")
        iot.walk("list_things_in_billing_group", billingGroupName="bill")
        iot.update_thing(
            thingName="lamp-2", thingTypeName="kind", attributePayload=attributes | {"merge": True}, expectedVersion=1
        )
        iot.update_thing(thingName="lamp-2", removeThingType=True)
        iot.remove_thing_from_billing_group(billingGroupName="bill", thingName="lamp-2")
        iot.add_thing_to_billing_group(
            billingGroupArn=self.fleet.arn("billinggroup/bill"), thingArn=self.fleet.arn("thing/lamp-2")
        )
        version = iot.describe_thing(thingName="lamp-2")["version"]
        iot.delete_thing(thingName="lamp-2", expectedVersion=version)
        self.absent("describe_thing", thingName="nothing")
        self.absent("update_thing", thingName="nothing", attributePayload=attributes)

    def thing_types(self):
        iot = self.iot
        properties = {
            "thingTypeDescription": "d",
            "searchableAttributes": ["site"],
            "mqtt5Configuration": {"propagatingAttributes": [{"userPropertyKey": "s", "thingAttribute": "site"}]},
        }
        iot.create_thing_type(thingTypeName="type-1", thingTypeProperties=properties, tags=TAGS)
        iot.create_thing_type(thingTypeName="type-2")
        self.conflicts("create_thing_type", thingTypeName="type-2", thingTypeProperties=properties)
        propagating = [{"userPropertyKey": "c", "connectionAttribute": "iot:ClientId"}]
        mqtt5 = {"mqtt5Configuration": {"propagatingAttributes": propagating}}
        iot.update_thing_type(thingTypeName="type-1", thingTypeProperties=mqtt5)
        iot.describe_thing_type(thingTypeName="type-1")
        iot.walk("list_thing_types")
        iot.list_thing_types(thingTypeName="type-1")
        iot.deprecate_thing_type(thingTypeName="type-2", undoDeprecate=False)
        iot.describe_thing_type(thingTypeName="type-2")
        iot.list_thing_types()
        iot.delete_thing_type(thingTypeName="type-2")
        self.absent("describe_thing_type", thingTypeName="nothing")
        self.absent("delete_thing_type", thingTypeName="nothing")
        arn = self.fleet.arn("thingtype/type-1")
        iot.tag_resource(resourceArn=arn, tags=[{"Key": "site", "Value": "b"}])
        iot.walk("list_tags_for_resource", resourceArn=arn)
        iot.untag_resource(resourceArn=arn, tagKeys=["site"])
        self.absent("list_tags_for_resource", resourceArn=self.fleet.arn("thingtype/nothing"))

    def thing_groups(self):
        iot = self.iot
        properties = {"thingGroupDescription": "d", "attributePayload": {"attributes": {"a": "1"}, "merge": True}}
        iot.create_thing_group(thingGroupName="root")
        iot.create_thing_group(
            thingGroupName="left", parentGroupName="root", thingGroupProperties=properties, tags=TAGS
        )
        self.conflicts("create_thing_group", thingGroupName="left")
        iot.describe_thing_group(thingGroupName="left")
        iot.update_thing_group(thingGroupName="left", thingGroupProperties=properties, expectedVersion=1)
        iot.walk("list_thing_groups")
        iot.walk("list_thing_groups", parentGroup="root", namePrefixFilter="l", recursive=True, least=1)
        for number in range(2):
            iot.create_thing(thingName=f"member-{number}")
            iot.add_thing_to_thing_group(
                thingName=f"member-{number}", thingGroupName="left", overrideDynamicGroups=True
            )
        iot.create_thing_group(thingGroupName="aside")
        iot.update_thing_groups_for_thing(thingName="member-0", thingGroupsToAdd=["aside"], overrideDynamicGroups=False)
        iot.walk("list_thing_groups_for_thing", thingName="member-0")
        iot.walk("list_things_in_thing_group", thingGroupName="root", recursive=True)
        iot.update_thing_groups_for_thing(thingName="member-0", thingGroupsToRemove=["aside"])
        iot.remove_thing_from_thing_group(thingName="member-0", thingGroupName="left")
        iot.remove_thing_from_thing_group(
            thingArn=self.fleet.arn("thing/member-1"), thingGroupArn=self.fleet.arn("thinggroup/left")
        )
        iot.delete_thing_group(thingGroupName="left", expectedVersion=2)
        self.absent("describe_thing_group", thingGroupName="nothing")
        self.absent("list_things_in_thing_group", thingGroupName="nothing")

    def billing_groups(self):
        iot = self.iot
        properties = {"billingGroupDescription": "d"}
        iot.create_billing_group(billingGroupName="bill-1", billingGroupProperties=properties, tags=TAGS)
        self.conflicts("create_billing_group", billingGroupName="bill-1")
        iot.describe_billing_group(billingGroupName="bill-1")
        iot.update_billing_group(billingGroupName="bill-1", billingGroupProperties=properties, expectedVersion=1)
        iot.walk("list_billing_groups")
        iot.list_billing_groups(namePrefixFilter="bill-")
        iot.delete_billing_group(billingGroupName="bill-1", expectedVersion=2)
        self.absent("describe_billing_group", billingGroupName="bill-1")

    def certificates(self):
        iot = self.iot
        made = iot.create_keys_and_certificate(setAsActive=False)
        iot.create_certificate_from_csr(certificateSigningRequest=signing_request(new_key()), setAsActive=False)
        own = pem(certificate("own", new_key()))
        iot.register_certificate_without_ca(certificatePem=own, status="INACTIVE")
        iot.describe_certificate(certificateId=made["certificateId"])
        iot.walk("list_certificates", ascendingOrder=True)
        iot.update_certificate(certificateId=made["certificateId"], newStatus="REVOKED")
        iot.delete_certificate(certificateId=made["certificateId"], forceDelete=True)
        self.absent("describe_certificate", certificateId=made["certificateId"])
        self.conflicts("register_certificate_without_ca", certificatePem=own)

    def authorities(self):
        iot = self.iot
        code = iot.get_registration_code()["registrationCode"]
        key = new_key()
        root = pem(certificate("root", key, ca=True))
        proof = pem(certificate(code, new_key(), issuer="root", issuer_key=key))
        config = {"templateBody": template(), "roleArn": ROLE}
        made = iot.register_ca_certificate(
            caCertificate=root,
            verificationCertificate=proof,
            setAsActive=True,
            allowAutoRegistration=True,
            registrationConfig=config,
            tags=TAGS,
        )
        self.conflicts("register_ca_certificate", caCertificate=root, verificationCertificate=proof)
        second = pem(certificate("second", new_key(), ca=True))
        more = iot.register_ca_certificate(caCertificate=second, certificateMode="SNI_ONLY")
        id = made["certificateId"]
        iot.describe_ca_certificate(certificateId=id)
        iot.walk("list_ca_certificates", ascendingOrder=True)
        for number in range(2):
            device = pem(certificate(f"device-{number}", new_key(), issuer="root", issuer_key=key))
            iot.register_certificate(certificatePem=device, caCertificatePem=root, setAsActive=number == 1)
        device = pem(certificate("device", new_key(), issuer="root", issuer_key=key))
        iot.register_certificate(certificatePem=device, status="ACTIVE")
        iot.walk("list_certificates_by_ca", caCertificateId=id, ascendingOrder=True)
        iot.update_ca_certificate(
            certificateId=id,
            newStatus="INACTIVE",
            newAutoRegistrationStatus="DISABLE",
            registrationConfig=config,
        )
        iot.update_ca_certificate(certificateId=id, removeAutoRegistration=True)
        iot.update_ca_certificate(certificateId=more["certificateId"], newStatus="INACTIVE")
        iot.delete_ca_certificate(certificateId=more["certificateId"])
        self.absent("describe_ca_certificate", certificateId=more["certificateId"])
        iot.delete_registration_code()

    def transfers(self):
        iot, ids = self.iot, []
        for _ in range(3):
            device = make_device(self.fleet, self.folder, None, active=False)
            ids.append(device.id)
            iot.transfer_certificate(certificateId=device.id, targetAwsAccount=OTHER, transferMessage="yours")
        iot.walk("list_outgoing_certificates", ascendingOrder=True)
        iot.describe_certificate(certificateId=ids[0])
        theirs = Driven(self.their_iot, self.iot.unchecked, self.contract)
        theirs.tried.add(("AcceptCertificateTransfer", "certificateId", "setAsActive"))  # its other client is not theirs
        theirs.accept_certificate_transfer(certificateId=ids[0], setAsActive=True)
        theirs.tried.add(("RejectCertificateTransfer", "certificateId", "rejectReason"))
        theirs.reject_certificate_transfer(certificateId=ids[1], rejectReason="not ours")
        iot.describe_certificate(certificateId=ids[1])
        iot.cancel_certificate_transfer(certificateId=ids[2])
        self.their_iot.describe_certificate(certificateId=ids[0])

    def policies(self):
        iot = self.iot
        iot.create_policy(policyName="policy-1", policyDocument=ANY, tags=TAGS)
        iot.create_policy(policyName="policy-2", policyDocument=ANY)
        self.conflicts("create_policy", policyName="policy-1", policyDocument=ANY)
        iot.create_policy_version(policyName="policy-1", policyDocument=ANY, setAsDefault=False)
        iot.set_default_policy_version(policyName="policy-1", policyVersionId="2")
        iot.get_policy(policyName="policy-1")
        iot.get_policy_version(policyName="policy-1", policyVersionId="1")
        iot.list_policy_versions(policyName="policy-1")
        iot.walk("list_policies", ascendingOrder=True)
        iot.delete_policy_version(policyName="policy-1", policyVersionId="1")
        devices = [make_device(self.fleet, self.folder, None) for _ in range(2)]
        for device in devices:
            for name in ("policy-1", "policy-2"):
                iot.attach_policy(policyName=name, target=device.arn)
        first = devices[0]
        iot.walk("list_attached_policies", target=first.arn, recursive=True)
        iot.walk("list_targets_for_policy", policyName="policy-1")
        iot.walk("list_principal_policies", principal=first.arn, ascendingOrder=True)
        iot.walk("list_policy_principals", policyName="policy-1", ascendingOrder=True)
        iot.get_effective_policies(principal=first.arn, thingName="lamp-1")
        infos = [{"actionType": "PUBLISH", "resources": [self.fleet.arn("topic/a")]}]
        whole = {"principal": first.arn, "authInfos": infos, "clientId": "c"}
        iot.test_authorization(**whole, policyNamesToAdd=["policy-2"], policyNamesToSkip=["policy-1"])
        denying = {"Effect": "Deny", "Action": "iot:Publish", "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [denying]})
        iot.create_policy(policyName="denying", policyDocument=document)
        iot.test_authorization(**whole, policyNamesToAdd=["denying"])
        iot.test_authorization(**whole, policyNamesToSkip=["policy-1", "policy-2"])
        iot.detach_principal_policy(policyName="policy-2", principal=first.arn)
        iot.attach_principal_policy(policyName="policy-2", principal=first.arn)
        for device in devices:
            iot.detach_policy(policyName="policy-2", target=device.arn)
        iot.delete_policy(policyName="policy-2")
        self.absent("get_policy", policyName="policy-2")
        self.absent("attach_policy", policyName="policy-2", target=first.arn)

    def principals(self):
        iot, devices = self.iot, [make_device(self.fleet, self.folder, None) for _ in range(3)]
        for thing in ("thing-1", "thing-2", "thing-3"):
            iot.create_thing(thingName=thing)
        for device, thing in ((0, "thing-1"), (1, "thing-1"), (0, "thing-2")):
            iot.attach_thing_principal(
                thingName=thing, principal=devices[device].arn, thingPrincipalType="NON_EXCLUSIVE_THING"
            )
        iot.attach_thing_principal(
            thingName="thing-3", principal=devices[2].arn, thingPrincipalType="EXCLUSIVE_THING"
        )
        kind = {"thingPrincipalType": "NON_EXCLUSIVE_THING"}
        iot.walk("list_thing_principals", thingName="thing-1")
        iot.walk("list_thing_principals_v2", thingName="thing-1", **kind)
        iot.walk("list_principal_things", principal=devices[0].arn)
        iot.walk("list_principal_things_v2", principal=devices[0].arn, **kind)
        iot.detach_thing_principal(thingName="thing-1", principal=devices[0].arn)
        self.absent("list_thing_principals", thingName="nothing")

    def authorizers(self):
        iot, key = self.iot, Key()
        told = {"refreshAfterInSeconds": 300, "disconnectAfterInSeconds": 600, "policyDocuments": [json.loads(ANY)]}
        says = {"isAuthenticated": True, "principalId": "p", **told}
        one = Authorizer(self.fleet, "decides", lambda event: says)
        keys = {"tokenKeyName": "token", "tokenSigningPublicKeys": {"first": key.pem}}
        iot.create_authorizer(
            authorizerName="signed",
            authorizerFunctionArn=one.arn,
            status="ACTIVE",
            tags=TAGS,
            signingDisabled=False,
            enableCachingForHttp=True,
            **keys,
        )
        self.conflicts("create_authorizer", authorizerName="signed", authorizerFunctionArn=one.arn, **keys)
        iot.describe_authorizer(authorizerName="signed")
        iot.walk("list_authorizers", ascendingOrder=True, status="ACTIVE")
        iot.test_invoke_authorizer(
            authorizerName="signed",
            token="t",
            tokenSignature=key.sign("t"),
            httpContext={"headers": {"a": "b"}, "queryString": "?q=1"},
            mqttContext={"username": "me", "password": b"\xff", "clientId": "c"},
            tlsContext={"serverName": "s"},
        )
        iot.set_default_authorizer(authorizerName="signed")
        self.conflicts("set_default_authorizer", authorizerName="decides")
        iot.describe_default_authorizer()
        iot.clear_default_authorizer()
        self.absent("describe_default_authorizer")
        iot.update_authorizer(
            authorizerName="signed",
            authorizerFunctionArn=one.arn,
            status="INACTIVE",
            enableCachingForHttp=False,
            **keys,
        )
        iot.delete_authorizer(authorizerName="signed")
        self.absent("describe_authorizer", authorizerName="signed")
        one.close()

    def providers(self):
        iot, arn = self.iot, f"arn:aws:lambda:{self.fleet.region}:{self.account}:function:sign"
        operations = ["CreateCertificateFromCsr"]
        iot.create_certificate_provider(
            certificateProviderName="provider",
            lambdaFunctionArn=arn,
            accountDefaultForOperations=operations,
            clientToken="0b6a3b44-7e0e-4ff4-9b54-8f6bb1b5c1d4",
            tags=TAGS,
        )
        iot.describe_certificate_provider(certificateProviderName="provider")
        iot.list_certificate_providers(ascendingOrder=True)
        iot.update_certificate_provider(
            certificateProviderName="provider", lambdaFunctionArn=arn, accountDefaultForOperations=operations
        )
        iot.delete_certificate_provider(certificateProviderName="provider")
        self.absent("describe_certificate_provider", certificateProviderName="provider")

    def domains(self):
        iot = self.iot
        security = {"securityPolicy": "IoTSecurityPolicy_TLS12_1_2_2022_10"}
        one = Authorizer(self.fleet, "of-domain")
        config = {"defaultAuthorizerName": one.name, "allowAuthorizerOverride": True}
        for number in range(2):
            iot.create_domain_configuration(
                domainConfigurationName=f"domain-{number}",
                domainName=f"domain-{number}.iot.example",
                authorizerConfig=config,
                serviceType="DATA",
                tags=TAGS,
                tlsConfig=security,
                serverCertificateConfig={"enableOCSPCheck": False},
                authenticationType="CUSTOM_AUTH",
                applicationProtocol="SECURE_MQTT",
            )
        iot.describe_domain_configuration(domainConfigurationName="domain-0")
        iot.describe_domain_configuration(domainConfigurationName="iot:Data-ATS")
        iot.walk("list_domain_configurations", serviceType="DATA")
        iot.update_domain_configuration(
            domainConfigurationName="domain-0",
            authorizerConfig=config,
            domainConfigurationStatus="ENABLED",
            tlsConfig=security,
            authenticationType="CUSTOM_AUTH",
            applicationProtocol="MQTT_WSS",
        )
        for number in range(2):
            domain = {"domainConfigurationName": f"domain-{number}"}
            iot.update_domain_configuration(**domain, removeAuthorizerConfig=True, domainConfigurationStatus="DISABLED")
            iot.delete_domain_configuration(**domain)
        self.absent("describe_domain_configuration", domainConfigurationName="domain-0")
        one.close()

    def role_aliases(self):
        iot = self.iot
        for number in range(2):
            iot.create_role_alias(
                roleAlias=f"alias-{number}", roleArn=ROLE, credentialDurationSeconds=3600, tags=TAGS
            )
        self.conflicts("create_role_alias", roleAlias="alias-0", roleArn=ROLE)
        iot.describe_role_alias(roleAlias="alias-0")
        iot.walk("list_role_aliases", ascendingOrder=True)
        iot.update_role_alias(roleAlias="alias-0", roleArn=ROLE, credentialDurationSeconds=900)
        iot.delete_role_alias(roleAlias="alias-0")
        self.absent("describe_role_alias", roleAlias="alias-0")

    def templates(self):
        iot = self.iot
        hook = {"payloadVersion": "2020-04-01", "targetArn": "arn:aws:lambda:us-east-1:123456789012:function:f"}
        for number in range(2):
            iot.create_provisioning_template(
                templateName=f"template-{number}",
                description="d",
                templateBody=template(),
                enabled=True,
                provisioningRoleArn=ROLE,
                preProvisioningHook=hook,
                tags=TAGS,
                type="FLEET_PROVISIONING",
            )
        named = {"templateName": "template-0"}
        self.conflicts("create_provisioning_template", **named, templateBody=template(), provisioningRoleArn=ROLE)
        iot.create_provisioning_template_version(**named, templateBody=template(), setAsDefault=True)
        iot.describe_provisioning_template(**named)
        iot.describe_provisioning_template_version(**named, versionId=1)
        iot.walk("list_provisioning_templates")
        iot.walk("list_provisioning_template_versions", **named)
        iot.create_provisioning_claim(**named)
        iot.update_provisioning_template(
            **named,
            description="e",
            enabled=True,
            defaultVersionId=2,
            provisioningRoleArn=ROLE,
            preProvisioningHook=hook,
        )
        iot.update_provisioning_template(**named, removePreProvisioningHook=True)
        iot.delete_provisioning_template_version(**named, versionId=1)
        iot.delete_provisioning_template(**named)
        self.absent("describe_provisioning_template", **named)
        request = signing_request(new_key())
        resources = {
            "thing": {"Type": "AWS::IoT::Thing", "Properties": {"ThingName": {"Ref": "Name"}}},
            "certificate": {
                "Type": "AWS::IoT::Certificate",
                "Properties": {"CertificateSigningRequest": {"Ref": "CSR"}, "Status": "ACTIVE"},
            },
        }
        declared = {"Name": {"Type": "String"}, "CSR": {"Type": "String"}}
        body = json.dumps({"Parameters": declared, "Resources": resources})
        iot.register_thing(templateBody=body, parameters={"Name": "registered", "CSR": request})

    def rules(self):
        iot = self.iot
        republish = {"roleArn": ROLE, "topic": "b", "qos": 1, "headers": {"contentType": "text/plain"}}
        payload = {
            "sql": "SELECT * FROM 'a'",
            "description": "d",
            "actions": [{"republish": republish}],
            "ruleDisabled": False,
            "awsIotSqlVersion": "2016-03-23",
            "errorAction": {"republish": {"roleArn": ROLE, "topic": "errors"}},
        }
        for number in range(2):
            iot.create_topic_rule(ruleName=f"rule_{number}", topicRulePayload=payload, tags="team=a")
        self.conflicts("create_topic_rule", ruleName="rule_0", topicRulePayload=payload)
        iot.get_topic_rule(ruleName="rule_0")
        iot.walk("list_topic_rules")
        iot.walk("list_topic_rules", topic="a", ruleDisabled=False)
        iot.replace_topic_rule(ruleName="rule_0", topicRulePayload=payload)
        iot.disable_topic_rule(ruleName="rule_0")
        iot.enable_topic_rule(ruleName="rule_0")
        iot.delete_topic_rule(ruleName="rule_0")

    def rule_destinations(self):
        iot, receiver = self.iot, Receiver()
        arns = []
        for number in range(2):
            url = {"confirmationUrl": f"{receiver.origin}/{number}"}
            made = iot.create_topic_rule_destination(destinationConfiguration={"httpUrlConfiguration": url})
            arns.append(made["topicRuleDestination"]["arn"])
        asked = {challenge["arn"]: challenge for challenge in eventually(lambda: both(receiver.challenges()), "the questions")}
        iot.confirm_topic_rule_destination(confirmationToken=asked[arns[0]]["confirmationToken"])
        iot.get_topic_rule_destination(arn=arns[0])
        iot.walk("list_topic_rule_destinations")
        iot.update_topic_rule_destination(arn=arns[0], status="DISABLED")
        iot.delete_topic_rule_destination(arn=arns[0])
        receiver.close()

    def registration_tasks(self):
        """Nothing lets them read their file, so that they fail by themselves; one is stopped before."""
        iot = self.iot
        thing = {"Type": "AWS::IoT::Thing", "Properties": {"ThingName": "registered"}}
        start = {
            "templateBody": json.dumps({"Resources": {"thing": thing}}),
            "inputFileBucket": "fleets",
            "inputFileKey": "a/file.json",
            "roleArn": ROLE,
        }

        def stopped() -> bool:
            task = iot.start_thing_registration_task(**start)["taskId"]
            try:
                iot.stop_thing_registration_task(taskId=task)
            except ClientError:
                return False  # It had failed by then.
            finally:
                eventually(lambda: self.standing(task) in ("Cancelled", "Failed"), "its end")
            return True

        eventually(stopped, "a task that could be stopped", seconds=60)
        task = iot.start_thing_registration_task(**start)["taskId"]
        eventually(lambda: self.standing(task) == "Failed", "the end of the task")
        iot.walk("list_thing_registration_tasks")
        iot.list_thing_registration_tasks(status="Failed")
        iot.walk("list_thing_registration_task_reports", least=0, taskId=task, reportType="RESULTS")
        self.absent("describe_thing_registration_task", taskId="none")
        self.absent("stop_thing_registration_task", taskId="none")

    def standing(self, task: str) -> str:
        return self.iot.describe_thing_registration_task(taskId=task)["status"]

    def events_and_endpoints(self):
        iot = self.iot
        iot.describe_endpoint(endpointType="iot:Data-ATS")
        iot.update_event_configurations(eventConfigurations={"THING": {"Enabled": True}})
        iot.describe_event_configurations()
        iot.update_event_configurations(eventConfigurations={"THING": {"Enabled": False}})

    def logging(self):
        iot = self.iot
        target = {"targetType": "CLIENT_ID", "targetName": "lamp-1"}
        self.fails("NotConfiguredException", "get_v2_logging_options", "iot", {})
        iot.set_logging_options(loggingOptionsPayload={"roleArn": ROLE, "logLevel": "ERROR"})
        iot.get_logging_options()
        events = [{"eventType": "Connect", "logLevel": "INFO", "logDestination": "/connects"}]
        options = {"roleArn": ROLE, "defaultLogLevel": "ERROR", "disableAllLogs": False, "eventConfigurations": events}
        iot.set_v2_logging_options(**options)
        # Its model has no error for what is not asked rightly.
        assert iot.client.get_v2_logging_options(verbose=True)["eventConfigurations"]
        told = iot.client.get_v2_logging_options()
        assert {name: told[name] for name in options} == options
        iot.set_v2_logging_level(logTarget=target, logLevel="DEBUG")
        iot.walk("list_v2_logging_levels")
        assert len(iot.walk("list_v2_logging_levels", least=1, targetType="CLIENT_ID")) == 1
        iot.delete_v2_logging_level(**target)
        iot.set_v2_logging_options(disableAllLogs=True)

    def shadows(self):
        data = self.data
        document = json.dumps({"state": {"desired": {"lamp": "on"}}}).encode()
        for shadow in ("one", "two"):
            data.update_thing_shadow(thingName="lamp-1", shadowName=shadow, payload=document)
        data.get_thing_shadow(thingName="lamp-1", shadowName="one")["payload"].read()
        whole = data.list_named_shadows_for_thing(thingName="lamp-1", pageSize=100)["results"]
        first = data.list_named_shadows_for_thing(thingName="lamp-1", pageSize=1)
        rest = data.list_named_shadows_for_thing(thingName="lamp-1", pageSize=1, nextToken=first["nextToken"])
        assert first["results"] + rest["results"] == whole
        data.delete_thing_shadow(thingName="lamp-1", shadowName="one")["payload"].read()
        self.absent("get_thing_shadow", service="data", thingName="lamp-1", shadowName="one")
        self.absent("delete_thing_shadow", service="data", thingName="lamp-1", shadowName="one")

    def messages(self):
        data = self.data
        for number in range(2):
            data.publish(
                topic=f"kept/{number}",
                qos=1,
                retain=True,
                payload=b"\x00hot",
                userProperties=json.dumps([{"k": "v"}]),
                payloadFormatIndicator="UNSPECIFIED_BYTES",
                contentType="text/plain",
                responseTopic="answers",
                correlationData="Yzg=",
                messageExpiry=3600,
            )
        data.get_retained_message(topic="kept/0")
        data.walk("list_retained_messages")
        self.absent("get_retained_message", service="data", topic="nothing")

    def connections(self):
        data, device = self.data, make_device(self.fleet, self.folder)
        self.iot.create_thing(thingName="connected")
        self.iot.attach_thing_principal(thingName="connected", principal=device.arn)
        client = Client(self.fleet, device, "connected", expiry=300).connect()
        client.subscribe("a/1", "a/2", qos=1)
        data.get_connection(clientId="connected", includeSocketInformation=True)
        data.walk("list_subscriptions", clientId="connected")
        data.send_direct_message(
            clientId="connected",
            topic="direct",
            contentType="text/plain",
            responseTopic="answers",
            confirmation=True,
            timeout=10,
            payload=b"x",
            userProperties=json.dumps([{"k": "v"}]),
            payloadFormatIndicator="UNSPECIFIED_BYTES",
            correlationData="Yzg=",
        )
        data.delete_connection(clientId="connected", cleanSession=False, preventWillMessage=True)
        client.closed()
        eventually(lambda: not data.client.get_connection(clientId="connected")["connected"], "the end")
        self.absent("get_connection", service="data", clientId="nobody")
        self.absent("send_direct_message", service="data", clientId="nobody", topic="t")

    # Errors of the model that a request provokes.

    def fails(self, error: str, method: str, service: str, arguments: dict):
        driven = getattr(self, service)
        operation = driven.client.meta.method_to_api_mapping[method]
        violations = driven._answers(operation).violations
        try:
            getattr(driven.client, method)(**arguments)
            violations.append(f"accepted, where {error} was expected: {arguments}")
        except ClientError as caught:
            if caught.response["Error"]["Code"] != error:
                violations.append(f"{caught} where {error} was expected: {arguments}")

    def absent(self, method: str, service: str = "iot", **arguments):
        self.fails("ResourceNotFoundException", method, service, arguments)

    def conflicts(self, method: str, **arguments):
        self.fails("ResourceAlreadyExistsException", method, "iot", arguments)


def both(items: list) -> list | None:
    return items if len(items) >= 2 else None


@pytest.fixture(scope="module")
def fleet(fleethaven):
    return fleethaven("--allow-outbound", "127.0.0.0/8")


@pytest.fixture(scope="module")
def driven(fleet, other, tmp_path_factory) -> Scenario:  # noqa: F811
    return Scenario(fleet, other, tmp_path_factory.mktemp("devices")).run()


def named(key: tuple[str, str]) -> str:
    return ".".join(key)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_of_operations_does_what_it_is_asked(driven, family):
    if failure := driven.failures.get(family):
        raise failure


@pytest.mark.parametrize("key", BUILT, ids=named)
def test_an_operation_keeps_the_contract(driven, key):
    answers = driven.contract.seen[key]
    assert answers.successes, "the page calls it done, and nothing here drives it"
    assert not answers.violations, "\n".join(dict.fromkeys(answers.violations))


@pytest.mark.parametrize("key", PAGINATORS, ids=named)
def test_a_listing_is_walked_through(driven, key):
    assert key in driven.iot.walked | driven.data.walked
