//! What a command is given and how its end is told.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rbuild_sandbox::{Error, ExecFailure, Exit, Output};

use crate::Case;
use crate::support::{bind, directory, run, setup, shell, try_run, with};

pub const TESTS: &[Case] = &[
    ("command_status_is_told_exactly", status_is_told_exactly),
    ("command_that_cannot_start_says_why", that_cannot_start_says_why),
    ("command_stdin_is_empty", stdin_is_empty),
    ("command_environment_is_exact", environment_is_exact),
    ("command_arguments_are_exact", arguments_are_exact),
    ("command_path_is_searched", path_is_searched),
    ("command_user_and_groups", user_and_groups),
    ("command_directory", directory_is_entered),
    ("command_output_joined_keeps_order", output_joined_keeps_order),
    ("command_output_reopens_as_any_user", output_reopens_as_any_user),
    ("command_set_up_may_be_large", set_up_may_be_large),
    ("command_inherits_nothing", inherits_nothing),
    ("command_limits_are_set", limits_are_set),
];

fn status_is_told_exactly() {
    for (script, expected) in [
        ("exit 0", Exit::Code(0)),
        ("exit 7", Exit::Code(7)),
        ("exit 255", Exit::Code(255)),
        ("exit 126", Exit::Code(126)),
        ("kill -KILL $$", Exit::Signal(9)),
        ("kill -SEGV $$", Exit::Signal(11)),
        ("kill -PIPE $$", Exit::Signal(13)),
    ] {
        assert_eq!(run(&shell(script)).exit, expected, "{script}");
    }
}

/// A header that the kernel and we can read.
fn elf(class: u8, machine: u8) -> Vec<u8> {
    let mut bytes = vec![0; 128];
    bytes[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', class, 1, 1]);
    (bytes[16], bytes[18], bytes[20]) = (2, machine, 1);
    bytes
}

fn without_loader(program: &Path) -> Option<(Vec<u8>, String)> {
    let mut bytes = fs::read(program).ok()?;
    let at = bytes.windows(4).position(|window| window == b"/lib")?;
    bytes[at + 1..at + 4].copy_from_slice(b"nil");
    let end = bytes[at..].iter().position(|byte| *byte == 0)?;
    let loader = String::from_utf8(bytes[at..at + end].to_vec()).ok()?;
    Some((bytes, loader))
}

fn that_cannot_start_says_why() {
    let programs = directory();
    let write = |name: &str, content: &[u8], mode| {
        fs::write(programs.path().join(name), content).unwrap();
        fs::set_permissions(programs.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    write("script", b"#!/no/such/interpreter -x\n", 0o755);
    write("plain", b"#!/bin/sh\n", 0o644);
    write("text", b"echo no first line\n", 0o755);
    write("arm", &elf(2, 183), 0o755);
    write("closed", b"#!/mnt/plain\n", 0o755);
    let missing = |program: &str, interpreter: &str| ExecFailure::MissingInterpreter {
        program: program.into(),
        interpreter: interpreter.into(),
    };
    let format = |program: &str, machine: Option<&str>| ExecFailure::BadFormat {
        program: program.into(),
        machine: machine.map(Into::into),
    };
    let mut cases = vec![
        ("/no/such/program", ExecFailure::NotFound("/no/such/program".into())),
        ("no-such-program", ExecFailure::NotFound("no-such-program".into())),
        ("/bin/sh/x", ExecFailure::NotFound("/bin/sh/x".into())),
        ("/mnt/script", missing("/mnt/script", "/no/such/interpreter")),
        ("/mnt/plain", ExecFailure::NotExecutable("/mnt/plain".into())),
        ("/etc", ExecFailure::NotExecutable("/etc".into())),
        ("/mnt/text", format("/mnt/text", None)),
        ("/mnt/arm", format("/mnt/arm", Some("aarch64"))),
        (
            "/mnt/closed",
            ExecFailure::Other("/mnt/closed: its interpreter /mnt/plain is not executable".into()),
        ),
    ];
    if let Some((program, loader)) = without_loader(Path::new("/usr/bin/env")) {
        write("loaderless", &program, 0o755);
        cases.push(("/mnt/loaderless", missing("/mnt/loaderless", &loader)));
    }
    for (program, what) in cases {
        let setup = with(setup(&[program]), |s| s.mounts.push(bind(programs.path(), "/mnt", true)));
        assert_eq!(run(&setup).exit, Exit::ExecFailed { what }, "{program}");
    }
}

fn stdin_is_empty() {
    assert_eq!(run(&shell("cat; echo end")).text(), "end");
    assert_eq!(run(&shell("readlink /proc/self/fd/0")).text(), "/dev/null");
}

fn environment_is_exact() {
    let values = [("A", "1"), ("LINES", "a\nb"), ("EQUALS", "x=y"), ("QUOTES", "'\"$A`"), ("EMPTY", "")];
    let setup = with(setup(&["/usr/bin/env", "-0"]), |s| {
        s.command.env = values.map(|(name, value)| (name.into(), value.into())).to_vec();
        s.command.env.push(("BYTES".into(), OsString::from_vec(b"\xff\\".to_vec())));
    });
    let expected = "A=1\0LINES=a\nb\0EQUALS=x=y\0QUOTES='\"$A`\0EMPTY=\0BYTES=\u{fffd}\\\0";
    assert_eq!(run(&setup).stdout, expected);
    // Nor does the init hold anything of the caller's.
    let none = with(shell("wc -c < /proc/1/environ"), |s| s.command.env.clear());
    assert_ne!(run(&none).exit, Exit::Signal(9));
}

fn arguments_are_exact() {
    let setup = setup(&["printf", "[%s]", "", "a b", "*", "-n", "\n"]);
    assert_eq!(run(&setup).stdout, "[][a b][*][-n][\n]");
}

fn path_is_searched() {
    let programs = directory();
    fs::write(programs.path().join("true"), "#!/bin/sh\necho ours\n").unwrap();
    for (mode, path, expected) in [
        (0o755, "/mnt:/usr/bin:/bin", "ours"),
        // One that may not be executed does not end the search.
        (0o644, "/mnt:/usr/bin:/bin", ""),
        (0o755, "/no/such:/usr/bin:/mnt", ""),
    ] {
        fs::set_permissions(programs.path().join("true"), fs::Permissions::from_mode(mode)).unwrap();
        let setup = with(setup(&["true"]), |s| {
            s.mounts.push(bind(programs.path(), "/mnt", true));
            s.command.env = vec![("PATH".into(), path.into())];
        });
        assert_eq!(run(&setup).text(), expected, "{mode:o} {path}");
    }
    // Without PATH the usual places are searched.
    assert_eq!(run(&with(setup(&["true"]), |s| s.command.env.clear())).text(), "");
}

fn user_and_groups() {
    let script = "id -u; id -g; id -G; cat /proc/self/uid_map | wc -l";
    let as_root = run(&shell(script));
    assert!(as_root.text().starts_with("0\n0\n0\n"), "{as_root:?}");
    let setup = with(shell(script), |s| {
        (s.command.uid, s.command.gid, s.command.groups) = (1000, 100, vec![27, 100, 65_534]);
    });
    match try_run(&setup, Output::Separate) {
        Ok(ended) => assert!(ended.text().starts_with("1000\n100\n100 27 65534\n"), "{ended:?}"),
        Err(error) => assert!(setup.ids.is_single() && matches!(error, Error::Unmapped { .. }), "{error}"),
    }
}

fn directory_is_entered() {
    let at = |path: &str| with(shell("pwd; umask"), |s| s.command.directory = path.into());
    assert_eq!(run(&at("/usr/bin")).text(), "/usr/bin\n0022");
    let what = ExecFailure::Other("change directory to /no/such: ENOENT (No such file or directory)".into());
    assert_eq!(run(&at("/no/such")).exit, Exit::ExecFailed { what });
    let masked = with(at("/"), |s| s.command.umask = 0o077);
    assert_eq!(run(&masked).text(), "/\n0077");
}

fn output_joined_keeps_order() {
    let setup = shell("for i in 1 2 3; do echo out$i; echo err$i >&2; done");
    let joined = try_run(&setup, Output::Joined).unwrap();
    assert_eq!(joined.stdout, "out1\nerr1\nout2\nerr2\nout3\nerr3\n");
    let separate = run(&setup);
    assert_eq!(
        (separate.stdout.as_str(), separate.stderr.as_str()),
        ("out1\nout2\nout3\n", "err1\nerr2\nerr3\n")
    );
}

fn output_reopens_as_any_user() {
    for uid in [0, 1000] {
        let setup = with(
            shell("echo one > /dev/stdout; echo two > /dev/stderr; echo three > /proc/self/fd/1"),
            |s| {
                (s.command.uid, s.command.gid) = (uid, uid);
            },
        );
        match try_run(&setup, Output::Separate) {
            Ok(ended) => {
                assert_eq!(ended.text(), "one\nthree", "{uid}");
                assert_eq!(ended.stderr, "two\n", "{uid}");
            }
            Err(error) => assert!(setup.ids.is_single(), "{error}"),
        }
    }
}

fn set_up_may_be_large() {
    let setup = with(setup(&["sh", "-c", "env | wc -l"]), |s| {
        s.command.env = (0..10_000).map(|i| (format!("V{i}").into(), "x".repeat(80).into())).collect();
    });
    assert_eq!(run(&setup).text(), "10001", "and PWD, which sh adds");
    let long = with(setup_with_argument(200_000), |_| {});
    let Exit::ExecFailed { what: ExecFailure::Other(what) } = run(&long).exit else {
        panic!("it cannot run")
    };
    assert!(what.contains("longer than the kernel takes"), "{what}");
}

fn setup_with_argument(length: usize) -> rbuild_sandbox::Setup {
    setup(&["/bin/true", &"x".repeat(length)])
}

fn inherits_nothing() {
    // Descriptors: the test opens one that survives exec, as a careless shell would.
    let file = fs::File::open("/etc/passwd").unwrap();
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
    // Number 3 is the listed directory itself.
    assert_eq!(run(&setup(&["ls", "/proc/self/fd"])).text(), "0\n1\n2\n3");
    // Signals: this program ignores SIGPIPE, as every Rust program does.
    let status = run(&setup(&["cat", "/proc/self/status"]));
    for field in ["SigBlk", "SigIgn", "SigCgt"] {
        let line = status.text().lines().find(|line| line.starts_with(field)).unwrap();
        assert!(line.ends_with("0000000000000000"), "{line}");
    }
    // Its own session and process group, so `kill 0` cannot mean the init; the priority is ours.
    let stat = run(&shell("cut -d' ' -f1,5,6,19 /proc/$$/stat"));
    let numbers: Vec<_> = stat.text().split(' ').collect();
    assert_eq!(numbers[0], numbers[1]);
    assert_eq!(numbers[0], numbers[2]);
    assert_eq!(numbers[3], rustix::process::getpriority_process(None).unwrap().to_string());
    assert_eq!(run(&shell("cat /proc/self/personality")).text(), "00000000");
}

fn limits_are_set() {
    let script = "ulimit -Sn; ulimit -Sc; ulimit -Ss";
    assert_eq!(run(&shell(script)).text(), "1024\n0\n8192");
    let changed = with(shell(script), |s| s.limits.open_files = 77);
    assert_eq!(run(&changed).text(), "77\n0\n8192");
    assert_ne!(run(&shell("ulimit -Hn")).text(), "1024");
}
