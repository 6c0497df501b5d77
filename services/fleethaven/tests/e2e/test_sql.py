"""`fleethaven sql`: people try rules and keep cases of them, without a broker."""

import json
import subprocess
from pathlib import Path

import pytest

from instance import binary

VECTORS = Path(__file__).resolve().parents[4] / "crates/rulesql/tests/vectors"


def sql(*arguments):
    return subprocess.run([binary(), "sql", *map(str, arguments)], capture_output=True, text=True)


def trial(statement, *arguments, topic="plant/l1", payload='{"t":31.5,"o":{"u":"C"}}'):
    return sql("test", "--sql", statement, "--topic", topic, "--payload", payload, *arguments)


@pytest.fixture
def cases(tmp_path):
    def write(*given, name="cases.json"):
        path = tmp_path / name
        path.write_text(json.dumps(given))
        return path

    return write


def one(id, statement, expect, **more):
    return {
        "id": id, "sql": statement, "sqlVersion": "2016-03-23", "topic": "t/x", "payload": {"a": 1}, "expect": expect
    } | more


@pytest.mark.parametrize("file", ["rules-sql-vectors.json", "own.json"])
def test_the_vectors_pass(file):
    done = sql("check", "--json", VECTORS / file)
    results = json.loads(done.stdout)["results"]
    assert [r["id"] for r in results] == [v["id"] for v in json.loads((VECTORS / file).read_text())]
    assert [r for r in results if not r["passed"]] == [] and done.returncode == 0 and done.stderr == ""


def test_a_failure_is_told_and_exits_with_1(cases):
    good = one("good", "SELECT a FROM 't/x'", {"fires": True, "output": {"a": 1}})
    bad = one("bad", "SELECT a FROM 't/x'", {"fires": True, "output": {"a": 2}})
    refused = one("refused", "SELECT FROM", {"fires": True, "output": {}})
    first, second = cases(good, bad), cases(refused, name="second.json")
    done = sql("check", first, second, "--json")
    assert done.returncode == 1 and done.stderr == ""
    results = json.loads(done.stdout)["results"]
    assert [(r["id"], r["passed"]) for r in results] == [("good", True), ("bad", False), ("refused", False)]
    assert results[1]["got"] == {"fires": True, "output": {"a": 1}} and results[1]["expected"] == bad["expect"]
    assert results[2]["got"]["error"] is True and "line 1, column 8" in results[2]["got"]["reason"]
    told = sql("check", first, second)
    assert told.returncode == 1
    assert "FAILED bad" in told.stdout and '"a":1' in told.stdout and "1 passed, 2 failed" in told.stdout


@pytest.mark.parametrize(
    "text, reason",
    [
        ("{}", "not a JSON array"),
        ("[{]", "line 1, column 3"),
    ],
)
def test_a_bad_file_exits_with_2(tmp_path, cases, text, reason):
    bad = tmp_path / "bad.json"
    bad.write_text(text)
    good = cases(one("good", "SELECT a FROM 't/x'", {"fires": True}))
    done = sql("check", "--json", good, bad)
    assert done.returncode == 2 and done.stdout == "" and "bad.json: " in done.stderr and reason in done.stderr
    assert sql("check", tmp_path / "none.json").returncode == 2


def test_an_item_that_is_no_case_fails_in_its_place(tmp_path):
    bad = tmp_path / "bad.json"
    bad.write_text('[{"id":"x","topic":"t"},1,{"id":"y","sql":"SELECT 1","topic":"t","expect":{"error":true}}]')
    done = sql("check", bad, "--json")
    results = json.loads(done.stdout)["results"]
    assert done.returncode == 1 and [r["id"] for r in results] == ["x", "case 2", "y"]
    assert results[0]["got"] == {"invalid": "'expect' is missing or no object"}


def test_a_statement_is_tried(tmp_path):
    statement = "SET @f = t * 2 SELECT @f AS f, o.u, nope, topic(2) AS line FROM 'plant/+' WHERE t > 30"
    done = trial(statement, "--json", "--template", "${o.u}/${topic(2)}")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {
        "matches": True,
        "fires": True,
        "variables": [{"name": "@f", "type": "Int", "value": 63}],
        "where": {"name": "WHERE", "type": "Boolean", "value": True},
        "items": [
            {"name": "f", "type": "Int", "value": 63},
            {"name": "u", "type": "String", "value": "C"},
            {"name": "nope", "type": "Undefined"},
            {"name": "line", "type": "String", "value": "l1"},
        ],
        "output": {"f": 63, "u": "C", "line": "l1"},
        "template": "C/l1",
    }
    told = trial(statement).stdout
    assert "the rule fires" in told and "nope" in told and "Undefined" in told
    assert "the topic does not match" in trial(statement, topic="other").stdout
    told = trial("SELECT t").stdout
    assert "it has no FROM" in told and "$aws/rules/NAME" in told and "31.5" in told
    assert "the rule fires" in trial("SELECT t", topic="$aws/rules/hot/plant/l1").stdout
    assert "WHERE is not true" in trial(statement, payload='{"t":3}').stdout
    file = tmp_path / "payload"
    file.write_bytes(b"\xff")
    raw = sql("test", "--sql", "SELECT * FROM 't'", "--topic", "t", "--payload-file", file, "--json")
    assert json.loads(raw.stdout)["outputBase64"] == "/w=="
    ingest = sql("test", "--sql", "SELECT topic() AS t", "--topic", "$aws/rules/r/a/b", "--json")
    assert json.loads(ingest.stdout)["output"] == {"t": "a/b"}


def test_a_regular_expression_that_cannot_be_used_is_told():
    statement = "SELECT regexp_matches(o.u, 'C(?=x)') AS r, regexp_matches(o.u, 'C') AS s FROM 'plant/#'"
    [warning] = json.loads(trial(statement, "--json").stdout)["warnings"]
    assert "'C(?=x)'" in warning and f"warning: {warning}" in trial(statement).stdout


def test_a_statement_that_is_refused_shows_where():
    done = trial("SELECT a\nFROM 't/x' WHERE a LIKE 'x'")
    assert done.returncode == 1 and "SqlParseException: line 2, column 20: found `LIKE`" in done.stdout
    mark = done.stdout.splitlines()[2].index("^")
    assert done.stdout.splitlines()[1][mark:].startswith("LIKE")
    error = json.loads(trial("SELECT nofunction(1) AS r", "--json").stdout)["error"]
    assert (error["code"], error["line"], error["column"]) == ("SqlParseException", 1, 8)
    assert trial("SELECT 1", "--sql-version", "1999").returncode == 2
    failed = trial("SELECT aws_lambda('f', 1) AS r FROM 'plant/#'", "--json")
    assert failed.returncode == 1 and "aws_lambda" in json.loads(failed.stdout)["failure"]
