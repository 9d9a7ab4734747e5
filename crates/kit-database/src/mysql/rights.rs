//! May the user see all of the database? Pure.
//!
//! A server says nothing about what somebody may not see: triggers, routines and whole tables are simply not
//! listed, the dump program ends with 0, and they are missing (measured with MariaDB 10.11). So the rights
//! themselves are asked for, and whoever has too few gets no backup rather than one that lacks something.

use super::ident::{identifier, quote};

/// What somebody may do, from `SHOW GRANTS`.
#[derive(Debug, Default)]
pub(super) struct Rights {
    grants: Vec<Grant>,
}

#[derive(Debug)]
struct Grant {
    privileges: Vec<String>,
    on: Scope,
}

#[derive(Debug, PartialEq, Eq)]
enum Scope {
    Everything,
    /// May hold `%` and `_` as wildcards.
    Database(String),
    Table(String, String),
}

impl Rights {
    /// Lines as `SHOW GRANTS` prints them. What is no grant of privileges is passed over: that can only
    /// make us see less than there is.
    pub(super) fn parse(lines: &[String]) -> Self {
        Self { grants: lines.iter().filter_map(|line| grant(line)).collect() }
    }

    fn has(&self, privilege: &str, covers: impl Fn(&Scope) -> bool) -> bool {
        let holds = |grant: &Grant| {
            grant.privileges.iter().any(|known| known == privilege || known == "ALL PRIVILEGES")
        };
        self.grants.iter().any(|grant| holds(grant) && covers(&grant.on))
    }

    /// For everything in this database.
    fn of_database(&self, privilege: &str, database: &str) -> bool {
        self.has(privilege, |on| match on {
            Scope::Everything => true,
            Scope::Database(pattern) => matches(pattern, database),
            Scope::Table(..) => false,
        })
    }

    fn of_table(&self, privilege: &str, (database, table): (&str, &str)) -> bool {
        self.of_database(privilege, database)
            || self.has(privilege, |on| *on == Scope::Table(database.to_owned(), table.to_owned()))
    }

    /// True if every routine of the database is listed for this user, so that a dump without one would be
    /// noticed.
    fn sees_routines(&self, database: &str) -> bool {
        let listed = ["EXECUTE", "ALTER ROUTINE", "SHOW CREATE ROUTINE", "SHOW_ROUTINE"];
        listed.iter().any(|privilege| self.of_database(privilege, database))
            || self.of_table("SELECT", ("mysql", "proc"))
            // MySQL 8 shows routines to whoever may read everything.
            || self.has("SELECT", |on| *on == Scope::Everything)
    }

    /// True if objects can be created in somebody else's name.
    pub(super) fn may_set_definer(&self) -> bool {
        ["SUPER", "SET USER", "SET_USER_ID", "SET_ANY_DEFINER"]
            .iter()
            .any(|privilege| self.has(privilege, |on| *on == Scope::Everything))
    }

    /// What is missing for a whole dump, as a privilege and what it is needed for.
    pub(super) fn missing(&self, database: &str) -> Vec<&'static str> {
        let mut missing: Vec<&str> = ["SELECT", "SHOW VIEW", "TRIGGER", "EVENT"]
            .into_iter()
            .filter(|privilege| !self.of_database(privilege, database))
            .collect();
        if !self.sees_routines(database) {
            missing.push("EXECUTE");
        }
        missing
    }
}

/// What to say to somebody who lacks rights.
pub(super) fn refusal(missing: &[&str], database: &str) -> String {
    format!(
        "its user may not see all of it, and what he may not see would be missing without a word: GRANT {} ON \
         {}.* is needed{}",
        missing.join(", "),
        quote(database),
        if missing.contains(&"EXECUTE") {
            ", and for routines of others GRANT SELECT ON `mysql`.`proc` (MariaDB) or SHOW_ROUTINE (MySQL)"
        } else {
            ""
        }
    )
}

/// GRANT SELECT, SHOW VIEW ON `shop`.* TO `app`@`%`
fn grant(line: &str) -> Option<Grant> {
    let (privileges, rest) = line.strip_prefix("GRANT ")?.split_once(" ON ")?;
    // Rights on some columns only (`SELECT (a, b)`) are rights on no whole table.
    let mut depth = 0_u32;
    let mut words = vec![String::new()];
    for letter in privileges.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => words.push(String::new()),
            _ => {}
        }
        if letter != ',' || depth > 0 {
            words.last_mut()?.push(letter);
        }
    }
    let privileges = words.iter().map(|word| word.trim().to_owned()).collect();
    let on = if rest.starts_with("*.*") {
        Scope::Everything
    } else {
        let (database, rest) = identifier(rest)?;
        let rest = rest.strip_prefix('.')?;
        match rest.starts_with('*') {
            true => Scope::Database(database),
            false => Scope::Table(database, identifier(rest)?.0),
        }
    };
    Some(Grant { privileges, on })
}

/// `LIKE` as grants have it: `%` any text, `_` any letter, `\` takes their meaning away.
fn matches(pattern: &str, name: &str) -> bool {
    let mut letters = pattern.chars();
    match letters.next() {
        None => name.is_empty(),
        Some('%') => {
            let rest = letters.as_str();
            name.char_indices().map(|(at, _)| at).chain([name.len()]).any(|at| {
                let (_, tail) = name.split_at(at);
                matches(rest, tail)
            })
        }
        Some(letter) => {
            let (wanted, wild) = match letter {
                '\\' => (letters.next().unwrap_or('\\'), false),
                '_' => ('_', true),
                other => (other, false),
            };
            let mut found = name.chars();
            found.next().is_some_and(|first| wild || first == wanted)
                && matches(letters.as_str(), found.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(lines: &[&str]) -> Vec<&'static str> {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        Rights::parse(&lines).missing("shop_1")
    }

    #[test]
    fn who_may_see_everything() {
        for lines in [
            &["GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION"][..],
            &[
                "GRANT USAGE ON *.* TO `app`@`%` IDENTIFIED BY PASSWORD '*B6'",
                "GRANT ALL PRIVILEGES ON `shop\\_1`.* TO `app`@`%`",
            ],
            &["GRANT SELECT, EXECUTE, SHOW VIEW, EVENT, TRIGGER ON `shop%`.* TO `b`@`%`"],
            &[
                "GRANT SELECT, SHOW VIEW, EVENT, TRIGGER ON `shop_1`.* TO `b`@`%`",
                "GRANT SELECT ON `mysql`.`proc` TO `b`@`%`",
            ],
            &["GRANT SELECT, SHOW VIEW, EVENT, TRIGGER ON *.* TO `b`@`%`"],
        ] {
            assert_eq!(missing(lines), [""; 0], "{lines:?}");
        }
    }

    #[test]
    fn who_would_get_less_than_there_is() {
        for (lines, expected) in [
            (
                &["GRANT SELECT, SHOW VIEW ON `shop_1`.* TO `ro`@`%`"][..],
                &["TRIGGER", "EVENT", "EXECUTE"][..],
            ),
            (
                &["GRANT ALL PRIVILEGES ON `other`.* TO `ro`@`%`"],
                &["SELECT", "SHOW VIEW", "TRIGGER", "EVENT", "EXECUTE"],
            ),
            (
                &["GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON `shop_1`.`orders` TO `ro`@`%`"],
                &["SELECT", "SHOW VIEW", "TRIGGER", "EVENT", "EXECUTE"],
            ),
            (
                &["GRANT SELECT (id, note), SHOW VIEW, TRIGGER, EVENT, EXECUTE ON `shop_1`.* TO `ro`@`%`"],
                &["SELECT"],
            ),
            (
                &["GRANT PROXY ON ``@`%` TO `root`@`localhost` WITH GRANT OPTION", "GRANT `role` TO `x`@`%`"],
                &["SELECT", "SHOW VIEW", "TRIGGER", "EVENT", "EXECUTE"],
            ),
        ] {
            assert_eq!(missing(lines), expected, "{lines:?}");
        }
        let text = refusal(&["TRIGGER", "EXECUTE"], "shop");
        assert!(
            text.contains("GRANT TRIGGER, EXECUTE ON `shop`.*") && text.contains("mysql`.`proc"),
            "{text}"
        );
    }

    #[test]
    fn patterns_of_grants() {
        for (pattern, name, expected) in [
            ("shop", "shop", true),
            ("shop", "shop2", false),
            ("sh_p", "shop", true),
            ("shop\\_1", "shop_1", true),
            ("shop\\_1", "shopx1", false),
            ("sh%", "shop", true),
            ("%op", "shop", true),
            ("%", "", true),
            ("a%b%c", "aXbYc", true),
            ("a%b%c", "aXcYb", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn whose_name_may_be_used() {
        let rights = |line: &str| Rights::parse(&[line.to_owned()]).may_set_definer();
        assert!(
            rights("GRANT SET USER ON *.* TO `a`@`%`") && rights("GRANT ALL PRIVILEGES ON *.* TO `a`@`%`")
        );
        assert!(!rights("GRANT ALL PRIVILEGES ON `shop`.* TO `a`@`%`"));
    }
}
