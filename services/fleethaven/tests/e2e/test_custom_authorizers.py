"""Custom authorizers: by MQTT, WebSocket and HTTPS; what functions are asked, and what their answers lead to."""

import base64
import http.client
import json
import threading

import pytest
from awsiot import mqtt5_client_builder, mqtt_connection_builder

from authorizer import NAME, SIGNATURE, Authorizer, Key, answer, by_password, document, statement
from control_plane import invalid, refused
from instance import eventually
from mqtt_client import BOTH_VERSIONS, V3, V5, Client, Refused
from sdk_client import Sdk3, Sdk5
from signed import https, trusting

LOOPBACK = ("--allow-outbound", "127.0.0.0/8")
# paho's numbers of CONNACK 4 and 5, and MQTT 5's.
BAD_CREDENTIALS, NOT_AUTHORIZED = 134, 135
NOBODY_LISTENS = 0x10


@pytest.fixture(scope="module")
def fleet(fleethaven):
    return fleethaven(*LOOPBACK)


@pytest.fixture
def authorizer(fleet, name):
    """Makes authorizers, of the file's instance unless another is given."""
    made = []

    def make(*arguments, to=fleet, **settings) -> Authorizer:
        made.append(Authorizer(to, f"{name}-{len(made)}", *arguments, **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def default(fleet, authorizer):
    """Makes the account's default authorizer."""
    made = []

    def make(*arguments, to=fleet, **settings) -> Authorizer:
        one = authorizer(*arguments, to=to, **settings)
        to.iot.set_default_authorizer(authorizerName=one.name)
        made.append(to)
        return one

    yield make
    for fleet in made:
        fleet.iot.clear_default_authorizer()


@pytest.fixture
def enter(fleet):
    """Connects paho clients with user name and password."""
    clients = []

    def make(client_id, username, password=None, to=fleet, **options) -> Client:
        clients.append(by_password(to, client_id, username, password, **options))
        return clients[-1].connect()

    yield make
    for client in clients:
        client.close()


def refusal(enter, *arguments, **options) -> int:
    with pytest.raises(Refused) as refused:
        enter(*arguments, **options)
    return refused.value.value


BUILDERS = {Sdk5: mqtt5_client_builder, Sdk3: mqtt_connection_builder}


@pytest.mark.parametrize("kind", [Sdk5, Sdk3], ids=["MQTT 5", "MQTT 3.1.1"])
@pytest.mark.parametrize("way", ["direct", "websockets"])
def test_the_device_sdk_s_builder(fleet, authorizer, monkeypatch, name, kind, way):
    key = Key()
    one = authorizer(key=key)
    host, port = fleet.https
    builders = BUILDERS[kind]
    if kind is Sdk3 and way == "direct":
        # This builder has AWS's port 443 in it. Nothing else is changed.
        build = builders._builder
        monkeypatch.setattr(builders, "_builder", lambda **options: build(**options | {"port": port}))
    client = kind(
        fleet,
        None,
        name,
        build=getattr(builders, f"{way}_with_custom_authorizer"),
        endpoint=host,
        port=port,
        auth_username="me",
        auth_password="secret" if kind is Sdk3 else b"secret",
        auth_authorizer_name=one.name,
        auth_authorizer_signature=key.sign("a token"),
        auth_token_key_name="token",
        auth_token_value="a token",
    ).connect()
    assert client.subscribe(f"{name}/a") == [1]
    client.publish(f"{name}/a", b"let in")
    assert client.expect(1) == [b"let in"]
    client.disconnect()
    [event] = one.events
    assert event["token"] == "a token" and event["signatureVerified"] is True
    web = ["http"] if way == "websockets" else []
    assert event["protocols"] == ["tls", *web, "mqtt"] and set(event["protocolData"]) == set(event["protocols"])
    mqtt = event["protocolData"]["mqtt"]
    assert mqtt["username"].startswith("me?") and NAME in mqtt["username"] and mqtt["clientId"] == name
    assert base64.b64decode(mqtt["password"]) == b"secret"
    assert event["protocolData"]["tls"] == {"serverName": host}
    if web:
        assert event["protocolData"]["http"]["headers"]["upgrade"].lower() == "websocket"
    assert len(event["connectionMetadata"]["id"]) == 36


@pytest.mark.parametrize("version", **BOTH_VERSIONS)
def test_user_name_and_password_by_the_default_authorizer(default, enter, name, version):
    one = default(lambda event: answer(isAuthenticated=event["protocolData"]["mqtt"]["password"] == "cHc="))
    client = enter(name, "me", b"pw", version=version)
    client.subscribe(name)
    client.publish(name, b"x")
    assert client.expect(1) == [b"x"]
    assert refusal(enter, name + "b", "me", b"no", version=version) == BAD_CREDENTIALS
    event = one.events[0]
    assert event["protocolData"]["mqtt"] == {"username": "me", "password": "cHc=", "clientId": name}
    assert event["signatureVerified"] is False and "token" not in event


@pytest.mark.parametrize("version", **BOTH_VERSIONS)
def test_a_wrong_signature_is_refused_without_asking(authorizer, enter, name, version):
    key = Key()
    one = authorizer(key=key)
    for query in (
        one.query("t", key.sign("u")),
        one.query("t", Key().sign("t")),
        one.query("t", "no base64"),
        f"{NAME}={one.name}&token=t",
        f"{NAME}={one.name}",
    ):
        assert refusal(enter, name, f"?{query}", version=version) == BAD_CREDENTIALS
    assert one.events == []
    enter(name, f"?{one.query()}", version=version)


def test_any_listed_key_may_sign(fleet, authorizer, enter, name):
    old, new = Key(), Key()
    one = authorizer(key=old)
    enter(name, f"?{one.query()}").disconnect()
    fleet.iot.update_authorizer(
        authorizerName=one.name, tokenSigningPublicKeys={"old": old.pem, "new": new.pem}
    )
    enter(name, f"?{one.query('t', new.sign('t'))}").disconnect()
    fleet.iot.update_authorizer(authorizerName=one.name, tokenSigningPublicKeys={"new": new.pem})
    assert refusal(enter, name, f"?{one.query('t', old.sign('t'))}") == BAD_CREDENTIALS


@pytest.mark.parametrize(
    "said",
    [
        {},
        b"no JSON",
        answer(principalId="a-b"),
        answer(refreshAfterInSeconds=299),
        answer(disconnectAfterInSeconds=86_401),
        answer(policyDocuments=[document()] * 11),
        answer(policyDocuments=["{}"]),
        (500, {"message": "broken"}),
    ],
    ids=["empty", "no JSON", "principal", "refresh", "disconnect", "11 documents", "no policy", "failure"],
)
def test_an_answer_that_is_not_valid_lets_nobody_in(fleet, authorizer, enter, name, said):
    one = authorizer(lambda event: said)
    assert refusal(enter, name, f"?{one.query()}") == NOT_AUTHORIZED
    assert one.events
    fleet.log.having("Connection.AuthNError", name, "CUSTOM_AUTHORIZER")


def test_who_names_none_that_decides_is_refused(fleet, authorizer, enter, name):
    one = authorizer()
    assert refusal(enter, name, "me") == NOT_AUTHORIZED, "there is no default one"
    assert refusal(enter, name, None) == NOT_AUTHORIZED
    assert refusal(enter, name, f"?{NAME}=other") == NOT_AUTHORIZED
    fleet.iot.update_authorizer(authorizerName=one.name, status="INACTIVE")
    assert refusal(enter, name, f"?{one.query()}") == NOT_AUTHORIZED
    assert one.events == []


def test_a_function_that_nothing_is_mapped_to_lets_nobody_in(fleet, enter, name):
    function = f"arn:aws:lambda:{fleet.region}:{fleet.account}:function:{name}"
    fleet.iot.create_authorizer(
        authorizerName=name, authorizerFunctionArn=function, signingDisabled=True, status="ACTIVE"
    )
    assert refusal(enter, name, f"?{NAME}={name}") == NOT_AUTHORIZED
    fleet.log.having("Connection.AuthNError", name, "nothing is mapped")
    fleet.iot.update_authorizer(authorizerName=name, status="INACTIVE")
    fleet.iot.delete_authorizer(authorizerName=name)


def test_the_answer_s_policies_are_in_force(fleet, authorizer, enter, name):
    own = [
        statement("iot:Connect", f"arn:aws:iot:*:*:client/{name}"),
        statement(["iot:Publish", "iot:Receive"], "arn:aws:iot:*:*:topic/own/${iot:ClientId}/*"),
        statement("iot:Subscribe", "arn:aws:iot:*:*:topicfilter/own/*"),
    ]
    one = authorizer(lambda event: answer(*own))
    assert refusal(enter, name + "x", f"?{one.query()}") == NOT_AUTHORIZED, "another client id"
    will = (f"others/{name}", b"gone", 0)
    assert refusal(enter, name, f"?{one.query()}", will=will) == NOT_AUTHORIZED, "a will elsewhere"
    client = enter(name, f"?{one.query()}")
    assert client.subscribe("own/#", "others/#") == [1, 0x87]
    assert client.publish(f"own/{name}/a", b"mine") == 0
    assert client.publish(f"others/{name}", b"not mine") == 0x87
    data = fleet.client("iot-data")
    data.publish(topic="own/another/a", qos=1, payload=b"not for it")
    data.publish(topic=f"own/{name}/b", qos=1, payload=b"for it")
    assert client.expect(2) == [b"mine", b"for it"]


@pytest.fixture(scope="module")
def quick(fleethaven, tmp_path_factory):
    """An instance where answers may hold for a second only."""
    settings = tmp_path_factory.mktemp("settings") / "settings.toml"
    settings.write_text("[limits]\nauthorizer-interval-min-secs = 1\n")
    return fleethaven(*LOOPBACK, "--config", str(settings), "--cores", "1")


def test_policies_change_with_the_next_answer(quick, authorizer, enter, name):
    allowed = [statement("iot:*")]
    one = authorizer(lambda event: answer(*allowed, refreshAfterInSeconds=1), to=quick)
    client = enter(name, f"?{one.query()}", b"pw", to=quick)
    assert client.publish(name, b"x") == NOBODY_LISTENS
    allowed[:] = [statement("iot:Subscribe")]
    eventually(lambda: client.publish(name, b"x") == 0x87, "the refreshed policies")
    assert client.subscribe(name) == [1]
    first, *later = one.events
    assert later and all(event == first for event in later), "it is asked the same again"


@pytest.mark.parametrize(
    "said", [{"isAuthenticated": False}, {}, (500, {})], ids=["refused", "not valid", "failure"]
)
def test_who_is_refused_later_is_disconnected(quick, authorizer, enter, name, said):
    answers = [answer(refreshAfterInSeconds=1)]
    one = authorizer(lambda event: answers[-1], to=quick)
    client = enter(name, f"?{one.query()}", to=quick)
    answers.append(said)
    assert client.closed() == 0x87
    data = quick.client("iot-data")
    eventually(lambda: not data.get_connection(clientId=name)["connected"], "the end being recorded")
    assert data.get_connection(clientId=name)["disconnectReason"] == "AUTH_ERROR"


def test_a_connection_lasts_as_long_as_the_first_answer_says(quick, authorizer, enter, name):
    one = authorizer(lambda event: answer(disconnectAfterInSeconds=2, refreshAfterInSeconds=1), to=quick)
    client = enter(name, f"?{one.query()}", to=quick)
    assert client.closed() == 0xA0
    data = quick.client("iot-data")
    eventually(lambda: not data.get_connection(clientId=name)["connected"], "the end being recorded")
    assert data.get_connection(clientId=name)["disconnectReason"] == "CUSTOMAUTH_TTL_EXPIRATION"


def test_others_go_on_while_a_function_does_not_answer(quick, authorizer, enter, connect, name):
    """On an instance with one event loop. What the function answers after its time is up is ignored."""
    asked, go_on = threading.Event(), threading.Event()

    def decide(event):
        asked.set()
        go_on.wait(30)
        return answer()

    slow = authorizer(decide, to=quick)
    waiting = by_password(quick, name, f"?{slow.query()}")
    outcome = []

    def wait():
        with pytest.raises(Refused) as refusal:
            waiting.connect()
        outcome.append(refusal.value.value)

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        assert asked.wait(10)
        other = connect(name + "b", to=quick)
        other.subscribe(name)
        assert other.publish(name, b"meanwhile") == 0
        assert other.expect(1) == [b"meanwhile"]
        thread.join(20)
        assert outcome == [NOT_AUTHORIZED]
    finally:
        go_on.set()
        waiting.close()


def publish(fleet, topic: str, headers=None, query: str = "qos=1"):
    return https(fleet.https, trusting(fleet), "POST", f"/topics/{topic}?{query}", headers, b"{}")


@pytest.mark.parametrize("place", ["headers", "query"])
def test_publishing_over_https(authorizer, fleet, connect, name, place):
    key = Key()
    allowed = statement("iot:Publish", f"arn:aws:iot:*:*:topic/{name}/*")
    one = authorizer(lambda event: answer(allowed), key=key)
    subscriber = connect(name)
    subscriber.subscribe(f"{name}/#")
    headers = {NAME.upper(): one.name, SIGNATURE: key.sign("t"), "Token": "t"} if place == "headers" else {}
    query = "qos=1" if place == "headers" else f"qos=1&{one.query()}"
    assert publish(fleet, f"{name}/a", headers, query).status == 200
    assert subscriber.expect(1) == [b"{}"]
    denied = publish(fleet, "other", headers, query)
    assert (denied.status, denied.error) == (403, "ForbiddenException")
    [event, _] = one.events
    assert event["token"] == "t" and event["signatureVerified"] is True
    assert event["protocols"] == ["tls", "http"]
    told = event["protocolData"]["http"]
    assert told["queryString"] == f"?{query}"
    assert told["headers"]["host"].startswith("localhost") or told["headers"]["host"].startswith("127.0.0.1")
    wrong = {NAME: one.name, SIGNATURE: key.sign("u"), "token": "t"}
    refused = publish(fleet, f"{name}/a", wrong)
    assert (refused.status, refused.error) == (403, "ForbiddenException")
    assert len(one.events) == 2, "a wrong signature is refused without asking"
    path = f"/things/{name}/shadow?{one.query()}"
    shadow = https(fleet.https, trusting(fleet), "GET", path, headers)
    assert shadow.status == 403, "authorizers decide about publishes only"


@pytest.mark.parametrize("caching", [True, False])
def test_answers_are_kept_for_a_connection_where_the_authorizer_says_so(authorizer, fleet, name, caching):
    one = authorizer(enableCachingForHttp=caching)

    def post(connection, **headers) -> int:
        connection.request("POST", f"/topics/{name}?qos=1", b"{}", {NAME: one.name} | headers)
        response = connection.getresponse()
        response.read()
        return response.status

    def connected():
        return http.client.HTTPSConnection(*fleet.https, context=trusting(fleet), timeout=20)

    first, second = connected(), connected()
    assert [post(first) for _ in range(3)] == [200] * 3
    assert len(one.events) == (1 if caching else 3)
    asked = len(one.events)
    assert post(second) == 200 and len(one.events) == asked + 1, "another connection"
    assert post(first, cookie="another sender") == 200 and len(one.events) == asked + 2
    for connection in (first, second):
        connection.close()


def test_a_test_of_an_authorizer_really_asks(fleet, authorizer):
    key = Key()
    said = answer(refreshAfterInSeconds=300)
    one = authorizer(lambda event: said, key=key, status="INACTIVE")
    told = fleet.iot.test_invoke_authorizer(
        authorizerName=one.name,
        token="t",
        tokenSignature=key.sign("t"),
        mqttContext={"username": "me", "password": b"\xff", "clientId": "c"},
        httpContext={"headers": {"a": "b"}, "queryString": "?q=1"},
        tlsContext={"serverName": "s"},
    )
    assert told["isAuthenticated"] is True and told["principalId"] == "tester1"
    assert [json.loads(text) for text in told["policyDocuments"]] == said["policyDocuments"]
    assert (told["refreshAfterInSeconds"], told["disconnectAfterInSeconds"]) == (300, 86_400)
    [event] = one.events
    assert event["protocolData"] == {
        "tls": {"serverName": "s"},
        "http": {"headers": {"a": "b"}, "queryString": "?q=1"},
        "mqtt": {"username": "me", "password": "/w==", "clientId": "c"},
    }
    said.clear()
    signed = {"authorizerName": one.name, "token": "t", "tokenSignature": key.sign("t")}
    refused("InvalidResponseException", 400, fleet.iot.test_invoke_authorizer, **signed)
    invalid(fleet.iot.test_invoke_authorizer, **signed | {"token": "u"})


def test_a_user_name_counts_for_nothing_beside_a_certificate(default, fleet, device, name):
    """By ALPN `x-amzn-mqtt-ca` and on 8883 a certificate decides, whatever authorizer the user name names."""
    one = default()
    nobody = device(document(statement("iot:Connect", "arn:aws:iot:*:*:client/other")))
    for options in ({"listener": "https", "alpn": "x-amzn-mqtt-ca"}, {}):
        client = Client(fleet, nobody, name, **options)
        client.paho.username_pw_set(f"?{one.query()}")
        with pytest.raises(Refused) as refusal:
            client.connect()
        assert refusal.value.value == NOT_AUTHORIZED
    assert one.events == []


def test_one_account_s_authorizers_do_not_decide_for_another(fleet, authorizer, name):
    """The server name tells the account: another one's authorizer does not exist there, not even as the default one."""
    one = authorizer()
    own, other = by_password(fleet, name, f"?{one.query()}"), by_password(fleet, name, f"?{one.query()}")
    for client, account in ((own, fleet.account), (other, "999999999999")):
        context = client.paho._ssl_context
        context.check_hostname = False
        wrap = context.wrap_socket
        server_name = f"{account}.data.example"
        context.wrap_socket = lambda *a, wrap=wrap, named=server_name, **k: wrap(*a, **k | {"server_hostname": named})
    own.connect().close()
    with pytest.raises(Refused) as refusal:
        other.connect()
    assert refusal.value.value == NOT_AUTHORIZED
    assert len(one.events) == 1


def test_an_unsigned_websocket_needs_an_authorizer_that_could_decide(fleethaven):
    fleet = fleethaven()
    upgrade = {
        "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": "mqtt",
    }
    refused = https(fleet.https, trusting(fleet), "GET", "/mqtt", upgrade)
    assert (refused.status, refused.error) == (403, "MissingAuthenticationTokenException")
