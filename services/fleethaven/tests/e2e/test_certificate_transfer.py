"""Certificates that go from one account to another."""

import pytest

from control_plane import invalid, missing, refused
from device import Device, make_device, new_key, signing_request
from mqtt_client import Refused
from test_accounts import OTHER, admin, other  # noqa: F401  (fixtures)


@pytest.fixture
def offered(fleet, iot, tmp_path, other) -> Device:  # noqa: F811
    """A certificate that the other account has to decide about."""
    device = make_device(fleet, tmp_path, None, active=False)
    answer = iot.transfer_certificate(certificateId=device.id, targetAwsAccount=OTHER, transferMessage="yours")
    assert answer["transferredCertificateArn"] == device.arn
    return device


def described(iot, device: Device) -> dict:
    return iot.describe_certificate(certificateId=device.id)["certificateDescription"]


def outgoing(iot) -> dict:
    page = iot.list_outgoing_certificates(pageSize=250, ascendingOrder=True)["outgoingCertificates"]
    return {each["certificateId"]: each for each in page}


def test_a_certificate_changes_hands(fleet, iot, other, offered, connect, name):  # noqa: F811
    mine, theirs = described(iot, offered), described(other.iot, offered)
    for seen in (mine, theirs):
        assert (seen["status"], seen["ownedBy"]) == ("PENDING_TRANSFER", fleet.account)
        assert seen["transferData"]["transferMessage"] == "yours"
    told = outgoing(iot)[offered.id]
    assert (told["transferredTo"], told["transferMessage"]) == (OTHER, "yours")
    assert told["transferDate"] and told["creationDate"] and told["certificateArn"] == offered.arn
    listed = other.iot.list_certificates(pageSize=250)["certificates"]
    assert offered.id in [each["certificateId"] for each in listed]
    with pytest.raises(Refused):
        connect(name, offered)
    other.iot.accept_certificate_transfer(certificateId=offered.id, setAsActive=True)
    accepted = described(other.iot, offered)
    assert (accepted["status"], accepted["ownedBy"], accepted["previousOwnedBy"]) == ("ACTIVE", OTHER, fleet.account)
    assert accepted["transferData"]["acceptDate"]
    missing(iot.describe_certificate, certificateId=offered.id)
    assert offered.id not in outgoing(iot)
    completed = "TransferAlreadyCompletedException", 410
    refused(*completed, iot.cancel_certificate_transfer, certificateId=offered.id)
    refused(*completed, other.iot.accept_certificate_transfer, certificateId=offered.id)
    # The device is the other account's now.
    document = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:*","Resource":"*"}]}'
    other.iot.create_policy(policyName=name, policyDocument=document)
    other.iot.attach_policy(policyName=name, target=offered.arn.replace(fleet.account, OTHER))
    here, there = connect(f"{name}-here"), connect(f"{name}-there", offered)
    for client in (here, there):
        client.subscribe(name)
    there.publish(name, b"there")
    assert there.expect(1) == [b"there"] and not here.received


def test_a_device_that_was_here_before(fleet, iot, other, connect, tmp_path, name):  # noqa: F811
    """What a gateway remembers of it does not outlive the transfer."""
    device = make_device(fleet, tmp_path)
    connect(name, device).disconnect()
    iot.update_certificate(certificateId=device.id, newStatus="INACTIVE")
    iot.detach_policy(policyName=device.policy_name, target=device.arn)
    iot.transfer_certificate(certificateId=device.id, targetAwsAccount=OTHER)
    other.iot.accept_certificate_transfer(certificateId=device.id, setAsActive=True)
    document = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:*","Resource":"*"}]}'
    other.iot.create_policy(policyName=name, policyDocument=document)
    other.iot.attach_policy(policyName=name, target=device.arn.replace(fleet.account, OTHER))
    connect(name, device)


@pytest.mark.parametrize("by", ["target", "source"])
def test_a_certificate_comes_back(iot, other, offered, by):  # noqa: F811
    if by == "target":
        other.iot.reject_certificate_transfer(certificateId=offered.id, rejectReason="not ours")
    else:
        iot.cancel_certificate_transfer(certificateId=offered.id)
    seen = described(iot, offered)
    assert seen["status"] == "INACTIVE"
    assert seen["transferData"].get("rejectReason") == ("not ours" if by == "target" else None)
    assert offered.id not in outgoing(iot)
    missing(other.iot.describe_certificate, certificateId=offered.id)
    missing(other.iot.accept_certificate_transfer, certificateId=offered.id)
    iot.update_certificate(certificateId=offered.id, newStatus="ACTIVE")


def test_nobody_uses_it_meanwhile(fleet, iot, other, offered, name):  # noqa: F811
    for account in (iot, other.iot):
        for status in ("ACTIVE", "INACTIVE", "REVOKED"):
            change = {"certificateId": offered.id, "newStatus": status}
            refused("CertificateStateException", 406, account.update_certificate, **change)
        delete = {"certificateId": offered.id, "forceDelete": True}
        refused("CertificateStateException", 406, account.delete_certificate, **delete)
    iot.create_thing(thingName=name)
    invalid(iot.attach_thing_principal, thingName=name, principal=offered.arn)
    # Who offers it does not accept it.
    missing(iot.accept_certificate_transfer, certificateId=offered.id)
    missing(iot.reject_certificate_transfer, certificateId=offered.id)
    again = {"certificateId": offered.id, "targetAwsAccount": OTHER}
    refused("TransferConflictException", 409, iot.transfer_certificate, **again)


def test_what_cannot_be_offered(fleet, iot, other, tmp_path, name):  # noqa: F811
    active = make_device(fleet, tmp_path, None)
    target = {"certificateId": active.id, "targetAwsAccount": OTHER}
    refused("CertificateStateException", 406, iot.transfer_certificate, **target)
    attached = make_device(fleet, tmp_path, active=False)
    target["certificateId"] = attached.id
    refused("TransferConflictException", 409, iot.transfer_certificate, **target)
    plain = make_device(fleet, tmp_path, None, active=False)
    for account in (fleet.account, "999999999999"):
        invalid(iot.transfer_certificate, certificateId=plain.id, targetAwsAccount=account)
    long = {"certificateId": plain.id, "targetAwsAccount": OTHER, "transferMessage": "x" * 129}
    invalid(iot.transfer_certificate, **long)
    made = other.iot.create_certificate_from_csr(certificateSigningRequest=signing_request(new_key()))
    missing(iot.transfer_certificate, certificateId=made["certificateId"], targetAwsAccount=OTHER)
