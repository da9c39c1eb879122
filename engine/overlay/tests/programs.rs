//! What build steps run all day, on a mount: each would notice a filesystem that is not quite one.
#![allow(clippy::unwrap_used)]

mod support;

use support::mounts::{foreign, have, shell};

/// Three writers, whose index of the log is memory that they share.
const SQLITE: &str = r#"
import multiprocessing, os, sqlite3

def write(writer):
    connection = sqlite3.connect("db", timeout=60)
    for row in range(200):
        with connection:
            connection.execute("insert into rows values (?, ?)", (writer, row))

connection = sqlite3.connect("db")
print(*connection.execute("pragma journal_mode = wal").fetchone())
connection.execute("create table rows (writer, row)")
writers = [multiprocessing.Process(target=write, args=(writer,)) for writer in range(3)]
for writer in writers: writer.start()
for writer in writers: writer.join()
print(*connection.execute("select count(*) from (select distinct writer, row from rows)").fetchone())
print(*connection.execute("pragma integrity_check").fetchone(), os.path.exists("db-wal"))
connection.close()
print(*os.listdir("."))
"#;

#[test]
fn mount_sqlite_writes_ahead_from_several_processes() {
    if !have(&["python3"]) {
        return;
    }
    foreign("", |at| {
        std::fs::write(at.join("write.py"), SQLITE).unwrap();
        let told = shell(at, "python3 write.py; rm write.py db; ls");
        assert_eq!(told.replace("write.py db\n", "db write.py\n"), "wal\n600\nok True\ndb write.py\n");
    });
}

/// A tenth of them are in the root already.
#[test]
fn mount_dpkg_unpacks_and_purges_ten_thousand_files() {
    if !have(&["dpkg", "dpkg-deb"]) {
        return;
    }
    let fill = "
        mkdir -p root/var/lib/dpkg/info root/var/lib/dpkg/updates; touch root/var/lib/dpkg/status
        for directory in $(seq 90 99); do
            mkdir -p root/usr/share/many/$directory
            for file in $(seq 100); do echo old > root/usr/share/many/$directory/$file; done
        done";
    let pack = "
        mkdir -p package/DEBIAN
        for directory in $(seq 100); do
            mkdir -p package/usr/share/many/$directory
            for file in $(seq 100); do echo $directory $file > package/usr/share/many/$directory/$file; done
        done
        printf '%s\n' 'Package: many' 'Version: 1' 'Architecture: all' 'Maintainer: us <us@here>' \
            'Description: many files' > package/DEBIAN/control
        dpkg-deb --build -Znone package many.deb";
    foreign(fill, |at| {
        shell(at, pack);
        let dpkg = "dpkg --root=root --force-not-root";
        shell(
            at,
            &format!("{dpkg} --install many.deb && {dpkg} --verify many && diff -r package/usr root/usr"),
        );
        let left = shell(at, &format!("{dpkg} --purge many >&2; find root -name '*many*'; ls root"));
        assert_eq!(left, "var\n");
    });
}

/// The objects of the repository in the lower become hard links at the clone, packs at the collection.
#[test]
fn mount_git_clones_and_collects_garbage() {
    if !have(&["git"]) {
        return;
    }
    let fill = "
        export GIT_CONFIG_GLOBAL=/dev/null; mkdir first; cd first; git init -q -b main .
        for commit in 1 2 3; do
            for file in $(seq 200); do echo $commit $file > $file; done
            git add .
            git -c user.name=us -c user.email=us@here commit -q -m $commit
        done";
    foreign(fill, |at| {
        let told = shell(
            at,
            "export GIT_CONFIG_GLOBAL=/dev/null; git clone -q --local first second
             git -C first count-objects; find second/.git/objects -type f -links 2 | wc -l
             for repository in first second; do
                 git -C $repository gc -q --aggressive --prune=now; git -C $repository fsck --full --strict
                 git -C $repository count-objects; git -C $repository status --porcelain
             done
             git -C second checkout -q HEAD~2; cat second/7; git -C second checkout -q main; diff -r -x .git first second",
        );
        // 600 files, 3 directories, 3 commits.
        let expected = "606 objects, \n606\n0 objects, 0 kilobytes\n0 objects, 0 kilobytes\n1 7\n";
        let size = told.lines().next().unwrap().trim_start_matches("606 objects, ");
        assert_eq!(told.replacen(size, "", 1), expected);
    });
}

/// Something of everything that an archive can hold.
const ODD: &str = "
    mkdir -p tree/shared tree/private; cd tree; echo text > file; ln file again; ln file shared/third
    ln -s file link; mkfifo pipe; truncate -s 20M sparse; echo end >> sparse; chmod 6755 file; chmod 1777 shared
    chown 12:34 private; chmod 2750 private; echo x > private/f; chown 56:78 private/f
    setfattr -n user.note -v 'a value' private; setfacl -m u:77:rw,g:88:x private/f; setfacl -d -m u:99:rwx shared
    cp /bin/true capable; setcap cap_net_raw+ep capable; printf x > \"$(printf 'not \\377 utf-8')\"
    touch -d '1990-01-02 03:04:05.678901234' file; touch -h -d '1991-01-01' link; touch -d '2001-01-01' private shared .";

const ODD_NEEDS: [&str; 3] = ["setfattr", "setfacl", "setcap"];

#[test]
fn mount_rsync_copies_nothing_the_second_time() {
    if !have(&ODD_NEEDS) || !have(&["rsync"]) {
        return;
    }
    foreign(ODD, |at| {
        let rsync = "rsync -aHAX --numeric-ids --sparse --itemize-changes";
        let first = shell(at, &format!("{rsync} tree/ copy/"));
        assert!(first.lines().count() > 10, "{first}");
        assert_eq!(shell(at, &format!("{rsync} tree/ copy/; {rsync} --checksum --delete copy/ tree/")), "");
        let told = shell(at, "stat -c '%h %s' copy/file copy/sparse; du -m copy/sparse | cut -f1");
        assert_eq!(told, "3 5\n1 20971524\n1\n");
    });
}

#[test]
fn mount_tar_unpacks_what_it_packed() {
    if !have(&ODD_NEEDS) || !have(&["tar"]) {
        return;
    }
    // All that is of the tree, and nothing that is of this run.
    let tar = "tar --xattrs --xattrs-include='*' --acls --numeric-owner --sort=name \
               --pax-option=exthdr.name=%f,delete=atime,delete=ctime";
    foreign(&format!("{ODD}; cd ..; {tar} -cf tree.tar tree"), |at| {
        shell(
            at,
            &format!(
                "{tar} -c tree | cmp - tree.tar; mkdir out; {tar} -xpf tree.tar -C out
                 {tar} -c -C out tree | cmp - tree.tar"
            ),
        );
    });
}

/// Locks by links, and files replaced by renames.
#[test]
fn mount_useradd_changes_the_users_of_a_root() {
    if !have(&["useradd", "userdel"]) {
        return;
    }
    let fill = "
        mkdir -p root/etc root/home; cd root/etc; touch subuid subgid gshadow; echo skeleton > text
        echo root:x:0:0:root:/root:/bin/sh > passwd; echo root:x:0: > group; echo 'root:*:1::::::' > shadow
        chmod 640 shadow; printf 'UID_MIN 1000\nGID_MIN 1000\nUSERGROUPS_ENAB yes\n' > login.defs";
    foreign(fill, |at| {
        let told = shell(
            at,
            "useradd --prefix \"$PWD/root\" --create-home --shell /bin/sh somebody; tail -n 1 root/etc/passwd
             stat -c '%u %g' root/home/somebody; stat -c %a root/etc/shadow
             userdel --prefix \"$PWD/root\" somebody; cat root/etc/passwd; cd root/etc; ls *.lock .pwd.lock || :",
        );
        let user = "somebody:x:1000:1000::/home/somebody:/bin/sh\n1000 1000\n640\n";
        assert_eq!(told, format!("{user}root:x:0:0:root:/root:/bin/sh\n"));
    });
}

#[test]
fn mount_ldconfig_finds_libraries() {
    if !have(&["ldconfig"]) {
        return;
    }
    let fill = "
        mkdir -p root/etc root/lib root/var/cache/ldconfig; echo /lib > root/etc/ld.so.conf
        libc=$(ldd /bin/sh | sed -n 's/.*=> \\(.*libc.so.6\\) .*/\\1/p'); cp \"$libc\" root/lib/libc.so.6";
    foreign(fill, |at| {
        let found = "ldconfig -r \"$PWD/root\"; ldconfig -r \"$PWD/root\" -p | sed -n 's/^.*=> //p'";
        assert_eq!(shell(at, found), "/lib/libc.so.6\n");
        assert_eq!(shell(at, &format!("rm root/lib/libc.so.6; {found}")), "");
    });
}
