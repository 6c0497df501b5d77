use proptest::prelude::*;

use super::*;

fn d(text: &str) -> Decimal {
    Decimal::parse(text, true).unwrap()
}

#[test]
fn prints_as_written() {
    for text in ["10.0", "0.1", "-0.5", "1E-7", "0.000001", "1.5E+20", "123", "0.00", "-12.340", "9.9E-9"] {
        assert_eq!(d(text).to_string(), text);
    }
}

#[test]
fn adds_exactly_and_rounds_half_even() {
    assert_eq!(d("0.1").sum(d("0.6")).unwrap(), d("0.7"));
    assert_eq!(d("1.10").sum(d("2")).unwrap().to_string(), "3.10");
    let long = "1234567890123456789012345678901234";
    assert_eq!(d(long).sum(d("0.5")).unwrap().to_string(), long);
    assert_eq!(
        d(long).sum(d("0.500000000000000000000000000001")).unwrap().to_string(),
        format!("{}5", &long[..33])
    );
    assert_eq!(d("1E40").difference(d("1E-40")).unwrap().compare(d("1E40")), Ordering::Equal);
    assert_eq!(d("1E34").difference(d("0.4")).unwrap().compare(d("1E34")), Ordering::Equal);
    assert_eq!(d("0.0").sum(d("5")).unwrap().to_string(), "5.0");
}

#[test]
fn multiplies_long_coefficients() {
    let nines = "9999999999999999999999999999999999";
    assert_eq!(d(nines).product(d(nines)).unwrap().to_string(), "9.999999999999999999999999999999998E+67");
    assert_eq!(d("0.1").product(d("0.1")).unwrap().to_string(), "0.01");
    assert_eq!(d("1E600").product(d("1E600")), None);
}

#[test]
fn divides_to_34_digits() {
    assert_eq!(d("7").quotient(d("2")).unwrap().to_string(), "3.5");
    assert_eq!(d("1").quotient(d("3")).unwrap().to_string(), "0.3333333333333333333333333333333333");
    assert_eq!(d("2").quotient(d("3")).unwrap().to_string(), "0.6666666666666666666666666666666667");
    assert_eq!(d("1").quotient(d("0.0")), None);
    assert_eq!(d("0").quotient(d("5")).unwrap(), Decimal::ZERO);
}

#[test]
fn remainder_follows_the_dividend() {
    assert_eq!(d("-7").remainder(d("3")).unwrap().to_string(), "-1");
    assert_eq!(d("7.5").remainder(d("2")).unwrap().to_string(), "1.5");
    assert_eq!(d("1E900").remainder(d("7")).unwrap().to_string(), "1");
    assert_eq!(d("0.5").remainder(d("1E500")).unwrap().to_string(), "0.5");
}

#[test]
fn range_ends_at_999() {
    assert!(Decimal::parse("1E999", false).is_some());
    assert!(Decimal::parse("1E1000", false).is_none());
    assert!(Decimal::parse("1E-999", false).is_some());
    assert!(Decimal::parse("1E-1000", false).is_none());
    assert!(Decimal::parse("0E-99999999999999999999", false).is_some());
}

#[test]
fn drops_fractions() {
    let whole = |text: &str, rounding| d(text).without_fraction(rounding).unwrap().to_string();
    assert_eq!(whole("-1.2", Rounding::Floor), "-2");
    assert_eq!(whole("-1.2", Rounding::Ceiling), "-1");
    assert_eq!(whole("2.5", Rounding::HalfUp), "3");
    assert_eq!(whole("-2.5", Rounding::HalfUp), "-3");
    assert_eq!(whole("1E-500", Rounding::Ceiling), "1");
    assert_eq!(d("2.888").truncated(2).to_string(), "2.88");
    assert_eq!(d("1E-40").truncated(3).to_string(), "0");
}

proptest! {
    #[test]
    fn small_numbers_agree_with_integers(
        a in -1_000_000_000_i64..1_000_000_000,
        b in -1_000_000_000_i64..1_000_000_000,
        ea in 0_u32..9,
        eb in 0_u32..9,
    ) {
        let x = Decimal::new(a.into(), -i64::from(ea)).unwrap();
        let y = Decimal::new(b.into(), -i64::from(eb)).unwrap();
        let (wide_a, wide_b) = (i128::from(a) * 10_i128.pow(9 - ea), i128::from(b) * 10_i128.pow(9 - eb));
        let same = |got: Decimal, want: i128, scale: i64|
            got.compare(Decimal::new(want, -scale).unwrap()) == Ordering::Equal;
        prop_assert!(same(x.sum(y).unwrap(), wide_a + wide_b, 9));
        prop_assert!(same(x.product(y).unwrap(), wide_a * wide_b, 18));
        if b != 0 {
            prop_assert!(same(x.remainder(y).unwrap(), wide_a % wide_b, 9));
        }
        prop_assert_eq!(x.compare(y), wide_a.cmp(&wide_b));
    }

    #[test]
    fn quotient_times_divisor_comes_back(a in 1_i64.., b in 1_i64..) {
        let (x, y) = (Decimal::new(a.into(), 0).unwrap(), Decimal::new(b.into(), 0).unwrap());
        let back = x.quotient(y).unwrap().product(y).unwrap();
        let off = back.difference(x).unwrap().absolute();
        prop_assert!(off.compare(x.product(d("1E-33")).unwrap()) != Ordering::Greater);
    }

    #[test]
    fn text_round_trip(coefficient in any::<i64>(), exponent in -60_i64..60) {
        let value = Decimal::new(coefficient.into(), exponent).unwrap();
        prop_assert_eq!(d(&value.to_string()), value);
    }

    #[test]
    fn any_operands_end(
        a in any::<i128>(),
        b in any::<i128>(),
        ea in -1100_i64..1100,
        eb in -1100_i64..1100,
    ) {
        if let (Some(x), Some(y)) = (Decimal::new(a, ea), Decimal::new(b, eb)) {
            let _ = (x.sum(y), x.difference(y), x.product(y), x.quotient(y), x.remainder(y), x.compare(y));
            let _ = (x.as_whole(), x.without_fraction(Rounding::Floor), x.truncated(3), x.to_double());
        }
    }
}
