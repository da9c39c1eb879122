//! On folders that stand for control groups; real ones are tried in `tests/sandbox`.
#![allow(clippy::unwrap_used)]

use super::*;

const BOTH: &str = "\
30 24 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
33 30 0:29 /docker/ab /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
34 30 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
";

#[test]
fn hierarchies_are_those_of_the_process() {
    let groups = "5:name=systemd:/x\n4:memory:/docker/ab/in\n2:cpu,cpuacct:/here\n0::/user.slice/app\n";
    let found = hierarchies(BOTH, groups);
    let shown: Vec<(bool, &str)> =
        found.iter().map(|one| (one.is_second, one.own.to_str().unwrap())).collect();
    assert_eq!(
        shown,
        [
            (true, "/sys/fs/cgroup/unified/user.slice/app"),
            (false, "/sys/fs/cgroup/cpu,cpuacct/here"),
            (false, "/sys/fs/cgroup/memory/in"),
            (false, "/sys/fs/cgroup/systemd/x"),
        ]
    );
    assert!(found[1].has("cpu") && !found[1].has("memory"));
    assert_eq!(hierarchies(BOTH, "4:memory:/elsewhere\n"), [], "not in what is mounted");
}

#[test]
fn the_smallest_limit_of_memory_counts() {
    let folder = tempfile::tempdir().unwrap();
    let point = folder.path();
    fs::create_dir_all(point.join("slice/scope")).unwrap();
    let unified = second(point, "slice/scope");
    assert_eq!(unified.memory_limit(), None);
    for (file, content) in
        [("slice/memory.max", "2048\n"), ("slice/scope/memory.max", "max\n"), ("memory.max", "4096\n")]
    {
        fs::write(point.join(file), content).unwrap();
    }
    assert_eq!(unified.memory_limit(), Some(2048));
    fs::write(point.join("slice/memory.limit_in_bytes"), "77\n").unwrap();
    fs::write(point.join("memory.limit_in_bytes"), "9223372036854771712\n").unwrap();
    let first = |controller: &str| Hierarchy {
        is_second: false,
        controllers: vec![controller.into()],
        ..second(point, "slice")
    };
    assert_eq!((first("memory").memory_limit(), first("cpu").memory_limit()), (Some(77), None));
    let top = Hierarchy { own: point.into(), ..first("memory") };
    assert_eq!(top.memory_limit(), None, "that is no limit");
}

fn second(point: &Path, own: &str) -> Hierarchy {
    Hierarchy { is_second: true, controllers: Vec::new(), point: point.into(), own: point.join(own) }
}

#[test]
fn a_group_is_made_where_the_controllers_are_handed_down() {
    let folder = tempfile::tempdir().unwrap();
    let point = folder.path();
    fs::create_dir_all(point.join("slice/scope")).unwrap();
    fs::write(point.join("cgroup.subtree_control"), "cpu io memory pids\n").unwrap();
    fs::write(point.join("slice/cgroup.subtree_control"), "memory pids\n").unwrap();
    let hierarchy = second(point, "slice/scope");
    let (memory, cpus) = (Wanted::Memory(1 << 20), Wanted::Cpus(1500));
    assert_eq!(hierarchy.parents(&[memory]), [point.join("slice"), point.to_owned()]);
    let mut groups = Groups::default();
    assert_eq!(groups.make_in(&hierarchy, &[memory, cpus], 77), [memory, cpus]);
    let group = groups.folders[0].clone();
    assert_eq!(group.parent(), Some(point));
    for (file, content) in [
        ("memory.max", "1048576"),
        ("memory.swap.max", "0"),
        ("cpu.max", "150000 100000"),
        ("cgroup.procs", "77"),
    ] {
        assert_eq!(fs::read_to_string(group.join(file)).unwrap(), content);
    }
    for (events, expected) in [("oom 1\noom_kill 0\n", false), ("oom 2\noom_kill 1\n", true)] {
        fs::write(group.join("memory.events"), events).unwrap();
        assert_eq!(groups.is_out_of_memory(), expected);
    }
}

#[test]
fn one_of_two_controllers_is_better_than_none() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("cgroup.subtree_control"), "memory\n").unwrap();
    let (memory, cpus) = (Wanted::Memory(1 << 20), Wanted::Cpus(1));
    let mut groups = Groups::default();
    assert_eq!(groups.make_in(&second(folder.path(), ""), &[cpus, memory], 77), [memory]);
    assert_eq!(quota(1), 1000, "the kernel takes no less");
}

#[test]
fn groups_of_engines_that_are_gone_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let own = format!("rbuild-{}-9", std::process::id());
    for name in ["rbuild-4194999-0", own.as_str(), "other"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    remove_left(folder.path());
    let mut left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|one| one.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["other", own.as_str()]);
}
