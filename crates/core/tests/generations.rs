//! Forks as far as they are counted. It is a program of its own, as all locks of a process look at the count.

use polytls_core::fork::{PerProcess, entered_child};

#[test]
fn each_process_makes_its_value_once_from_its_parents() {
    static FIRST: PerProcess<u32> = PerProcess::of_the_first(1);
    let value = PerProcess::new(1);
    assert_eq!(*value.get(|_| unreachable!()), 1);
    assert_eq!(*FIRST.get(|_| unreachable!()), 1);
    // As after a fork.
    entered_child();
    assert_eq!(*value.get(|parent| parent + 1), 2);
    assert_eq!(*value.get(|_| unreachable!()), 2);
    entered_child();
    entered_child();
    assert_eq!(*value.get(|parent| parent + 1), 3);
    assert_eq!(*FIRST.get(|parent| parent + 1), 2);
}
