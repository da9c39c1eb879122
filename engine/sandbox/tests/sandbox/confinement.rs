//! What a command may not do, and what it must be able to.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::Command;

use rbuild_sandbox::{Exit, IdMap, Network, Sandbox, Setup};

use crate::Case;
use crate::runner::skip;
use crate::support::{bind, directory, need_new_kernel, need_root, run, setup, shell, this_program, with};

pub const TESTS: &[Case] = &[
    ("confinement_capabilities", capabilities),
    ("confinement_system_calls", system_calls),
    ("confinement_set_id_programs_work", set_id_programs_work),
    ("confinement_32_bit_programs_live", programs_of_32_bits_live),
    ("confinement_the_init_is_out_of_reach", the_init_is_out_of_reach),
    ("confinement_the_program_is_out_of_reach", the_program_is_out_of_reach),
    ("confinement_proc_is_masked", proc_is_masked),
    ("confinement_sys_is_read_only", sys_is_read_only),
    ("confinement_no_network_but_loopback", no_network_but_loopback),
    ("confinement_network_of_the_machine", network_of_the_machine),
    ("confinement_host_name", host_name),
    ("confinement_namespaces_are_new", namespaces_are_new),
    ("confinement_the_old_root_is_gone", the_old_root_is_gone),
];

pub const INNER: &[Case] = &[(CHANGE_PROGRAM, change_program)];

fn field(setup: Setup, name: &str) -> String {
    let status = run(&with(setup, |s| {
        s.command.argv = ["cat", "/proc/self/status"].map(Into::into).to_vec();
    }));
    let value = status.text().lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    value.trim_start_matches(':').trim().to_owned()
}

fn as_user(setup: Setup) -> Setup {
    if setup.ids.is_single() {
        skip("one id only");
    }
    with(setup, |s| (s.command.uid, s.command.gid) = (1000, 1000))
}

/// The 14 of containers: 0x00000000a80425fb.
fn capabilities() {
    const USUAL: &str = "00000000a80425fb";
    const NONE: &str = "0000000000000000";
    for (name, expected) in
        [("CapBnd", USUAL), ("CapPrm", USUAL), ("CapEff", USUAL), ("CapInh", NONE), ("CapAmb", NONE)]
    {
        assert_eq!(field(shell(""), name), expected, "{name} of root");
    }
    assert_eq!(field(shell(""), "Seccomp"), "2");
    for (name, expected) in
        [("CapBnd", USUAL), ("CapPrm", NONE), ("CapEff", NONE), ("CapInh", NONE), ("CapAmb", NONE)]
    {
        assert_eq!(field(as_user(shell("")), name), expected, "{name} of a user");
    }
}

/// The errno of system calls made inside, by perl, in one go; 0 is success.
fn errnos(calls: &[(i64, &str)]) -> Vec<i32> {
    if !fs::exists("/usr/bin/perl").unwrap() {
        skip("needs perl");
    }
    let call = |(number, arguments): &(i64, &str)| {
        format!("$! = 0; my $r = syscall({number}{arguments}); print $r == -1 ? $!+0 : 0, ' ';")
    };
    let ended = run(&setup(&["perl", "-e", &calls.iter().map(call).collect::<String>()]));
    ended.text().split_whitespace().map(|number| number.parse().unwrap()).collect()
}

fn system_calls() {
    let user_namespace = format!(", {}", libc::CLONE_NEWUSER);
    let [vsock, packet, unix, netlink] = [libc::AF_VSOCK, libc::AF_PACKET, libc::AF_UNIX, libc::AF_NETLINK]
        .map(|family| format!(", {family}, {}, 0", libc::SOCK_DGRAM));
    let cases: &[(i64, &str, i32)] = &[
        (libc::SYS_bpf, ", 0, 0, 0", libc::EPERM),
        (libc::SYS_kexec_load, ", 0, 0, 0, 0", libc::EPERM),
        (libc::SYS_open_by_handle_at, ", -1, 0, 0", libc::EPERM),
        (libc::SYS_finit_module, ", -1, 0, 0", libc::EPERM),
        (libc::SYS_keyctl, ", 0, 0", libc::EPERM),
        (libc::SYS_add_key, ", 0, 0, 0, 0, 0", libc::EPERM),
        (libc::SYS_perf_event_open, ", 0, 0, 0, 0, 0", libc::EPERM),
        (libc::SYS_userfaultfd, ", 0", libc::EPERM),
        (libc::SYS_mount, ", 0, 0, 0, 0, 0", libc::EPERM),
        (libc::SYS_umount2, ", 0, 0", libc::EPERM),
        (libc::SYS_fsopen, ", 0, 0", libc::EPERM),
        (libc::SYS_setns, ", 0, 0", libc::EPERM),
        (libc::SYS_unshare, &user_namespace, libc::EPERM),
        (libc::SYS_unshare, ", 0", 0),
        (libc::SYS_clone3, ", 0, 0", libc::ENOSYS),
        (libc::SYS_io_uring_setup, ", 1, 0", libc::ENOSYS),
        (libc::SYS_syslog, ", 10, 0, 0", libc::EPERM),
        (libc::SYS_socket, &vsock, libc::EAFNOSUPPORT),
        (libc::SYS_socket, &packet, libc::EAFNOSUPPORT),
        (libc::SYS_socket, &unix, 0),
        (libc::SYS_socket, &netlink, 0),
        (libc::SYS_quotactl_fd, ", -1, 0, 0, 0", libc::EPERM),
        (libc::SYS_getpid, "", 0),
    ];
    let calls: Vec<_> = cases.iter().map(|(number, arguments, _)| (*number, *arguments)).collect();
    for ((number, _, expected), errno) in cases.iter().zip(errnos(&calls)) {
        assert_eq!(errno, *expected, "system call {number}");
    }
}

fn set_id_programs_work() {
    need_root();
    // The run as on an old kernel has no_new_privs.
    need_new_kernel();
    let setup = as_user(setup(&["/mnt/id", "-u"]));
    assert_eq!(field(as_user(shell("")), "NoNewPrivs"), "0");
    let programs = directory();
    let program = programs.path().join("id");
    fs::copy("/usr/bin/id", &program).unwrap();
    chown(&program, setup.ids.host_uid(0), setup.ids.host_gid(0)).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    let setup = with(setup, |s| s.mounts.push(bind(programs.path(), "/mnt", true)));
    assert_eq!(run(&setup).text(), "0");
}

/// `mov eax, 1; mov ebx, 42; int 0x80` in the smallest 32-bit program.
#[rustfmt::skip]
const EXIT_42: &[u8] = &[
    0x7f, b'E', b'L', b'F', 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    2, 0, 3, 0, 1, 0, 0, 0, 0x54, 0x80, 0x04, 0x08, 0x34, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0x34, 0, 0x20, 0, 1, 0, 0, 0, 0, 0, 0, 0,
    1, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x04, 0x08, 0, 0x80, 0x04, 0x08,
    0x60, 0, 0, 0, 0x60, 0, 0, 0, 5, 0, 0, 0, 0, 0x10, 0, 0,
    0xb8, 1, 0, 0, 0, 0xbb, 42, 0, 0, 0, 0xcd, 0x80,
];

fn programs_of_32_bits_live() {
    let programs = directory();
    let program = programs.path().join("exit42");
    fs::write(&program, EXIT_42).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    if Command::new(&program).status().ok().and_then(|status| status.code()) != Some(42) {
        skip("this machine runs no 32-bit x86 programs");
    }
    let setup = with(setup(&["/mnt/exit42"]), |s| s.mounts.push(bind(programs.path(), "/mnt", true)));
    assert_eq!(run(&setup).exit, Exit::Code(42));
}

fn the_init_is_out_of_reach() {
    for attempt in
        ["cat environ", "cat exe", "ls root/", "readlink fd/0", "cat mem", "cat maps", "readlink exe"]
    {
        let ended = run(&shell(&format!("cd /proc/1 && {attempt}")));
        assert_ne!(ended.exit, Exit::Code(0), "{attempt}: {ended:?}");
        assert_eq!(ended.stdout, "", "{attempt}");
    }
}

/// A step whose user owns this very program, and whose command's interpreter is `/proc/self/exe` (CVE-2019-5736).
fn the_program_is_out_of_reach() {
    let program = this_program();
    let before = fs::metadata(program).unwrap();
    let scripts = directory();
    let script = scripts.path().join("script");
    fs::write(&script, "#!/proc/self/exe --inner\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    Sandbox::set_program(program);
    let setup = with(setup(&[CHANGE_PROGRAM]), |s| {
        s.ids = IdMap::single(before.uid(), before.gid());
        s.mounts.push(bind(scripts.path(), "/mnt", true));
    });
    let ended = run(&setup);
    assert!(ended.text().contains("Read-only file system"), "{ended:?}");
    assert_eq!(fs::metadata(program).unwrap().mode(), before.mode());
}

/// The interpreter gets the script's path as its argument: it is the name of this part.
const CHANGE_PROGRAM: &str = "/mnt/script";

fn change_program() {
    let own = fs::File::open("/proc/self/exe").unwrap();
    println!("{:?}", own.set_permissions(fs::Permissions::from_mode(0o4755)));
}

fn proc_is_masked() {
    for hidden in ["kcore", "keys", "timer_list", "interrupts"] {
        let script = format!("[ ! -e /proc/{hidden} ] || head -c 100 /proc/{hidden} | wc -c");
        assert_eq!(run(&shell(&script)).text().trim_end_matches('0'), "", "{hidden}");
    }
    for file in ["sys/kernel/domainname", "sys/net/ipv4/ip_forward", "sysrq-trigger"] {
        let ended = run(&shell(&format!("[ ! -e /proc/{file} ] || echo 1 > /proc/{file}")));
        let absent = ended.exit == Exit::Code(0)
            && ended.stderr.is_empty()
            && !fs::exists(format!("/proc/{file}")).unwrap();
        assert!(absent || ended.stderr.contains("Read-only file system"), "{file}: {ended:?}");
    }
    assert_eq!(run(&shell("ls /proc/scsi 2>/dev/null | wc -l")).text(), "0");
    // The process numbers are those of the inside.
    assert_eq!(run(&shell("echo $$; tr '\\0' ' ' < /proc/2/cmdline | head -c 2")).text(), "2\nsh");
}

fn sys_is_read_only() {
    for network in [Network::None, Network::Host] {
        let setup = with(shell("ls /sys/kernel >/dev/null && mkdir /sys/x"), |s| s.network = network);
        let ended = run(&setup);
        assert!(ended.stderr.contains("Read-only file system"), "{network:?}: {ended:?}");
    }
}

fn no_network_but_loopback() {
    let devices =
        run(&shell("tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '; tail -n +2 /proc/net/route"));
    assert_eq!(devices.text(), "lo");
    // IFF_UP | IFF_LOOPBACK.
    assert_eq!(run(&shell("cat /sys/class/net/lo/flags")).text(), "0x9");
}

fn network_of_the_machine() {
    let setup = with(setup(&["readlink", "/proc/self/ns/net"]), |s| s.network = Network::Host);
    let ours = fs::read_link("/proc/self/ns/net").unwrap();
    assert_eq!(run(&setup).text(), ours.to_str().unwrap());
}

fn host_name() {
    let ended = run(&shell("uname -n; cat /proc/sys/kernel/domainname"));
    assert_eq!(ended.text(), "rbuild\n(none)");
}

fn namespaces_are_new() {
    for name in ["user", "mnt", "ipc", "uts", "pid", "net", "cgroup"] {
        let ours = fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        let theirs = run(&setup(&["readlink", &format!("/proc/self/ns/{name}")]));
        assert_ne!(theirs.text(), ours.to_str().unwrap(), "{name}");
    }
}

fn the_old_root_is_gone() {
    let root = directory();
    for name in ["proc", "bin", "lib", "lib64", "usr"] {
        fs::create_dir(root.path().join(name)).unwrap();
    }
    let setup =
        with(shell("ls -d /.. /../* | tr '\\n' ' '; cut -d' ' -f5 /proc/self/mountinfo | sort -u"), |s| {
            s.mounts = vec![bind(root.path(), "/", false), rbuild_sandbox::Mount::Proc];
            for name in ["/bin", "/lib", "/lib64", "/usr"] {
                if fs::exists(name).unwrap() {
                    s.mounts.push(bind(name, name, true));
                }
            }
        });
    let ended = run(&setup);
    let (listing, mounts) = ended.text().split_once(" /\n").unwrap();
    assert_eq!(listing, "/.. /../bin /../lib /../lib64 /../proc /../usr");
    for mount in mounts.lines() {
        let known = ["/bin", "/lib", "/proc", "/usr"].iter().any(|name| mount.starts_with(name));
        assert!(known || mount == "/", "{mount}");
    }
}
