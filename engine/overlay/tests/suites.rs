//! Other people's test-suites of filesystems, on a mount, with short settings.
#![allow(clippy::unwrap_used)]

mod support;

use std::{fs, path::Path, process::Command};
use support::mounts::{foreign, have, must, program};

/// Tests that the suite itself does not run on a filesystem like this: no other place to mount is given to it, and how
/// many links a file may have is not for a FUSE filesystem to say (`pathconf`).
fn may_be_skipped(test: &str) -> bool {
    test.contains("::erofs_") || test == "link::link_count_max"
}

const PJDFSTEST: &str = r#"
[features]
posix_fallocate = {}
utime_now = {}
utimensat = {}
rename_ctime = {}
[settings]
naptime = 0.01
[dummy_auth]
entries = [["nobody", "nogroup"], ["games", "games"]]
"#;

#[test]
fn mount_pjdfstest() {
    let Some(suite) = program("pjdfstest") else { return };
    foreign("", |at| {
        let elsewhere = tempfile::tempdir().unwrap();
        let config = elsewhere.path().join("pjd.toml");
        fs::write(&config, PJDFSTEST).unwrap();
        let mut suite = Command::new(suite);
        suite.arg("-c").arg(config).arg("-p").arg(at).arg("-s").arg(elsewhere.path());
        let told = must(&mut suite);
        let ended = |how: &str| -> Vec<&str> {
            told.lines().filter_map(|line| Some(line.strip_suffix(how)?.trim())).collect()
        };
        assert!(ended(" ok").len() > 380, "{told}");
        let skipped = ended(" skipped");
        assert!(skipped.iter().all(|test| may_be_skipped(test)), "{skipped:?}");
    });
}

const FSX: &str = "
flen = 1048576
[opsize]
max = 65536
[weights]
close_open = 1
read = 10
write = 10
mapread = 10
mapwrite = 10
invalidate = 1
truncate = 3
fsync = 0.2
fdatasync = 0.2
posix_fallocate = 1
punch_hole = 1
sendfile = 3
posix_fadvise = 1
copy_file_range = 2
";

#[test]
fn mount_fsx() {
    let Some(suite) = program("fsx") else { return };
    foreign("", |at| {
        let elsewhere = tempfile::tempdir().unwrap();
        let config = elsewhere.path().join("fsx.toml");
        fs::write(&config, FSX).unwrap();
        for seed in ["1", "2"] {
            let mut suite = Command::new(&suite);
            suite.args(["-q", "-N", "6000", "-S", seed, "-f"]).arg(&config).arg("-P").arg(elsewhere.path());
            let told = must(suite.arg(at.join(seed)));
            assert!(told.contains("A-OK"), "{told}");
        }
    });
}

/// Not about this filesystem, or what it does not do: flags of files, maps of their extents, verity.
const OTHER_STRESSORS: &str = "bind-mount,binderfs,chattr,eventfd,fiemap,ioprio,procfs,verity";

/// All at once. One that found nothing to do, too, makes it end in failure.
#[test]
fn mount_stress_ng() {
    let Some(suite) = program("stress-ng") else { return };
    foreign("", |at| {
        let mut suite = Command::new(suite);
        suite.args(["--class", "filesystem", "--all", "1", "--timeout", "12s", "--verify"]);
        must(suite.args(["--exclude", OTHER_STRESSORS, "--temp-path"]).arg(at));
    });
}

fn fio(at: &Path, arguments: &[&str]) {
    let size = ["--name=verify", "--size=32m", "--numjobs=2", "--verify=crc32c", "--do_verify=1"];
    let told = must(Command::new("fio").args(size).args(arguments).current_dir(at));
    assert_eq!(told.matches("err= 0").count(), 2, "{told}");
}

#[test]
fn mount_fio_reads_what_it_wrote() {
    if !have(&["fio"]) {
        return;
    }
    foreign("", |at| {
        fio(at, &["--rw=randrw", "--bs=4k-64k"]);
        fio(at, &["--rw=randwrite", "--bs=512-64k", "--ioengine=mmap"]);
        fio(at, &["--rw=randwrite", "--bs=4k-64k", "--ioengine=libaio", "--iodepth=16", "--direct=1"]);
    });
}
