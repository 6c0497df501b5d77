"""One account against everything of another, through every door: what is another's is answered as what does not exist.

Each probe is asked twice as the other account: for what the first account has, and for what nobody has. But for the name, the
answers must be the same, byte by byte.
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass, replace

import pytest
from botocore.exceptions import ClientError

from control_plane import ANY
from device import certificate, make_device, new_key, pem
from enrolment import template
from instance import address, eventually
from lab import ROLE
from mqtt_client import BOTH_VERSIONS, V5, Client, Refused
from signed import call, https
from test_accounts import OTHER, admin, other  # noqa: F401  (fixtures)
from test_contract import BUILT
from test_domain_configurations import asking_for

REGISTRATION = json.dumps(
    {"Resources": {"thing": {"Type": "AWS::IoT::Thing", "Properties": {"ThingName": "registered"}}}}
)
SHADOW = json.dumps({"state": {"desired": {"secret": "of the first"}}})


@pytest.fixture(scope="module")
def fleet(fleethaven):
    return fleethaven("--https-mtls", "127.0.0.1:0")


@dataclass
class Names:
    """What probes ask for: names, and the ids and ARNs that no one chooses."""

    name: str
    certificate: str
    authority: str
    destination: str
    task: str
    account: str
    region: str

    def arn(self, resource: str, account: str | None = None) -> str:
        return f"arn:aws:iot:{self.region}:{account or self.account}:{resource}"

    @property
    def rule(self) -> str:
        return self.name.replace("-", "_")

    def hide(self, text: str) -> str:
        """Without what tells one from the other."""
        for secret in (self.certificate, self.authority, self.destination, self.task, self.name, self.rule):
            text = text.replace(secret, "…")
        return text


@pytest.fixture(scope="module")
def theirs(fleet, tmp_path_factory) -> Names:
    """The first account's resources, one of each kind; a client of theirs is connected all the while."""
    iot, data, name = fleet.iot, fleet.client("iot-data"), f"mine-{uuid.uuid4().hex[:8]}"
    device = make_device(fleet, tmp_path_factory.mktemp("theirs"))
    authority = iot.register_ca_certificate(
        caCertificate=pem(certificate(name, new_key(), ca=True)), certificateMode="SNI_ONLY"
    )
    function = f"arn:aws:lambda:{fleet.region}:{fleet.account}:function:f"
    iot.create_thing_type(thingTypeName=name, tags=[{"Key": "k", "Value": "v"}])
    iot.create_billing_group(billingGroupName=name)
    iot.create_thing(thingName=name, thingTypeName=name, billingGroupName=name)
    iot.create_thing_group(thingGroupName=name)
    iot.add_thing_to_thing_group(thingGroupName=name, thingName=name)
    iot.attach_thing_principal(thingName=name, principal=device.arn)
    iot.create_policy(policyName=name, policyDocument=ANY)
    iot.attach_policy(policyName=name, target=device.arn)
    iot.create_authorizer(
        authorizerName=name, authorizerFunctionArn=function, signingDisabled=True, status="INACTIVE"
    )
    iot.create_certificate_provider(
        certificateProviderName=name,
        lambdaFunctionArn=function,
        accountDefaultForOperations=["CreateCertificateFromCsr"],
    )
    iot.create_domain_configuration(domainConfigurationName=name, domainName=f"{name}.iot.example")
    iot.create_role_alias(roleAlias=name, roleArn=ROLE)
    iot.create_provisioning_template(templateName=name, templateBody=template(), provisioningRoleArn=ROLE)
    action = {"republish": {"roleArn": ROLE, "topic": "b"}}
    iot.create_topic_rule(
        ruleName=name.replace("-", "_"), topicRulePayload={"sql": "SELECT * FROM 'a'", "actions": [action]}
    )
    url = {"confirmationUrl": f"https://{name}.example/rules"}
    made = iot.create_topic_rule_destination(destinationConfiguration={"httpUrlConfiguration": url})
    destination = made["topicRuleDestination"]["arn"].rpartition("/")[2]
    data.update_thing_shadow(thingName=name, payload=SHADOW)
    data.update_thing_shadow(thingName=name, shadowName="named", payload=SHADOW)
    data.publish(topic=f"{name}/kept", retain=True, qos=1, payload=b"kept")
    client = Client(fleet, device, name, expiry=3600).connect()
    client.subscribe(f"{name}/#", qos=1)
    # It fails, as nothing lets it read: what is left of it is theirs all the same.
    task = iot.start_thing_registration_task(
        templateBody=REGISTRATION, inputFileBucket="fleets", inputFileKey=name, roleArn=ROLE
    )["taskId"]
    yield Names(name, device.id, authority["certificateId"], destination, task, fleet.account, fleet.region)
    client.close()


@pytest.fixture
def nobodys(theirs) -> Names:
    """What no account has; its names are as long as the others'."""
    name = f"none-{uuid.uuid4().hex[:8]}"
    unknown = [uuid.uuid4().hex * 2, uuid.uuid4().hex * 2, str(uuid.uuid4()), str(uuid.uuid4())]
    return Names(name, *unknown, theirs.account, theirs.region)


# What the second account asks for, by service and operation.
PROPERTIES = {"attributePayload": {"attributes": {"a": "1"}}}
PROBES = {
    "iot": {
        "describe_thing": lambda n: {"thingName": n.name},
        "update_thing": lambda n: {"thingName": n.name, **PROPERTIES},
        "delete_thing": lambda n: {"thingName": n.name},
        "list_thing_principals": lambda n: {"thingName": n.name},
        "list_thing_principals_v2": lambda n: {"thingName": n.name},
        "list_thing_groups_for_thing": lambda n: {"thingName": n.name},
        "list_principal_things": lambda n: {"principal": n.arn(f"cert/{n.certificate}")},
        "list_principal_things_v2": lambda n: {"principal": n.arn(f"cert/{n.certificate}")},
        "attach_thing_principal": lambda n: {"thingName": n.name, "principal": n.arn(f"cert/{n.certificate}")},
        "detach_thing_principal": lambda n: {"thingName": n.name, "principal": n.arn(f"cert/{n.certificate}")},
        "describe_thing_type": lambda n: {"thingTypeName": n.name},
        "update_thing_type": lambda n: {"thingTypeName": n.name},
        "deprecate_thing_type": lambda n: {"thingTypeName": n.name},
        "delete_thing_type": lambda n: {"thingTypeName": n.name},
        "describe_thing_group": lambda n: {"thingGroupName": n.name},
        "update_thing_group": lambda n: {"thingGroupName": n.name, "thingGroupProperties": PROPERTIES},
        "delete_thing_group": lambda n: {"thingGroupName": n.name},
        "list_things_in_thing_group": lambda n: {"thingGroupName": n.name},
        "add_thing_to_thing_group": lambda n: {"thingGroupName": n.name, "thingName": n.name},
        "remove_thing_from_thing_group": lambda n: {"thingGroupName": n.name, "thingName": n.name},
        "update_thing_groups_for_thing": lambda n: {"thingName": n.name, "thingGroupsToRemove": [n.name]},
        "describe_billing_group": lambda n: {"billingGroupName": n.name},
        "update_billing_group": lambda n: {"billingGroupName": n.name, "billingGroupProperties": {}},
        "delete_billing_group": lambda n: {"billingGroupName": n.name},
        "list_things_in_billing_group": lambda n: {"billingGroupName": n.name},
        "add_thing_to_billing_group": lambda n: {"billingGroupName": n.name, "thingName": n.name},
        "remove_thing_from_billing_group": lambda n: {"billingGroupName": n.name, "thingName": n.name},
        "describe_certificate": lambda n: {"certificateId": n.certificate},
        "update_certificate": lambda n: {"certificateId": n.certificate, "newStatus": "REVOKED"},
        "delete_certificate": lambda n: {"certificateId": n.certificate, "forceDelete": True},
        "transfer_certificate": lambda n: {"certificateId": n.certificate, "targetAwsAccount": n.account},
        "accept_certificate_transfer": lambda n: {"certificateId": n.certificate},
        "reject_certificate_transfer": lambda n: {"certificateId": n.certificate},
        "cancel_certificate_transfer": lambda n: {"certificateId": n.certificate},
        "describe_ca_certificate": lambda n: {"certificateId": n.authority},
        "update_ca_certificate": lambda n: {"certificateId": n.authority, "newStatus": "ACTIVE"},
        "delete_ca_certificate": lambda n: {"certificateId": n.authority},
        "list_certificates_by_ca": lambda n: {"caCertificateId": n.authority},
        "get_policy": lambda n: {"policyName": n.name},
        "get_policy_version": lambda n: {"policyName": n.name, "policyVersionId": "1"},
        "list_policy_versions": lambda n: {"policyName": n.name},
        "create_policy_version": lambda n: {"policyName": n.name, "policyDocument": ANY},
        "set_default_policy_version": lambda n: {"policyName": n.name, "policyVersionId": "1"},
        "delete_policy_version": lambda n: {"policyName": n.name, "policyVersionId": "1"},
        "delete_policy": lambda n: {"policyName": n.name},
        "attach_policy": lambda n: {"policyName": n.name, "target": n.arn(f"cert/{n.certificate}")},
        "detach_policy": lambda n: {"policyName": n.name, "target": n.arn(f"cert/{n.certificate}")},
        "attach_principal_policy": lambda n: {"policyName": n.name, "principal": n.arn(f"cert/{n.certificate}")},
        "detach_principal_policy": lambda n: {"policyName": n.name, "principal": n.arn(f"cert/{n.certificate}")},
        "list_targets_for_policy": lambda n: {"policyName": n.name},
        "list_policy_principals": lambda n: {"policyName": n.name},
        "list_attached_policies": lambda n: {"target": n.arn(f"cert/{n.certificate}")},
        "list_principal_policies": lambda n: {"principal": n.arn(f"cert/{n.certificate}")},
        "get_effective_policies": lambda n: {"principal": n.arn(f"cert/{n.certificate}"), "thingName": n.name},
        "test_authorization": lambda n: {
            "principal": n.arn(f"cert/{n.certificate}"),
            "authInfos": [{"actionType": "PUBLISH", "resources": [n.arn("topic/a")]}],
        },
        "describe_authorizer": lambda n: {"authorizerName": n.name},
        "update_authorizer": lambda n: {"authorizerName": n.name, "status": "ACTIVE"},
        "delete_authorizer": lambda n: {"authorizerName": n.name},
        "set_default_authorizer": lambda n: {"authorizerName": n.name},
        "test_invoke_authorizer": lambda n: {"authorizerName": n.name},
        "describe_certificate_provider": lambda n: {"certificateProviderName": n.name},
        "update_certificate_provider": lambda n: {"certificateProviderName": n.name},
        "delete_certificate_provider": lambda n: {"certificateProviderName": n.name},
        "describe_domain_configuration": lambda n: {"domainConfigurationName": n.name},
        "update_domain_configuration": lambda n: {
            "domainConfigurationName": n.name,
            "domainConfigurationStatus": "DISABLED",
        },
        "delete_domain_configuration": lambda n: {"domainConfigurationName": n.name},
        "describe_thing_registration_task": lambda n: {"taskId": n.task},
        "stop_thing_registration_task": lambda n: {"taskId": n.task},
        "list_thing_registration_task_reports": lambda n: {"taskId": n.task, "reportType": "ERRORS"},
        "describe_role_alias": lambda n: {"roleAlias": n.name},
        "update_role_alias": lambda n: {"roleAlias": n.name, "credentialDurationSeconds": 900},
        "delete_role_alias": lambda n: {"roleAlias": n.name},
        "describe_provisioning_template": lambda n: {"templateName": n.name},
        "describe_provisioning_template_version": lambda n: {"templateName": n.name, "versionId": 1},
        "list_provisioning_template_versions": lambda n: {"templateName": n.name},
        "create_provisioning_template_version": lambda n: {"templateName": n.name, "templateBody": template()},
        "create_provisioning_claim": lambda n: {"templateName": n.name},
        "update_provisioning_template": lambda n: {"templateName": n.name, "enabled": True},
        "delete_provisioning_template_version": lambda n: {"templateName": n.name, "versionId": 1},
        "delete_provisioning_template": lambda n: {"templateName": n.name},
        "get_topic_rule": lambda n: {"ruleName": n.rule},
        "disable_topic_rule": lambda n: {"ruleName": n.rule},
        "enable_topic_rule": lambda n: {"ruleName": n.rule},
        "replace_topic_rule": lambda n: {"ruleName": n.rule, "topicRulePayload": {"sql": "SELECT * FROM 'b'", "actions": []}},
        "delete_topic_rule": lambda n: {"ruleName": n.rule},
        "get_topic_rule_destination": lambda n: {"arn": n.arn(f"ruledestination/http/{n.destination}")},
        "update_topic_rule_destination": lambda n: {
            "arn": n.arn(f"ruledestination/http/{n.destination}"),
            "status": "DISABLED",
        },
        "delete_topic_rule_destination": lambda n: {"arn": n.arn(f"ruledestination/http/{n.destination}")},
    },
    "iot-data": {
        "get_thing_shadow": lambda n: {"thingName": n.name},
        "delete_thing_shadow": lambda n: {"thingName": n.name, "shadowName": "named"},
        "list_named_shadows_for_thing": lambda n: {"thingName": n.name},
        "get_retained_message": lambda n: {"topic": f"{n.name}/kept"},
        "get_connection": lambda n: {"clientId": n.name},
        "delete_connection": lambda n: {"clientId": n.name},
        "list_subscriptions": lambda n: {"clientId": n.name},
        "send_direct_message": lambda n: {"clientId": n.name, "topic": "t", "payload": b"x"},
    },
}
# Of a resource of the first account by its whole ARN.
TAGGED = ("thingtype", "thinggroup", "billinggroup", "policy", "authorizer", "rolealias", "provisioningtemplate", "rule")
TAG_METHODS = ("list_tags_for_resource", "tag_resource", "untag_resource")
VOLATILE = re.compile(r'"(timestamp|traceId)": ?("[^"]*"|\d+)')


def said(client, method: str, arguments: dict, names: Names) -> tuple[int, str]:
    """Status and body of the answer, without names and what changes by itself."""
    bodies = []
    client.meta.events.register("before-parse", lambda response_dict, **_: bodies.append(response_dict), method)
    try:
        getattr(client, method)(**arguments)
    except ClientError:
        pass
    finally:
        client.meta.events.unregister("before-parse", unique_id=method)
    [answer] = bodies
    body = answer["body"]
    text = (body if isinstance(body, bytes) else body.read()).decode()
    error = answer["headers"].get("x-amzn-errortype", "")
    return answer["status_code"], error + names.hide(VOLATILE.sub("", text))


@pytest.fixture(scope="module")
def asking(fleet, other):  # noqa: F811
    """The second account's clients, by service."""
    credentials = other.iot._request_signer._credentials
    key = {"aws_access_key_id": credentials.access_key, "aws_secret_access_key": credentials.secret_key}
    return {service: fleet.client(service, **key) for service in PROBES}


@pytest.mark.parametrize(
    ("service", "method"), [(service, method) for service, methods in PROBES.items() for method in methods]
)
def test_what_is_anothers_is_answered_as_what_is_not_there(asking, theirs, nobodys, service, method):
    arguments = PROBES[service][method]
    answers = [said(asking[service], method, arguments(names), names) for names in (theirs, nobodys)]
    assert answers[0] == answers[1]
    # By the second account's own ARNs of the same names, too.
    own = [said(asking[service], method, arguments(as_own(names)), names) for names in (theirs, nobodys)]
    assert own[0] == own[1]


def as_own(names: Names) -> Names:
    return replace(names, account=OTHER)


@pytest.mark.parametrize("kind", TAGGED)
@pytest.mark.parametrize("method", TAG_METHODS)
def test_tags_of_anothers_resources(asking, theirs, nobodys, method, kind):
    more = {"tag_resource": {"tags": [{"Key": "k", "Value": "v"}]}, "untag_resource": {"tagKeys": ["k"]}}.get(method, {})
    for account in (theirs.account, OTHER):
        answers = []
        for names in (theirs, nobodys):
            name = names.rule if kind == "rule" else names.name
            arguments = {"resourceArn": names.arn(f"{kind}/{name}", account), **more}
            answers.append(said(asking["iot"], method, arguments, names))
        assert answers[0] == answers[1] and answers[0][0] >= 400


def test_nothing_of_it_has_changed(fleet, theirs):
    """What the probes were refused or told was done has not touched the first account."""
    iot, data, name = fleet.iot, fleet.client("iot-data"), theirs.name
    assert iot.describe_thing(thingName=name)["version"] == 1
    assert iot.list_thing_principals(thingName=name)["principals"] == [theirs.arn(f"cert/{theirs.certificate}")]
    assert iot.describe_thing_type(thingTypeName=name)["thingTypeMetadata"]["deprecated"] is False
    assert iot.describe_certificate(certificateId=theirs.certificate)["certificateDescription"]["status"] == "ACTIVE"
    assert iot.describe_ca_certificate(certificateId=theirs.authority)["certificateDescription"]["status"] == "INACTIVE"
    assert [v["versionId"] for v in iot.list_policy_versions(policyName=name)["policyVersions"]] == ["1"]
    assert iot.list_targets_for_policy(policyName=name)["targets"] == [theirs.arn(f"cert/{theirs.certificate}")]
    assert iot.list_things_in_thing_group(thingGroupName=name)["things"] == [name]
    assert iot.list_things_in_billing_group(billingGroupName=name)["things"] == [name]
    assert iot.describe_authorizer(authorizerName=name)["authorizerDescription"]["status"] == "INACTIVE"
    assert iot.describe_domain_configuration(domainConfigurationName=name)["domainConfigurationStatus"] == "ENABLED"
    assert iot.describe_role_alias(roleAlias=name)["roleAliasDescription"]["credentialDurationSeconds"] == 3600
    assert iot.describe_provisioning_template(templateName=name)["enabled"] is False
    assert iot.describe_certificate_provider(certificateProviderName=name)
    assert iot.get_topic_rule(ruleName=theirs.rule)["rule"]["ruleDisabled"] is False
    assert json.loads(data.get_thing_shadow(thingName=name)["payload"].read())["version"] == 1
    assert data.list_named_shadows_for_thing(thingName=name)["results"] == ["named"]
    assert data.get_retained_message(topic=f"{name}/kept")["payload"] == b"kept"
    assert data.get_connection(clientId=name)["connected"] is True


LISTINGS = {
    "list_things": "things",
    "list_thing_types": "thingTypes",
    "list_thing_groups": "thingGroups",
    "list_billing_groups": "billingGroups",
    "list_certificates": "certificates",
    "list_ca_certificates": "certificates",
    "list_outgoing_certificates": "outgoingCertificates",
    "list_policies": "policies",
    "list_authorizers": "authorizers",
    "list_certificate_providers": "certificateProviders",
    "list_domain_configurations": "domainConfigurations",
    "list_thing_registration_tasks": "taskIds",
    "list_role_aliases": "roleAliases",
    "list_provisioning_templates": "templates",
    "list_topic_rules": "rules",
    "list_topic_rule_destinations": "destinationSummaries",
}
# What names nothing that another account could have: it makes something, or is about the caller's account as a whole. A destination
# is confirmed by a secret, whoever has it.
OF_ONES_OWN = {
    "iot": {
        "ClearDefaultAuthorizer",
        "ConfirmTopicRuleDestination",
        "CreateAuthorizer",
        "CreateBillingGroup",
        "CreateCertificateFromCsr",
        "CreateCertificateProvider",
        "CreateDomainConfiguration",
        "CreateKeysAndCertificate",
        "CreatePolicy",
        "CreateProvisioningTemplate",
        "CreateRoleAlias",
        "CreateThing",
        "CreateThingGroup",
        "CreateThingType",
        "CreateTopicRule",
        "CreateTopicRuleDestination",
        "DeleteRegistrationCode",
        "DescribeDefaultAuthorizer",
        "DescribeEndpoint",
        "DeleteV2LoggingLevel",
        "DescribeEventConfigurations",
        "GetLoggingOptions",
        "GetRegistrationCode",
        "GetV2LoggingOptions",
        "ListV2LoggingLevels",
        "RegisterCACertificate",
        "RegisterCertificate",
        "RegisterCertificateWithoutCA",
        "RegisterThing",
        "SetLoggingOptions",
        "SetV2LoggingLevel",
        "SetV2LoggingOptions",
        "StartThingRegistrationTask",
        "UpdateEventConfigurations",
    },
    "iot-data": {"ListRetainedMessages", "Publish", "UpdateThingShadow"},
}


def test_every_operation_is_tried(asking):
    """What `docs/compatibility.md` calls done or partial is probed, listed, or of one's own."""
    names = {service: client.meta.method_to_api_mapping for service, client in asking.items()}
    tried = {(service, names[service][method]) for service, methods in PROBES.items() for method in methods}
    tried |= {("iot", names["iot"][method]) for method in (*LISTINGS, *TAG_METHODS)}
    tried |= {(service, operation) for service, operations in OF_ONES_OWN.items() for operation in operations}
    assert set(BUILT) - tried == set()


@pytest.mark.parametrize("method", LISTINGS)
def test_listings_show_nothing_of_another(asking, theirs, method):
    answer = json.dumps(getattr(asking["iot"], method)()[LISTINGS[method]], default=str)
    for secret in (theirs.name, theirs.rule, theirs.certificate, theirs.authority, theirs.task, theirs.account):
        assert secret not in answer


def test_a_page_token_is_good_in_its_own_account_only(fleet, asking, theirs):
    for number in range(2):
        fleet.iot.create_thing(thingName=f"{theirs.name}-{number}")
    token = fleet.iot.list_things(maxResults=1)["nextToken"]
    with pytest.raises(ClientError) as refused:
        asking["iot"].list_things(maxResults=1, nextToken=token)
    assert refused.value.response["Error"]["Code"] == "InvalidRequestException"


# Over MQTT


@pytest.fixture
def stranger(fleet, other, tmp_path):  # noqa: F811
    """A device of the second account that may do everything there."""
    return make_device(other, tmp_path)


TOPICS = [
    "{name}/kept",
    "{name}/a",
    "$aws/things/{name}/shadow/update",
    "$aws/things/{name}/shadow/update/accepted",
    "$aws/things/{name}/shadow/name/named/update",
    "$aws/rules/{rule}",
    "$aws/events/presence/connected/{name}",
    "$aws/events/thing/{name}/updated",
]


@pytest.mark.parametrize("version", **BOTH_VERSIONS)
def test_nothing_of_another_is_heard(fleet, connect, stranger, theirs, name, version):
    """Not live, not retained, not of its shadows, not of its events, whatever is subscribed to."""
    ear = connect(name, stranger, version=version)
    for filter in ("#", "$aws/#", f"{theirs.name}/#", f"$aws/things/{theirs.name}/#", "$aws/events/#", f"$share/g/{theirs.name}/#"):
        ear.subscribe(filter, qos=1)
    iot, data = fleet.iot, fleet.client("iot-data")
    iot.update_event_configurations(eventConfigurations={"THING": {"Enabled": True}})
    iot.create_thing(thingName=f"{theirs.name}-{name}")
    data.publish(topic=f"{theirs.name}/a", qos=1, payload=b"live")
    data.update_thing_shadow(thingName=f"{theirs.name}-{name}", payload=SHADOW)
    own = connect(f"{name}-own")
    own.subscribe(f"{theirs.name}/end", qos=1)
    own.publish(f"{theirs.name}/end", b"end", 1)
    own.expect_until(b"end")
    ear.publish(f"{name}/marker", b"marker", 1)
    heard = [(message.topic, bytes(message.payload)) for message in until(ear, b"marker")]
    own_events = re.compile(rf"\$aws/events/(presence|subscriptions)/\w+/(?!{name}-own)n[\w-]+")
    assert [m for m in heard if m[0] != f"{name}/marker" and not own_events.fullmatch(m[0])] == []


def until(client: Client, payload: bytes) -> list:
    client.expect_until(payload)
    return list(client.received)


@pytest.mark.parametrize("topic", TOPICS)
def test_nothing_that_is_published_reaches_another(fleet, connect, stranger, theirs, topic, name):
    data, thing = fleet.client("iot-data"), f"{theirs.name}-{name}"
    for shadow in ({}, {"shadowName": "named"}):
        data.update_thing_shadow(thingName=thing, payload=SHADOW, **shadow)
    ear = connect(f"{name}-ear")
    ear.subscribe("#", qos=1)
    ear.subscribe("$aws/#", qos=1)
    mouth = connect(f"{name}-mouth", stranger)
    mouth.publish(topic.format(name=thing, rule=theirs.rule), SHADOW.replace("secret", "forged").encode(), 1)
    connect(f"{name}-end").publish(f"{name}/end", b"end", 1)
    assert all(b"forged" not in bytes(message.payload) for message in until(ear, b"end"))
    for shadow in ({}, {"shadowName": "named"}):
        assert json.loads(data.get_thing_shadow(thingName=thing, **shadow)["payload"].read())["version"] == 1


def test_a_shadow_of_another_is_not_there(connect, stranger, theirs, nobodys, name):
    client = connect(name, stranger)
    answers = []
    for names in (theirs, nobodys):
        base = f"$aws/things/{names.name}/shadow"
        client.subscribe(f"{base}/get/accepted", f"{base}/get/rejected", qos=1)
        before = len(client.received)
        client.publish(f"{base}/get", b"{}", 1)
        client.expect(before + 1)
        message = client.received[before]
        answer = json.loads(message.payload)
        answer.pop("timestamp")
        answers.append((names.hide(message.topic), names.hide(json.dumps(answer))))
    assert answers[0] == answers[1] and "404" in answers[0][1]


def test_a_client_id_is_taken_over_within_its_account_only(fleet, connect, stranger, name):
    own = connect(name, expiry=300)
    own.subscribe(f"{name}/a", qos=1)
    client = connect(name, stranger, clean=False, expiry=300)
    assert not client.session_present
    own.publish(f"{name}/a", b"own", 1)
    assert own.expect_until(b"own") == [b"own"]
    client.subscribe("end", qos=1)
    client.publish("end", b"end", 1)
    assert client.expect_until(b"end") == [b"end"]
    own.disconnect()
    # What is queued for one waits for that one.
    fleet.client("iot-data").publish(topic=f"{name}/a", qos=1, payload=b"queued")
    client.disconnect()
    again = connect(name, stranger, clean=False, expiry=300)
    assert again.session_present
    again.publish("end", b"last", 1)
    assert again.expect_until(b"last") == [b"last"]


def test_a_certificate_is_known_in_its_account_only(fleet, stranger, theirs, name):
    """At the other account's domain, by its server name, it is as unknown as one that nobody has registered."""
    context = asking_for(stranger.tls(fleet.ca_file), f"{theirs.name}.iot.example")
    with pytest.raises(Refused) as refused:
        Client(fleet, stranger, name, context=context).connect()
    assert refused.value.value is None
    fleet.log.having("Connection.AuthNError", "DEVICE_CERTIFICATE_NOT_REGISTERED", stranger.id)


def test_another_account_s_endpoint_takes_nobody(fleet, stranger, connect, name):
    """By the name of another account's endpoint a certificate is as unknown; by its own, and by any other name, it is its own
    account's."""
    theirs = asking_for(stranger.tls(fleet.ca_file), f"{fleet.account}.data.example")
    with pytest.raises(Refused) as refused:
        Client(fleet, stranger, name, context=theirs).connect()
    assert refused.value.value is None
    fleet.log.having("Connection.AuthNError", "DEVICE_CERTIFICATE_NOT_REGISTERED", stranger.id)
    context = asking_for(stranger.tls(fleet.ca_file), f"{OTHER}.data.example")
    client = Client(fleet, stranger, name, context=context).connect()
    own = connect(f"{name}-own")
    for one in (client, own):
        one.subscribe(f"{name}/a", qos=1)
    client.publish(f"{name}/a", b"theirs", 1)
    own.publish(f"{name}/a", b"ours", 1)
    assert client.expect_until(b"theirs") == [b"theirs"] and own.expect_until(b"ours") == [b"ours"]
    client.close()


def test_policies_that_name_another_account_grant_nothing(fleet, other, connect, tmp_path, theirs, name):  # noqa: F811
    arn = f"arn:aws:iot:{fleet.region}:{fleet.account}"
    document = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"},
            {"Effect": "Allow", "Action": "iot:*", "Resource": [f"{arn}:topic/*", f"{arn}:topicfilter/*"]},
        ],
    }
    client = connect(name, make_device(other, tmp_path, document), version=V5)
    assert client.publish(f"{theirs.name}/a", b"x", 1) == 0x87
    assert client.subscribe(f"{theirs.name}/#", qos=1) == [0x87]


def test_rules_see_their_own_account(fleet, asking, connect, stranger, theirs, name):
    """A rule on topics that both accounts use, which looks up a shadow of the other account."""
    looked_up = f"get_or_default(get_thing_shadow('{theirs.name}', '{ROLE}'), 'none')"
    sql = f"SELECT topic() AS t, {looked_up} AS s FROM '+/own'"
    action = {"republish": {"roleArn": ROLE, "topic": f"seen/{name}", "qos": 1}}
    payload = {"sql": sql, "awsIotSqlVersion": "2016-03-23", "actions": [action]}
    asking["iot"].create_topic_rule(ruleName=name, topicRulePayload=payload)
    ear = connect(f"{name}-ear")
    ear.subscribe(f"seen/{name}", qos=1)
    seen = connect(f"{name}-seen", stranger)
    seen.subscribe(f"seen/{name}", qos=1)

    def works() -> bool:
        seen.publish(f"{name}/own", b"{}", 1)
        return any(json.loads(message.payload)["t"] == f"{name}/own" for message in seen.received)

    eventually(works, "the rule's first answer", pause=0.2)
    fleet.client("iot-data").publish(topic=f"{theirs.name}/own", qos=1, payload=b"{}")
    count = len(seen.received)
    seen.publish(f"{name}/own", b"{}", 1)
    eventually(lambda: len(seen.received) > count, "the rule's last answer")
    asking["iot"].delete_topic_rule(ruleName=name)
    for message in seen.received:
        told = json.loads(message.payload)
        assert told["t"].startswith(name) and told["s"] == "none", told
    ear.publish(f"seen/{name}", b"end", 1)
    assert ear.expect_until(b"end") == [b"end"]


# Over HTTPS with a certificate


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/things/{name}/shadow"),
        ("GET", "/things/{name}/shadow?name=named"),
        ("DELETE", "/things/{name}/shadow"),
        ("GET", "/api/things/shadow/ListNamedShadowsForThing/{name}"),
        ("GET", "/retainedMessage/{name}%2Fkept"),
        ("GET", "/connections/{name}"),
        ("DELETE", "/connections/{name}"),
        ("GET", "/connections/{name}/subscriptions"),
        ("POST", "/connections/{name}/messages?topic=t"),
    ],
)
def test_a_certificate_sees_its_own_account(fleet, stranger, theirs, nobodys, method, path):
    answers = []
    for names in (theirs, nobodys):
        to, context = address(fleet.ready["https_mtls"]), stranger.tls(fleet.ca_file)
        answer = https(to, context, method, path.format(name=names.name))
        answers.append((answer.status, answer.error, names.hide(VOLATILE.sub("", answer.body.decode()))))
    assert answers[0] == answers[1]


def test_a_signature_counts_in_the_account_of_its_key(fleet, asking, theirs):
    """Asking for another account's endpoint changes nothing about whose request it is."""
    credentials = asking["iot"]._request_signer._credentials
    key = {"key": credentials.access_key, "secret": credentials.secret_key}
    answer = call(fleet, "GET", f"/things/{theirs.name}", **key)
    assert (answer.status, answer.error) == (404, "ResourceNotFoundException")


# What both may have


def test_names_are_free_in_every_account(fleet, asking, theirs):
    made = asking["iot"].create_thing(thingName=theirs.name)
    assert OTHER in made["thingArn"]
    asking["iot"].delete_thing(thingName=theirs.name)
    assert fleet.iot.describe_thing(thingName=theirs.name)["thingArn"] == theirs.arn(f"thing/{theirs.name}")
