"""What authorities and operators of another account are to a stranger, and what an authority that is switched off leaves as it was
(rows 7, 8 and 11 of the cases of authentication and authorization)."""

import json
import re

import pytest
from botocore.exceptions import ClientError

from control_plane import invalid, refused
from device import Device, certificate, key_pem, new_key, pem
from mqtt_client import Refused
from test_accounts import OTHER, admin, other  # noqa: F401  (fixtures)
from test_api_certificates import authority
from test_iam import allow, trust


def proven(iot, common_name: str, key) -> str:
    """The certificate that proves to an account that whoever registers a CA has its key."""
    code = iot.get_registration_code()["registrationCode"]
    return pem(certificate(code, new_key(), issuer=common_name, issuer_key=key))


def test_an_authority_is_proven_in_one_account_only(iot, other, name):  # noqa: F811
    key, root, _ = authority(iot, name)
    again = {"caCertificate": pem(root), "verificationCertificate": proven(other.iot, name, key)}
    refused("ResourceAlreadyExistsException", 409, other.iot.register_ca_certificate, **again)
    # By server names only, several accounts may have it; then nothing proves it.
    by_name = {"caCertificate": pem(root), "certificateMode": "SNI_ONLY"}
    invalid(other.iot.register_ca_certificate, **by_name, verificationCertificate=again["verificationCertificate"])
    made = other.iot.register_ca_certificate(**by_name)
    assert OTHER in made["certificateArn"]
    other.iot.delete_ca_certificate(certificateId=made["certificateId"])


def test_devices_of_an_authority_that_is_switched_off_come_back_and_new_ones_do_not(iot, connect, tmp_path, name):
    key, root, authority_id = authority(iot, name)
    iot.update_ca_certificate(certificateId=authority_id, newAutoRegistrationStatus="ENABLE")

    def device(common_name: str) -> Device:
        own = new_key()
        text = pem(certificate(common_name, own, issuer=name, issuer_key=key))
        return Device.store(tmp_path, "", "", text, key_pem(own))

    known, late = device("known"), device("late")
    with open(known.certificate_file) as file:
        made = iot.register_certificate(certificatePem=file.read(), caCertificatePem=pem(root), status="ACTIVE")
    iot.create_policy(policyName=name, policyDocument=json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "iot:*", "Resource": "*"}}))
    iot.attach_policy(policyName=name, target=made["certificateArn"])
    connect(name, known).disconnect()
    iot.update_ca_certificate(certificateId=authority_id, newStatus="INACTIVE")
    connect(name, known).disconnect()
    before = len(iot.list_certificates_by_ca(caCertificateId=authority_id)["certificates"])
    with pytest.raises(Refused):
        connect(f"{name}-late", late)
    assert len(iot.list_certificates_by_ca(caCertificateId=authority_id)["certificates"]) == before == 1


def test_operators_of_another_account_are_not_there(fleet, other, name):  # noqa: F811
    """Each probe by the second account, for what the first one has and for what nobody has: but for names, one answer."""
    iam, tag = fleet.client("iam"), {"Tags": [{"Key": "of", "Value": "the first"}]}
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust("iot.amazonaws.com"), **tag)
    iam.create_user(UserName=name, **tag)
    arn = iam.create_policy(PolicyName=name, PolicyDocument=allow("iot:*"), **tag)["Policy"]["Arn"]
    iam.attach_user_policy(UserName=name, PolicyArn=arn)
    credentials = other.iot._request_signer._credentials
    keys = {"aws_access_key_id": credentials.access_key, "aws_secret_access_key": credentials.secret_key}
    asking = {service: fleet.client(service, **keys) for service in ("iam", "sts")}
    own = f"{name}-own"
    asking["iam"].create_user(UserName=own)
    new = {"Tags": [{"Key": "of", "Value": "the second"}]}
    by_role, by_user = (lambda n: {"RoleName": n}), (lambda n: {"UserName": n})

    def by_policy(n):
        return {"PolicyArn": arn.replace(name, n)}

    probes = [
        *[("iam", method, by_role) for method in ("get_role", "list_role_tags", "list_attached_role_policies", "delete_role")],
        *[("iam", method, by_user) for method in ("get_user", "list_user_tags", "list_access_keys", "create_access_key", "delete_user")],
        *[("iam", method, by_policy) for method in ("get_policy", "list_policy_tags", "list_policy_versions", "list_entities_for_policy", "delete_policy")],
        ("iam", "tag_role", lambda n: by_role(n) | new),
        ("iam", "tag_user", lambda n: by_user(n) | new),
        ("iam", "tag_policy", lambda n: by_policy(n) | new),
        ("iam", "untag_policy", lambda n: by_policy(n) | {"TagKeys": ["of"]}),
        ("iam", "create_policy_version", lambda n: by_policy(n) | {"PolicyDocument": allow("*"), "SetAsDefault": True}),
        ("iam", "attach_user_policy", lambda n: by_policy(n) | {"UserName": own}),
        ("iam", "put_role_policy", lambda n: by_role(n) | {"PolicyName": "p", "PolicyDocument": allow("*")}),
        ("iam", "update_assume_role_policy", lambda n: by_role(n) | {"PolicyDocument": trust("any.amazonaws.com")}),
        ("sts", "assume_role", lambda n: {"RoleArn": f"arn:aws:iam::{fleet.account}:role/{n}", "RoleSessionName": "session"}),
    ]

    def said(service: str, method: str, arguments: dict, called: str) -> tuple[int, str]:
        told = []
        client = asking[service]
        client.meta.events.register("before-parse", lambda response_dict, **_: told.append(response_dict), method)
        with pytest.raises(ClientError):
            getattr(client, method)(**arguments)
        client.meta.events.unregister("before-parse", unique_id=method)
        [answer] = told
        text = re.sub("<RequestId>.*?</RequestId>", "", answer["body"].decode())
        return answer["status_code"], text.replace(called, "…")

    nobody = "none" + name[4:]
    for service, method, arguments in probes:
        answers = [said(service, method, arguments(called), called) for called in (name, nobody)]
        assert answers[0] == answers[1], method
    # Nothing of it has changed.
    assert iam.list_role_tags(RoleName=name)["Tags"] == iam.list_user_tags(UserName=name)["Tags"] == tag["Tags"]
    assert iam.list_policy_tags(PolicyArn=arn)["Tags"] == tag["Tags"]
    assert len(iam.list_policy_versions(PolicyArn=arn)["Versions"]) == 1
    assert iam.list_access_keys(UserName=name)["AccessKeyMetadata"] == []
    assert [role["RoleName"] for role in asking["iam"].list_roles()["Roles"]] == []
    asking["iam"].delete_user(UserName=own)
