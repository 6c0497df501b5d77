"""Who comes in, what is shown and what is counted in a cluster: whichever process is killed, another one goes on."""

import json

import boto3
import pytest
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

import commands
from authorizer import Authorizer, answer, by_password, statement
from cluster import Cluster
from device import make_device
from instance import address, eventually
from lab import ROLE
from mqtt_client import Client, Refused
from sdk_client import Sdk5
from test_domain_certificates import ACM, Issuer, put
from test_operators import document, topics, websocket
from test_server_certificates import shown
from test_thing_registration_tasks import connect, lines, reports, template
from test_thing_registration_tasks import put as put_file


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLEETHAVEN_USAGE_INTERVAL", "1")
        loopback = "127.0.0.0/8"
        cluster = Cluster(tmp_path_factory.mktemp("cluster"), "--allow-outbound", loopback, outbound=loopback)
        try:
            cluster.start()
            # Commands ask an API: gateways keep no accounts.
            cluster.ready["admin"] = cluster.apis[0].ready["admin"]
            yield cluster
        finally:
            cluster.close()


def at(cluster: Cluster, gateway, listener: str) -> dict:
    """What a client's options need to connect to this gateway."""
    return {"address": gateway.ready[listener]}


def test_usage_is_counted_once_whichever_process_is_killed(cluster, tmp_path, name):
    iot = cluster.iot
    iot.create_billing_group(billingGroupName=name)
    iot.create_thing(thingName=name, billingGroupName=name)
    device = make_device(cluster, tmp_path)
    iot.attach_thing_principal(thingName=name, principal=device.arn)
    operator = cluster.nodes.issue("operator", "operator")
    place = ["--metastore", cluster.metastore, "--cluster-tls", operator, "--json"]

    def used() -> dict:
        rows = commands.fleethaven("usage", *place, "--by", "billing-group")
        return next((row for row in rows if row["billing_group"] == name), {})

    def becomes(**wanted: int):
        what = f"{wanted} instead of {used()}"
        eventually(lambda: all(used().get(unit) == count for unit, count in wanted.items()), what, 30, pause=0.3)

    one, other = cluster.gateways
    first = Client(cluster, device, name, **at(cluster, one, "mqtt_tls")).connect()
    for _ in range(10):
        first.publish(f"{name}/a", "x")
    first.disconnect()
    second = Client(cluster, device, name, **at(cluster, other, "mqtt_tls")).connect()
    second.publish(f"$aws/things/{name}/shadow/update", json.dumps({"state": {"reported": {"n": 1}}}))
    becomes(connection_minutes=2, messages=13, shadow_operations=1)
    republish = {"republish": {"roleArn": ROLE, "topic": "out", "qos": 1}}
    iot.create_topic_rule(ruleName=name, topicRulePayload={"sql": f"SELECT * FROM '{name}/in'", "actions": [republish]})
    second.publish(f"{name}/in", "{}")
    becomes(messages=14, rules_triggered=1, actions_executed=1)
    # A leader that dies takes nothing with it, and what is reported again is not added again.
    leader = cluster.leader()
    leader.kill()
    for _ in range(5):
        second.publish(f"{name}/a", "x")
    becomes(connection_minutes=2, messages=19)
    leader.start()
    cluster.nodes.until_ready([leader])
    # What was reported by a gateway that is killed stays, and is reported by nobody else.
    other.kill()
    other.start()
    third = Client(cluster, device, name, **at(cluster, one, "mqtt_tls")).connect()
    third.publish(f"{name}/a", "x")
    becomes(connection_minutes=3, messages=21, rules_triggered=1, shadow_operations=1)
    third.disconnect()


def test_an_authorizer_decides_at_every_gateway(cluster, name):
    said = answer(statement("iot:*"))
    authorizer = Authorizer(cluster, name, lambda event: said)
    try:
        one, other = cluster.gateways
        clients = []
        for number, gateway in enumerate((one, other)):
            client = by_password(cluster, f"{name}{number}", f"?{authorizer.query()}")
            client._address = address(gateway.ready["data_endpoint"].removeprefix("https://"))
            clients.append(client.connect())
        assert len(authorizer.events) == 2
        other.kill()
        clients[1].closed()
        again = by_password(cluster, f"{name}1", f"?{authorizer.query()}")
        again._address = address(one.ready["data_endpoint"].removeprefix("https://"))
        again.connect()
        assert clients[0].publish("a", "x") < 0x80
        other.start()
        # The one that is new asks, too.
        said["isAuthenticated"] = False
        refused = by_password(cluster, f"{name}2", f"?{authorizer.query()}")
        refused._address = address(other.ready["data_endpoint"].removeprefix("https://"))
        with pytest.raises(Refused):
            refused.connect()
        for client in (again, clients[0]):
            client.close()
    finally:
        authorizer.close()


def test_every_gateway_shows_a_domains_certificate_also_one_that_comes_later(cluster, tmp_path, name):
    issuer, domain = Issuer(tmp_path), f"{name}.iot.example"
    arn = ACM.replace("us-east-1:123456789012", f"{cluster.region}:{cluster.account}") + name
    *files, serial = issuer.chain("first", domain)
    put(cluster, arn, files)
    cluster.iot.create_domain_configuration(
        domainConfigurationName=name, domainName=domain, serverCertificateArns=[arn]
    )

    def serial_at(gateway) -> int | None:
        return shown(address(gateway.ready["mqtt_tls"]), domain)

    for gateway in cluster.gateways:
        eventually(lambda gateway=gateway: serial_at(gateway) == serial, f"the certificate at {gateway.name}")
    one, other = cluster.gateways
    other.kill()
    *files, renewed = issuer.chain("second", domain)
    put(cluster, arn, files)
    other.start()
    for gateway in (one, other):
        eventually(lambda gateway=gateway: serial_at(gateway) == renewed, f"the new certificate at {gateway.name}")
    cluster.iot.update_domain_configuration(domainConfigurationName=name, domainConfigurationStatus="DISABLED")
    cluster.iot.delete_domain_configuration(domainConfigurationName=name)


def test_another_api_goes_on_with_bulk_registration(cluster, tmp_path_factory, name):
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    cloud = f"http://{host}:{port}"
    keys = {"aws_access_key_id": "AKIATEST", "aws_secret_access_key": "hush"}
    s3 = boto3.client("s3", endpoint_url=cloud, region_name="us-east-1", **keys)
    s3.create_bucket(Bucket="fleets")
    connect(cluster, cloud, tmp_path_factory)
    count = 3000
    wanted = put_file(s3, f"{name}.json", lines(name, count))
    task = cluster.iot.start_thing_registration_task(templateBody=template(), **wanted)["taskId"]

    def begun() -> bool:
        told = cluster.iot.describe_thing_registration_task(taskId=task)
        return told.get("successCount", 0) > 0

    eventually(begun, "the first lines", 60)
    # Whoever works on it: each in turn is killed and comes back.
    for api in cluster.apis:
        api.kill()
        api.start()
    cluster.ready["admin"] = cluster.apis[0].ready["admin"]
    cluster.moved()
    iot = cluster.iot

    def told() -> dict:
        return iot.describe_thing_registration_task(taskId=task)

    # A task is claimed for twenty seconds at a time.
    eventually(lambda: told()["status"] != "InProgress", "the end of the task", 180, pause=0.2)
    told = told()
    assert (told["status"], told["successCount"], told["failureCount"]) == ("Completed", count, 0)
    results = reports(cluster, iot, task, "RESULTS")
    assert sorted(line["lineNumber"] for line in results) == list(range(1, count + 1))
    iot.describe_thing(thingName=f"{name}-{count - 1}")
    server.stop()


def test_a_revoked_certificate_is_out_at_every_gateway(cluster, tmp_path, name):
    """Row 1 of the cases of authentication: its sessions everywhere end at once, and none begins."""
    device = make_device(cluster, tmp_path)
    clients = [
        Client(cluster, device, f"{name}{number}", **at(cluster, gateway, "mqtt_tls")).connect()
        for number, gateway in enumerate([*cluster.gateways, *cluster.gateways])
    ]
    cluster.iot.update_certificate(certificateId=device.id, newStatus="REVOKED")
    assert [client.closed(seconds=2) for client in clients] == [SERVER_INITIATED] * len(clients)
    for gateway in cluster.gateways:
        with pytest.raises(Refused) as refusal:
            Client(cluster, device, name, **at(cluster, gateway, "mqtt_tls")).connect()
        assert refusal.value.value is None, "no CONNACK"


NOT_AUTHORIZED, SERVER_INITIATED = 135, 0x98


def over_websocket(cluster, gateway, key: dict, client_id: str) -> Sdk5:
    return websocket(cluster, key, client_id, at=address(gateway.ready["data_endpoint"].removeprefix("https://")))


def test_managed_policies_count_at_every_api_and_gateway(cluster, name):
    """Made, attached and detached at one API: what the other API and connections at every gateway go by within a second or so."""

    def at(api, service="iot", **keys):
        return cluster.client(service, endpoint_url=api.ready["iot_endpoint"], **keys)

    one, other = cluster.apis
    iam = at(one, "iam")
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    listing = [at(api, **keys).list_things for api in (one, other)]

    def code(call) -> str:
        try:
            call()
        except ClientError as error:
            return error.response["Error"]["Code"]
        return "allowed"

    def becomes(wanted: str):
        eventually(lambda: all(code(call) == wanted for call in listing), f"{wanted} at every API")

    becomes("AccessDeniedException")
    allowed = [*topics(cluster, name), ("Allow", "iot:ListThings", "*")]
    arn = iam.create_policy(PolicyName=name, PolicyDocument=document(*allowed))["Policy"]["Arn"]
    attached = {"UserName": name, "PolicyArn": arn}
    iam.attach_user_policy(**attached)
    becomes("allowed")
    clients = []

    def connected(number: int, gateway) -> bool:
        client = over_websocket(cluster, gateway, key, f"{name}{number}")
        try:
            clients.append(client.connect())
        except AssertionError:
            client.disconnect()
            return False
        return True

    for number, gateway in enumerate(cluster.gateways):
        eventually(lambda at=(number, gateway): connected(*at), f"a connection at {gateway.name}", 20)
    for client in clients:
        assert client.subscribe(f"{name}/a") == [1]
    clients[0].publish(f"{name}/a", b"to all")
    for client in clients:
        assert client.expect(1) == [b"to all"]

    def subscribing_gives(topic_filter: str, wanted: int):
        for number, client in enumerate(clients):
            what = f"{wanted} for {topic_filter} at gateway {number}"
            eventually(lambda client=client: client.subscribe(topic_filter) == [wanted], what)

    # Another version, made at the other API.
    denied = ("Deny", "iot:Subscribe", f"arn:aws:iot:*:*:topicfilter/{name}/b")
    at(other, "iam").create_policy_version(PolicyArn=arn, PolicyDocument=document(*allowed, denied), SetAsDefault=True)
    subscribing_gives(f"{name}/b", NOT_AUTHORIZED)
    subscribing_gives(f"{name}/c", 1)
    at(one, "iam").set_default_policy_version(PolicyArn=arn, VersionId="v1")
    subscribing_gives(f"{name}/b", 1)
    at(other, "iam").detach_user_policy(**attached)
    becomes("AccessDeniedException")
    subscribing_gives(f"{name}/d", NOT_AUTHORIZED)
    at(other, "iam").attach_user_policy(**attached)
    becomes("allowed")
    subscribing_gives(f"{name}/d", 1)
    for client in clients:
        client.disconnect()
