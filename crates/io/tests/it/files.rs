//! Files that are sent.

use std::fs::File;
use std::io::Write as _;
use std::thread;

use polytls_io::{Error, Timeout};

use crate::kit::*;

/// A file that nobody else can find.
fn file_with(content: &[u8]) -> File {
    let name = format!(
        "polytls-{}-{:?}",
        std::process::id(),
        thread::current().id()
    );
    let path = std::env::temp_dir().join(name);
    File::create_new(&path).unwrap().write_all(content).unwrap();
    let file = File::open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    file
}

#[test]
fn a_file_or_a_part_of_it_arrives_whole() {
    const SIZE: usize = 3_000_001;
    within_limits(|| {
        let content = pattern(SIZE);
        let file = file_with(&content);
        for (offset, count, expected) in [
            (0, None, &content[..]),
            (1_000_000, None, &content[1_000_000..]),
            (17, Some(1_500_000), &content[17..1_500_017]),
            (SIZE - 10, Some(1_000), &content[SIZE - 10..]),
            (SIZE + 5, None, &[][..]),
        ] {
            let (client, server) = pair();
            let reader = thread::spawn(move || recv_all(&server).unwrap());
            let mut sent = 0;
            client
                .send_file(&file, offset as u64, count, &mut sent, &mut || false)
                .unwrap();
            close(&client, true).unwrap();
            assert_eq!(sent, expected.len() as u64);
            assert!(reader.join().unwrap() == expected);
        }
    });
}

#[test]
fn how_much_was_accepted_is_told_when_the_time_is_over() {
    within_limits(|| {
        let content = pattern(20_000_000);
        let file = file_with(&content);
        let (client, server) = pair();
        client.set_timeout(Timeout::After(SHORT));
        let mut sent = 0;
        let outcome = client.send_file(&file, 0, None, &mut sent, &mut || false);
        assert!(matches!(outcome, Err(Error::TimedOut)), "{outcome:?}");
        assert!(sent > 0 && sent < 20_000_000);
        client.set_timeout(Timeout::Forever);
        let closer = thread::spawn(move || close(&client, true));
        let arrived = recv_all(&server).unwrap();
        closer.join().unwrap().unwrap();
        assert!(arrived == content[..usize::try_from(sent).unwrap()]);
    });
}

#[test]
fn a_fault_of_the_file_is_its_own_and_the_connection_goes_on() {
    within_limits(|| {
        let (client, server) = pair();
        let folder = File::open(std::env::temp_dir()).unwrap();
        let mut sent = 0;
        let outcome = client.send_file(&folder, 0, None, &mut sent, &mut || false);
        assert_eq!(errno(outcome), rustix::io::Errno::ISDIR.raw_os_error());
        assert_eq!(sent, 0);
        send_all(&client, b"x").unwrap();
        assert_eq!(recv(&server, 10).unwrap(), b"x");
    });
}
