//! The table of cases, by what they are about.
//!
//! The table is a macro, so that [`crate::tests!`] can make a test of each entry: a new case is a
//! function in its module and a line here, and the compiler finds the one without the other.

/// Passes unless `$value` is of the form given; says what it was otherwise.
macro_rules! assert_is {
    ($value:expr, $pattern:pat $(if $guard:expr)? $(, $($context:tt)+)?) => {
        match $value {
            $pattern $(if $guard)? => {}
            other => panic!(
                "expected {}, found {other:?}{}",
                stringify!($pattern $(if $guard)?),
                String::new() $(+ ": " + &format!($($context)+))?
            ),
        }
    };
}

mod alerts;
mod authentication;
mod close;
mod data;
mod failure;
mod foreign;
mod fragments;
mod handshake;
mod lent;
mod limits;
mod names;
mod negotiation;
mod ragged;
mod resumption;
mod tamper;
mod trust;

use polytls_core::Backend;

use crate::credentials::Credentials;
use crate::scene::{Scene, Versions};

/// One thing that every backend must do.
pub struct Case {
    /// Module and function, as in `close::bytes_behind_close_notify_are_kept`.
    pub name: &'static str,
    /// The choices of versions it makes sense for.
    pub versions: &'static [Versions],
    check: fn(&Scene<'_>),
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Case {
    /// Runs it.
    ///
    /// # Panics
    ///
    /// If the backend does not do what the case is about.
    pub fn run(&self, backend: &dyn Backend, credentials: &Credentials, versions: Versions) {
        (self.check)(&Scene {
            backend,
            credentials,
            versions,
        });
    }
}

/// Runs the case of this name.
///
/// # Panics
///
/// If it fails, or if there is none.
pub fn run(name: &str, backend: &dyn Backend, credentials: &Credentials, versions: Versions) {
    cases()
        .iter()
        .find(|case| case.name == name && case.versions.contains(&versions))
        .expect("a case of this name for these versions")
        .run(backend, credentials, versions);
}

/// What a library cannot do.
#[derive(Clone, Copy, Debug)]
pub struct Deviation {
    /// The case, as in [`Case::name`].
    pub case: &'static str,
    /// The choice of versions for which it is so.
    pub versions: Versions,
    /// What the library's documentation, or an issue, says.
    pub reason: &'static str,
}

/// As [`run`]; but a case that the library cannot pass must fail.
///
/// # Panics
///
/// If it fails and should not, or the other way round, or if there is none.
pub fn run_with(
    deviations: &[Deviation],
    name: &str,
    backend: &dyn Backend,
    credentials: &Credentials,
    versions: Versions,
) {
    let deviates = |one: &&Deviation| one.case == name && one.versions == versions;
    let Some(deviation) = deviations.iter().find(deviates) else {
        return run(name, backend, credentials, versions);
    };
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        run(name, backend, credentials, versions);
    }));
    assert!(
        ran.is_err(),
        "it passes: that {:?} no longer holds",
        deviation.reason
    );
}

/// The cases: for every choice of versions, for TLS 1.2 only, for where TLS 1.3 is agreed on, and
/// for where both versions are allowed.
#[doc(hidden)]
#[macro_export]
macro_rules! for_every_case {
    ([$($then:tt)*] $($arguments:tt)*) => {
        $($then)* ! {
            $($arguments)*
            every {
                handshake::completes_however_the_stream_is_cut
                handshake::facts_are_right_on_both_sides
                handshake::facts_are_absent_until_it_is_complete
                handshake::reads_and_writes_drive_it
                handshake::no_plaintext_is_taken_before_it_is_complete
                handshake::records_before_the_first_call_are_not_passed_over
                handshake::an_address_is_verified_and_never_sent_as_a_name
                handshake::a_client_that_verifies_names_needs_one
                handshake::all_key_types_of_servers_work
                data::of_any_size_arrives_whole_both_ways
                data::empty_reads_and_writes_do_nothing
                data::never_looks_like_the_plaintext_on_the_wire
                data::the_largest_records_arrive_in_place
                lent::whatever_way_it_comes_and_goes_the_same_arrives
                lent::what_is_kept_counts
                lent::bytes_behind_close_notify_are_not_lost
                lent::what_waits_goes_out_first
                lent::the_outgoing_limit_holds_for_memory_of_others
                limits::incoming_is_refused_only_at_the_limit
                limits::one_delivery_is_taken_whole
                limits::progress_is_possible_at_the_incoming_limit
                limits::outgoing_is_refused_at_the_limit_until_drained
                limits::one_huge_write_is_short
                limits::nothing_comes_after_the_end_of_the_transport
                close::close_notify_ends_reading_for_ever
                close::close_notify_is_queued_once
                close::bytes_behind_close_notify_are_kept
                close::data_before_close_notify_is_read_first
                close::both_sides_may_close_at_once
                close::there_is_nothing_to_shut_down_inside_the_handshake
                ragged::the_end_comes_after_the_data
                ragged::an_end_inside_a_record_is_ragged
                ragged::writing_goes_on_after_the_end
                ragged::close_notify_inside_the_handshake_is_no_clean_end
                ragged::an_end_at_any_byte_of_the_servers_flights
                ragged::an_end_at_any_byte_of_the_clients_flights
                failure::is_latched_and_its_alert_can_be_sent
                failure::of_the_host_name
                failure::of_the_issuer
                failure::of_the_application_protocol
                failure::of_the_cipher_suites
                failure::of_the_groups
                failure::declared_by_the_caller_is_latched
                failure::leaves_data_that_came_before_readable
                tamper::with_any_encrypted_handshake_record
                tamper::with_data_after_data_that_was_whole
                tamper::with_close_notify
                tamper::by_replay_reordering_or_loss
                alerts::for_a_header_that_is_none
                alerts::for_a_record_in_the_clear_that_is_too_long
                alerts::but_not_behind_our_close_notify
                foreign::plain_http_is_named
                foreign::garbage_is_not_tls
                foreign::oversized_records_are_refused
                foreign::a_broken_header_after_the_handshake_is_refused_after_the_data
                foreign::random_bytes_are_judged_without_panic
                foreign::damaged_flights_are_judged_without_panic
                foreign::damaged_data_is_judged_without_panic
                fragments::messages_in_records_of_one_byte_are_read
                fragments::endless_messages_are_refused
                fragments::long_chains_and_tickets_take_several_records
                names::choose_the_chain
                names::fall_back_on_the_first_chain
                names::are_compared_as_dns_does
                authentication::is_not_asked_for_by_default
                authentication::optional_takes_what_comes
                authentication::required_takes_a_good_certificate
                authentication::required_refuses_none
                authentication::strangers_are_refused_where_it_is_optional_too
                authentication::required_refuses_expired_certificates
                authentication::needs_a_trust_store
                authentication::unverified_takes_strangers
                resumption::of_a_second_connection
                resumption::keeps_the_facts
                resumption::not_without_sessions_on_either_side
                resumption::not_for_another_name_or_port
                resumption::not_for_another_zone
                resumption::not_across_engines
                resumption::not_around_required_authentication
                resumption::not_after_more_than_seven_days
                resumption::not_for_ever_by_one_ticket_after_another
                resumption::not_beyond_the_peers_certificate
                resumption::not_beyond_what_is_remembered
                resumption::needs_a_place_to_remember
                resumption::carries_data_like_any_other
                negotiation::the_clients_order_of_suites_is_kept
                negotiation::the_servers_order_of_suites_wins
                negotiation::suites_are_an_upper_bound
                negotiation::groups_are_an_upper_bound
                negotiation::a_group_not_guessed_is_still_agreed_on
                negotiation::application_protocols
                negotiation::what_is_effective_is_negotiable
                negotiation::no_common_signature_scheme_is_refused
                negotiation::effective_groups_are_negotiable
                trust::expired_certificates_are_refused
                trust::certificates_of_the_future_are_refused
                trust::a_self_signed_leaf_in_the_store_is_accepted
                trust::a_self_signed_leaf_in_the_store_is_bound_to_name_and_time
                trust::a_self_signed_leaf_elsewhere_is_refused
                trust::any_name_still_needs_an_issuer
                trust::nothing_is_verified_when_told_so
                trust::an_empty_store_is_refused
                trust::a_server_needs_an_identity
                trust::a_key_that_does_not_belong_to_the_leaf_is_refused
            }
            only12 {
                close::is_answered_and_ends_writing
                close::is_answered_by_a_side_that_only_writes
                names::choose_the_chain_that_the_suites_allow
                tamper::with_the_signature_of_the_key_exchange
                negotiation::the_suites_choose_among_key_types
            }
            only13 {
                close::one_direction_leaves_the_other_open
                fragments::writing_at_every_byte_of_the_tickets
                fragments::closing_inside_the_tickets
                resumption::uses_each_ticket_once
                failure::of_the_client_is_told_after_its_handshake
            }
            only_both {
                negotiation::suites_of_one_version_cap_the_versions
                negotiation::the_highest_common_version_is_spoken
                negotiation::a_downgrade_on_the_way_is_noticed
                negotiation::no_common_version_is_refused
            }
        }
    };
}

/// Makes the table of the list.
macro_rules! table {
    (
        every { $($in_every:ident :: $every:ident)* }
        only12 { $($in_only12:ident :: $only12:ident)* }
        only13 { $($in_only13:ident :: $only13:ident)* }
        only_both { $($in_only_both:ident :: $only_both:ident)* }
    ) => {
        const TABLE: &[Case] = &[
            $(table!(@case $in_every::$every Tls12 Tls13 Both),)*
            $(table!(@case $in_only12::$only12 Tls12),)*
            $(table!(@case $in_only13::$only13 Tls13 Both),)*
            $(table!(@case $in_only_both::$only_both Both),)*
        ];
    };
    (@case $module:ident :: $name:ident $($versions:ident)*) => {
        Case {
            name: concat!(stringify!($module), "::", stringify!($name)),
            versions: &[$(Versions::$versions),*],
            check: $module::$name,
        }
    };
}

for_every_case! { [table] }

/// All cases.
#[must_use]
pub const fn cases() -> &'static [Case] {
    TABLE
}
