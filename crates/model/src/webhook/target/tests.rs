//! Every disguise that an inner address is known to wear.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

fn rules(allow: &[&str]) -> TargetRules {
    TargetRules::new(allow.iter().map(|text| text.parse().unwrap()).collect())
}

#[track_caller]
fn refused(allow: &[&str], url: &str) -> TargetError {
    match rules(allow).target(url) {
        Err(error) => error,
        Ok(target) => panic!("{url} is taken as {target:?}"),
    }
}

#[track_caller]
fn taken(allow: &[&str], url: &str) -> Target {
    rules(allow).target(url).unwrap_or_else(|error| panic!("{url}: {error}"))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_public_url_is_taken_and_written_in_one_way() {
    let target = taken(&[], "HTTPS://Hooks.Example.COM./a b?c=ü".replace(' ', "%20").as_str());
    assert_eq!(target.url(), "https://hooks.example.com/a%20b?c=%C3%BC");
    assert_eq!((target.host(), target.port(), target.ip()), ("hooks.example.com", 443, None));
    let target = taken(&[], "http://example.com:8080");
    assert_eq!((target.url(), target.port()), ("http://example.com:8080/", 8080));
    let target = taken(&[], "http://93.184.215.14/");
    assert_eq!((target.host(), target.port(), target.ip()), ("93.184.215.14", 80, Some(ip("93.184.215.14"))));
    let target = taken(&[], "https://[2606:4700::1111]/");
    assert_eq!((target.host(), target.ip()), ("2606:4700::1111", Some(ip("2606:4700::1111"))));
    // Its URL is read again by couriers, as the same target.
    assert_eq!(taken(&[], target.url()), target);
}

#[test]
fn every_way_to_write_an_inner_ipv4_address_is_seen_through() {
    for host in [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "0177.0.0.1",
        "017700000001",
        "0x7f.0.0.1",
        "0x7f000001",
        "0X7F.1",
        "127.0.0.1.",
        "127.0.0.1%2e",
        "%31%32%37.0.0.1",
        "①②⑦.⓪.⓪.①",
        "127。0。0。1",
        "127.0.0.1",
        "0",
        "0.0.0.0",
        "0x0",
        "127.255.255.254",
    ] {
        for url in [format!("http://{host}/"), format!("https://{host}:8443/hook")] {
            assert!(matches!(refused(&[], &url), TargetError::Address(..)), "{url}");
        }
    }
}

#[test]
fn every_block_that_is_not_public_is_refused_at_both_its_ends() {
    for (first, last) in [
        ("0.0.0.0", "0.255.255.255"),
        ("10.0.0.0", "10.255.255.255"),
        ("100.64.0.0", "100.127.255.255"),
        ("127.0.0.0", "127.255.255.255"),
        ("168.63.129.16", "168.63.129.16"),
        ("169.254.0.0", "169.254.255.255"),
        ("172.16.0.0", "172.31.255.255"),
        ("192.0.0.0", "192.0.0.255"),
        ("192.0.2.0", "192.0.2.255"),
        ("192.88.99.0", "192.88.99.255"),
        ("192.168.0.0", "192.168.255.255"),
        ("198.18.0.0", "198.19.255.255"),
        ("198.51.100.0", "198.51.100.255"),
        ("203.0.113.0", "203.0.113.255"),
        ("224.0.0.0", "255.255.255.255"),
        ("::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"),
        ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("4000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ] {
        for end in [first, last] {
            assert!(address::inside(ip(end)).is_some(), "{end}");
        }
        // What lies right before and behind is public, or in a block of its own.
        let beside = |text: &str, by: i8| match ip(text) {
            IpAddr::V4(ip) => IpAddr::V4(ip.to_bits().wrapping_add_signed(by.into()).into()),
            IpAddr::V6(ip) => IpAddr::V6(ip.to_bits().wrapping_add_signed(by.into()).into()),
        };
        let next_to_another = |end: &str| ["0.0.0.0", "::", "64:ff9b:1::"].contains(&end);
        for (near, is_inside) in [
            (beside(first, -1), next_to_another(first)),
            (
                beside(last, 1),
                ["255.255.255.255", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"].contains(&last)
                    || last.starts_with("ffff:"),
            ),
        ] {
            assert_eq!(address::inside(near).is_some(), is_inside, "{near}");
        }
    }
}

#[test]
fn an_ipv4_address_inside_of_an_ipv6_address_is_seen_through() {
    for host in [
        "[::1]",
        "[::]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::ffff:169.254.169.254]",
        "[::127.0.0.1]",
        "[::ffff:0:127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b::a9fe:a9fe]",
        "[64:ff9b:1::8.8.8.8]",
        "[2002:7f00:1::]",
        "[2001:0:4136:e378:8000:63bf:3fff:fdd2]",
        "[fe80::1]",
        "[fec0::1]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "[ff02::1]",
        "[2001:db8::1]",
    ] {
        let url = format!("http://{host}/");
        assert!(matches!(refused(&[], &url), TargetError::Address(..)), "{url}");
    }
    // A network without IPv4 has no other way to a public one.
    taken(&[], "http://[64:ff9b::8.8.8.8]/");
    taken(&[], "http://[::ffff:8.8.8.8]/");
}

#[test]
fn names_of_the_own_machine_are_refused() {
    for host in [
        "localhost",
        "LOCALHOST",
        "localhost.",
        "a.localhost",
        "a.b.LocalHost.",
        "localhost.localdomain",
        "localhost6",
        "ip6-localhost",
        "ip6-loopback",
        "%6cocalhost",
        "ⓛocalhost",
        "localhost",
        "loc\u{ad}alhost",
    ] {
        assert_eq!(refused(&[], &format!("https://{host}/")), TargetError::Local, "{host}");
    }
    taken(&[], "https://localhost.example.com/");
    taken(&[], "https://notlocalhost/");
}

#[test]
fn what_is_no_plain_web_address_is_refused() {
    use TargetError as E;
    let long = format!("https://example.com/{}", "x".repeat(LONGEST));
    let label = format!("https://{}.example.com/", "x".repeat(64));
    let name = format!("https://{}com/", "example.".repeat(33));
    for (url, error) in [
        ("ftp://example.com/", E::Scheme("ftp".into())),
        ("file:///etc/passwd", E::Scheme("file".into())),
        ("gopher://127.0.0.1:6379/_INFO", E::Scheme("gopher".into())),
        ("javascript:alert(1)", E::Scheme("javascript".into())),
        ("data:text/plain,x", E::Scheme("data".into())),
        ("unix:/var/run/docker.sock", E::Scheme("unix".into())),
        ("ws://example.com/", E::Scheme("ws".into())),
        ("https://user@example.com/", E::UserInfo),
        ("https://user:pw@example.com/", E::UserInfo),
        ("https://:pw@example.com/", E::UserInfo),
        ("https://example.com@127.0.0.1/", E::UserInfo),
        ("https://example.com%40evil@127.0.0.1/", E::UserInfo),
        ("https://example.com:443@127.0.0.1/", E::UserInfo),
        ("https://example.com/#part", E::Fragment),
        ("https://127.0.0.1#@example.com/", E::Fragment),
        ("https://a..example.com/", E::Host),
        ("https://example.com../", E::Host),
        ("https://./", E::Host),
        (&long, E::TooLong),
        (&label, E::Host),
        (&name, E::Host),
    ] {
        assert_eq!(refused(&[], url), error, "{url}");
    }
    for url in [
        "",
        "example.com/hook",
        "/hook",
        "//example.com/",
        "https://",
        "https:///",
        "http://[::1",
        "http://[fe80::1%25eth0]/",
        "http://256.256.256.256/",
        "http://1.2.3.4.5/",
        "http://0x100000000/",
        "http://example.com:65536/",
        "http://exa mple.com/",
        "http://exa\tmple.com/",
        "http://127.0.0.1\n.example.com/",
        "https://example.com\\@127.0.0.1/",
        " https://example.com/",
        "https://example.com/\u{a0}",
        "https://example.com/\r\nX-Injected: 1",
        "http://a%00b/",
        "http://a<b/",
    ] {
        assert!(matches!(refused(&[], url), TargetError::NotAUrl(_)), "{url:?}");
    }
}

#[test]
fn only_ports_of_web_servers_are_called() {
    for port in [
        0, 1, 22, 25, 53, 79, 81, 110, 389, 442, 444, 465, 587, 993, 1023, 2049, 5060, 6000, 6379, 6667,
        10080,
    ] {
        assert_eq!(refused(&[], &format!("http://example.com:{port}/")), TargetError::Port(port));
    }
    for port in [80, 443, 1024, 3000, 8000, 8080, 8443, 9000, 65535] {
        assert_eq!(taken(&[], &format!("https://example.com:{port}/")).port(), port);
    }
}

#[test]
fn a_listed_network_is_allowed_and_nothing_beside_it() {
    let allow = ["10.1.0.0/16", "fd00:1::/32", "127.0.0.1"];
    for url in [
        "http://10.1.2.3/",
        "http://[fd00:1::7]/",
        "http://127.0.0.1:8080/",
        "http://[::ffff:10.1.2.3]/",
        "http://2130706433/",
    ] {
        taken(&allow, url);
    }
    for url in [
        "http://10.2.0.1/",
        "http://[fd00:2::7]/",
        "http://127.0.0.2/",
        "http://10.1.2.3:22/",
        "http://[::1]/",
    ] {
        refused(&allow, url);
    }
    // A name of the own machine may lead to what is listed, and its address is checked all the same.
    let rules = rules(&allow);
    let target = rules.target("http://localhost:8080/").unwrap();
    assert_eq!(rules.address(&target, ip("127.0.0.1")), Ok(()));
    assert!(rules.address(&target, ip("::1")).is_err());
}

#[test]
fn a_listed_host_is_allowed_at_its_port_and_at_any_address() {
    let rules = rules(&["hooks.internal:8443", "Build.Internal.", "10.0.0.7:22", "mail.internal:25"]);
    let (hooks, build) = (
        rules.target("https://hooks.internal:8443/").unwrap(),
        rules.target("http://build.internal/").unwrap(),
    );
    assert_eq!(rules.address(&hooks, ip("10.9.9.9")), Ok(()));
    assert_eq!(rules.address(&build, ip("127.0.0.1")), Ok(()));
    let other_port = rules.target("https://hooks.internal/").unwrap();
    assert!(rules.address(&other_port, ip("10.9.9.9")).is_err());
    let below = rules.target("https://a.hooks.internal:8443/").unwrap();
    assert!(rules.address(&below, ip("10.9.9.9")).is_err());
    // A port that is listed is called, there alone.
    rules.target("http://10.0.0.7:22/").unwrap();
    rules.target("http://mail.internal:25/").unwrap();
    assert_eq!(rules.target("http://build.internal:25/"), Err(TargetError::Port(25)));
    assert_eq!(rules.target("http://8.8.8.8:22/"), Err(TargetError::Port(22)));
    let named = rules.target("http://other.example:22/");
    assert!(named.is_err() || rules.address(&named.unwrap(), ip("8.8.8.8")).is_err());
}

#[test]
fn what_a_name_resolves_to_is_judged_each_time() {
    let rules = TargetRules::default();
    let target = rules.target("https://rebinding.example/").unwrap();
    assert_eq!(rules.address(&target, ip("93.184.215.14")), Ok(()));
    for inner in
        ["127.0.0.1", "169.254.169.254", "::1", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "fd00:ec2::254"]
    {
        assert!(rules.address(&target, ip(inner)).is_err(), "{inner}");
    }
    let says = rules.address(&target, ip("169.254.169.254")).unwrap_err().to_string();
    assert_eq!(says, "169.254.169.254 is a link-local address; webhooks.allow doesn't list it");
}

#[test]
fn a_list_entry_is_read_as_it_is_written_and_nothing_else_is_one() {
    for text in [
        "10.0.0.0/8",
        "fd00::/8",
        "127.0.0.1",
        "::1",
        "127.0.0.1:8080",
        "[::1]:8080",
        "hooks.internal",
        "hooks.internal:8443",
    ] {
        assert_eq!(text.parse::<Allow>().unwrap().to_string(), text);
    }
    assert_eq!("Hooks.Internal.".parse::<Allow>().unwrap().to_string(), "hooks.internal");
    assert_eq!("bücher.example".parse::<Allow>().unwrap().to_string(), "xn--bcher-kva.example");
    for bad in [
        "",
        "*",
        "*.internal",
        "10.0.0.0/33",
        "10.0.0.0/8:80",
        "http://a/",
        "a:b",
        "a:70000",
        "a b",
        "2130706433",
        "0x7f.1",
        "[::1]",
        "a..b",
    ] {
        assert_eq!(bad.parse::<Allow>(), Err(BadAllow), "{bad}");
    }
}

proptest! {
    /// However an address is written, it is judged as itself.
    #[test]
    fn the_form_of_an_address_changes_nothing(bits: u32, form in 0..5) {
        let plain = Ipv4Addr::from(bits);
        let [a, b, c, d] = plain.octets();
        let host = match form {
            0 => bits.to_string(),
            1 => format!("0x{bits:x}"),
            2 => format!("0{a:o}.0x{b:x}.{}", u16::from_be_bytes([c, d])),
            3 => format!("[::ffff:{plain}]"),
            _ => format!("[64:ff9b::{plain}]"),
        };
        let expected = address::inside(IpAddr::V4(plain));
        match TargetRules::default().target(&format!("http://{host}/")) {
            Ok(_) => prop_assert_eq!(expected, None),
            Err(TargetError::Address(_, what)) => prop_assert_eq!(expected, Some(what)),
            Err(other) => prop_assert!(false, "{}: {}", host, other),
        }
    }

    /// Nothing that is taken points at what is inside, whatever the text.
    #[test]
    fn no_text_leads_inside(text in "https?://[a-z0-9x.:@%\\[\\]/#?①。-]{0,24}") {
        if let Ok(target) = TargetRules::default().target(&text) {
            prop_assert!(target.ip().is_none_or(|ip| address::inside(ip).is_none()));
            prop_assert!(!address::is_local_name(target.host()));
            prop_assert_eq!(TargetRules::default().target(target.url()), Ok(target));
        }
    }
}
