//! The SQLite file: how it is opened, its migrations, and the first content.

use crate::error::{Context, Result};
use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions};
use std::path::Path;
use std::time::Duration;

const PRODUCTS: i64 = 240;
const ORDERS: i64 = 600;

/// The version that [`seed`] brings an empty database to; later ones are the release's business.
const FIRST_MIGRATION: i64 = 20260101000000;

const MIGRATIONS: [(i64, &str, &str); 2] = [
    (FIRST_MIGRATION, "initial", include_str!("../migrations/20260101000000_initial.sql")),
    (20260201000000, "discounts", include_str!("../migrations/20260201000000_discounts.sql")),
];

/// What seeding found or did.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Seeded {
    /// False if there was content already, which is left alone.
    pub(crate) created: bool,
    pub(crate) products: i64,
    pub(crate) orders: i64,
}

/// A pool that connects at first use, so that a service can start, and say so, without its database.
pub(crate) fn open(path: &Path) -> SqlitePool {
    pool().connect_lazy_with(options(path))
}

fn pool() -> SqlitePoolOptions {
    SqlitePoolOptions::new().max_connections(4).acquire_timeout(Duration::from_secs(2))
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(Duration::from_secs(5))
        .foreign_keys(true)
}

/// All migrations, embedded. Recorded in the database exactly as if they were read from their folder.
fn migrator() -> Migrator {
    let migrations = MIGRATIONS.map(|(version, description, sql)| {
        Migration::new(version, description.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(migrations.into())
}

/// Creates the schema of version 1 and fills it, the same every time. Does nothing to a database with content.
pub(crate) async fn seed(path: &Path) -> Result<Seeded> {
    let what = || format!("seed {}", path.display());
    std::fs::create_dir_all(crate::files::folder_of(path)).context(what())?;
    let pool = pool().connect_with(options(path).create_if_missing(true)).await.context(what())?;
    migrator().run_to(FIRST_MIGRATION, &pool).await.context(what())?;
    let created = count(&pool, "SELECT count(*) FROM products").await.context(what())? == 0;
    if created {
        fill(&pool).await.context(what())?;
    }
    let products = count(&pool, "SELECT count(*) FROM products").await.context(what())?;
    let orders = count(&pool, "SELECT count(*) FROM orders").await.context(what())?;
    pool.close().await;
    Ok(Seeded { created, products, orders })
}

async fn count(pool: &SqlitePool, sql: &'static str) -> sqlx::Result<i64> {
    sqlx::query_scalar(sql).fetch_one(pool).await
}

async fn fill(pool: &SqlitePool) -> sqlx::Result<()> {
    const THINGS: [&str; 8] = ["Lamp", "Chair", "Kettle", "Rug", "Clock", "Shelf", "Vase", "Desk"];
    let mut transaction = pool.begin().await?;
    for (id, thing) in (1..=PRODUCTS).zip(THINGS.iter().cycle()) {
        sqlx::query("INSERT INTO products (id, name, price_cents) VALUES (?, ?, ?)")
            .bind(id)
            .bind(format!("{thing} {id:03}"))
            .bind(500 + id * 37 % 9000)
            .execute(&mut *transaction)
            .await?;
    }
    for id in 1..=ORDERS {
        sqlx::query(
            "INSERT INTO orders (id, product_id, quantity, total_cents, placed_at) \
             SELECT ?1, id, ?3, price_cents * ?3, ?4 FROM products WHERE id = ?2",
        )
        .bind(id)
        .bind(id * 7 % PRODUCTS + 1)
        .bind(id % 5 + 1)
        .bind(format!("2026-01-{:02}T{:02}:00:00Z", id % 28 + 1, id % 24))
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_embedded_migrations_equal_the_folder() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        let read = Migrator::new(folder).await.unwrap();
        let facts = |migrator: &Migrator| -> Vec<_> {
            let fact = |one: &Migration| (one.version, one.description.clone(), one.checksum.clone());
            migrator.iter().map(fact).collect()
        };
        assert_eq!(facts(&migrator()), facts(&read));
    }

    #[tokio::test]
    async fn seeding_twice_changes_nothing_the_second_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/shop.db");
        let expected = |created| Seeded { created, products: PRODUCTS, orders: ORDERS };
        assert_eq!(seed(&path).await.unwrap(), expected(true));
        assert_eq!(seed(&path).await.unwrap(), expected(false));
    }
}
