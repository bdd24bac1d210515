//! `pkcs11:` URIs: those of RFC 7512, what is wrong with others, and any at all.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::PathBuf;

use polytls_pkcs11::{Error, ModuleReference, ObjectType, PinReference, Uri};
use proptest::prelude::*;

fn parse(text: &str) -> Uri {
    Uri::parse(text.as_bytes()).unwrap()
}

fn why(text: &[u8]) -> String {
    match Uri::parse(text) {
        Err(Error::Uri(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn examples_of_the_rfc_are_read() {
    assert_eq!(parse("pkcs11:"), Uri::default());
    let uri = parse("pkcs11:object=my-pubkey;type=public");
    assert_eq!(uri.object.as_deref(), Some(&b"my-pubkey"[..]));
    assert_eq!(uri.object_type, Some(ObjectType::PublicKey));
    let uri = parse("pkcs11:object=my-key;type=private?pin-source=file:/etc/token");
    assert_eq!(
        uri.pin,
        Some(PinReference::File(PathBuf::from("/etc/token")))
    );
    let uri = parse(
        "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;model=1.0;\
         object=my-certificate;type=cert;id=%69%95%3E%5C%F4%BD%EC%91;serial=?pin-source=file:/etc/token_pin",
    );
    assert_eq!(
        uri.token.as_deref(),
        Some(&b"The Software PKCS#11 Softtoken"[..])
    );
    assert_eq!(uri.manufacturer.as_deref(), Some(&b"Snake Oil, Inc."[..]));
    assert_eq!(
        uri.id.as_deref(),
        Some(&[0x69, 0x95, 0x3e, 0x5c, 0xf4, 0xbd, 0xec, 0x91][..])
    );
    assert_eq!(uri.serial.as_deref(), Some(&b""[..]));
    let uri = parse("pkcs11:object=my-sign-key;type=private?module-name=mypkcs11");
    assert_eq!(
        uri.module,
        Some(ModuleReference::Name("mypkcs11".to_owned()))
    );
    let uri = parse("pkcs11:object=my-sign-key;type=private?module-path=/mnt/libmypkcs11.so.1");
    assert_eq!(
        uri.module,
        Some(ModuleReference::Path(PathBuf::from(
            "/mnt/libmypkcs11.so.1"
        )))
    );
    let uri = parse("pkcs11:slot-description=Sun%20Metaslot;slot-id=327;library-version=2.40");
    assert_eq!(
        (uri.slot_id, uri.library_version),
        (Some(327), Some((2, 40)))
    );
    let uri = parse(
        "pkcs11:token=Software%20PKCS%2311%20softtoken;manufacturer=Snake%20Oil,%20Inc.?pin-value=the-pin",
    );
    assert_eq!(
        uri.pin,
        Some(PinReference::Value(b"the-pin".to_vec().into()))
    );
    let uri = parse("pkcs11:object=a?x-vendor=1&module-name=b");
    assert_eq!(uri.ignored, ["x-vendor"]);
    assert_eq!(parse("PKCS11:token=a"), parse("pkcs11:token=a"));
}

#[test]
fn what_is_wrong_is_named_and_a_pin_is_not_repeated() {
    let table: &[(&[u8], &str)] = &[
        (b"http://x", "must begin with \"pkcs11:\""),
        (b"pkcs11:token", "no \"=\""),
        (b"pkcs11:token=a;", "no \"=\""),
        (b"pkcs11:token=a;token=b", "token is given twice"),
        (b"pkcs11:colour=red", "unknown path attribute \"colour\""),
        (
            b"pkcs11:token=a b",
            "token: a character must be percent-encoded",
        ),
        (
            b"pkcs11:token=%zz",
            "token: \"%\" must be followed by two hexadecimal digits",
        ),
        (
            b"pkcs11:token=%2",
            "token: \"%\" must be followed by two hexadecimal digits",
        ),
        (b"pkcs11:=a", "the name of an attribute"),
        (b"pkcs11:slot-id=-1", "slot-id must be a decimal number"),
        (
            b"pkcs11:slot-id=99999999999999999999",
            "slot-id must be a decimal number",
        ),
        (b"pkcs11:type=key", "type must be cert"),
        (b"pkcs11:library-version=1.2.3", "library-version"),
        (b"pkcs11:pin-value=1", "pin-value is a query attribute"),
        (b"pkcs11:?pin-source=|/bin/pin", "names a command"),
        (b"pkcs11:?pin-source=%7C/bin/pin", "names a command"),
        (b"pkcs11:?pin-source=pin.txt", "absolute path"),
        (
            b"pkcs11:?pin-value=a&pin-source=/a",
            "one of pin-value and pin-source",
        ),
        (
            b"pkcs11:?module-path=lib.so",
            "module-path must be an absolute path",
        ),
        (b"pkcs11:?module-name=/a/b", "module-name must be a name"),
        (
            b"pkcs11:?module-path=/a&module-name=b",
            "one of module-path and module-name",
        ),
    ];
    for (text, part) in table {
        assert!(
            why(text).contains(part),
            "{}: {}",
            String::from_utf8_lossy(text),
            why(text)
        );
    }
    assert!(!why(b"pkcs11:?pin-value=secret%q").contains("secret"));
    let uri = parse("pkcs11:token=a?pin-value=secret");
    assert!(!format!("{uri} {uri:?}").contains("secret"));
}

proptest! {
    #[test]
    fn nothing_panics(text in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = Uri::parse(&text);
        let _ = Uri::parse(&[b"pkcs11:", &*text].concat());
    }

    #[test]
    fn what_is_written_is_read_as_the_same(
        token in prop::option::of(prop::collection::vec(any::<u8>(), 0..20)),
        object in prop::option::of(prop::collection::vec(any::<u8>(), 0..20)),
        id in prop::option::of(prop::collection::vec(any::<u8>(), 0..20)),
        slot_id in prop::option::of(any::<u64>()),
        library_version in prop::option::of(any::<(u8, u8)>()),
    ) {
        let uri = Uri { token, object, id, slot_id, library_version, ..Uri::default() };
        prop_assert_eq!(Uri::parse(uri.to_string().as_bytes()).unwrap(), uri);
    }
}
