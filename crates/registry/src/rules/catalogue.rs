//! The types of actions with their members: AWS's service model (2015-05-28) and, for where substitution
//! templates are allowed, rules-actions.md.

/// What the value of a member must be.
pub(super) enum Shape {
    /// A string of at most so many characters, used as it is.
    Text(usize),
    /// A string of at most so many characters with substitution templates.
    Template(usize),
    /// The ARN of a role; checked for syntax, never looked up.
    Role,
    /// One of these strings.
    OneOf(&'static [&'static str]),
    /// A whole number in this range.
    Integer(i64, i64),
    /// `true` or `false`.
    Boolean,
    /// An object.
    Object(&'static [Member]),
    /// A list of objects, with its shortest and longest length.
    List(&'static [Member], usize, usize),
    /// Strings, with substitution templates, by name.
    Map,
}

/// A member of an action.
pub(super) struct Member {
    pub(super) name: &'static str,
    pub(super) required: bool,
    pub(super) shape: Shape,
}

const ANY: usize = usize::MAX;

const fn need(name: &'static str, shape: Shape) -> Member {
    Member { name, required: true, shape }
}

const fn may(name: &'static str, shape: Shape) -> Member {
    Member { name, required: false, shape }
}

/// A required string with substitution templates.
const fn template(name: &'static str) -> Member {
    need(name, Shape::Template(ANY))
}

const ROLE: Member = need("roleArn", Shape::Role);
const BATCH_MODE: Member = may("batchMode", Shape::Boolean);
const KEY_TYPES: Shape = Shape::OneOf(&["STRING", "NUMBER"]);

/// Every type of action, by the name of its member.
pub(super) const ACTIONS: &[(&str, &[Member])] = &[
    ("republish", REPUBLISH),
    ("http", HTTP),
    ("lambda", &[need("functionArn", Shape::Text(ANY))]),
    ("s3", &[ROLE, template("bucketName"), template("key"), may("cannedAcl", Shape::OneOf(CANNED_ACLS))]),
    ("sqs", &[ROLE, need("queueUrl", Shape::Text(ANY)), may("useBase64", Shape::Boolean)]),
    (
        "sns",
        &[ROLE, need("targetArn", Shape::Text(ANY)), may("messageFormat", Shape::OneOf(&["RAW", "JSON"]))],
    ),
    ("kinesis", &[ROLE, template("streamName"), may("partitionKey", Shape::Template(ANY))]),
    (
        "firehose",
        &[
            ROLE,
            template("deliveryStreamName"),
            may("separator", Shape::OneOf(&["\n", "\t", "\r\n", ","])),
            BATCH_MODE,
        ],
    ),
    ("dynamoDB", DYNAMO_DB),
    ("dynamoDBv2", &[ROLE, need("putItem", Shape::Object(&[template("tableName")]))]),
    ("cloudwatchMetric", CLOUDWATCH_METRIC),
    ("cloudwatchAlarm", &[ROLE, template("alarmName"), template("stateReason"), template("stateValue")]),
    ("cloudwatchLogs", &[ROLE, template("logGroupName"), BATCH_MODE]),
    ("openSearch", SEARCH),
    ("elasticsearch", SEARCH),
    ("timestream", TIMESTREAM),
    ("influxDB", INFLUX_DB),
    ("kafka", KAFKA),
    (
        "stepFunctions",
        &[ROLE, template("stateMachineName"), may("executionNamePrefix", Shape::Template(ANY))],
    ),
    ("location", LOCATION),
    (
        "iotAnalytics",
        &[
            may("channelName", Shape::Template(ANY)),
            may("channelArn", Shape::Text(ANY)),
            may("roleArn", Shape::Role),
            BATCH_MODE,
        ],
    ),
    (
        "iotEvents",
        &[ROLE, need("inputName", Shape::Template(128)), may("messageId", Shape::Template(128)), BATCH_MODE],
    ),
    ("iotSiteWise", &[ROLE, need("putAssetPropertyValueEntries", Shape::List(SITE_WISE_ENTRY, 1, ANY))]),
    ("salesforce", &[need("token", Shape::Text(ANY)), need("url", Shape::Template(2000))]),
];

const CANNED_ACLS: &[&str] = &[
    "private",
    "public-read",
    "public-read-write",
    "aws-exec-read",
    "authenticated-read",
    "bucket-owner-read",
    "bucket-owner-full-control",
    "log-delivery-write",
];

const REPUBLISH: &[Member] = &[
    ROLE,
    template("topic"),
    may("qos", Shape::Integer(0, 1)),
    may(
        "headers",
        Shape::Object(&[
            may("payloadFormatIndicator", Shape::Template(1024)),
            may("contentType", Shape::Template(1024)),
            may("responseTopic", Shape::Template(1024)),
            may("correlationData", Shape::Template(1024)),
            may("messageExpiry", Shape::Template(1024)),
            may("userProperties", Shape::List(USER_PROPERTY, 1, 100)),
        ]),
    ),
];

const USER_PROPERTY: &[Member] = &[need("key", Shape::Template(1024)), need("value", Shape::Template(1024))];

const HTTP: &[Member] = &[
    need("url", Shape::Template(2000)),
    may("confirmationUrl", Shape::Template(2000)),
    may("headers", Shape::List(&[need("key", Shape::Text(256)), template("value")], 0, 100)),
    may(
        "auth",
        Shape::Object(&[may(
            "sigv4",
            Shape::Object(&[
                ROLE,
                need("signingRegion", Shape::Text(ANY)),
                need("serviceName", Shape::Text(ANY)),
            ]),
        )]),
    ),
    may("enableBatching", Shape::Boolean),
    may(
        "batchConfig",
        Shape::Object(&[
            may("maxBatchOpenMs", Shape::Integer(5, 200)),
            may("maxBatchSize", Shape::Integer(2, 10)),
            may("maxBatchSizeBytes", Shape::Integer(100, 131_072)),
            may("batchAcrossTopics", Shape::Boolean),
        ]),
    ),
];

const DYNAMO_DB: &[Member] = &[
    ROLE,
    template("tableName"),
    template("hashKeyField"),
    template("hashKeyValue"),
    may("hashKeyType", KEY_TYPES),
    may("rangeKeyField", Shape::Template(ANY)),
    may("rangeKeyValue", Shape::Template(ANY)),
    may("rangeKeyType", KEY_TYPES),
    may("operation", Shape::Template(ANY)),
    may("payloadField", Shape::Template(ANY)),
];

const CLOUDWATCH_METRIC: &[Member] = &[
    ROLE,
    template("metricNamespace"),
    template("metricName"),
    template("metricValue"),
    template("metricUnit"),
    may("metricTimestamp", Shape::Template(ANY)),
];

const SEARCH: &[Member] =
    &[ROLE, need("endpoint", Shape::Text(ANY)), template("index"), template("type"), template("id")];

const TIMESTREAM: &[Member] = &[
    ROLE,
    template("databaseName"),
    template("tableName"),
    need("dimensions", Shape::List(&[template("name"), template("value")], 1, 128)),
    may("timestamp", Shape::Object(&[template("value"), template("unit")])),
];

// `@{…}` in InfluxDB's fields is the rules engine's, evaluated per element of an array result.
const INFLUX_DB: &[Member] = &[
    ROLE,
    need("destinationArn", Shape::Text(ANY)),
    need("databaseName", Shape::Template(64)),
    need("tableName", Shape::Template(1024)),
    may("organization", Shape::Template(64)),
    may("tags", Shape::Map),
    may("timestampUnit", Shape::OneOf(&["s", "ms", "us", "ns"])),
    may(
        "batchConfig",
        Shape::Object(&[
            may("maxBatchOpenMs", Shape::Integer(5, 1000)),
            may("maxBatchSize", Shape::Integer(1, 500)),
            may("maxBatchSizeBytes", Shape::Integer(100, 131_072)),
            may("batchAcrossTopics", Shape::Boolean),
        ]),
    ),
];

const KAFKA: &[Member] = &[
    need("destinationArn", Shape::Text(ANY)),
    template("topic"),
    need("clientProperties", Shape::Map),
    may("key", Shape::Template(ANY)),
    may("partition", Shape::Template(ANY)),
    may(
        "headers",
        Shape::List(&[need("key", Shape::Template(16_384)), need("value", Shape::Template(16_384))], 1, 100),
    ),
];

const LOCATION: &[Member] = &[
    ROLE,
    template("trackerName"),
    template("deviceId"),
    template("latitude"),
    template("longitude"),
    may("timestamp", Shape::Object(&[template("value"), may("unit", Shape::Template(ANY))])),
];

const SITE_WISE_ENTRY: &[Member] = &[
    may("entryId", Shape::Template(ANY)),
    may("assetId", Shape::Template(ANY)),
    may("propertyId", Shape::Template(ANY)),
    may("propertyAlias", Shape::Template(ANY)),
    need(
        "propertyValues",
        Shape::List(
            &[
                need(
                    "value",
                    Shape::Object(&[
                        may("stringValue", Shape::Template(1024)),
                        may("integerValue", Shape::Template(ANY)),
                        may("doubleValue", Shape::Template(ANY)),
                        may("booleanValue", Shape::Template(ANY)),
                    ]),
                ),
                need(
                    "timestamp",
                    Shape::Object(&[template("timeInSeconds"), may("offsetInNanos", Shape::Template(ANY))]),
                ),
                may("quality", Shape::Template(ANY)),
            ],
            1,
            ANY,
        ),
    ),
];
