use super::*;

#[derive(Debug)]
struct Kept(Vec<u8>);

impl Keep for Kept {
    fn keep(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

/// As `mariadb-dump` writes them, with everything that could be taken for something else.
const DUMP: &str = "/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump 10.19\n
--\n-- Sequence structure for `seq`\n--\n\nDO SETVAL(`seq`, 1005, 0);\n
--\n-- Table structure for table `odd ``name`\n--\n
CREATE TABLE `odd ``name` (\n  `id` int\n) ENGINE=InnoDB AUTO_INCREMENT=3 DEFAULT CHARSET=utf8mb4 COMMENT='AUTO_INCREMENT=9 --';\n
--\n-- Dumping data for table `odd ``name`\n--\n
LOCK TABLES `odd ``name` WRITE;
/*!40000 ALTER TABLE `odd ``name` DISABLE KEYS */;
INSERT INTO `odd ``name` VALUES
(1,'O\\'Brien \\\\ \\\"x\\\" \\n(line),(2);'),
(2,NULL),(3,0x0001FF27);
INSERT INTO `odd ``name` (`a b VALUES (`, `c``)`) VALUES (4,'\\\\'),(5,'');
UNLOCK TABLES;\n
--\n-- Table structure for table `empty`\n--\n
--\n-- Dumping data for table `empty`\n--\n
UNLOCK TABLES;
DELIMITER ;;
/*!50003 CREATE*/ /*!50017 DEFINER=`root`@`localhost`*/ /*!50003 TRIGGER tr BEFORE INSERT ON orders FOR EACH ROW BEGIN
--
-- Dumping data for table `fake`
--
INSERT INTO `fake` VALUES (1);
-- Dump completed
END */;;
DELIMITER ;
DELIMITER ;;
/*!50106 CREATE*/ /*!50117 DEFINER=`root`@`localhost`*/ /*!50106 EVENT `ev` ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 00:00:00' ON COMPLETION NOT PRESERVE ENABLE COMMENT ' PRESERVE DISABLE ' DO DELETE FROM t
*/ ;;
DELIMITER ;
DELIMITER ;;
CREATE DEFINER=`root`@`localhost` FUNCTION `fn`(x int) RETURNS int(11)
RETURN x+1
;;
DELIMITER ;
--\n-- Final view structure for view `v`\n--\n
-- Dump completed";

fn scan(dump: &[u8], size: usize) -> Result<(Content, Kept), String> {
    let mut scanner = Scanner::new(Kept(Vec::new()));
    dump.chunks(size).for_each(|piece| scanner.take(piece));
    let incomplete = scanner.incomplete();
    let finished = scanner.finish();
    assert_eq!(incomplete, finished.as_ref().err().cloned());
    finished
}

#[test]
fn everything_is_counted_however_it_is_cut() {
    let mut expected = RowDigest::default();
    for row in [
        "(1,'O\\'Brien \\\\ \\\"x\\\" \\n(line),(2);')",
        "(2,NULL)",
        "(3,0x0001FF27)",
        "(4,'\\\\')",
        "(5,'')",
    ] {
        expected.row(row.as_bytes());
    }
    let inserts = DUMP
        .split("INSERT INTO `odd")
        .skip(1)
        .map(|rest| "INSERT INTO `odd".len() + rest.find(";\n").unwrap() + 1);
    let longest = inserts.max().unwrap() as u64;
    for size in [1, 2, 3, 7, 64, 4096, usize::MAX] {
        let (content, kept) = scan(DUMP.as_bytes(), size.min(DUMP.len())).unwrap();
        let rows: Vec<(&str, u64)> =
            content.tables.iter().map(|(table, digest)| (table.as_str(), digest.rows())).collect();
        assert_eq!(rows, [("empty", 0), ("odd `name", 5)], "{size}");
        assert_eq!(content.tables["odd `name"].sha256(), expected.sha256(), "{size}");
        assert_eq!(content.views, ["v"]);
        assert_eq!(content.code, Code { triggers: 1, events: 1, routines: 1 });
        assert_eq!(
            content.beyond,
            ["DO SETVAL(`seq`, 1005, 0);", "table \"odd `name\" continues with 3", "event ev: ENABLE",]
        );
        assert_eq!(content.bytes, DUMP.len() as u64);
        assert_eq!(content.longest_insert_bytes, longest, "{size}");
        let kept = String::from_utf8(kept.0).unwrap();
        assert!(!kept.contains("Brien") && kept.contains("INSERT INTO `fake`"), "{size}: {kept}");
        assert!(kept.ends_with("-- Dump completed"), "{kept}");
    }
}

#[test]
fn whatever_is_cut_off_is_missed() {
    for length in 0..DUMP.len() - 1 {
        let problem = scan(&DUMP.as_bytes()[..length], 64).map(|_| ()).unwrap_err();
        assert!(
            problem.contains("it ends") || problem.contains("the line is missing"),
            "{length}: {problem}"
        );
    }
    let early = DUMP.replace(
        "UNLOCK TABLES;\n\n--\n-- Table structure for table `empty`",
        "-- Dump completed\n\n--\n-- x",
    );
    let early = early.strip_suffix("-- Dump completed").unwrap();
    assert!(scan(early.as_bytes(), 64).is_err());
    let twice = DUMP.replace("`empty`", "`odd ``name`");
    assert!(scan(twice.as_bytes(), 64).unwrap_err().contains("twice"));
    let other = DUMP.replace("INSERT INTO `odd ``name` VALUES", "INSERT INTO `other` VALUES");
    assert!(scan(other.as_bytes(), 64).unwrap_err().contains("another table"));
    let broken = DUMP.replace("INSERT INTO `odd ``name` VALUES", "INSERT INTO `odd ``name` SELECT");
    assert!(scan(broken.as_bytes(), 64).unwrap_err().contains("cannot be made out"));
}

#[test]
fn how_an_event_is_switched() {
    let line = |status: &str| {
        format!(
            "/*!50106 CREATE*/ EVENT `e` ON SCHEDULE EVERY 1 DAY ON COMPLETION PRESERVE {status} DO SELECT 1"
        )
    };
    for status in ["ENABLE", "DISABLE", "DISABLE ON SLAVE", "DISABLE ON REPLICA"] {
        let line = line(status);
        let (at, found) = event_status(line.as_bytes()).unwrap();
        assert_eq!((found, &line[at..at + status.len()]), (status, status));
    }
    assert_eq!(event_status(b"/*!50106 CREATE*/ EVENT `e`"), None);
}
