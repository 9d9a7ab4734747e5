//! Real servers, one per test.

mod assertions;
mod content;
mod faults;
mod migrate;
mod swap;

use super::MysqlDatabase;
use crate::{Database, DatabaseError, Depth, DumpReport, Inspection, OpenOptions};
use kit_contract::body::RestoreNeeds;
use kit_core::{Clock, Context, Env};
use kit_testing::mariadb::Server;
use tokio::io::AsyncReadExt as _;

/// A server, and a folder for scratch copies.
pub(super) struct Place {
    pub(super) server: Server,
    pub(super) folder: tempfile::TempDir,
    pub(super) cx: Context,
}

impl Place {
    /// With a database `shop` that this SQL fills.
    pub(super) fn with(sql: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cache = kit_testing::cache().display().to_string();
        let env = Env::from([("PATH", std::env!("PATH")), ("DEPLOY_KIT_CACHE", cache.as_str())]);
        // Children live in real time.
        let cx = Context { clock: Clock::system(), ..Context::for_test(env).0 };
        let place = Self { server: Server::start(), folder, cx };
        place.server.sql("mysql", "CREATE DATABASE shop CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci");
        place.server.sql("shop", sql);
        place
    }

    pub(super) fn database(&self, name: &str) -> MysqlDatabase {
        self.database_with(&self.server.url(name), OpenOptions::default())
    }

    pub(super) fn database_with(&self, url: &str, options: OpenOptions) -> MysqlDatabase {
        MysqlDatabase::parse(url, options, &self.cx).unwrap()
    }

    /// Dumps `shop`.
    pub(super) async fn dump(&self) -> (Vec<u8>, DumpReport) {
        self.try_dump(&self.database("shop")).await.unwrap()
    }

    pub(super) async fn try_dump(
        &self,
        database: &MysqlDatabase,
    ) -> Result<(Vec<u8>, DumpReport), DatabaseError> {
        let mut dump = database.begin_dump(&self.cx, self.folder.path()).await?;
        let mut bytes = Vec::new();
        dump.reader().read_to_end(&mut bytes).await.unwrap();
        Ok((bytes, dump.finish(&self.cx).await?))
    }

    /// Restores into a scratch place and examines what came.
    pub(super) async fn restored(
        &self,
        database: &MysqlDatabase,
        dump: &[u8],
        needs: &RestoreNeeds,
        depth: Depth,
    ) -> Result<Inspection, DatabaseError> {
        let mut reader = dump;
        let scratch =
            database.restore_scratch(&self.cx, &mut reader, Some(needs), self.folder.path()).await?;
        let inspected = scratch.inspect(&self.cx, depth).await;
        scratch.close(&self.cx).await?;
        inspected
    }

    /// What is left in the folder for scratch copies.
    pub(super) fn left(&self) -> Vec<String> {
        kit_core::fs::list(self.folder.path()).unwrap().unwrap()
    }
}

pub(super) fn needs(report: &DumpReport) -> &RestoreNeeds {
    report.details.needs.as_ref().unwrap()
}

/// Everything that a dump could lose or change.
pub(super) const AWKWARD: &str = r#"
CREATE TABLE customers (
    id int auto_increment PRIMARY KEY, name varchar(100) NOT NULL, bin blob, j json, f double, f4 float,
    d decimal(10,3), ts timestamp NULL, dt datetime(6), b bit(5), g geometry, e enum('a','b'), old varchar(20)
    CHARACTER SET latin1, u varchar(200) GENERATED ALWAYS AS (upper(name)) VIRTUAL, KEY (name)
) COMMENT='it''s; a -- comment' AUTO_INCREMENT=77;
INSERT INTO customers (name, bin, j, f, f4, d, ts, dt, b, g, e, old) VALUES
    ('O''Brien \\ "x" \n(line),(2); --', x'0001ff27', '{"a":[1,2]}', 0.1, 0.1, 1.5, '2020-01-01 00:00:00',
     '2020-01-01 00:00:00.123456', b'101', ST_GeomFromText('POINT(1 2)'), 'b', 'ü'),
    ('☃ 😀', NULL, NULL, 1e300, 1e-20, -1, NULL, NULL, NULL, NULL, NULL, NULL);
CREATE TABLE orders (id bigint AUTO_INCREMENT PRIMARY KEY, customer int NOT NULL,
    CONSTRAINT fk FOREIGN KEY (customer) REFERENCES customers(id) ON DELETE CASCADE);
INSERT INTO orders (customer) VALUES (77), (77), (78);
CREATE TABLE `odd ``name` (`a b` int, `select VALUES (` text);
INSERT INTO `odd ``name` VALUES (1, 'x'), (NULL, ''), (1, 'x');
CREATE TABLE empty_one (a int);
CREATE TABLE hidden (a int INVISIBLE DEFAULT 3, b int);
INSERT INTO hidden (b) VALUES (1);
CREATE TABLE parted (a int) PARTITION BY HASH (a) PARTITIONS 3;
INSERT INTO parted SELECT seq FROM seq_1_to_50;
CREATE SEQUENCE numbers START 5;
DO NEXTVAL(numbers);
CREATE FUNCTION twice(x int) RETURNS int DETERMINISTIC RETURN x * 2;
CREATE VIEW names AS SELECT o.id, c.name, twice(o.id) AS two FROM orders o JOIN customers c ON c.id = o.customer;
CREATE VIEW `all names` AS SELECT * FROM names;
DELIMITER ;;
CREATE TRIGGER counted BEFORE INSERT ON orders FOR EACH ROW BEGIN
    -- Dumping data for table `fake`
    SET NEW.customer = NEW.customer;
END;;
CREATE PROCEDURE tidy(IN x int) BEGIN SELECT 'DELIMITER ;', "-- Dump completed"; DELETE FROM empty_one; END;;
SET sql_mode = 'ORACLE';;
CREATE PACKAGE parts AS FUNCTION one RETURN INT; END;;
CREATE PACKAGE BODY parts AS FUNCTION one RETURN INT AS BEGIN RETURN 1; END; END;;
SET sql_mode = DEFAULT;;
DELIMITER ;
CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 00:00:00' DO DELETE FROM empty_one;
CREATE EVENT resting ON SCHEDULE EVERY 1 DAY DISABLE COMMENT ' PRESERVE ENABLE' DO DELETE FROM empty_one;
"#;
