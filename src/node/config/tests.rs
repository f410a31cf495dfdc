//! Tests of the whole configuration: defaults, the example file, ranges, and conflicts between settings.

use std::collections::BTreeSet;
use std::path::Path;

use super::draft::ConfigDraft;
use super::{
    CompactionPolicy, Config, Limits, Listen, OrWord, Prealloc, ShardPorts, Share, TimeSpan,
};
use crate::base::size::ByteSize;

const EXAMPLE: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/hayloft.example.toml"));

/// Returns the example file with its settings uncommented: settings have no space after the `#`, other
/// comments have one.
fn example_uncommented() -> String {
    EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => rest,
            _ => line,
        })
        .collect::<Vec<_>>()
        .join("\n")
}

fn keys(table: &toml::Table) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for (key, value) in table {
        match value {
            toml::Value::Table(inner) => {
                keys.extend(inner.keys().map(|name| format!("{key}.{name}")));
            }
            _ => {
                keys.insert(key.clone());
            }
        }
    }
    keys
}

fn error_of(change: impl FnOnce(&mut Config)) -> String {
    let mut config = Config::default();
    change(&mut config);
    config.validate_on(&[0, 1]).expect_err("the change makes it invalid").to_string()
}

fn assert_valid(change: impl FnOnce(&mut Config)) {
    let mut config = Config::default();
    change(&mut config);
    config.validate_on(&[0, 1]).unwrap();
}

#[test]
fn default_configuration_is_valid_without_warnings() {
    assert_valid(|_| ());
    Config::default().validate().unwrap();
    assert_eq!(Config::default().warnings(), Vec::<String>::new());
}

#[test]
fn example_file_equals_the_defaults_also_uncommented() {
    let path = Path::new("docs/hayloft.example.toml");
    let as_shipped = ConfigDraft::parse(path, EXAMPLE).unwrap().config;
    assert_eq!(as_shipped, Config::default());
    let uncommented = ConfigDraft::parse(path, &example_uncommented()).unwrap().config;
    assert_eq!(uncommented, Config::default());
}

#[test]
fn example_file_lists_every_setting() {
    let example: toml::Table = example_uncommented().parse().unwrap();
    let settings = toml::Table::try_from(Config::default()).unwrap();
    assert_eq!(keys(&example), keys(&settings));
    assert!(keys(&settings).contains("limits.largest_batch"));
}

#[test]
fn configuration_round_trips_through_toml() {
    let config = Config {
        listen: vec!["unix:/run/h.sock".parse().unwrap(), "[::1]:1".parse().unwrap()],
        cores: "1,0".parse().unwrap(),
        shard_ports: ShardPorts::Base(9000),
        prealloc: Prealloc::Zeroed,
        volume_size: ByteSize::mib(1536),
        ..Config::default()
    };
    let text = toml::to_string(&config).unwrap();
    assert_eq!(toml::from_str::<Config>(&text).unwrap(), config);
}

#[test]
fn sizes_outside_range_or_step_are_rejected() {
    for (bytes, advice) in [
        (16 * (1 << 20) - 1, "write a size from 16MiB to 1TiB"),
        ((1 << 40) + (1 << 20), "write a size from 16MiB to 1TiB"),
        (100_000_000, "write 95MiB or 96MiB"),
    ] {
        let error = error_of(|config| config.volume_size = ByteSize(bytes));
        assert!(error.starts_with("volume_size: "), "{error}");
        assert!(error.ends_with(advice), "{error}");
    }
    assert_valid(|config| config.volume_size = ByteSize::mib(16));
    assert_valid(|config| config.volume_size = ByteSize::tib(1));

    let error = error_of(|config| config.limits.buffer_memory_per_shard = ByteSize::mib(7));
    assert!(error.ends_with("write a size from 8MiB to 1GiB"), "{error}");
    assert_valid(|config| config.limits.buffer_memory_per_shard = ByteSize::mib(8));
    let error = error_of(|config| config.checkpoint_interval = ByteSize(1000));
    assert!(error.starts_with("checkpoint_interval: "), "{error}");
    assert!(error.ends_with("write a size from 1MiB to 1TiB"), "{error}");
    let error = error_of(|config| config.limits.largest_body = ByteSize(0));
    assert!(error.starts_with("limits.largest_body: "), "{error}");
    let error = error_of(|config| config.limits.largest_batch = ByteSize::mib(17));
    assert!(error.ends_with("write a size from 1 to 16MiB"), "{error}");
    let limits = Limits { buffer_memory_per_shard: ByteSize::mib(8), ..Limits::default() };
    assert_eq!((limits.batch_bytes(), Limits::default().batch_bytes()), (2 << 20, 8 << 20));
}

#[test]
fn invalid_access_trace_settings_are_rejected() {
    let error = error_of(|config| config.access_trace.one_object_in = 0);
    assert!(error.starts_with("access_trace.one_object_in: 0 is out of range"), "{error}");
    let error = error_of(|config| config.access_trace.largest_file = ByteSize(1));
    assert!(error.ends_with("write a size from 1MiB to 1TiB"), "{error}");
    assert!(!Config::default().access_trace.is_on());
}

#[test]
fn numbers_outside_their_range_are_rejected() {
    type Field = fn(&mut Limits) -> &mut u32;
    let fields: [(&str, Field, u32, u32); 8] = [
        ("connections", |l| &mut l.connections, 1, 1_000_000),
        ("device_in_flight", |l| &mut l.device_in_flight, 1, 1024),
        ("head_timeout_seconds", |l| &mut l.head_timeout_seconds, 1, 3600),
        ("idle_timeout_seconds", |l| &mut l.idle_timeout_seconds, 1, 86_400),
        ("send_timeout_seconds", |l| &mut l.send_timeout_seconds, 1, 3600),
        ("body_min_bytes_per_second", |l| &mut l.body_min_bytes_per_second, 1, 1 << 30),
        ("body_grace_seconds", |l| &mut l.body_grace_seconds, 1, 3600),
        ("drain_timeout_seconds", |l| &mut l.drain_timeout_seconds, 0, 3600),
    ];
    for (key, field, least, most) in fields {
        assert_valid(|config| *field(&mut config.limits) = least);
        assert_valid(|config| *field(&mut config.limits) = most);
        for outside in [least.checked_sub(1), Some(most + 1)].into_iter().flatten() {
            let error = error_of(|config| *field(&mut config.limits) = outside);
            assert!(error.starts_with(&format!("limits.{key}: {outside} is")), "{error}");
            assert!(error.contains(&format!("write {least} to {most}")), "{error}");
        }
    }
}

#[test]
fn invalid_compaction_settings_are_rejected() {
    type Change = fn(&mut Config);
    let cases: [(Change, &str, &str); 16] = [
        (
            |c| c.compaction.garbage_share = Share::percent(4),
            "compaction.garbage_share: 0.04 is out of range",
            "write a share from 0.05 to 0.95",
        ),
        (
            |c| c.compaction.garbage_share = Share::percent(96),
            "compaction.garbage_share: ",
            "from 0.05 to 0.95",
        ),
        (
            |c| c.compaction.garbage_share_when_full = Share::percent(51),
            "compaction.garbage_share_when_full: 0.51 is out of range",
            "write a share from 0.05 to 0.5",
        ),
        (
            |c| c.compaction.erase_within = OrWord::of("59m".parse().unwrap()),
            "compaction.erase_within: 59m is out of range",
            "write a span of time from 1h to 3650d",
        ),
        (
            |c| c.compaction.undelete_within = TimeSpan::days(3651),
            "compaction.undelete_within: 3651d is out of range",
            "from 0s to 3650d",
        ),
        (
            |c| {
                c.compaction.erase_within = OrWord::of(TimeSpan::days(30));
                c.compaction.undelete_within = TimeSpan::days(31);
            },
            "compaction.undelete_within: it is 31d, but bytes of deleted photos are erased within 30d",
            "write at most 30d, or raise compaction.erase_within",
        ),
        (
            |c| c.compaction.expiry_grace = TimeSpan::default(),
            "compaction.expiry_grace: 0s is out of range",
            "1h",
        ),
        (
            |c| c.compaction.tombstone_keep = TimeSpan::days(3651),
            "compaction.tombstone_keep: 3651d is out of range",
            "from 0s to 3650d",
        ),
        (
            |c| c.background.rate_min = ByteSize::mib(4097),
            "background.rate_min: 4097MiB is out of range",
            "write a size from 64KiB to 4GiB",
        ),
        (
            |c| c.background.rate_max = ByteSize::kib(63),
            "background.rate_max: 63KiB is out of range",
            "write a size from 64KiB to 64GiB",
        ),
        (
            |c| c.background.scrub_days = 3651,
            "background.scrub_days: 3651 is out of range",
            "write 0 to 3650 (days)",
        ),
        (
            |c| c.health.probe_seconds = 9,
            "health.probe_seconds: 9 is out of range",
            "write 10 to 60 (seconds, or 0)",
        ),
        (
            |c| c.health.slow_read_ms = 60_001,
            "health.slow_read_ms: 60001 is out of range",
            "write 0 to 60000 (milliseconds)",
        ),
        (
            |c| c.auto_create.when_room_below = OrWord::of(ByteSize::kib(1)),
            "auto_create.when_room_below: 1KiB is out of range",
            "from 1MiB to 1024TiB",
        ),
        (
            |c| c.auto_create.size = OrWord::of(ByteSize::mib(15)),
            "auto_create.size: 15MiB is out of range",
            "from 16MiB to 1TiB",
        ),
        (
            |c| c.auto_create.size = OrWord::of(ByteSize::mib(64)),
            "auto_create.size: it is 64MiB, but no volume is created",
            "when_room_below",
        ),
    ];
    for (change, start, advice) in cases {
        let error = error_of(change);
        assert!(error.starts_with(start), "{error}");
        assert!(error.contains(advice), "{error}");
    }
    assert_valid(|config| {
        config.compaction.garbage_share = Share::percent(95);
        config.compaction.garbage_share_when_full = Share::percent(95);
        config.compaction.erase_within = OrWord::of(TimeSpan::hours(1));
        config.compaction.undelete_within = TimeSpan::hours(1);
        config.compaction.tombstone_keep = TimeSpan::default();
        config.background.rate_min = config.background.rate_max;
        config.background.scrub_days = 0;
        config.health.probe_seconds = 0;
        config.health.slow_read_ms = 0;
        config.auto_create.when_room_below = OrWord::of(ByteSize::mib(1));
        config.auto_create.size = OrWord::of(ByteSize::mib(16));
    });
}

#[test]
fn compaction_settings_are_read_from_the_file() {
    let text = "auto_create = { size = \"100GiB\", when_room_below = 1073741824 }\n\
                [background]\nrate_min = \"8MiB\"\nrate_max = 1073741824\nscrub_days = 10\n\
                [compaction]\npolicy = \"off\"\ngarbage_share = 0.75\n\
                garbage_share_when_full = 0.125\nhours = \"22:00-06:00\"\nerase_within = \"30d\"\n\
                undelete_within = \"7d\"\n\
                reserve = \"20GiB\"\ntombstone_keep = \"12h\"\nexpiry_grace = \"48h\"\nverify = false\n";
    let config = ConfigDraft::parse(Path::new("h.toml"), text).unwrap().config;
    config.validate_on(&[0]).unwrap();
    let compaction = &config.compaction;
    assert_eq!((compaction.policy, compaction.verify), (CompactionPolicy::Off, false));
    assert!((compaction.garbage_share_when_full.fraction() - 0.125).abs() < 1e-9);
    assert_eq!(compaction.hours.to_string(), "22:00-06:00");
    assert_eq!(compaction.erase_within.value(), Some(TimeSpan::days(30)));
    assert_eq!(compaction.undelete_within, TimeSpan::days(7));
    assert_eq!(compaction.reserve.value(), Some(ByteSize::gib(20)));
    assert_eq!(compaction.tombstone_keep, TimeSpan::hours(12));
    assert_eq!(compaction.expiry_grace, TimeSpan::hours(48));
    assert_eq!(config.background.rate_max, ByteSize::gib(1));
    assert_eq!(config.background.scrub_interval_ns(), 8 * TimeSpan::days(1).nanos());
    assert_eq!(config.auto_create.size.value(), Some(ByteSize::gib(100)));
    assert_eq!(config.auto_create.when_room_below.value(), Some(ByteSize::gib(1)));
    for (text, wanted) in [
        (
            "[compaction]\npolicy = \"on\"",
            "h.toml:2: compaction.policy: \"on\" is no policy; write auto",
        ),
        (
            "[compaction]\ngarbage_share = 1.5",
            "h.toml:2: compaction.garbage_share: 1.5 is no share",
        ),
        ("[compaction]\nhours = \"22-6\"", "times of day in UTC, for instance 22:00-06:00, or any"),
        ("[compaction]\nerase_within = \"1 month\"", "for instance 30d or 12h, or never"),
        ("[compaction]\nreserve = \"some\"", "for instance 64MiB, or auto"),
        ("[compaction]\nhour = \"any\"", "unknown setting; did you mean compaction.hours?"),
        ("[auto_create]\nsize = true", "a text in quotes is needed"),
    ] {
        let error = ConfigDraft::parse(Path::new("h.toml"), text).unwrap_err().to_string();
        assert!(error.contains(wanted), "{text}: {error}");
    }
}

#[test]
fn data_directories_are_present_and_unique() {
    let error = error_of(|config| config.data.clear());
    assert_eq!(error, "data: 0 directories; name 1 to 256");
    let error = error_of(|config| config.data = vec!["/a".into(), "/b".into(), "/a".into()]);
    assert_eq!(error, "data: /a is named twice; name each directory once");
    let error = error_of(|config| config.data = vec!["".into()]);
    assert!(error.contains("empty name"), "{error}");
}

#[test]
fn public_address_is_warned_about_unless_network_is_trusted() {
    let mut config = Config::default();
    let warning = |config: &Config, listen: &[&str]| {
        let listen: Vec<Listen> = listen.iter().map(|text| text.parse().unwrap()).collect();
        config.public_listen_warning(&listen)
    };
    for private in ["127.0.0.1:80", "127.8.9.1:80", "[::1]:80", "[::ffff:127.0.0.1]:80", "unix:/s"]
    {
        assert_eq!(warning(&config, &[private]), None, "{private}");
    }
    for public in ["0.0.0.0:80", "[::]:80", "10.0.0.1:80", "[fd00::1]:80", "192.0.2.1:80"] {
        let text =
            warning(&config, &["127.0.0.1:81", public]).unwrap_or_else(|| panic!("{public}"));
        for part in [public, "delete", "nginx", "firewall", "trusted_network"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    let all =
        warning(&config, &["10.0.0.1:80", "127.0.0.1:80", "[fd00::1]:81", "unix:/s"]).unwrap();
    assert!(all.contains("served on 10.0.0.1:80, [fd00::1]:81, not loopback addresses"), "{all}");
    config.trusted_network = true;
    assert_eq!(warning(&config, &["0.0.0.0:80", "10.0.0.1:81"]), None);
    assert_eq!(warning(&config, &[]), None);
}

#[test]
fn listeners_that_share_a_port_are_rejected() {
    let listen = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    for (addresses, admin, key) in [
        (vec!["1.2.3.4:80", "1.2.3.4:80"], "127.0.0.1:1", "listen: "),
        (vec!["0.0.0.0:80", "1.2.3.4:80"], "127.0.0.1:1", "listen: "),
        (vec!["1.2.3.4:80", "[::]:80"], "127.0.0.1:1", "listen: "),
        (vec!["unix:/a", "unix:/a"], "127.0.0.1:1", "listen: "),
        (vec!["0.0.0.0:80"], "127.0.0.1:80", "admin: "),
        (vec!["127.0.0.1:80"], "[::]:80", "admin: "),
        (vec![], "127.0.0.1:80", "listen: "),
    ] {
        let error = error_of(|config| {
            config.listen = listen(&addresses);
            config.admin = admin.parse().unwrap();
        });
        assert!(error.starts_with(key), "{addresses:?} {admin}: {error}");
    }
    for (addresses, admin) in [
        (vec!["1.2.3.4:80", "1.2.3.5:80"], "127.0.0.1:80"),
        (vec!["[::1]:80"], "127.0.0.1:80"),
        (vec!["127.0.0.1:0"], "127.0.0.1:0"),
    ] {
        assert_valid(|config| {
            config.listen = listen(&addresses);
            config.admin = admin.parse().unwrap();
        });
    }
}

#[test]
fn shard_ports_follow_the_first_tcp_address_without_conflict() {
    let range = |listen: &[&str], ports: &str, shards: usize| {
        let config = Config {
            listen: listen.iter().map(|text| text.parse().unwrap()).collect(),
            shard_ports: ports.parse().unwrap(),
            ..Config::default()
        };
        config.shard_port_range(shards).map_err(|error| error.to_string())
    };
    assert_eq!(range(&["127.0.0.1:8080"], "auto", 2), Ok(Some(8180..=8181)));
    assert_eq!(range(&["unix:/a", "127.0.0.1:90"], "auto", 1), Ok(Some(190..=190)));
    assert_eq!(range(&["unix:/a"], "auto", 1), Ok(None));
    assert_eq!(range(&["127.0.0.1:0"], "auto", 1), Ok(None));
    assert_eq!(range(&["127.0.0.1:8080"], "off", 1), Ok(None));
    assert_eq!(range(&["127.0.0.1:0"], "9000", 3), Ok(Some(9000..=9002)));
    assert_eq!(range(&["127.0.0.1:1"], "65534", 2), Ok(Some(65_534..=65_535)));
    for (listen, ports, shards, advice) in [
        ("127.0.0.1:1", "65534", 3, "65534 to 65536"),
        ("127.0.0.1:65500", "auto", 1, "65600 to 65600"),
        ("127.0.0.1:8080", "8079", 2, "listen uses 127.0.0.1:8080"),
        ("127.0.0.1:8080", "8081", 1, "admin uses 127.0.0.1:8081"),
        ("127.0.0.1:7981", "auto", 1, "admin uses 127.0.0.1:8081"),
    ] {
        let error = range(&[listen], ports, shards).unwrap_err();
        assert!(error.starts_with("shard_ports: "), "{error}");
        assert!(error.contains(advice), "{error}");
        assert!(error.contains("or to \"off\""), "{error}");
    }
    // One shard port fits below the admin port, a second one does not: the result depends on the core count.
    let mut config = Config {
        shard_ports: ShardPorts::Base(8079),
        listen: vec!["127.0.0.1:9".parse().unwrap()],
        ..Config::default()
    };
    config.admin = "127.0.0.1:8080".parse().unwrap();
    assert!(config.validate_on(&[0]).is_ok());
    assert!(config.validate_on(&[0, 1]).is_err());
}

#[test]
fn unavailable_cores_are_rejected() {
    let error = error_of(|config| config.cores = "0-3".parse().unwrap());
    assert!(error.starts_with("cores: this process may not run on 2-3"), "{error}");
}

#[test]
fn invalid_cache_control_and_log_are_rejected() {
    let long = "x".repeat(129);
    for bad in ["", " no-cache", "no-cache\r\nX: y", "\u{e9}", long.as_str()] {
        let error = error_of(|config| config.cache_control = bad.to_owned());
        assert!(error.starts_with("cache_control: "), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
    assert_valid(|config| config.cache_control = "x".repeat(128));
    let error = error_of(|config| config.log = " ".to_owned());
    assert!(error.starts_with("log: "), "{error}");
}

#[test]
fn doubtful_settings_are_warned_about() {
    let warned = |change: fn(&mut Config), start: &str| {
        let mut config = Config::default();
        change(&mut config);
        config.validate_on(&[0]).unwrap();
        let warnings = config.warnings();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].starts_with(start), "{warnings:?}");
    };
    warned(|config| config.limits.idle_timeout_seconds = 74, "limits.idle_timeout_seconds is 74");
    warned(|config| config.admin = "0.0.0.0:8081".parse().unwrap(), "admin is 0.0.0.0:8081");
    warned(|config| config.buffered = true, "buffered is on");
    warned(
        |config| config.limits.buffer_memory_per_shard = ByteSize::mib(31),
        "limits.largest_batch is 8MiB",
    );
    warned(|config| config.volume_size = ByteSize::mib(32), "limits.largest_body is 64MiB");
    warned(
        |config| {
            config.compaction.erase_within = OrWord::of(TimeSpan::days(30));
            config.compaction.policy = CompactionPolicy::Off;
        },
        "compaction.erase_within is 30d, and compaction.policy is off",
    );
}
