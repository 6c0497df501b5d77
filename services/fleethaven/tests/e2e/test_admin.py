"""The admin port: health for an orchestrator, metrics for Prometheus."""

import ipaddress
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from instance import address, eventually


def get(fleet, path: str):
    with urllib.request.urlopen(f"http://{fleet.ready['admin']}{path}", timeout=10) as answer:
        return answer.status, answer.headers.get("content-type", ""), answer.read().decode()


def families(fleet) -> dict:
    return {family.name: family for family in text_string_to_metric_families(get(fleet, "/metrics")[2])}


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/startupz"])
def test_a_ready_instance_is_healthy(fleet, path):
    assert get(fleet, path)[0] == 200


def test_an_unknown_path_is_404(fleet):
    with pytest.raises(urllib.error.HTTPError) as error:
        get(fleet, "/nothing")
    assert error.value.code == 404


def test_the_admin_port_is_on_loopback(fleet):
    host = address(fleet.ready["admin"])[0]
    assert host == "localhost" or ipaddress.ip_address(host).is_loopback


def test_metrics_are_prometheus_text(fleet):
    _, content_type, text = get(fleet, "/metrics")
    assert content_type.startswith("text/plain")
    ours = [
        family for family in text_string_to_metric_families(text) if family.name.startswith("fleethaven_")
    ]
    assert ours, "no metric of ours"
    for family in ours:
        assert family.documentation, f"{family.name} has no help text"


def test_connections_and_publishes_are_counted(fleet, connect):
    def total(name: str) -> float:
        family = families(fleet).get(name)
        return sum(s.value for s in family.samples if not s.name.endswith("_created")) if family else 0

    before = total("fleethaven_mqtt_publish_in")
    client = connect("counted")
    client.publish("a/b", b"x")
    eventually(lambda: total("fleethaven_mqtt_publish_in") >= before + 1, "the publish in the metrics")
    assert total("fleethaven_mqtt_connections") >= 1


def test_no_metric_label_names_a_client_or_topic(fleet, connect):
    connect("unbounded-client").publish("unbounded/topic", b"x")
    text = get(fleet, "/metrics")[2]
    assert "unbounded-client" not in text and "unbounded/topic" not in text
