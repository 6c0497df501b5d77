"""RegisterThing and provisioning templates: what the API answers, and AWS's errors by name and status."""

import json

import pytest

from control_plane import invalid, missing, pages, refused
from device import Device, allow, certificate, key_pem, new_key, pem, signing_request

ROLE = "arn:aws:iam::123456789012:role/provisioning"


def template(policy: dict, source: dict, overrides: dict | None = None) -> str:
    thing = {
        "Type": "AWS::IoT::Thing",
        "Properties": {
            "ThingName": {"Fn::Join": ["", [{"Ref": "Name"}, "-", {"Ref": "Serial"}]]},
            "AttributePayload": {"serial": {"Ref": "Serial"}, "site": {"Ref": "Site"}},
        },
    }
    if overrides:
        thing["OverrideSettings"] = overrides
    resources = {
        "thing": thing,
        "certificate": {"Type": "AWS::IoT::Certificate", "Properties": {**source, "Status": "ACTIVE"}},
        "policy": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyDocument": json.dumps(policy)}},
    }
    parameters = {name: {"Type": "String"} for name in ("Name", "Serial", "CSR", "PEM")}
    parameters["Site"] = {"Type": "String", "Default": "lab"}
    for unused in {"CSR", "PEM"} - {value["Ref"] for value in source.values()}:
        del parameters[unused]
    return json.dumps({"Parameters": parameters, "Resources": resources})


OWN = {"Version": "2012-10-17", "Statement": [allow("Connect", "client/${iot:Connection.Thing.ThingName}")]}
BY_CSR = {"CertificateSigningRequest": {"Ref": "CSR"}}


def test_a_device_that_is_registered_connects(fleet, iot, connect, tmp_path, name):
    key = new_key()
    parameters = {"Name": name, "Serial": "7", "CSR": signing_request(key)}
    made = iot.register_thing(templateBody=template(OWN, BY_CSR), parameters=parameters)
    arns = made["resourceArns"]
    assert arns["thing"] == fleet.arn(f"thing/{name}-7")
    assert arns.keys() == {"thing", "certificate", "policy"}
    thing = iot.describe_thing(thingName=f"{name}-7")
    assert thing["attributes"] == {"serial": "7", "site": "lab"}
    id = arns["certificate"].rsplit("/", 1)[1]
    found = iot.describe_certificate(certificateId=id)["certificateDescription"]
    assert found["status"] == "ACTIVE" and found["certificatePem"] == made["certificatePem"]
    assert iot.list_thing_principals(thingName=f"{name}-7")["principals"] == [arns["certificate"]]
    device = Device.store(tmp_path, arns["certificate"], id, made["certificatePem"], key_pem(key))
    connect(f"{name}-7", device)
    # The same document is the same policy.
    parameters = {"Name": name, "Serial": "8", "CSR": signing_request(new_key())}
    again = iot.register_thing(templateBody=template(OWN, BY_CSR), parameters=parameters)
    assert again["resourceArns"]["policy"] == arns["policy"]


def test_a_certificate_of_a_registered_authority(iot, name):
    ca_key, key = new_key(), new_key()
    authority = certificate(f"{name} CA", ca_key, ca=True)
    iot.register_ca_certificate(caCertificate=pem(authority), certificateMode="SNI_ONLY", setAsActive=True)
    device = certificate("device", key, f"{name} CA", ca_key)
    body = template(OWN, {"CertificatePem": {"Ref": "PEM"}})
    parameters = {"Name": name, "Serial": "1", "PEM": pem(device)}
    made = iot.register_thing(templateBody=body, parameters=parameters)
    assert iot.list_thing_principals(thingName=f"{name}-1")["principals"] == [made["resourceArns"]["certificate"]]
    stranger = parameters | {"Serial": "2", "PEM": pem(certificate("stranger", new_key()))}
    refused("ResourceRegistrationFailureException", 400, iot.register_thing, templateBody=body, parameters=stranger)
    missing(iot.describe_thing, thingName=f"{name}-2")


def test_a_failure_leaves_nothing_behind(iot, name):
    before = len(iot.list_certificates()["certificates"])
    wrong = {"Version": "2012-10-17", "Statement": "nonsense"}
    parameters = {"Name": name, "Serial": "7", "CSR": signing_request(new_key())}
    failure = "ResourceRegistrationFailureException", 400
    refused(*failure, iot.register_thing, templateBody=template(wrong, BY_CSR), parameters=parameters)
    bad = parameters | {"CSR": "no request"}
    refused(*failure, iot.register_thing, templateBody=template(OWN, BY_CSR), parameters=bad)
    missing(iot.describe_thing, thingName=f"{name}-7")
    assert len(iot.list_certificates()["certificates"]) == before


def test_overrides_decide_about_what_exists(iot, name):
    iot.create_thing(thingName=f"{name}-7", attributePayload={"attributes": {"serial": "old", "more": "x"}})

    def register(overrides):
        parameters = {"Name": name, "Serial": "7", "CSR": signing_request(new_key())}
        body = template(OWN, BY_CSR, overrides)
        iot.register_thing(templateBody=body, parameters=parameters)
        return iot.describe_thing(thingName=f"{name}-7")["attributes"]

    assert register(None) == {"serial": "old", "more": "x"}
    assert register({"AttributePayload": "MERGE"}) == {"serial": "7", "more": "x", "site": "lab"}
    assert register({"AttributePayload": "REPLACE"}) == {"serial": "7", "site": "lab"}
    iot.update_thing(thingName=f"{name}-7", attributePayload={"attributes": {"serial": "other"}, "merge": True})
    parameters = {"Name": name, "Serial": "7", "CSR": signing_request(new_key())}
    body = template(OWN, BY_CSR, {"AttributePayload": "FAIL"})
    refused("ConflictingResourceUpdateException", 409, iot.register_thing, templateBody=body, parameters=parameters)


@pytest.mark.parametrize("body", ["{", "{}", '{"Resources": {"x": {"Type": "AWS::IoT::Nothing"}}}'])
def test_a_body_that_is_no_template_is_refused(iot, body):
    invalid(iot.register_thing, templateBody=body)


def test_a_parameter_without_a_value_is_refused(iot, name):
    invalid(iot.register_thing, templateBody=template(OWN, BY_CSR), parameters={"Name": name, "Serial": "7"})


# Templates


BODY = json.dumps(
    {
        "Parameters": {"SerialNumber": {"Type": "String"}},
        "Resources": {
            "certificate": {
                "Type": "AWS::IoT::Certificate",
                "Properties": {"CertificateId": {"Ref": "AWS::IoT::Certificate::Id"}, "Status": "Active"},
            },
            "thing": {"Type": "AWS::IoT::Thing", "Properties": {"ThingName": {"Ref": "SerialNumber"}}},
        },
        "DeviceConfiguration": {"region": "us-east-1"},
    }
)


@pytest.fixture
def made(iot, name):
    """A template; its name."""
    hook = {"payloadVersion": "2020-04-01", "targetArn": "arn:aws:lambda:us-east-1:123456789012:function:f"}
    iot.create_provisioning_template(
        templateName=name,
        description="d",
        templateBody=BODY,
        provisioningRoleArn=ROLE,
        preProvisioningHook=hook,
        tags=[{"Key": "team", "Value": "a"}],
    )
    return name


def test_a_template_is_described_as_it_was_made(fleet, iot, made):
    found = iot.describe_provisioning_template(templateName=made)
    assert found["templateArn"] == fleet.arn(f"provisioningtemplate/{made}")
    assert found["templateBody"] == BODY and found["provisioningRoleArn"] == ROLE
    assert (found["type"], found["enabled"], found["defaultVersionId"]) == ("FLEET_PROVISIONING", False, 1)
    assert found["preProvisioningHook"]["payloadVersion"] == "2020-04-01"
    tags = iot.list_tags_for_resource(resourceArn=found["templateArn"])["tags"]
    assert tags == [{"Key": "team", "Value": "a"}]
    conflict = {"templateName": made, "templateBody": BODY, "provisioningRoleArn": ROLE}
    refused("ResourceAlreadyExistsException", 409, iot.create_provisioning_template, **conflict)


def test_a_template_changes_and_goes(iot, made):
    iot.update_provisioning_template(templateName=made, enabled=True, removePreProvisioningHook=True)
    found = iot.describe_provisioning_template(templateName=made)
    assert found["enabled"] is True and "preProvisioningHook" not in found and found["description"] == "d"
    listed = pages(iot.list_provisioning_templates, "templates", "maxResults", "nextToken")
    assert made in [item["templateName"] for page in listed for item in page]
    iot.delete_provisioning_template(templateName=made)
    missing(iot.describe_provisioning_template, templateName=made)


def test_versions_of_a_template(iot, made):
    second = iot.create_provisioning_template_version(templateName=made, templateBody=BODY, setAsDefault=True)
    assert (second["versionId"], second["isDefaultVersion"]) == (2, True)
    for _ in range(3):
        iot.create_provisioning_template_version(templateName=made, templateBody=BODY)
    limit = "VersionsLimitExceededException", 409
    refused(*limit, iot.create_provisioning_template_version, templateName=made, templateBody=BODY)
    delete = iot.delete_provisioning_template_version
    refused("DeleteConflictException", 409, delete, templateName=made, versionId=2)
    delete(templateName=made, versionId=1)
    missing(iot.describe_provisioning_template_version, templateName=made, versionId=1)
    assert iot.describe_provisioning_template_version(templateName=made, versionId=2)["templateBody"] == BODY
    listing = iot.list_provisioning_template_versions
    listed = pages(listing, "versions", "maxResults", "nextToken", templateName=made)
    assert [item["versionId"] for page in listed for item in page] == [2, 3, 4, 5]
    iot.update_provisioning_template(templateName=made, defaultVersionId=4)
    assert iot.describe_provisioning_template(templateName=made)["defaultVersionId"] == 4


def test_a_body_that_takes_anothers_certificate_is_refused(iot, name):
    body = BODY.replace('{"Ref": "AWS::IoT::Certificate::Id"}', '{"Ref": "SerialNumber"}')
    assert body != BODY
    wanted = {"templateName": name, "templateBody": body, "provisioningRoleArn": ROLE}
    invalid(iot.create_provisioning_template, **wanted)
