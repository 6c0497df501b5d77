"""Things, thing types and the principals of things: what the API answers, and AWS's errors by name and status."""

import urllib.parse
import uuid

import pytest
from botocore.exceptions import ClientError

from control_plane import flat, invalid, missing, pages, refused
from device import make_device
from signed import call


# Things


def test_a_thing_is_created_and_described(fleet, iot, name):
    made = iot.create_thing(thingName=name, attributePayload={"attributes": {"a": "1"}})
    assert made["thingArn"] == fleet.arn(f"thing/{name}")
    uuid.UUID(made["thingId"])
    thing = iot.describe_thing(thingName=name)
    expected = {
        "thingName": name,
        "defaultClientId": name,
        "attributes": {"a": "1"},
        "version": 1,
        "thingId": made["thingId"],
        "thingArn": made["thingArn"],
    }
    assert {key: thing[key] for key in expected} == expected


def test_creating_the_same_thing_again_answers_the_same(iot, name):
    wanted = {"thingName": name, "attributePayload": {"attributes": {"a": "1"}}}
    first = iot.create_thing(**wanted)
    assert iot.create_thing(**wanted)["thingId"] == first["thingId"]


def test_creating_a_thing_otherwise_is_a_conflict_that_names_what_exists(fleet, iot, name):
    iot.create_thing(thingName=name)
    other = {"attributes": {"a": "1"}}
    answer = refused(
        "ResourceAlreadyExistsException", 409, iot.create_thing, thingName=name, attributePayload=other
    )
    assert answer["resourceArn"] == fleet.arn(f"thing/{name}")
    assert answer["resourceId"]


@pytest.mark.parametrize(
    "bad", ["with space", "a" * 129, "slash/ed", "ünïcode"], ids=["space", "129", "slash", "unicode"]
)
def test_a_bad_thing_name_is_refused(fleet, bad):
    answer = call(fleet, "POST", "/things/" + urllib.parse.quote(bad, safe=""))
    assert (answer.status, answer.error) == (400, "InvalidRequestException"), answer


def test_a_thing_of_an_unknown_type_is_refused(iot, name):
    missing(iot.create_thing, thingName=name, thingTypeName="no-such-type")


def test_three_attributes_without_a_type_and_fifty_with(iot, name):
    def attributes(count):
        return {"attributes": {f"a{n}": "v" for n in range(count)}}

    invalid(iot.create_thing, thingName=name, attributePayload=attributes(4))
    iot.create_thing(thingName=name + "-3", attributePayload=attributes(3))
    iot.create_thing_type(thingTypeName=name)
    iot.create_thing(thingName=name + "-50", thingTypeName=name, attributePayload=attributes(50))
    invalid(iot.create_thing, thingName=name + "-51", thingTypeName=name, attributePayload=attributes(51))


@pytest.mark.parametrize(
    "attributes",
    [{"a": "with space"}, {"a": "v" * 801}, {"n" * 129: "v"}, {"a b": "v"}],
    ids=["space", "801", "129", "name"],
)
def test_a_bad_attribute_is_refused(iot, name, attributes):
    try:
        invalid(iot.create_thing, thingName=name, attributePayload={"attributes": attributes})
    finally:
        missing(iot.describe_thing, thingName=name)


def test_an_update_replaces_or_merges_attributes_and_counts_up(iot, name):
    iot.create_thing(thingName=name, attributePayload={"attributes": {"a": "1", "b": "2"}})
    iot.update_thing(thingName=name, attributePayload={"attributes": {"b": "3", "c": "4"}, "merge": True})
    assert iot.describe_thing(thingName=name)["attributes"] == {"a": "1", "b": "3", "c": "4"}
    iot.update_thing(thingName=name, attributePayload={"attributes": {"a": ""}, "merge": True})
    assert iot.describe_thing(thingName=name)["attributes"] == {"b": "3", "c": "4"}
    iot.update_thing(thingName=name, attributePayload={"attributes": {"z": "9"}, "merge": False})
    thing = iot.describe_thing(thingName=name)
    assert (thing["attributes"], thing["version"]) == ({"z": "9"}, 4)


def test_a_stale_expected_version_changes_nothing(iot, name):
    iot.create_thing(thingName=name)
    iot.update_thing(thingName=name, expectedVersion=1, attributePayload={"attributes": {"a": "1"}})
    conflict = "VersionConflictException", 409
    other = {"attributes": {"a": "2"}}
    refused(*conflict, iot.update_thing, thingName=name, expectedVersion=1, attributePayload=other)
    refused(*conflict, iot.delete_thing, thingName=name, expectedVersion=1)
    thing = iot.describe_thing(thingName=name)
    assert (thing["attributes"], thing["version"]) == ({"a": "1"}, 2)
    iot.delete_thing(thingName=name, expectedVersion=2)
    missing(iot.describe_thing, thingName=name)


def test_what_is_not_there_is_404(iot, name):
    missing(iot.describe_thing, thingName=name)
    missing(iot.update_thing, thingName=name, attributePayload={"attributes": {"a": "1"}})


def test_deleting_an_unknown_thing_succeeds(iot, name):
    iot.delete_thing(thingName=name)


def test_a_type_cannot_be_given_and_removed_at_once(iot, name):
    iot.create_thing_type(thingTypeName=name)
    iot.create_thing(thingName=name)
    invalid(iot.update_thing, thingName=name, thingTypeName=name, removeThingType=True)


def test_things_are_listed_by_pages_attribute_and_type(iot, name):
    iot.create_thing_type(thingTypeName=name)
    names = [f"{name}-{n}" for n in range(5)]
    for thing in names:
        iot.create_thing(thingName=thing, thingTypeName=name, attributePayload={"attributes": {"site": name}})
    by_type = pages(iot.list_things, "things", "maxResults", "nextToken", thingTypeName=name)
    assert sorted(flat(by_type, "thingName")) == names
    by_attribute = {"attributeName": "site", "attributeValue": name}
    listed = pages(iot.list_things, "things", "maxResults", "nextToken", **by_attribute)
    assert sorted(flat(listed, "thingName")) == names
    prefix = {"attributeName": "site", "attributeValue": name[:-2], "usePrefixAttributeValue": True}
    assert len(iot.list_things(**prefix)["things"]) == 5
    item = iot.list_things(thingTypeName=name)["things"][0]
    assert item.keys() >= {"thingName", "thingTypeName", "thingArn", "attributes", "version"}


def test_a_walk_through_pages_survives_changes(iot, name):
    """No thing twice, and none that was there from the start is skipped."""
    iot.create_thing_type(thingTypeName=name)
    for n in range(6):
        iot.create_thing(thingName=f"{name}-{n}", thingTypeName=name)
    first = iot.list_things(thingTypeName=name, maxResults=2)
    iot.create_thing(thingName=f"{name}-0a", thingTypeName=name)
    rest = iot.list_things(thingTypeName=name, maxResults=250, nextToken=first["nextToken"])
    seen = [thing["thingName"] for thing in first["things"] + rest["things"]]
    assert len(seen) == len(set(seen))
    assert {f"{name}-{n}" for n in range(6)} <= set(seen)


def test_a_made_up_token_and_a_size_out_of_range_are_refused(fleet, iot):
    invalid(iot.list_things, nextToken="bWFkZSB1cA==")
    for size in (0, 251):
        answer = call(fleet, "GET", f"/things?maxResults={size}")
        assert (answer.status, answer.error) == (400, "InvalidRequestException"), answer


# Thing types


def test_the_life_of_a_thing_type(fleet, iot, name):
    wanted = {
        "thingTypeName": name,
        "thingTypeProperties": {"thingTypeDescription": "d", "searchableAttributes": ["a"]},
    }
    made = iot.create_thing_type(**wanted)
    assert made["thingTypeArn"] == fleet.arn(f"thingtype/{name}")
    assert iot.create_thing_type(**wanted)["thingTypeId"] == made["thingTypeId"]
    described = iot.describe_thing_type(thingTypeName=name)
    assert described["thingTypeProperties"]["searchableAttributes"] == ["a"]
    assert described["thingTypeMetadata"]["deprecated"] is False
    invalid(iot.delete_thing_type, thingTypeName=name)
    iot.deprecate_thing_type(thingTypeName=name)
    assert iot.describe_thing_type(thingTypeName=name)["thingTypeMetadata"]["deprecated"] is True
    invalid(iot.create_thing, thingName=name, thingTypeName=name)
    iot.deprecate_thing_type(thingTypeName=name, undoDeprecate=True)
    iot.create_thing(thingName=name, thingTypeName=name)
    iot.deprecate_thing_type(thingTypeName=name)
    invalid(iot.delete_thing_type, thingTypeName=name)
    iot.delete_thing(thingName=name)
    iot.delete_thing_type(thingTypeName=name)
    missing(iot.describe_thing_type, thingTypeName=name)


def test_another_type_of_the_same_name_is_a_conflict(iot, name):
    iot.create_thing_type(thingTypeName=name)
    other = {"thingTypeDescription": "another"}
    refused(
        "ResourceAlreadyExistsException",
        409,
        iot.create_thing_type,
        thingTypeName=name,
        thingTypeProperties=other,
    )


def test_thing_types_are_listed_by_pages(iot, name):
    names = [f"{name}-{n}" for n in range(3)]
    for one in names:
        iot.create_thing_type(thingTypeName=one)
    listed = flat(pages(iot.list_thing_types, "thingTypes", "maxResults", "nextToken"), "thingTypeName")
    assert set(names) <= set(listed) and len(listed) == len(set(listed))


def test_four_searchable_attributes_are_refused(iot, name):
    properties = {"searchableAttributes": ["a", "b", "c", "d"]}
    invalid(iot.create_thing_type, thingTypeName=name, thingTypeProperties=properties)


# Principals of things


def test_principals_and_things_see_each_other(fleet, iot, tmp_path, name, cert):
    other = make_device(fleet, tmp_path, None)
    iot.create_thing(thingName=name)
    iot.create_thing(thingName=name + "-2")
    for one in (cert, other):
        iot.attach_thing_principal(thingName=name, principal=one.arn)
    iot.attach_thing_principal(thingName=name, principal=cert.arn)  # again: no error
    iot.attach_thing_principal(thingName=name + "-2", principal=cert.arn)
    assert sorted(iot.list_thing_principals(thingName=name)["principals"]) == sorted([cert.arn, other.arn])
    assert sorted(iot.list_principal_things(principal=cert.arn)["things"]) == [name, name + "-2"]
    invalid(iot.delete_thing, thingName=name)
    iot.detach_thing_principal(thingName=name, principal=cert.arn)
    assert iot.list_principal_things(principal=cert.arn)["things"] == [name + "-2"]


def test_attaching_what_is_not_there_is_404(fleet, iot, name, cert):
    missing(iot.attach_thing_principal, thingName=name, principal=cert.arn)
    iot.create_thing(thingName=name)
    missing(iot.attach_thing_principal, thingName=name, principal=fleet.arn("cert/" + "0" * 64))
    missing(iot.list_thing_principals, thingName="no-such-thing")


def test_an_exclusive_thing_shares_its_certificate_with_none(iot, name, cert):
    iot.create_thing(thingName=name)
    iot.create_thing(thingName=name + "-2")
    iot.attach_thing_principal(thingName=name, principal=cert.arn, thingPrincipalType="EXCLUSIVE_THING")
    with pytest.raises(ClientError) as caught:
        iot.attach_thing_principal(thingName=name + "-2", principal=cert.arn)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 409)
    kinds = iot.list_thing_principals_v2(thingName=name)["thingPrincipalObjects"]
    assert kinds == [{"principal": cert.arn, "thingPrincipalType": "EXCLUSIVE_THING"}]
