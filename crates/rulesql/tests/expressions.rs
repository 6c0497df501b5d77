//! Expressions and functions over a payload, as JSON: spec sections 5 to 8 beyond the shared vectors.

mod support;

use fleethaven_rulesql::SqlVersion::{V2015_10_08 as V1, V2016_03_23 as V2};
use support::value_of;

const PAYLOAD: &str = r#"{"i":7,"d":2.5,"w":10.0,"s":"x","n":null,"b":true,"a":[1,2.0,"c"],
 "o":{"k":{"z":1},"my-key":2}, "big":9999999999999999999999999999999999}"#;

/// Expressions and their values; the empty text is Undefined.
fn check(version: fleethaven_rulesql::SqlVersion, table: &[(&str, &str)]) {
    for (expression, wanted) in table {
        assert_eq!(value_of(expression, version, PAYLOAD), *wanted, "{expression}");
    }
}

#[test]
fn second_dialect_makes_whole_decimals_ints() {
    check(
        V2,
        &[
            ("w", "10"),
            ("d * 2", "5"),
            ("10.0", "10"),
            ("cast(3 AS Decimal)", "3"),
            ("power(2, 5)", "32"),
            ("7 / 2", "3.5"),
            ("a", r#"[1,2,"c"]"#),
            ("'' + w", r#""10""#),
            ("1 / 3", "0.3333333333333333333333333333333333"),
        ],
    );
}

#[test]
fn first_dialect_keeps_scale_and_truncates() {
    check(
        V1,
        &[
            ("w", "10.0"),
            ("d * 2", "5.0"),
            ("10.0", "10.0"),
            ("power(2, 5)", "32.0"),
            ("7 / 2", "3"),
            ("-7 / 2", "-3"),
            ("7.0 / 2", "3.5"),
            ("'' + w", r#""10.0""#),
            ("cast(3 AS Double)", "3.0"),
            ("a", ""),
            ("7 / 0", ""),
        ],
    );
}

#[test]
fn numbers_are_exact() {
    check(
        V2,
        &[
            ("big", "9999999999999999999999999999999999"),
            ("big + 1", "1.000000000000000000000000000000000E+34"),
            ("big - 1", "9999999999999999999999999999999998"),
            ("big * big", "9.999999999999999999999999999999998E+67"),
            ("1E600 * 1E600", ""),
            ("-w", "-10"),
            ("-'5'", "-5"),
            ("-s", ""),
            ("0.1 + 0.2", "0.3"),
            ("big % 7", "3"),
            ("-7 % 3", "-1"),
            ("i % 0", ""),
            ("'5' * '2'", "10"),
            ("n + 1", ""),
            ("- -i", "7"),
        ],
    );
}

#[test]
fn comparison_and_logic_are_strict() {
    check(
        V2,
        &[
            ("i > '5'", "true"),
            ("'a' < 'b'", ""),
            ("b > false", ""),
            ("n < 1", ""),
            ("w = 10", "true"),
            ("missing = 1", ""),
            ("missing <> 1", ""),
            ("n = null", "true"),
            ("b = 'true'", "false"),
            ("a = [1, 2, 'c']", "true"),
            ("o = {'my-key': 2, 'k': {'z': 1.0}}", "true"),
            ("true OR missing", ""),
            ("false AND missing", ""),
            ("'TRUE' AND b", "true"),
            ("NOT 'false'", "true"),
            ("NOT 1", ""),
            ("NOT NOT b", "true"),
            ("2 IN a", "true"),
            ("missing IN a", ""),
            ("1 IN o", ""),
            ("1 < 2 = true", "true"),
            ("true OR true AND false", "true"),
            ("NOT i = 7", "false"),
        ],
    );
}

#[test]
fn access() {
    check(
        V2,
        &[
            ("o.k.z", "1"),
            ("o.x.z", ""),
            ("a.b", ""),
            ("get(o, 'my-key')", "2"),
            ("a[1]", "2"),
            ("a[3]", ""),
            ("a[-1]", ""),
            ("get('abc', 1)", r#""b""#),
            ("get(o, 1)", ""),
            ("o['k'].z", "1"),
            ("{'a': missing, 'b': 1,}", r#"{"b":1}"#),
            ("[1, missing, 2]", "[1,2]"),
            ("get_or_default(n, 3)", "3"),
            ("get_or_default(missing)", ""),
            ("get_or_default(decode(1, 'proto', 2, 3, 4, 5), 9)", "9"),
            ("nanvl(s, 1)", r#""x""#),
            ("transform('enrichArray', {'s': 1}, [{'s': 0, 't': 2}])", r#"[{"s":1,"t":2}]"#),
            ("transform('other', {}, [])", ""),
            ("transform('enrichArray', {}, [1])", ""),
        ],
    );
}

#[test]
fn casts() {
    check(
        V2,
        &[
            ("cast(true AS Int)", "1"),
            ("cast(-1.5 AS Int)", "-2"),
            ("cast('-1.5' AS Integer)", "-1"),
            ("cast(2 AS Bool)", "true"),
            ("cast('False' AS Boolean)", "false"),
            ("cast(a AS String)", r#""[1,2,\"c\"]""#),
            ("cast(a AS Int)", ""),
            ("cast(n AS String)", ""),
            ("cast(d AS NVARCHAR)", r#""2.5""#),
            ("cast('x' AS Decimal)", ""),
            ("cast('0.1' AS Double)", "0.1"),
        ],
    );
}

#[test]
fn number_functions() {
    check(
        V2,
        &[
            ("bitnot(13)", "2"),
            ("bitnot(0)", "1"),
            ("bitnot(-1)", "0"),
            ("bitand(-1, 6.9)", "6"),
            ("trunc(2.888, 2)", "2.88"),
            ("trunc(2.888, '2')", ""),
            ("trunc(25, 0)", "25"),
            ("round(-1.5)", "-2"),
            ("ceil(-1.2)", "-1"),
            ("sqrt(-1)", ""),
            ("ln(0)", ""),
            ("log(1000)", "3"),
            ("atan2(1, 0)", "1.5707963267948966"),
            ("asin(2)", ""),
            ("power(-1, 0.5)", ""),
            ("mod(-7, 3)", "-1"),
            ("exp(1000)", ""),
            ("abs(n)", ""),
            ("sign('x')", ""),
            ("rand() < 1", "true"),
            ("floor(1E40)", "1E+40"),
            (
                "bitor(9000000000000000000000000000000000, 1999999999999999999999999999999999)",
                "1.029807560852993625553676769899315E+34",
            ),
        ],
    );
}

#[test]
fn string_functions() {
    check(
        V2,
        &[
            ("concat(1, 2)", ""),
            ("concat()", ""),
            ("concat(1)", "1"),
            ("concat('a', null)", ""),
            ("lower(['HELLO'])", r#""[\"hello\"]""#),
            ("ltrim(' \t x ')", r#""x ""#),
            ("lpad('hello', 2.9)", r#""  hello""#),
            ("rpad('a', 'x')", ""),
            ("lpad('a', -1)", r#""a""#),
            ("length(false)", "5"),
            ("numbytes('€')", "3"),
            ("length('€')", "1"),
            ("substring('012345', 2.745)", r#""2345""#),
            ("substring('012345', -3, 2)", r#""01""#),
            ("substring('abc', 2, 1)", r#""""#),
            ("substring('éàü', 1, 2)", r#""à""#),
            ("indexof('éàb', 'b')", "2"),
            ("indexof([1], 1)", ""),
            ("replace('aaa', 'a', 'b')", r#""bbb""#),
            ("chr(128)", ""),
            ("chr(65)", r#""A""#),
            ("upper(n)", ""),
            ("md5('abc')", r#""900150983cd24fb0d6963f7d28e17f72""#),
            ("md2('abc')", r#""da853b0d3f88d99b30283a69e6ded6bb""#),
            ("sha224('abc')", r#""23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7""#),
            ("substring(sha512('abc'), 0, 8)", r#""ddaf35a1""#),
            ("substring(sha384('abc'), 0, 8)", r#""cb00753f""#),
            ("substring(sha256('abc'), 0, 8)", r#""ba7816bf""#),
        ],
    );
}

#[test]
fn regular_expressions() {
    check(
        V2,
        &[
            (r"regexp_matches('ab12', '\d+')", "true"),
            (r"regexp_matches('٣', '\d')", "false"),
            ("regexp_matches('a', '(')", ""),
            (r"regexp_matches('a.b', '\Q.\E')", "true"),
            (r"regexp_matches('aXb', '^a\Q.\Eb$')", "false"),
            ("regexp_matches('Abc', '(?i)aBC')", "true"),
            ("regexp_matches('a', '(?=a)')", ""),
            ("regexp_replace('abc', '(b)', '[$1$0]')", r#""a[bb]c""#),
            ("regexp_replace('abc', 'b', '$1')", ""),
            ("regexp_replace('abc', '(b)', '$10')", r#""ab0c""#),
            (r"regexp_replace('abc', 'b', '\$')", r#""a$c""#),
            ("regexp_replace('abc', '(?<x>b)', '${x}${x}')", r#""abbc""#),
            ("regexp_substr('abc', 'z')", ""),
            ("regexp_substr('x1', s + '.')", r#""x1""#),
            ("regexp_replace('abc', '', '-')", r#""-a-b-c-""#),
        ],
    );
}

#[test]
fn base64_and_time() {
    check(
        V2,
        &[
            ("decode('MTI=', 'base64')", "12"),
            ("decode('aGk', 'base64')", r#""hi""#),
            ("decode('/w==', 'base64')", "null"),
            ("decode('aGk=', 'hex')", ""),
            ("encode(n, 'base64')", ""),
            ("encode(o.k, 'base64')", r#""eyJ6IjoxfQ==""#),
            ("parse_time('yyyy', timestamp(), 'UTC')", r#""2023""#),
            ("parse_time('yyyy', 0, 'Nowhere/No')", ""),
            ("parse_time('HH', 0, 'America/Belize')", r#""18""#),
            ("time_to_epoch('x', 'yyyy')", ""),
        ],
    );
}

#[test]
fn context_of_the_message() {
    check(
        V2,
        &[
            ("topic()", r#""a/b/c""#),
            ("topic(3)", r#""c""#),
            ("topic(0)", ""),
            ("topic(4)", ""),
            ("principal()", ""),
            ("CLIENTID()", r#""client""#),
            ("sourceip()", r#""192.0.2.1""#),
            ("newuuid()", r#""07070707-0707-4707-8707-070707070707""#),
            ("sql_version()", r#""2016-03-23""#),
            ("get_mqtt_property('format_indicator')", r#""UNSPECIFIED_BYTES""#),
            ("get_user_properties('a')", ""),
            ("traceid()", ""),
            ("accountid()", r#""123456789012""#),
            ("topic(1, 2)", ""),
        ],
    );
}

#[test]
fn cases_and_nested_queries() {
    check(
        V2,
        &[
            ("CASE i WHEN 7.0 THEN 1 ELSE 2 END", "1"),
            ("CASE n WHEN null THEN 1 END", "1"),
            ("CASE i > 5 WHEN true THEN 'hot' END", r#""hot""#),
            ("(SELECT VALUE x FROM a AS x WHERE x > 1)", "[2]"),
            ("(SELECT * FROM o)", r#"{"k":{"z":1},"my-key":2}"#),
            ("(SELECT z FROM o.k WHERE z = 2)", ""),
            ("(SELECT i FROM a)", "[{},{},{}]"),
            ("(SELECT VALUE missing FROM a)", "[]"),
            ("(SELECT * FROM s)", ""),
            ("EXISTS (SELECT * FROM missing)", "false"),
            ("EXISTS (SELECT * FROM a)", "true"),
            (
                "(SELECT x, (SELECT VALUE y + 1 FROM ys AS y) AS r FROM [{'x': 1, 'ys': [1, 2]}])",
                r#"[{"x":1,"r":[2,3]}]"#,
            ),
        ],
    );
}
