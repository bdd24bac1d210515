//! Keys on curves that are given by their numbers (SpecifiedECDomain, SEC 1 appendix C.2) and not by
//! their names. RFC 5480 section 2.1.1 forbids them, and some devices have them.

use crate::der::{all, element, first};

/// A curve: its object identifier, and its numbers in hexadecimal.
struct Curve {
    id: &'static [u8],
    prime: &'static str,
    b: &'static str,
    base: &'static str,
    order: &'static str,
}

/// id-ecPublicKey.
const EC_PUBLIC_KEY: &[u8] = b"\x2a\x86\x48\xce\x3d\x02\x01";

/// prime-field.
const PRIME_FIELD: &[u8] = b"\x2a\x86\x48\xce\x3d\x01\x01";

/// P-256, P-384 and P-521 (SEC 2 sections 2.4.2, 2.5.1 and 2.6.1). Of each, a is the prime less 3, and the
/// cofactor is 1.
const CURVES: [Curve; 3] = [
    Curve {
        id: b"\x2a\x86\x48\xce\x3d\x03\x01\x07",
        prime: "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff",
        b: "5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b",
        base: "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b\
               8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
        order: "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
    },
    Curve {
        id: b"\x2b\x81\x04\x00\x22",
        prime: "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff000000000000\
                0000ffffffff",
        b: "b3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8\
            edd3ec2aef",
        base: "04aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c\
               3a545e3872760ab73617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a\
               60b1ce1d7e819d7a431d7c90ea0e5f",
        order: "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec\
                196accc52973",
    },
    Curve {
        id: b"\x2b\x81\x04\x00\x23",
        prime: "01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff\
                ffffffffffffffffffffffffffffffffffffffffffffffff",
        b: "51953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e156193951ec7e937b165\
            2c0bd3bb1bf073573df883d2c34f1ef451fd46b503f00",
        base: "0400c6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3dbaa14b5e77efe7\
               5928fe1dc127a2ffa8de3348b3c1856a429bf97e7e31c2e5bd66011839296a789a3bc0045c8a5fb42c\
               7d1bd998f54449579b446817afbd17273e662c97ee72995ef42640c550b9013fad0761353c7086a272\
               c24088be94769fd16650",
        order: "01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7f\
                cc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409",
    },
];

/// The same key with the name of its curve in the place of its numbers, as SubjectPublicKeyInfo in DER; `None`
/// where `spki` is no such key, or its numbers, any of them, are of none of the curves known here: whoever
/// chose others may know the private key that belongs to a stranger's public one.
#[must_use]
pub fn with_named_curve(spki: &[u8]) -> Option<Vec<u8>> {
    let (0x30, inner, []) = first(spki)? else {
        return None;
    };
    let (0x30, algorithm, key) = first(inner)? else {
        return None;
    };
    let (0x03, ..) = first(key)? else {
        return None;
    };
    let [(0x06, EC_PUBLIC_KEY), (0x30, parameters)] = all(algorithm)?[..] else {
        return None;
    };
    // The largest of them, with its seed, takes less than half of this.
    if parameters.len() > 1024 {
        return None;
    }
    let curve = CURVES.iter().find(|curve| curve.is(parameters))?;
    let named = [element(0x06, EC_PUBLIC_KEY), element(0x06, curve.id)].concat();
    Some(element(0x30, &[&element(0x30, &named), key].concat()))
}

impl Curve {
    /// Whether these are its numbers.
    fn is(&self, parameters: &[u8]) -> bool {
        self.compare(parameters).unwrap_or(false)
    }

    fn compare(&self, parameters: &[u8]) -> Option<bool> {
        let found = all(parameters)?;
        let (
            [
                (0x02, _),
                (0x30, field),
                (0x30, curve),
                (0x04, base),
                (0x02, order),
            ],
            cofactor,
        ) = found.split_first_chunk::<5>()?
        else {
            return Some(false);
        };
        let [(0x06, PRIME_FIELD), (0x02, prime)] = all(field)?[..] else {
            return Some(false);
        };
        // The seed of its making may follow, which says nothing of the curve.
        let curve = all(curve)?;
        let [(0x04, a), (0x04, b)] = *curve.first_chunk::<2>()? else {
            return Some(false);
        };
        let prime = hexadecimal(prime);
        let less_3 = prime.strip_suffix("ff").map(|most| format!("{most}fc"));
        let is_one = matches!(cofactor, [] | [(0x02, [1])]);
        Some(
            is_one
                && prime == self.prime
                && less_3.as_ref() == Some(&hexadecimal(a))
                && hexadecimal(b) == self.b
                && hexadecimal(order) == self.order
                && hexadecimal(base) == self.base.trim_start_matches("00"),
        )
    }
}

/// Without leading bytes of zeros.
fn hexadecimal(number: &[u8]) -> String {
    let digits = number.iter().skip_while(|digit| **digit == 0);
    digits.map(|digit| format!("{digit:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hexadecimal: &str) -> Vec<u8> {
        hexadecimal
            .as_bytes()
            .chunks(2)
            .map(|digits| u8::from_str_radix(str::from_utf8(digits).unwrap(), 16).unwrap())
            .collect()
    }

    /// A key with a point that is not looked at; `change` is made to the numbers: prime, a, b, base, order,
    /// cofactor.
    fn key(curve: &Curve, change: impl Fn(&mut [Vec<u8>; 6])) -> Vec<u8> {
        let prime = bytes(curve.prime);
        let mut a = prime.clone();
        *a.last_mut().unwrap() = 0xfc;
        let mut numbers = [
            prime,
            a,
            bytes(curve.b),
            bytes(curve.base),
            bytes(curve.order),
            vec![1],
        ];
        change(&mut numbers);
        let [prime, a, b, base, order, cofactor] = numbers;
        let field = [element(6, PRIME_FIELD), element(2, &prime)].concat();
        let parameters = [
            element(2, &[1]),
            element(0x30, &field),
            element(0x30, &[element(4, &a), element(4, &b)].concat()),
            element(4, &base),
            element(2, &order),
            element(2, &cofactor),
        ]
        .concat();
        let algorithm = [element(6, EC_PUBLIC_KEY), element(0x30, &parameters)].concat();
        let inner = [element(0x30, &algorithm), element(3, b"\0point")].concat();
        element(0x30, &inner)
    }

    #[test]
    fn a_curve_is_called_by_its_name_if_all_of_its_numbers_are_right() {
        for curve in &CURVES {
            let named = with_named_curve(&key(curve, |_| ())).unwrap();
            let algorithm = [element(6, EC_PUBLIC_KEY), element(6, curve.id)].concat();
            let inner = [element(0x30, &algorithm), element(3, b"\0point")].concat();
            assert_eq!(named, element(0x30, &inner));
            for number in 0..6 {
                let other = key(curve, |numbers| *numbers[number].last_mut().unwrap() ^= 2);
                assert_eq!(with_named_curve(&other), None, "{number}");
            }
            assert_eq!(with_named_curve(&named), None);
        }
    }
}
