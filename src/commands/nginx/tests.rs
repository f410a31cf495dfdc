use super::configuration::{
    EXAMPLE, LISTED_ONLY, LOOPBACK_ONLY, SOCKET_ONLY, nginx_size, writes_server,
};
use super::{Network, Node, NodeLimits, NodeShard, NodeVolume, Site, full, included, unreachable};
use crate::base::size::ByteSize;
use crate::base::types::VolumeId;
use crate::node::config::Listen;

fn node(ports: [Option<u16>; 2]) -> Node {
    let shard = |(id, port)| NodeShard { id, port };
    let volume = |id| NodeVolume { id: VolumeId(id), shard: Some(id % 2) };
    Node {
        version: "0.1.0".to_owned(),
        listen: vec!["0.0.0.0:9000".to_owned()],
        limits: NodeLimits { largest_body: 8 << 20, largest_batch: 16 << 20 },
        shards: (0..).zip(ports).map(shard).collect(),
        volumes: [1, 2, 30].map(volume).to_vec(),
    }
}

fn site() -> Site {
    Site {
        daemon: "127.0.0.1:8080".parse().unwrap(),
        listen: "80".to_owned(),
        listen_writes: None,
        allow_writes: Vec::new(),
        server_names: Vec::new(),
        largest_body: ByteSize::mib(64),
    }
}

#[test]
fn address_and_largest_body_are_taken_from_the_status() {
    let node = node([None, None]);
    let at = |node: &Node, admin: Option<&str>| {
        node.data_address(admin.map(|ip| ip.parse().unwrap())).map(|at| at.to_string())
    };
    assert_eq!(at(&node, None).as_deref(), Some("127.0.0.1:9000"));
    assert_eq!(at(&node, Some("10.0.0.5")).as_deref(), Some("10.0.0.5:9000"));
    assert_eq!(node.largest_body(), ByteSize::mib(16));
    let socket = Node { listen: vec!["unix:/s".to_owned()], ..node.clone() };
    assert_eq!(at(&socket, Some("10.0.0.5")).as_deref(), Some("unix:/s"));
    assert_eq!(at(&Node { listen: vec![], ..node }, None), None);
}

#[test]
fn without_shard_ports_the_output_is_the_example_file() {
    let text = included(&node([None, None]), &site()).unwrap();
    let (_, example) = EXAMPLE.split_once("\n\n").unwrap();
    let (about, rest) = text.split_once("\n\n").unwrap();
    assert_eq!(rest, example);
    assert!(about.contains("2 shards and 3 volumes"), "{about}");
    assert!(about.lines().all(|line| line.starts_with('#')), "{about}");
}

#[test]
fn each_volume_is_mapped_to_its_shard() {
    let site = Site {
        daemon: "10.0.0.5:9000".parse().unwrap(),
        listen: "127.0.0.1:81".to_owned(),
        listen_writes: Some("10.0.0.7:82".to_owned()),
        allow_writes: ["10.1.0.0/16", "::1"].map(|text| text.parse().unwrap()).to_vec(),
        server_names: vec!["photos.example".to_owned(), "*.photos.example".to_owned()],
        largest_body: ByteSize::kib(1536),
    };
    let text = included(&node([Some(9100), Some(9101)]), &site).unwrap();
    for part in [
        "\nupstream hayloft {\n",
        "    server 10.0.0.5:9000 max_fails=0;\n",
        "\nupstream hayloft_shard_1 {\n    server 10.0.0.5:9101 max_fails=0;\n    \
         server 10.0.0.5:9000 max_fails=0 backup;\n    keepalive 32;\n",
        "    default hayloft;\n    1 hayloft_shard_1;\n    2 hayloft_shard_0;\n",
        "    30 hayloft_shard_0;\n}",
        "    listen 127.0.0.1:81;\n    server_name photos.example *.photos.example;\n",
        "    listen 10.0.0.7:82;\n    allow 10.1.0.0/16;\n    allow ::1/128;\n    deny all;\n",
        "client_max_body_size 1536k;",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(text.matches("proxy_pass http://$hayloft_upstream;").count(), 2, "{text}");
    assert!(!text.contains("8080") && !text.contains("proxy_pass http://hayloft;"), "{text}");
    let open = |text: &str| text.matches('{').count() - text.matches('}').count();
    assert_eq!(open(&text), 0);
    let full = full(&node([Some(9100), Some(9101)]), &site).unwrap();
    assert!(full.contains("\nhttp {\n    # nginx in front of ") && open(&full) == 0, "{full}");
}

#[test]
fn with_a_unix_socket_shard_ports_are_on_loopback() {
    let site = Site { daemon: "unix:/run/hayloft/data.sock".parse().unwrap(), ..site() };
    let text = included(&node([Some(9100), None]), &site).unwrap();
    assert!(text.contains("    server unix:/run/hayloft/data.sock max_fails=0;\n"), "{text}");
    assert!(text.contains("    server 127.0.0.1:9100 max_fails=0;\n"), "{text}");
    assert!(!text.contains("    1 hayloft_shard_1;"), "shard 1 has no port: {text}");
}

#[test]
fn unsafe_or_conflicting_settings_are_refused_with_advice() {
    type Change = fn(&mut Site);
    let cases: [(Change, &str); 19] = [
        (|site| site.daemon = "0.0.0.0:90".parse().unwrap(), "for instance 127.0.0.1:90"),
        (|site| site.daemon = "unix:/a;b".parse().unwrap(), "letters, digits"),
        (|site| site.listen = "0".to_owned(), "a port such as 80"),
        (|site| site.listen = "80 ssl".to_owned(), "a port such as 80"),
        (|site| site.listen = "unix:/a b".to_owned(), "letters, digits"),
        (|site| site.server_names = vec!["a;b".to_owned()], "letters, digits"),
        (|site| site.server_names = vec![String::new()], "letters, digits"),
        (|site| site.largest_body = ByteSize(0), "64MiB"),
        (|site| site.listen_writes = Some("x".to_owned()), "a port such as 80"),
        (|site| site.listen_writes = Some("unix:/a;".to_owned()), "letters, digits"),
        (|site| site.listen_writes = Some("127.0.0.1:80".to_owned()), "the public and writes"),
        (|site| site.listen = "8082".to_owned(), "another port"),
        (|site| site.listen_writes = Some("127.0.0.1:8080".to_owned()), "and the daemon"),
        (|site| site.listen_writes = Some("8082".to_owned()), "say who may write: --allow"),
        (|site| site.listen_writes = Some("0.0.0.0:8082".to_owned()), "--allow-writes CIDR"),
        (|site| site.listen_writes = Some("[::]:8082".to_owned()), "--allow-writes CIDR"),
        (|site| site.listen_writes = Some("10.0.0.5:8082".to_owned()), "--allow-writes CIDR"),
        (|site| site.listen_writes = Some("[fd00::1]:8082".to_owned()), "--allow-writes CIDR"),
        (
            |site| {
                site.listen_writes = Some("unix:/w".to_owned());
                site.allow_writes = vec!["10.0.0.0/8".parse().unwrap()];
            },
            "which no network reaches",
        ),
    ];
    for (change, advice) in cases {
        let mut site = site();
        change(&mut site);
        let error = included(&node([None, None]), &site).unwrap_err().to_string();
        assert!(error.contains(advice), "{error}");
    }
}

#[test]
fn writes_server_listens_on_loopback_or_allows_listed_networks() {
    let server = |networks: &[&str]| {
        let allow_writes = networks.iter().map(|text| text.parse().unwrap()).collect();
        writes_server(&Site { allow_writes, ..site() })
    };
    assert_eq!(server(&[]), "    listen 127.0.0.1:8082;\n");
    assert_eq!(server(&["10.0.0.5"]), "    listen 8082;\n    allow 10.0.0.5/32;\n    deny all;\n");
    assert_eq!(
        server(&["fd00::/8", "10.0.0.0/8"]),
        "    listen 8082;\n    listen [::]:8082;\n    allow fd00::/8;\n    allow 10.0.0.0/8;\n    \
         deny all;\n"
    );
    assert!(!server(&["fd00::/8"]).contains("listen 8082;"));
    let allow_writes = vec!["10.0.0.5".parse().unwrap()];
    let text = included(&node([None, None]), &Site { allow_writes, ..site() }).unwrap();
    assert!(!text.contains("127.0.0.1:8082") && !text.contains("On loopback"), "{text}");
}

#[test]
fn comment_states_who_can_reach_the_writes_server() {
    for (listen_writes, networks, said) in [
        (None, &[][..], LOOPBACK_ONLY),
        (Some("127.8.9.1:82"), &[], LOOPBACK_ONLY),
        (Some("[::1]:82"), &[], LOOPBACK_ONLY),
        (Some("unix:/w"), &[], SOCKET_ONLY),
        (None, &["10.0.0.5"], LISTED_ONLY),
        (Some("8083"), &["10.0.0.5"], LISTED_ONLY),
        (Some("10.0.0.7:82"), &["10.0.0.5"], LISTED_ONLY),
        (Some("127.0.0.1:82"), &["127.0.0.9"], LISTED_ONLY),
    ] {
        let listen_writes = listen_writes.map(str::to_owned);
        let allow_writes = networks.iter().map(|text| text.parse().unwrap()).collect();
        let site = Site { listen_writes, allow_writes, ..site() };
        let text = included(&node([None, None]), &site).unwrap();
        let all = [LOOPBACK_ONLY, SOCKET_ONLY, LISTED_ONLY];
        let found: Vec<&str> = all.into_iter().filter(|one| text.contains(one)).collect();
        assert_eq!(found, [said], "{site:?}");
    }
}

#[test]
fn without_a_server_name_the_default_site_is_mentioned() {
    let advice = |names: &[&str]| {
        let server_names = names.iter().map(|&name| name.to_owned()).collect();
        let text = included(&node([None, None]), &Site { server_names, ..site() }).unwrap();
        let head = text.split_once("\n\n").unwrap().0;
        head.contains("remove /etc/nginx/sites-enabled/default, or give --server-name")
    };
    assert!(advice(&[]));
    assert!(!advice(&["photos.example"]), "there is nothing to do");
}

#[test]
fn invalid_networks_are_rejected_with_advice() {
    for (text, advice) in [
        ("", "10.1.0.0/16"),
        ("10.0.0.0/33", "10.1.0.0/16"),
        ("localhost", "10.1.0.0/16"),
        ("10.0.0.0/8;", "10.1.0.0/16"),
        ("10.0.0.5/8", "write 10.0.0.0/8 or 10.0.0.5"),
        ("0.0.0.0/0", "everybody could write"),
        ("::/0", "everybody could write"),
    ] {
        let error = text.parse::<Network>().expect_err(text).to_string();
        assert!(error.contains(advice), "{text}: {error}");
    }
}

#[test]
fn sizes_are_written_with_nginx_suffixes() {
    for (bytes, text) in [(64 << 20, "64m"), (1536, "1536"), (1 << 30, "1024m"), (2048, "2k")] {
        assert_eq!(nginx_size(ByteSize(bytes)), text);
    }
}

#[test]
fn unreachable_addresses_are_reported() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap();
    let site = Site { daemon: Listen::Tcp(taken), ..site() };
    // No process can listen on port 0.
    let problems = unreachable(&node([Some(taken.port()), Some(0)]), &site);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].starts_with("nothing answers at 127.0.0.1:0: "), "{problems:?}");
}
