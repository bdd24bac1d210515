//! Small words of explanations: lists of names, spans of time, dates.

use time::OffsetDateTime;

/// At most this many names of a stranger's certificate are told in words.
const NAMES_TOLD: usize = 8;

pub(crate) fn is_address(name: Option<&str>) -> bool {
    name.is_some_and(|name| name.parse::<std::net::IpAddr>().is_ok())
}

pub(crate) fn list(names: &[String]) -> String {
    let (told, rest) = names.split_at(names.len().min(NAMES_TOLD));
    match (told, rest.len()) {
        ([], _) => "no name at all".to_owned(),
        ([one], 0) => one.clone(),
        ([first @ .., last], 0) => format!("{} and {last}", first.join(", ")),
        (told, more) => format!("{} and {more} more", told.join(", ")),
    }
}

/// A span of time as people say it, in its largest unit.
pub(crate) fn span(seconds: i64) -> String {
    let units = [
        (365 * 86_400, "year"),
        (86_400, "day"),
        (3_600, "hour"),
        (60, "minute"),
        (1, "second"),
    ];
    let (count, unit) = units
        .iter()
        // Two years and more are told in years.
        .find(|(size, unit)| seconds >= size * if *unit == "year" { 2 } else { 1 })
        .map_or((seconds.max(0), "second"), |(size, unit)| {
            (seconds / size, *unit)
        });
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

pub(crate) fn date(seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(seconds).map_or_else(
        |_| format!("{seconds} seconds after 1970"),
        |at| {
            format!(
                "{}-{:02}-{:02} {:02}:{:02} UTC",
                at.year(),
                u8::from(at.month()),
                at.day(),
                at.hour(),
                at.minute()
            )
        },
    )
}
