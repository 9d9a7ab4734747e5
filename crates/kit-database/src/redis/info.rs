//! What a server says of itself (`INFO`). Pure.

use std::collections::BTreeMap;

/// Product, series and state of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Info(BTreeMap<String, String>);

/// Redis, or what became of it elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Product {
    Redis,
    Valkey,
}

impl Product {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Redis => "Redis",
            Self::Valkey => "Valkey",
        }
    }
}

/// Product and first two numbers of a version, which settle the format of its snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Series {
    pub(super) product: Product,
    pub(super) number: (u32, u32),
}

impl Series {
    pub(super) fn of(product: Product, version: &str) -> Self {
        let mut numbers = version.split('.').map(|part| part.parse().unwrap_or_default());
        Self { product, number: (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default()) }
    }
}

impl std::fmt::Display for Series {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}.{}", self.product.name(), self.number.0, self.number.1)
    }
}

impl Info {
    pub(super) fn parse(text: &str) -> Self {
        let pairs = text.lines().filter_map(|line| line.split_once(':'));
        Self(pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
    }

    fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    fn number(&self, name: &str) -> u64 {
        self.get(name).parse().unwrap_or_default()
    }

    pub(super) fn product(&self) -> Product {
        if self.0.contains_key("valkey_version") { Product::Valkey } else { Product::Redis }
    }

    /// `7.0.15`; empty if this is no server of Redis.
    pub(super) fn version(&self) -> &str {
        match self.product() {
            Product::Valkey => self.get("valkey_version"),
            Product::Redis => self.get("redis_version"),
        }
    }

    pub(super) fn series(&self) -> Series {
        Series::of(self.product(), self.version())
    }

    pub(super) fn is_cluster(&self) -> bool {
        self.get("redis_mode") == "cluster" || self.get("cluster_enabled") == "1"
    }

    pub(super) fn is_replica(&self) -> bool {
        self.get("role") == "slave"
    }

    /// A replica that has lost its master holds what was true once.
    pub(super) fn is_cut_off(&self) -> bool {
        self.is_replica() && self.get("master_link_status") != "up"
    }

    pub(super) fn is_loading(&self) -> bool {
        self.get("loading") == "1"
    }

    /// How many bytes may still be used before keys of others are removed to make room; `None` if none ever is.
    pub(super) fn room_bytes(&self) -> Option<u64> {
        let limit = self.number("maxmemory");
        let evicts = limit > 0 && self.get("maxmemory_policy") != "noeviction";
        evicts.then(|| limit.saturating_sub(self.number("used_memory")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_say() {
        let info = Info::parse(
            "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n\r\n# Replication\r\nrole:slave\r\n\
             master_link_status:down\r\nused_memory:900\r\nmaxmemory:1000\r\nmaxmemory_policy:allkeys-lru\r\n\
             # Keyspace\r\ndb0:keys=12,expires=3,avg_ttl=0\r\n",
        );
        assert_eq!((info.version(), info.series().to_string().as_str()), ("7.0.15", "Redis 7.0"));
        assert!(info.is_replica() && info.is_cut_off() && !info.is_cluster() && !info.is_loading());
        assert_eq!(info.room_bytes(), Some(100));
        let valkey = Info::parse(
            "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.0\r\n\
            redis_mode:cluster\r\nrole:master\r\nmaxmemory:1\r\nmaxmemory_policy:noeviction\r\nloading:1",
        );
        assert_eq!((valkey.version(), valkey.series().to_string().as_str()), ("8.1.0", "Valkey 8.1"));
        assert!(valkey.is_cluster() && valkey.is_loading() && !valkey.is_cut_off());
        assert_eq!(valkey.room_bytes(), None);
        assert_eq!(Info::parse("nonsense").version(), "");
    }
}
