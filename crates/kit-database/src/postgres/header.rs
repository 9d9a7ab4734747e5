//! The beginning of a dump: settings that the server itself does not know are left out.
//!
//! `pg_dump` of 17 and later writes `SET transaction_timeout = 0;`, which a server before 17 refuses, so that
//! a dump made with a newer client could not be restored where it came from. A timeout of zero is that
//! server's only behaviour anyway.

use memchr::memmem;

/// The settings stand within this many bytes.
pub(super) const HEADER_BYTES: usize = 8 * 1024;

const UNKNOWN_BEFORE: &[(u32, &[u8])] = &[(17, b"\nSET transaction_timeout = 0;\n")];

/// True if a dump by this client may hold what this server does not know.
pub(super) fn may_differ(client_major: u32, server_major: u32) -> bool {
    UNKNOWN_BEFORE.iter().any(|(since, _)| client_major >= *since && server_major < *since)
}

/// Leaves out of the first bytes of a dump what `server_major` does not know.
pub(super) fn fit(mut header: Vec<u8>, server_major: u32) -> Vec<u8> {
    for (_, setting) in UNKNOWN_BEFORE.iter().filter(|(since, _)| server_major < *since) {
        let Some(at) = memmem::find(&header, setting) else { continue };
        // Only among the settings: they stand before the first entry.
        if memmem::find(&header, b"\n-- Name: ").is_none_or(|entry| at < entry) {
            header.drain(at + 1..at + setting.len());
        }
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_of_a_newer_version_is_left_out() {
        let header = "SET lock_timeout = 0;\nSET transaction_timeout = 0;\nSET x = on;\n\n--\n-- Name: f\n";
        let without = "SET lock_timeout = 0;\nSET x = on;\n\n--\n-- Name: f\n";
        assert_eq!(fit(header.into(), 16), without.as_bytes());
        assert_eq!(fit(header.into(), 17), header.as_bytes());
        assert_eq!(fit(without.into(), 15), without.as_bytes());
        let body = "SET x = on;\n-- Name: f\nSET transaction_timeout = 0;\n";
        assert_eq!(fit(body.into(), 15), body.as_bytes(), "a function's body is nobody's setting");
        assert!(may_differ(17, 16) && may_differ(18, 12) && !may_differ(16, 15) && !may_differ(18, 17));
    }
}
