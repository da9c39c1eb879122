#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

const ALL: &str = "         0          0 4294967295\n";
const CAPABLE: u64 = 0xc0;

fn root() -> Machine {
    Machine {
        names: vec!["root".into()],
        effective_capabilities: CAPABLE,
        uid_map: ALL.into(),
        gid_map: ALL.into(),
        ..Machine::default()
    }
}

fn user() -> Machine {
    Machine {
        uid: 1000,
        gid: 100,
        names: vec!["ada".into()],
        uid_map: ALL.into(),
        gid_map: ALL.into(),
        subuid: "bob:1:9\nada:100000:65536\n".into(),
        subgid: "ada:200000:65536\n".into(),
        has_helpers: true,
        ..Machine::default()
    }
}

fn extents(list: &[(u32, u32, u32)]) -> Vec<Extent> {
    list.iter()
        .map(|(inside, outside, count)| Extent { inside: *inside, outside: *outside, count: *count })
        .collect()
}

#[test]
fn every_kind_of_caller_gets_its_map() {
    let nested = "0 100000 1000\n1000 500000 70000\n";
    type Expected<'a> = (MapMethod, &'a [(u32, u32, u32)], &'a [(u32, u32, u32)]);
    let high = &[(0, UNUSED_BASE, WANTED)][..];
    let helper: Expected =
        (MapMethod::Helper, &[(0, 1000, 1), (1, 100_000, 65_535)], &[(0, 100, 1), (1, 200_000, 65_535)]);
    let single: Expected = (MapMethod::Single, &[(0, 1000, 1)], &[(0, 100, 1)]);
    let two = "ada:100000:1000\n1000:300000:9\n";
    let cases: [(&str, Machine, Expected); 12] = [
        ("root", root(), (MapMethod::Direct, high, high)),
        (
            "root with sub-ids",
            Machine { subuid: "root:500000:65536".into(), subgid: "0:600000:99999".into(), ..root() },
            (MapMethod::Direct, &[(0, 500_000, WANTED)], &[(0, 600_000, WANTED)]),
        ),
        (
            "root with too few sub-ids",
            Machine { subuid: "root:500000:10".into(), subgid: "root:500000:10".into(), ..root() },
            (MapMethod::Direct, high, high),
        ),
        (
            "root with sub-ids its namespace lacks",
            Machine {
                uid_map: "0 0 65536".into(),
                gid_map: "0 0 65536".into(),
                subuid: "root:500000:65536".into(),
                subgid: "root:500000:65536".into(),
                ..root()
            },
            (MapMethod::Direct, &[(0, 0, WANTED)], &[(0, 0, WANTED)]),
        ),
        (
            "root of a small namespace",
            Machine { uid_map: nested.into(), gid_map: "0 0 1".into(), ..root() },
            (MapMethod::Direct, &[(0, 0, 1000), (1000, 1000, 64_536)], &[(0, 0, 1)]),
        ),
        ("root without capabilities", Machine { effective_capabilities: 0x40, ..root() }, {
            (MapMethod::Single, &[(0, 0, 1)], &[(0, 0, 1)])
        }),
        ("root that may not set groups", Machine { setgroups_denied: true, ..root() }, {
            (MapMethod::Single, &[(0, 0, 1)], &[(0, 0, 1)])
        }),
        ("user", user(), helper),
        ("user under no_new_privs", Machine { no_new_privs: true, ..user() }, single),
        ("user without helpers", Machine { has_helpers: false, ..user() }, single),
        ("user without sub-gids", Machine { subgid: String::new(), ..user() }, single),
        (
            "user with two ranges",
            Machine { subuid: two.into(), subgid: two.into(), ..user() },
            (
                MapMethod::Helper,
                &[(0, 1000, 1), (1, 100_000, 1000), (1001, 300_000, 9)],
                &[(0, 100, 1), (1, 100_000, 1000), (1001, 300_000, 9)],
            ),
        ),
    ];
    for (who, machine, (method, uids, gids)) in cases {
        let map = machine.choose();
        assert_eq!(map.method, method, "{who}");
        assert_eq!(map.uids, extents(uids), "{who}");
        assert_eq!(map.gids, extents(gids), "{who}");
    }
}

#[test]
fn ids_are_found_outside() {
    let map = user().choose();
    for (inside, expected) in
        [(0, Some(1000)), (1, Some(100_000)), (65_535, Some(165_534)), (65_536, None), (u32::MAX, None)]
    {
        assert_eq!(map.host_uid(inside), expected, "{inside}");
    }
    assert_eq!(map.host_gid(65_534), Some(265_533));
}

#[test]
fn an_unmapped_id_says_what_to_do() {
    let single = IdMap::single(1, 1).unmapped("user", 7).to_string();
    assert!(single.starts_with("user 7 has no id in this sandbox: steps have one id only"), "{single}");
    let short = Machine { subuid: "ada:1:9".into(), ..user() }.choose().unmapped("user", 99).to_string();
    assert!(short.contains("gives 10 ids"), "{short}");
}

#[test]
fn this_machine_has_a_map() {
    let map = IdMap::detect().unwrap();
    assert!(map.host_uid(0).is_some() && map.host_gid(0).is_some());
}

proptest! {
    /// Whatever the files say, no panic, no id twice, and never more than the 16-bit range.
    #[test]
    fn extents_never_overlap(subuid in "(ada:[0-9]{1,10}:[0-9]{1,10}\n){0,4}", map in "([0-9]{1,6} [0-9]{1,6} [0-9]{1,10}\n){0,3}") {
        for machine in [
            Machine { subuid: subuid.clone(), subgid: subuid.clone(), ..user() },
            Machine { uid_map: map.clone(), gid_map: map.clone(), ..root() },
        ] {
            for extent in machine.choose().uids {
                prop_assert!(extent.count > 0 || machine.uid == 0);
                prop_assert!(u64::from(extent.inside) + u64::from(extent.count) <= u64::from(WANTED));
            }
        }
        let uids = Machine { subuid: subuid.clone(), subgid: subuid, ..user() }.choose().uids;
        for pair in uids.windows(2) {
            prop_assert_eq!(pair[0].inside + pair[0].count, pair[1].inside);
        }
    }
}

#[test]
fn one_id_has_its_reason() {
    for (machine, reason) in [
        (root(), None),
        (user(), None),
        (Machine { effective_capabilities: 0x40, ..root() }, Some(OneId::NoCapabilities)),
        (Machine { setgroups_denied: true, ..root() }, Some(OneId::OuterNamespace)),
        (Machine { no_new_privs: true, has_helpers: false, ..user() }, Some(OneId::NoNewPrivileges)),
        (Machine { has_helpers: false, ..user() }, Some(OneId::NoHelper)),
        (Machine { subgid: "bob:1:9".into(), ..user() }, Some(OneId::NoRange)),
    ] {
        assert_eq!(machine.one_id(), reason, "{machine:?}");
        let map = machine.choose();
        assert_eq!((map.is_single(), map.count() == 1), (reason.is_some(), reason.is_some()), "{machine:?}");
    }
    assert_eq!(
        (user().user().as_str(), Machine { names: vec![], ..user() }.user().as_str()),
        ("ada", "1000")
    );
}
