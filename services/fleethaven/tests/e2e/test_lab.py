"""The beginner's lab, in its order: each test is one step, and later ones need the earlier."""

import pytest

from lab import ENDPOINT_TYPES, Lab
from mqtt_client import BOTH_VERSIONS
from sdk_client import Sdk3, Sdk5


@pytest.fixture(scope="module")
def lab(fleet, tmp_path_factory):
    """The lab after step 1."""
    lab = Lab(fleet, tmp_path_factory.mktemp("lab"))
    lab.provision_sensor()
    lab.provision_application()
    yield lab
    lab.close()


def test_1_every_endpoint_type_is_described(lab):
    endpoints = lab.endpoints()
    assert set(endpoints) == set(ENDPOINT_TYPES)
    for kind, address in endpoints.items():
        assert address and "/" not in address, f"{kind} is {address!r}, which is no host[:port]"


def test_1_what_was_created_stands_together(lab):
    assert [t["thingName"] for t in lab.aws("list-things")["things"]] == ["sensor01"]
    assert lab.aws("list-thing-principals", "--thing-name", "sensor01")["principals"] == [lab.sensor.arn]
    attached = lab.aws("list-attached-policies", "--target", lab.sensor.arn)["policies"]
    assert [p["policyName"] for p in attached] == ["sensor01"]


@pytest.mark.parametrize("version", **BOTH_VERSIONS)
def test_2_telemetry_reaches_the_application_with_paho(lab, version):
    lab.paho_telemetry(version)


def test_2_telemetry_reaches_the_application_with_mosquitto(lab):
    lab.mosquitto_telemetry()


@pytest.mark.parametrize("kind", [Sdk5, Sdk3], ids=["MQTT 5", "MQTT 3.1.1"])
def test_3_the_device_sdk_publishes_subscribes_and_resumes(lab, kind):
    lab.sdk_session(kind)


def test_4_only_hot_readings_are_republished_each_once(lab):
    lab.create_rule()
    lab.hot_readings()


@pytest.mark.parametrize("denial", Lab.DENIALS)
def test_5_a_denial_is_refused_and_logged_with_its_reason(lab, denial):
    lab.deny(denial)


def test_6_taking_apart_in_the_wrong_order_is_refused_as_by_aws(lab):
    lab.wrong_order()


def test_6_clean_up_in_order_leaves_nothing(lab):
    lab.clean_up()
