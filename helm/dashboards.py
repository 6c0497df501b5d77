"""Writes the Grafana dashboards of the chart: helm/dashboards.py, after a change of what stands below.

A test runs every query against a cluster that has been through the lab (services/fleethaven/tests/e2e/test_dashboards.py)."""

import json
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "fleethaven" / "dashboards"
# In the queries: J is the chosen cluster, RATE the window of rates.
SELECT, WINDOW = 'job=~"$job"', "$__rate_interval"

# Dashboard → rows of (title, unit, what it means, [(query, legend)]).
DASHBOARDS = {
    "overview": (
        "Fleethaven / Overview",
        [
            ("Connections", "short", "Accepted MQTT connections.", [("sum(fleethaven_mqtt_connections{J})", "connections")]),
            ("Published", "cps", "PUBLISH packets from clients.", [("sum by (result) (rate(fleethaven_mqtt_publish_in_total{J}[RATE]))", "{{result}}")]),
            ("Delivered", "cps", "PUBLISH packets to clients.", [("sum by (result) (rate(fleethaven_mqtt_publish_out_total{J}[RATE]))", "{{result}}")]),
            ("Connects", "cps", "CONNECT packets.", [("sum by (result) (rate(fleethaven_mqtt_connect_total{J}[RATE]))", "{{result}}")]),
            ("Rules executed", "cps", "", [("sum(rate(fleethaven_rule_executed_total{J}[RATE]))", "executed")]),
            ("API requests", "reqps", "", [("sum by (status) (rate(fleethaven_api_requests_total{J}[RATE]))", "{{status}}")]),
            ("Processes", "short", "Up, by role.", [("sum by (role) (up{J})", "{{role}}")]),
            ("Metastores in the quorum", "short", "", [("sum(fleethaven_metastore_in_quorum{J})", "in the quorum")]),
            ("Messages waiting for rules", "short", "", [("max(fleethaven_rule_queue_depth{J})", "waiting")]),
        ],
    ),
    "gateway": (
        "Fleethaven / Gateways",
        [
            ("Connections by gateway", "short", "", [("sum by (instance) (fleethaven_mqtt_connections{J})", "{{instance}}")]),
            ("Sockets by core", "short", "From accept to close: uneven cores show.", [("sum by (instance, core) (fleethaven_gateway_sockets{J})", "{{instance}} {{core}}")]),
            ("TLS handshakes", "cps", "By result.", [("sum by (result) (rate(fleethaven_tls_handshakes_total{J}[RATE]))", "{{result}}")]),
            ("Connects", "cps", "By result.", [("sum by (result) (rate(fleethaven_mqtt_connect_total{J}[RATE]))", "{{result}}")]),
            ("Ends of connections", "cps", "By AWS's disconnect reason.", [("sum by (reason) (rate(fleethaven_mqtt_disconnect_total{J}[RATE]))", "{{reason}}")]),
            ("Published by gateway", "cps", "", [("sum by (instance) (rate(fleethaven_mqtt_publish_in_total{J}[RATE]))", "{{instance}}")]),
            ("Delivered by gateway", "cps", "", [("sum by (instance) (rate(fleethaven_mqtt_publish_out_total{J}[RATE]))", "{{instance}}")]),
            ("Subscriptions asked for", "cps", "By result.", [("sum by (result) (rate(fleethaven_mqtt_subscribe_total{J}[RATE]))", "{{result}}")]),
            (
                "Dropped",
                "cps",
                "Deliveries that a client did not read, that a core or a lane had no room for.",
                [
                    ("sum(rate(fleethaven_mqtt_publish_out_dropped_total{J}[RATE]))", "clients do not read"),
                    ("sum(rate(fleethaven_mailbox_dropped_total{J}[RATE]))", "cores"),
                    ("sum(rate(fleethaven_lane_dropped_total{J}[RATE]))", "lanes to routers"),
                ],
            ),
            (
                "From publish to delivery",
                "s",
                "Of one message in each turn of a core, between gateways where they are several; what waited for its client is not among them.",
                [
                    ("histogram_quantile(0.5, sum by (le) (rate(fleethaven_mqtt_publish_e2e_seconds_bucket{J}[RATE])))", "median"),
                    ("histogram_quantile(0.99, sum by (le) (rate(fleethaven_mqtt_publish_e2e_seconds_bucket{J}[RATE])))", "99th percentile"),
                ],
            ),
        ],
    ),
    "router": (
        "Fleethaven / Routers",
        [
            ("Made durable", "cps", "Messages for queues, rules or the retained store.", [("sum by (instance) (rate(fleethaven_router_durable_publishes_total{J}[RATE]))", "{{instance}}")]),
            ("Busiest slots", "cps", "Publishes of the five slots with the most: one far above the others is a router's bottleneck (other depths divide it).", [("topk(5, sum by (slot) (rate(fleethaven_router_slot_publishes_total{J}[RATE])))", "slot {{slot}}")]),
            ("Plans computed", "cps", "High against publishes: subscriptions, rules or connections change all the time.", [("sum by (instance) (rate(fleethaven_router_plans_computed_total{J}[RATE]))", "{{instance}}")]),
            ("Matched by rules", "cps", "", [("sum(rate(fleethaven_rule_topic_match_total{J}[RATE]))", "matched")]),
            (
                "Queues at their bound",
                "cps",
                "Messages dropped.",
                [
                    ("sum(rate(fleethaven_mqtt_queue_overflow_total{J}[RATE]))", "sessions"),
                    ("sum(rate(fleethaven_mqtt_shared_queue_overflow_total{J}[RATE]))", "shared groups"),
                    ("sum(rate(fleethaven_mqtt_queue_throttled_total{J}[RATE]))", "rate of an account"),
                    ("sum(rate(fleethaven_mqtt_shared_dropped_total{J}[RATE]))", "no member could have it"),
                ],
            ),
            ("Deliveries dropped", "cps", "The stream to a gateway could not keep up.", [("sum by (instance) (rate(fleethaven_router_deliveries_dropped_total{J}[RATE]))", "{{instance}}")]),
            ("Basic Ingest without a rule", "cps", "", [("sum(rate(fleethaven_rule_not_found_total{J}[RATE]))", "not found")]),
        ],
    ),
    "metastore": (
        "Fleethaven / Metadata store",
        [
            ("In touch with the quorum", "short", "By node.", [("sum by (instance) (fleethaven_metastore_in_quorum{J})", "{{instance}}")]),
            ("Leader", "short", "1 while the node leads the control group.", [("sum by (instance) (fleethaven_metastore_leads{J})", "{{instance}}")]),
            ("State groups led", "short", "About as many on each node.", [("sum by (instance) (fleethaven_metastore_state_groups_led{J})", "{{instance}}")]),
            ("Term", "short", "Each step is an election.", [("max by (instance) (fleethaven_metastore_term{J})", "{{instance}}")]),
            ("Changes applied", "cps", "", [("rate(fleethaven_metastore_applied_index{J}[RATE])", "{{instance}}")]),
            ("Entries behind", "short", "Against the node that is farthest.", [("scalar(max(fleethaven_metastore_applied_index{J})) - max by (instance) (fleethaven_metastore_applied_index{J})", "{{instance}}")]),
        ],
    ),
    "rules": (
        "Fleethaven / Rules",
        [
            ("Matched", "cps", "Messages that at least one rule is for.", [("sum(rate(fleethaven_rule_topic_match_total{J}[RATE]))", "matched")]),
            ("Executed", "cps", "By rule.", [("sum by (account, rule) (rate(fleethaven_rule_executed_total{J}[RATE]))", "{{account}} {{rule}}")]),
            ("Waiting", "short", "In the queue or in the workers' hands.", [("max(fleethaven_rule_queue_depth{J})", "waiting")]),
            ("Actions", "cps", "By action and result.", [("sum by (action, result) (rate(fleethaven_rule_action_total{J}[RATE]))", "{{action}} {{result}}")]),
            ("Failing rules", "percentunit", "Part of their actions that failed after all retries.", [('sum by (account, rule) (rate(fleethaven_rule_action_total{J, result="failure"}[RATE])) / sum by (account, rule) (rate(fleethaven_rule_action_total{J}[RATE]))', "{{account}} {{rule}}")]),
            ("Error actions", "cps", "By result: failures lose messages.", [("sum by (result) (rate(fleethaven_rule_error_action_total{J}[RATE]))", "{{result}}")]),
            ("Payloads that could not be read", "cps", "", [("sum by (account, rule) (rate(fleethaven_rule_parse_error_total{J}[RATE]))", "{{account}} {{rule}}")]),
        ],
    ),
    "api-security": (
        "Fleethaven / API and security",
        [
            ("Requests", "reqps", "By operation.", [("sum by (service, operation) (rate(fleethaven_api_requests_total{J}[RATE]))", "{{service}} {{operation}}")]),
            ("Answers", "reqps", "By status.", [("sum by (status) (rate(fleethaven_api_requests_total{J}[RATE]))", "{{status}}")]),
            (
                "Time to answer",
                "s",
                "",
                [
                    ("histogram_quantile(0.5, sum by (le) (rate(fleethaven_api_request_duration_seconds_bucket{J}[RATE])))", "half"),
                    ("histogram_quantile(0.99, sum by (le) (rate(fleethaven_api_request_duration_seconds_bucket{J}[RATE])))", "99 %"),
                ],
            ),
            ("Slowest operations", "s", "99 %, by operation.", [("histogram_quantile(0.99, sum by (service, operation, le) (rate(fleethaven_api_request_duration_seconds_bucket{J}[RATE])))", "{{service}} {{operation}}")]),
            ("Clients without an acceptable certificate", "cps", "", [('sum by (result) (rate(fleethaven_tls_handshakes_total{J, result!="success"}[RATE]))', "{{result}}")]),
            (
                "Denied by policy",
                "cps",
                "",
                [
                    ('sum(rate(fleethaven_mqtt_connect_total{J, result="auth_error"}[RATE]))', "connect"),
                    ('sum(rate(fleethaven_mqtt_publish_in_total{J, result="auth_error"}[RATE]))', "publish"),
                    ('sum(rate(fleethaven_mqtt_subscribe_total{J, result="auth_error"}[RATE]))', "subscribe"),
                    ('sum(rate(fleethaven_mqtt_publish_out_total{J, result="auth_error"}[RATE]))', "receive"),
                ],
            ),
            ("Certificates expire in", "s", "The first of each role.", [("min by (role) (fleethaven_tls_certificate_expiry_timestamp_seconds{J}) - time()", "{{role}}")]),
            ("Certificates of devices that expire", "short", "ACTIVE ones, by what is left of their validity: each counts once.", [('sum by (left) (max by (account, left) (fleethaven_device_certificates{J, left!="later"}))', "{{left}}")]),
            ("Changes of certificates", "cps", "", [("sum by (result) (rate(fleethaven_tls_certificate_reloads_total{J}[RATE]))", "{{result}}")]),
        ],
    ),
    "capacity": (
        "Fleethaven / Capacity",
        [
            ("Connections per gateway", "short", "The fullest, and the mean.", [("max(fleethaven_mqtt_connections{J})", "fullest"), ("avg(fleethaven_mqtt_connections{J})", "mean")]),
            ("Messages per gateway", "cps", "Published and delivered.", [("sum by (instance) (rate(fleethaven_mqtt_publish_in_total{J}[RATE])) + sum by (instance) (rate(fleethaven_mqtt_publish_out_total{J}[RATE]))", "{{instance}}")]),
            ("Deliveries for each publish", "short", "Fan-out.", [("sum(rate(fleethaven_mqtt_publish_out_total{J}[RATE])) / sum(rate(fleethaven_mqtt_publish_in_total{J}[RATE]))", "fan-out")]),
            ("Refused for a limit", "cps", "Rates and numbers of an account.", [
                ('sum(rate(fleethaven_mqtt_connect_total{J, result="throttle"}[RATE]))', "connect"),
                ('sum(rate(fleethaven_mqtt_publish_in_total{J, result="throttle"}[RATE]))', "publish"),
                ('sum(rate(fleethaven_mqtt_subscribe_total{J, result="throttle"}[RATE]))', "subscribe"),
            ]),
            ("Executed per rules worker", "cps", "", [("sum by (instance) (rate(fleethaven_rule_executed_total{J}[RATE]))", "{{instance}}")]),
            ("Processes", "short", "By role.", [("count by (role) (up{J})", "{{role}}")]),
        ],
    ),
}


def query(text: str) -> str:
    return text.replace("{J", "{" + SELECT).replace("RATE", WINDOW)


def panel(number: int, title: str, unit: str, meaning: str, queries: list[tuple[str, str]]) -> dict:
    targets = [
        {"refId": chr(ord("A") + place), "expr": query(text), "legendFormat": legend}
        for place, (text, legend) in enumerate(queries)
    ]
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": title,
        "description": meaning,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "gridPos": {"x": 8 * (number % 3), "y": 8 * (number // 3), "w": 8, "h": 8},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0, "custom": {"fillOpacity": 10}}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}, "tooltip": {"mode": "multi", "sort": "desc"}},
        "targets": targets,
    }


def variables() -> list[dict]:
    return [
        {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
        {
            "name": "job",
            "label": "Cluster",
            "type": "query",
            "datasource": {"type": "prometheus", "uid": "${datasource}"},
            "query": {"qryType": 1, "query": "label_values(fleethaven_metastore_in_quorum, job)", "refId": "job"},
            "refresh": 2,
            "includeAll": True,
            "multi": True,
        },
    ]


def dashboard(name: str) -> str:
    title, panels = DASHBOARDS[name]
    built = {
        "uid": f"fleethaven-{name}",
        "title": title,
        "tags": ["fleethaven"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "links": [
            {
                "type": "dashboards",
                "title": "Fleethaven",
                "tooltip": "",
                "icon": "external link",
                "tags": ["fleethaven"],
                "asDropdown": True,
                "targetBlank": False,
                "keepTime": True,
                "includeVars": True,
            }
        ],
        "templating": {"list": variables()},
        "panels": [panel(number, *given) for number, given in enumerate(panels)],
    }
    return json.dumps(built, indent=1, ensure_ascii=False) + "\n"


def main():
    FOLDER.mkdir(exist_ok=True)
    for name in DASHBOARDS:
        (FOLDER / f"{name}.json").write_text(dashboard(name))


if __name__ == "__main__":
    main()
