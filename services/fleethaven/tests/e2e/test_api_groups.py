"""Thing groups and billing groups: what the API answers, and AWS's errors by name and status."""

import uuid

import pytest
from botocore.exceptions import ParamValidationError

from control_plane import flat, invalid, missing, pages, refused
from signed import call


@pytest.fixture
def tree(iot, name):
    """`<name>-root` over `-left` and `-right`, `-deep` below `-left`."""
    groups = {}
    for short, parent in (("root", None), ("left", "root"), ("right", "root"), ("deep", "left")):
        more = {"parentGroupName": groups[parent]} if parent else {}
        groups[short] = iot.create_thing_group(thingGroupName=f"{name}-{short}", **more)["thingGroupName"]
    return groups


def names(items):
    return [item["groupName"] for item in items]


def test_a_group_is_created_and_described(fleet, iot, tree, name):
    wanted = {
        "thingGroupName": f"{name}-own",
        "parentGroupName": tree["deep"],
        "thingGroupProperties": {"thingGroupDescription": "d", "attributePayload": {"attributes": {"a": "1"}}},
        "tags": [{"Key": "team", "Value": "a"}],
    }
    made = iot.create_thing_group(**wanted)
    uuid.UUID(made["thingGroupId"])
    assert made["thingGroupArn"] == fleet.arn(f"thinggroup/{name}-own")
    assert iot.create_thing_group(**wanted)["thingGroupId"] == made["thingGroupId"]
    group = iot.describe_thing_group(thingGroupName=f"{name}-own")
    assert group["version"] == 1 and group["thingGroupId"] == made["thingGroupId"]
    properties = group["thingGroupProperties"]
    assert properties["thingGroupDescription"] == "d" and properties["attributePayload"]["attributes"] == {"a": "1"}
    metadata = group["thingGroupMetadata"]
    assert metadata["parentGroupName"] == tree["deep"] and metadata["creationDate"]
    ancestors = [tree[short] for short in ("root", "left", "deep")]
    assert names(metadata["rootToParentThingGroups"]) == ancestors
    tags = iot.list_tags_for_resource(resourceArn=made["thingGroupArn"])["tags"]
    assert tags == [{"Key": "team", "Value": "a"}]
    conflict = refused(
        "ResourceAlreadyExistsException", 409, iot.create_thing_group, thingGroupName=f"{name}-own"
    )
    assert conflict["resourceId"] == made["thingGroupId"] and conflict["resourceArn"] == made["thingGroupArn"]


def test_an_update_answers_the_version(iot, tree):
    group = tree["root"]

    def update(attributes, **more):
        payload = {"attributePayload": {"attributes": attributes, **more.pop("payload", {})}}
        return iot.update_thing_group(thingGroupName=group, thingGroupProperties=payload, **more)["version"]

    assert update({"a": "1", "b": "2"}) == 2
    assert update({"a": "", "c": "3"}, payload={"merge": True}, expectedVersion=2) == 3
    described = iot.describe_thing_group(thingGroupName=group)
    assert described["thingGroupProperties"]["attributePayload"]["attributes"] == {"b": "2", "c": "3"}
    stale = {"thingGroupProperties": {"thingGroupDescription": "x"}, "expectedVersion": 1}
    refused("VersionConflictException", 409, iot.update_thing_group, thingGroupName=group, **stale)
    missing(iot.update_thing_group, thingGroupName=group + "x", thingGroupProperties={})


def test_levels_and_parents_have_limits(iot, name):
    above = {}
    for level in range(1, 8):
        group = f"{name}-{level}"
        iot.create_thing_group(thingGroupName=group, **above)
        above = {"parentGroupName": group}
    invalid(iot.create_thing_group, thingGroupName=f"{name}-8", **above)
    invalid(iot.create_thing_group, thingGroupName=f"{name}-9", parentGroupName=f"{name}-none")


def test_groups_are_listed_by_parent_prefix_and_depth(iot, tree, name):
    def listed(**arguments):
        return flat(pages(iot.list_thing_groups, "thingGroups", "maxResults", "nextToken", **arguments), "groupName")

    assert listed(namePrefixFilter=name) == sorted(tree.values())
    assert listed(namePrefixFilter=name, recursive=False) == [tree["root"]]
    assert listed(parentGroup=tree["root"]) == [tree["left"], tree["right"]]
    assert listed(parentGroup=tree["root"], recursive=True) == sorted([tree["deep"], tree["left"], tree["right"]])
    assert listed(parentGroup=tree["deep"]) == []
    missing(iot.list_thing_groups, parentGroup=name + "-none")


def test_things_join_and_leave(fleet, iot, tree, name):
    things = [f"{name}-{n}" for n in range(3)]
    for thing in things:
        arn = iot.create_thing(thingName=thing)["thingArn"]
        iot.add_thing_to_thing_group(thingArn=arn, thingGroupArn=fleet.arn(f"thinggroup/{tree['deep']}"))
    iot.add_thing_to_thing_group(thingName=things[0], thingGroupName=tree["deep"], overrideDynamicGroups=True)

    def members(group, **more):
        listing = iot.list_things_in_thing_group
        found = pages(listing, "things", "maxResults", "nextToken", thingGroupName=tree[group], **more)
        return [thing for page in found for thing in page]

    assert members("deep") == things and members("root") == []
    assert members("root", recursive=True) == things
    for relative in ("root", "left", "right"):
        invalid(iot.add_thing_to_thing_group, thingName=things[0], thingGroupName=tree[relative])
    iot.update_thing_groups_for_thing(
        thingName=things[0], thingGroupsToAdd=[tree["right"]], thingGroupsToRemove=[tree["deep"]]
    )
    assert names(iot.list_thing_groups_for_thing(thingName=things[0])["thingGroups"]) == [tree["right"]]
    iot.remove_thing_from_thing_group(thingName=things[1], thingGroupName=tree["deep"])
    iot.delete_thing(thingName=things[2])
    assert members("root", recursive=True) == [things[0]]
    missing(iot.add_thing_to_thing_group, thingName=name + "-none", thingGroupName=tree["deep"])
    missing(iot.list_thing_groups_for_thing, thingName=name + "-none")
    invalid(iot.add_thing_to_thing_group, thingName=things[0])


def test_deleting_a_group(iot, tree, name):
    iot.create_thing(thingName=name)
    iot.add_thing_to_thing_group(thingName=name, thingGroupName=tree["deep"])
    invalid(iot.delete_thing_group, thingGroupName=tree["left"])
    conflict = "VersionConflictException", 409
    refused(*conflict, iot.delete_thing_group, thingGroupName=tree["deep"], expectedVersion=9)
    iot.delete_thing_group(thingGroupName=tree["deep"], expectedVersion=1)
    iot.delete_thing_group(thingGroupName=tree["deep"])
    missing(iot.describe_thing_group, thingGroupName=tree["deep"])
    assert iot.list_thing_groups_for_thing(thingName=name)["thingGroups"] == []


def test_the_life_of_a_billing_group(fleet, iot, name):
    wanted = {
        "billingGroupName": name,
        "billingGroupProperties": {"billingGroupDescription": "d"},
        "tags": [{"Key": "cost", "Value": "a b"}],
    }
    made = iot.create_billing_group(**wanted)
    assert made["billingGroupArn"] == fleet.arn(f"billinggroup/{name}")
    assert iot.create_billing_group(**wanted)["billingGroupId"] == made["billingGroupId"]
    refused("ResourceAlreadyExistsException", 409, iot.create_billing_group, billingGroupName=name)
    changed = {"billingGroupProperties": {"billingGroupDescription": "e"}, "expectedVersion": 1}
    assert iot.update_billing_group(billingGroupName=name, **changed)["version"] == 2
    refused("VersionConflictException", 409, iot.update_billing_group, billingGroupName=name, **changed)
    group = iot.describe_billing_group(billingGroupName=name)
    assert group["version"] == 2 and group["billingGroupMetadata"]["creationDate"]
    assert group["billingGroupProperties"] == {"billingGroupDescription": "e"}
    assert names(iot.list_billing_groups(namePrefixFilter=name)["billingGroups"]) == [name]
    iot.untag_resource(resourceArn=made["billingGroupArn"], tagKeys=["cost"])
    assert iot.list_tags_for_resource(resourceArn=made["billingGroupArn"])["tags"] == []
    iot.delete_billing_group(billingGroupName=name)
    iot.delete_billing_group(billingGroupName=name)
    missing(iot.describe_billing_group, billingGroupName=name)


def test_a_thing_has_one_billing_group(iot, name):
    for group in (f"{name}-1", f"{name}-2"):
        iot.create_billing_group(billingGroupName=group)
    things = [f"{name}-{n}" for n in "abc"]
    for thing in things:
        iot.create_thing(thingName=thing, billingGroupName=f"{name}-1")

    def members(group):
        listing = iot.list_things_in_billing_group
        found = pages(listing, "things", "maxResults", "nextToken", billingGroupName=f"{name}-{group}")
        return [thing for page in found for thing in page]

    assert members(1) == things
    iot.add_thing_to_billing_group(thingName=things[0], billingGroupName=f"{name}-2")
    assert iot.describe_thing(thingName=things[0])["billingGroupName"] == f"{name}-2"
    assert (members(1), members(2)) == (things[1:], things[:1])
    iot.remove_thing_from_billing_group(thingName=things[1], billingGroupName=f"{name}-1")
    assert "billingGroupName" not in iot.describe_thing(thingName=things[1])
    iot.delete_billing_group(billingGroupName=f"{name}-1")
    assert "billingGroupName" not in iot.describe_thing(thingName=things[2])
    missing(iot.create_thing, thingName=f"{name}-d", billingGroupName=f"{name}-1")
    missing(iot.add_thing_to_billing_group, thingName=name + "-none", billingGroupName=f"{name}-2")


def test_groups_of_another_account_are_not_there(iot, name):
    iot.create_thing(thingName=name)
    foreign = f"arn:aws:iot:us-east-1:210987654321:thinggroup/{name}"
    missing(iot.add_thing_to_thing_group, thingName=name, thingGroupArn=foreign)
    missing(iot.list_tags_for_resource, resourceArn=foreign)


def test_a_page_size_out_of_range_is_refused(fleet, iot):
    for path in ("/thing-groups?maxResults=251", "/billing-groups?maxResults=0", "/thing-groups?recursive=maybe"):
        answer = call(fleet, "GET", path)
        assert (answer.status, answer.error) == (400, "InvalidRequestException"), answer
    with pytest.raises(ParamValidationError):
        iot.create_thing_group()
