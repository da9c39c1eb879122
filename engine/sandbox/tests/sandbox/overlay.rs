//! The kernel's overlay filesystem in a sandbox, and workers with its ids.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use rbuild_sandbox::{Channel, Exit, IdMap, Memory, Mount, Output, Sandbox, Setup, Upper, Worker};

use crate::Case;
use crate::support::{directory, is_root, need_new_kernel, run, shell, with};

pub const TESTS: &[Case] = &[
    ("overlay_changes_go_to_the_upper_directory", changes_go_to_the_upper_directory),
    ("overlay_without_an_upper_directory_is_read_only", without_an_upper_directory_it_is_read_only),
    ("overlay_a_part_can_be_mounted", a_part_can_be_mounted),
    ("overlay_over_a_filesystem_in_memory", over_a_filesystem_in_memory),
    ("worker_has_the_ids_and_what_came_along", a_worker_has_the_ids_and_what_came_along),
];

/// What workers of this program do: they tell their ids and what a descriptor holds, or make a filesystem in memory.
pub fn work(channel: &Channel) {
    while let Ok(Some((question, descriptors))) = channel.receive() {
        if question == b"memory" {
            let memory = Memory::make(10, 1 << 20).unwrap();
            rustix::process::fchdir(&memory).unwrap();
            fs::write("below", "memory").unwrap();
            chown("below", Some(0), Some(0)).unwrap();
            channel.send(b"", &[memory.as_fd()]).unwrap();
            continue;
        }
        let mut text = String::from_utf8_lossy(&question).into_owned();
        text += &format!(" {} {}", rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let mut files = descriptors.into_iter().map(File::from);
        if let Some(mut file) = files.next() {
            file.read_to_string(&mut text).unwrap();
        }
        channel.send(text.as_bytes(), &[]).unwrap();
    }
}

/// A set-up with an overlay on /mnt, of two directories in `folder` and perhaps a third for changes.
fn overlaid(script: &str, folder: &Path, source: &str, writable: bool) -> Setup {
    let place = |name: &str| folder.join(name);
    for name in ["top", "bottom"] {
        fs::create_dir_all(place(name)).unwrap();
        fs::write(place(name).join(name), name).unwrap();
        fs::write(place(name).join("both"), name).unwrap();
        // The kernel copies up only what belongs to ids of the sandbox.
        if is_root() {
            let ids = IdMap::detect().unwrap();
            chown(place(name).join("both"), ids.host_uid(0), ids.host_gid(0)).unwrap();
        }
    }
    let upper = writable.then(|| Upper { changes: place("changes"), work: place("work") });
    with(shell(script), |setup| {
        for name in ["changes", "work"] {
            setup.mounts.push(Mount::Own { path: place(name), uid: 0, gid: 0, mode: 0o755 });
        }
        let lower = vec![place("top"), place("bottom")];
        let (target, source, data) = ("/mnt".into(), source.into(), None);
        setup.mounts.push(Mount::Overlay { target, source, lower, data, memory: false, upper });
    })
}

fn changes_go_to_the_upper_directory() {
    let folder = directory();
    let script = "cd /mnt && cat top bottom both && echo new > both && rm bottom && mkdir dir && ls";
    let ended = run(&overlaid(script, folder.path(), "", true));
    assert_eq!(ended.text(), "topbottomtopboth\ndir\ntop");
    let place = |name: &str| folder.path().join(name);
    assert_eq!(fs::read_to_string(place("changes/both")).unwrap(), "new\n");
    assert_eq!(fs::read_to_string(place("top/both")).unwrap(), "top");
    let whiteout = fs::symlink_metadata(place("changes/bottom")).unwrap();
    assert_eq!((whiteout.mode() & libc::S_IFMT, whiteout.rdev()), (libc::S_IFCHR, 0));
    let owner = IdMap::detect().unwrap().host_uid(0);
    assert_eq!(Some(fs::metadata(place("changes/dir")).unwrap().uid()), owner);
}

fn without_an_upper_directory_it_is_read_only() {
    let folder = directory();
    let ended = run(&overlaid("echo x > /mnt/both || cat /mnt/both", folder.path(), "", false));
    assert_eq!(ended.text(), "top");
    assert!(ended.stderr.contains("Read-only file system"), "{ended:?}");
}

/// Two at once, after the worker's end; what is written goes to the disk.
fn over_a_filesystem_in_memory() {
    need_new_kernel();
    let worker = Worker::start(&IdMap::detect().unwrap()).unwrap();
    worker.say(b"memory", &[]).unwrap();
    let memory = Memory::from(worker.hear().unwrap().1.pop().unwrap());
    drop(worker);
    let folders = [directory(), directory()];
    let started = folders.each_ref().map(|folder| {
        let mut setup = overlaid("cat /mnt/below /mnt/top; echo new > /mnt/below", folder.path(), "", true);
        for mount in &mut setup.mounts {
            if let Mount::Overlay { memory, .. } = mount {
                *memory = true;
            }
        }
        Sandbox::spawn_with(&setup, Output::Joined, std::slice::from_ref(&memory)).unwrap()
    });
    drop(memory);
    for (mut started, folder) in started.into_iter().zip(&folders) {
        let mut output = File::from(started.stdout.take().unwrap());
        let mut running = started.proceed().unwrap();
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        assert_eq!(running.wait().unwrap(), Exit::Code(0), "{text}");
        assert_eq!(text, "memorytop");
        assert_eq!(fs::read_to_string(folder.path().join("changes/below")).unwrap(), "new\n");
    }
}

fn a_part_can_be_mounted() {
    let folder = directory();
    fs::create_dir_all(folder.path().join("bottom/dir")).unwrap();
    fs::write(folder.path().join("bottom/dir/inside"), "it").unwrap();
    assert_eq!(run(&overlaid("cat /mnt/inside", folder.path(), "dir", true)).text(), "it");
}

fn a_worker_has_the_ids_and_what_came_along() {
    let folder = directory();
    let path = folder.path().join("closed");
    let mut file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    file.write_all(b" and bytes").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    let worker = Worker::start(&IdMap::detect().unwrap()).unwrap();
    worker.say(b"who", &[]).unwrap();
    assert_eq!(worker.hear().unwrap().0, b"who 0 0");
    std::io::Seek::rewind(&mut file).unwrap();
    worker.say(b"who", &[file.as_fd()]).unwrap();
    assert_eq!(worker.hear().unwrap().0, b"who 0 0 and bytes");
}
