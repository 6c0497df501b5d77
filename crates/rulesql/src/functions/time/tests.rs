use super::{java_time, joda, zone};

fn written(pattern: &str, ms: i64, id: &str) -> Option<String> {
    joda::format(pattern, jiff::Timestamp::from_millisecond(ms).unwrap(), &zone::find(id)?)
}

#[test]
fn joda_patterns() {
    let guide = "yyyy.MM.dd G 'at' HH:mm:ss z";
    assert_eq!(written(guide, 100_000_000, "America/Belize").unwrap(), "1970.01.01 AD at 21:46:40 CST");
    assert_eq!(
        written("EEEE, d MMM yy hh 'o''clock' a", 0, "UTC").unwrap(),
        "Thursday, 1 Jan 70 12 o'clock AM"
    );
    assert_eq!(
        written("x-'W'ww-e D C K k SSSS", 1_700_000_000_123, "UTC").unwrap(),
        "2023-W46-2 318 20 10 22 1230"
    );
    assert_eq!(
        written("Z ZZ ZZZ zzzz", 0, "Asia/Tokyo").unwrap(),
        "+0900 +09:00 Asia/Tokyo Japan Standard Time"
    );
    assert_eq!(written("HH z", 0, "+05:30").unwrap(), "05 +05:30");
    assert_eq!(written("bb", 0, "UTC"), None);
    assert_eq!(written("yyyy", 0, "Mars/Olympus"), None);
}

#[test]
fn java_time_patterns() {
    for (text, pattern, want) in [
        ("1970-01-02", "yyyy-MM-dd", Some(86_400_000)),
        ("20231114221320", "yyyyMMddHHmmss", Some(1_700_000_000_000)),
        ("2023-11-14T22:13:20.123Z", "yyyy-MM-dd'T'HH:mm:ss.SSSX", Some(1_700_000_000_123)),
        ("2023-11-14T23:13:20+01:00", "yyyy-MM-dd'T'HH:mm:ssXXX", Some(1_700_000_000_000)),
        ("2023-11-14 23:13:20 Europe/Paris", "yyyy-MM-dd HH:mm:ss VV", Some(1_700_000_000_000)),
        ("2023-11-14 23:13:20 UTC+01:00", "yyyy-MM-dd HH:mm:ss VV", Some(1_700_000_000_000)),
        ("Tue, 14 Nov 2023 10:13:20 PM", "E, d MMM yyyy h:mm:ss a", Some(1_700_000_000_000)),
        ("Mon, 14 Nov 2023", "E, d MMM yyyy", None),
        ("14/11/23", "dd/MM/yy", Some(1_699_920_000_000)),
        ("2023-11-14", "yyyy-MM-dd[ HH:mm]", Some(1_699_920_000_000)),
        ("2023-02-31", "yyyy-MM-dd", Some(1_677_542_400_000)),
        ("2023-13-01", "yyyy-MM-dd", None),
        ("2023-1-1", "yyyy-MM-dd", None),
        ("2023-01-01x", "yyyy-MM-dd", None),
        ("01:00", "HH:mm", Some(3_600_000)),
        ("2023-01-01", "yyyy-bb", None),
    ] {
        assert_eq!(java_time::parse(text, pattern), want, "{text} {pattern}");
    }
}

proptest::proptest! {
    #[test]
    fn any_text_and_pattern_end(
        text in ".{0,40}",
        pattern in "[a-zA-Z'\\[\\]:/. -]{0,30}",
        ms in proptest::prelude::any::<i64>(),
    ) {
        let _ = java_time::parse(&text, &pattern);
        if let Ok(instant) = jiff::Timestamp::from_millisecond(ms) {
            let _ = joda::format(&pattern, instant, &zone::find("Asia/Kathmandu").unwrap());
        }
    }
}
