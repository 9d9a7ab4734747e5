//! The swap. A database cannot be renamed here, but its tables can: one `RENAME TABLE` moves all of them, those
//! of the live database away and the restored ones in, at one moment. Triggers stand in its way, and views,
//! routines and events cannot be moved at all; they are code without data, so they are written down by the dump
//! program, removed, and made anew behind the tables.
//!
//! Between the removal and the making, the live database lacks its code. If the rename fails, the code is put
//! back; if that fails, too, a human is told what is missing.

use super::beside::{MAINTENANCE, maintenance, mark};
use super::clients::Clients;
use super::connect::{self, Doing};
use super::ident::{literal, quote, sibling};
use super::inspect::{self, Names};
use super::quiet::{Events, rewrite};
use super::rights::Rights;
use super::{MysqlDatabase, clients, dump, restore, scratch};
use crate::{Beside, Database as _, DatabaseError, EngineError, Swapped};
use kit_core::{Cancel, Context, StepError};
use kit_exec::Stdout;
use sqlx::mysql::MySqlConnection;

/// How long the rename waits for those who use a table.
const PATIENCE_SECONDS: u64 = 5;
/// Code of one database, at most.
const CODE_BYTES: u64 = 64 << 20;
const UNFINISHED: &str = "the databases were swapped; nothing was renamed";

/// One of the two databases, and its code as SQL.
struct Side {
    name: String,
    names: Names,
    code: Vec<u8>,
}

pub(super) async fn swap(
    database: &MysqlDatabase,
    cx: &Context,
    beside: &Beside,
) -> Result<Swapped, DatabaseError> {
    let live = &database.address.database;
    let kept = sibling(live, "before", &beside.id);
    let display = database.display();
    let doing = Doing { action: "swap", database: &display, unfinished: UNFINISHED };
    let mut connection = maintenance(database, cx, doing).await?;
    let had_live = doing.run(cx, inspect::exists(&mut connection, live)).await?;
    check(&mut connection, cx, doing, (beside, &mark(live, &beside.id), &kept)).await?;
    let server = doing.run(cx, connect::server(&mut connection)).await?;
    let clients = clients::find(cx, database.options.tools.as_ref(), server.product).await?;
    let restored = side(database, cx, doing, &clients, &mut connection, &beside.name).await?;
    let like = doing.run(cx, inspect::needs(&mut connection, &server, &beside.name)).await?;
    let create = |name: &str| {
        format!(
            "CREATE DATABASE {} CHARACTER SET {} COLLATE {}",
            quote(name),
            quote(&like.encoding),
            quote(&like.collate)
        )
    };
    // From here on a cancelled step must not stop in the middle.
    let cx = &Context { cancel: Cancel::default(), ..cx.clone() };
    let gone = match had_live {
        true => Some(side(database, cx, doing, &clients, &mut connection, live).await?),
        false => None,
    };
    let made = create(if had_live { &kept } else { live });
    doing.run(cx, connect::execute(&mut connection, made)).await?;
    let moves = Moves { database, clients: &clients, doing, kept: &kept };
    moves.all(cx, &mut connection, gone.as_ref(), &restored).await?;
    connect::close(connection).await;
    let mut warnings = Vec::new();
    if let Some(gone) = &gone {
        let code = rewrite(Events::Off, gone.code.clone());
        let address = database.address.with_database(&kept);
        if let Err(error) = restore::script(cx, &address, &clients, code, doing).await {
            let why = StepError::from(error).chain();
            warnings.push(format!(
                "{kept} has all the tables of the database that gave way, but not all of its views, triggers, \
                 routines and events: {why}"
            ));
        }
    }
    let via = database.address.with_database(MAINTENANCE);
    if let Err(error) = scratch::drop_database(&via, &beside.name, cx).await {
        warnings.push(format!(
            "{} is empty now and could not be removed: {}",
            beside.name,
            StepError::from(error).chain()
        ));
    }
    Ok(Swapped { kept: had_live.then(|| format!("{} {kept}", clients.product.name())), warnings })
}

/// Everything that can be known to go wrong before anything is changed.
async fn check(
    connection: &mut MySqlConnection,
    cx: &Context,
    doing: Doing<'_>,
    (beside, mark, kept): (&Beside, &str, &str),
) -> Result<(), DatabaseError> {
    let refuse = |problem| Err(DatabaseError::Refused { problem });
    if !doing.run(cx, inspect::exists(connection, &beside.name)).await? {
        return refuse(format!("the server has no database {}, so there is nothing to swap", beside.name));
    }
    if doing.run(cx, inspect::exists(connection, mark)).await? {
        return refuse(format!(
            "{} is unfinished, as {mark} says: it was not compared with its backup",
            beside.name
        ));
    }
    if doing.run(cx, inspect::exists(connection, kept)).await? {
        return refuse(format!(
            "the database {kept} exists; it holds an earlier database and is never replaced"
        ));
    }
    Ok(())
}

/// Writes down what one database holds.
async fn side(
    database: &MysqlDatabase,
    cx: &Context,
    doing: Doing<'_>,
    clients: &Clients,
    connection: &mut MySqlConnection,
    name: &str,
) -> Result<Side, DatabaseError> {
    let names = doing.run(cx, inspect::names(connection, name)).await?;
    let grants = doing.run(cx, inspect::grants(connection)).await?;
    let rights = Rights::parse(&grants);
    let missing = rights.missing(name);
    if !missing.is_empty() {
        return Err(DatabaseError::Refused {
            problem: format!("{name} cannot be moved: {}", super::rights::refusal(&missing, name)),
        });
    }
    let (strangers, referring) = doing.run(cx, obstacles(connection, name)).await?;
    if !strangers.is_empty() && !rights.may_set_definer() {
        return Err(DatabaseError::Refused {
            problem: format!(
                "{name} has code that runs in the name of {}, and our user may not make such code anew: SET USER \
                 (MariaDB) or SET_ANY_DEFINER (MySQL) is needed",
                strangers.join(", ")
            ),
        });
    }
    if !referring.is_empty() {
        return Err(DatabaseError::Refused {
            problem: format!(
                "foreign keys of other databases point to {name} and would follow its tables: {}",
                referring.join(", ")
            ),
        });
    }
    let code = code(database, cx, doing, clients, name, &names).await?;
    Ok(Side { name: name.to_owned(), names, code })
}

/// In whose name code runs that is not ours, and which tables elsewhere refer to this database.
async fn obstacles(
    connection: &mut MySqlConnection,
    name: &str,
) -> Result<(Vec<String>, Vec<String>), sqlx::Error> {
    let of = literal(name);
    let definers = format!(
        "SELECT DISTINCT DEFINER FROM (
            SELECT DEFINER FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = {of}
            UNION SELECT DEFINER FROM information_schema.EVENTS WHERE EVENT_SCHEMA = {of}
            UNION SELECT DEFINER FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = {of}
            UNION SELECT DEFINER FROM information_schema.VIEWS WHERE TABLE_SCHEMA = {of}) d
         WHERE BINARY DEFINER <> BINARY CURRENT_USER()"
    );
    let referring = format!(
        "SELECT DISTINCT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.KEY_COLUMN_USAGE
         WHERE REFERENCED_TABLE_SCHEMA = {of} AND TABLE_SCHEMA <> {of}"
    );
    Ok((inspect::list(connection, definers).await?, inspect::list(connection, referring).await?))
}

/// Triggers, events, routines and views of a database, as SQL.
async fn code(
    database: &MysqlDatabase,
    cx: &Context,
    doing: Doing<'_>,
    clients: &Clients,
    name: &str,
    names: &Names,
) -> Result<Vec<u8>, DatabaseError> {
    let address = database.address.with_database(name);
    let capture = || Stdout::Capture { limit_bytes: CODE_BYTES };
    let run = async |command: kit_exec::Command| match command.stdout(capture()).run(cx).await {
        Ok(output) => Ok(output.stdout),
        Err(error) => Err(dump::not_finished(error, doing)),
    };
    let bodies = dump::command(&address, clients).args(["--no-create-info", "--no-data"]).arg(name);
    let mut code = run(bodies).await?;
    if !names.views.is_empty() {
        let views = dump::command(&address, clients)
            .args(["--no-data", "--skip-triggers", "--skip-routines", "--skip-events"])
            .arg(name)
            .args(&names.views);
        code.extend(run(views).await?);
    }
    Ok(code)
}

/// The part that changes things.
struct Moves<'a> {
    database: &'a MysqlDatabase,
    clients: &'a Clients,
    doing: Doing<'a>,
    kept: &'a str,
}

impl Moves<'_> {
    async fn all(
        &self,
        cx: &Context,
        connection: &mut MySqlConnection,
        gone: Option<&Side>,
        restored: &Side,
    ) -> Result<(), DatabaseError> {
        let live = &self.database.address.database;
        let mut steps = vec![format!("SET SESSION lock_wait_timeout = {PATIENCE_SECONDS}")];
        for side in gone.into_iter().chain([restored]) {
            steps.extend(removals(&side.name, &side.names));
        }
        steps.extend(rename(gone, restored, live, self.kept));
        for step in steps {
            if let Err(error) = connect::execute(connection, step).await {
                return self.put_back(cx, gone, restored, error).await;
            }
        }
        let code = rewrite(Events::Awake, restored.code.clone());
        let made = restore::script(cx, &self.database.address, self.clients, code, self.doing).await;
        made.map_err(|error| DatabaseError::Stuck {
            state: format!(
                "the tables of {live} are the restored ones, and those before are in {}, but not all views, triggers, \
                 routines and events of {live} could be made: take them from the backup",
                self.kept
            ),
            source: EngineError { text: StepError::from(error).chain().into(), code: None },
        })
    }

    /// Nothing was moved, as far as the server says; the code of the live database is made anew.
    async fn put_back(
        &self,
        cx: &Context,
        gone: Option<&Side>,
        restored: &Side,
        error: sqlx::Error,
    ) -> Result<(), DatabaseError> {
        let live = &self.database.address.database;
        let busy = connect::number(&error) == Some(connect::LOCKED);
        let source = EngineError::from(&error);
        let stuck = |what: String| DatabaseError::Stuck { state: what, source: source.clone() };
        let mut connection = maintenance(self.database, cx, self.doing).await.map_err(|_| {
            stuck(format!(
                "the connection broke; if {} has tables, those of {live} are the restored ones, else only its views, \
                 triggers, routines and events are missing",
                self.kept
            ))
        })?;
        let moved = self.doing.run(cx, inspect::names(&mut connection, self.kept)).await;
        let has_moved = moved.is_ok_and(|names| !names.movable.is_empty());
        if has_moved {
            return Err(stuck(format!(
                "the tables of {live} are the restored ones, and those before are in {}, but views, triggers, routines \
                 and events of {live} were not made: take them from the backup",
                self.kept
            )));
        }
        // What was not removed yet is made anew, too.
        for side in gone.into_iter().chain([restored]) {
            let address = self.database.address.with_database(&side.name);
            let drops = removals(&side.name, &side.names);
            for drop in drops.iter().map(|drop| drop.replacen("DROP VIEW ", "DROP VIEW IF EXISTS ", 1)) {
                let _ = connect::execute(&mut connection, drop).await;
            }
            let made = restore::script(cx, &address, self.clients, side.code.clone(), self.doing).await;
            made.map_err(|error| {
                stuck(format!(
                    "nothing was moved, but not all views, triggers, routines and events of {} could be put back: {}",
                    side.name,
                    StepError::from(error).chain()
                ))
            })?;
        }
        // It is empty; if it stays, the next swap has another id.
        let made = if gone.is_some() { self.kept } else { live.as_str() };
        let _ = connect::execute(&mut connection, format!("DROP DATABASE IF EXISTS {}", quote(made))).await;
        connect::close(connection).await;
        if busy {
            return Err(DatabaseError::Busy {
                database: self.doing.database.to_owned(),
                waited_ms: u128::from(PATIENCE_SECONDS) * 1000,
                refused: "nothing was swapped",
            });
        }
        Err(self.doing.failed(error))
    }
}

/// Removes what cannot be moved, or stands in the way. Pure.
fn removals(database: &str, names: &Names) -> Vec<String> {
    let of = |kind: &str, name: &str| format!("DROP {kind} {}.{}", quote(database), quote(name));
    let mut drops: Vec<String> = names.triggers.iter().map(|name| of("TRIGGER", name)).collect();
    drops.extend(names.events.iter().map(|name| of("EVENT", name)));
    drops.extend(names.views.iter().map(|name| of("VIEW", name)));
    // A package takes its body with it.
    let (packages, routines): (Vec<_>, Vec<_>) = names
        .routines
        .iter()
        .filter(|(kind, _)| kind != "PACKAGE BODY")
        .partition(|(kind, _)| kind == "PACKAGE");
    drops.extend(routines.into_iter().map(|(kind, name)| of(kind, name)));
    if !packages.is_empty() {
        // Before 11.4 the word is known in this mode only.
        drops.push("SET SESSION sql_mode = 'ORACLE'".to_owned());
        drops.extend(packages.into_iter().map(|(kind, name)| of(kind, name)));
        drops.push("SET SESSION sql_mode = ''".to_owned());
    }
    drops
}

/// The one statement that moves all tables; none, if there are none. Pure.
fn rename(gone: Option<&Side>, restored: &Side, live: &str, kept: &str) -> Option<String> {
    let one = |from: &str, to: &str, table: &String| {
        format!("{}.{table} TO {}.{table}", quote(from), quote(to), table = quote(table))
    };
    let away =
        gone.into_iter().flat_map(|side| side.names.movable.iter().map(|table| one(live, kept, table)));
    let moves: Vec<String> =
        away.chain(restored.names.movable.iter().map(|table| one(&restored.name, live, table))).collect();
    (!moves.is_empty()).then(|| format!("RENAME TABLE {}", moves.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_tables_move_in_one_statement_and_code_is_removed_before() {
        let side = |name: &str, tables: &[&str]| Side {
            name: name.to_owned(),
            names: Names {
                movable: tables.iter().map(|table| (*table).to_owned()).collect(),
                triggers: vec!["t`r".to_owned()],
                routines: vec![
                    ("FUNCTION".to_owned(), "f".to_owned()),
                    ("PACKAGE BODY".to_owned(), "p".to_owned()),
                ],
                ..Names::default()
            },
            code: Vec::new(),
        };
        let (gone, restored) = (side("shop", &["a", "b"]), side("shop_restore_1", &["a"]));
        assert_eq!(
            rename(Some(&gone), &restored, "shop", "shop_before_1").unwrap(),
            "RENAME TABLE `shop`.`a` TO `shop_before_1`.`a`, `shop`.`b` TO `shop_before_1`.`b`, `shop_restore_1`.`a` TO \
             `shop`.`a`"
        );
        assert_eq!(rename(None, &side("x", &[]), "shop", "kept"), None);
        assert_eq!(removals("shop", &gone.names), ["DROP TRIGGER `shop`.`t``r`", "DROP FUNCTION `shop`.`f`"]);
    }
}
