#!/usr/bin/env python3
"""overlay-sem.py - semantic checks of an overlay filesystem, one line per check.

  overlay-sem.py -w DIR NAME=MOUNTCMD [NAME=MOUNTCMD ...]   (root)

MOUNTCMD as in overlay-bench.sh: {lower} {upper} {work} {merged} are replaced; "native" copies
lower to merged (reference: what a plain ext4 does).  A fresh lower tree is made for every target.
Prints a table: + ok, - wrong, or the value seen.  Exit 0 always: it is a probe, not a gate.
DIR must be on a filesystem with xattrs and ACLs (ext4, xfs, btrfs), not tmpfs.
Needs: python3, setfattr/setfacl/setcap (Debian: attr acl libcap2-bin), root.
"""
import argparse, ctypes, errno, fcntl, hashlib, mmap, os, select, shutil, socket, stat, struct, subprocess, sys, time
libc = ctypes.CDLL(None, use_errno=True)
AT = -100
def sh(c, **k): return subprocess.run(c, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **k)
def put(p, b=b"x", m="wb"):
    with open(p, m) as f: f.write(b)
def get(p):
    with open(p, "rb") as f: return f.read()
def e(fn, *a, **k):
    try: fn(*a, **k); return 0
    except OSError as x: return x.errno
def en(n): return "ok" if n == 0 else errno.errorcode.get(n, str(n))
def ren2(a, b, f):
    r = libc.syscall(316, AT, os.fsencode(a), AT, os.fsencode(b), f)
    return 0 if r == 0 else ctypes.get_errno()
def asuser(fn, uid=65534):
    """run fn in a child as uid; returns its value (small str/int/bool)"""
    r, w = os.pipe(); pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([]); os.setgid(uid); os.setuid(uid); v = repr(fn())
        except BaseException as x: v = repr("EXC %r" % x)
        os.write(w, v.encode()); os._exit(0)
    os.close(w); v = b""
    while True:
        d = os.read(r, 4096)
        if not d: break
        v += d
    os.close(r); os.waitpid(pid, 0); return eval(v)

def prep(L):
    os.makedirs(L); o = os.path.join
    put(o(L, "f"), b"lower-f"); put(o(L, "g"), b"lower-g"); put(o(L, "ro"), b"original"); put(o(L, "mm"), b"A" * 8192)
    put(o(L, "h1"), b"hard"); os.link(o(L, "h1"), o(L, "h2")); put(o(L, "lk"), b"lock"); put(o(L, "lk2"), b"lock")
    put(o(L, "un"), b"unlink-me"); put(o(L, "over"), b"old"); put(o(L, "x1"), b"1"); put(o(L, "x2"), b"2")
    put(o(L, "rn"), b"rename-me"); put(o(L, "rec"), b"a"); put(o(L, "sy"), b"b"); put(o(L, "md"), b"c"); put(o(L, "ap"), b"0")
    for d, n in (("d", 5), ("big", 3000), ("rmd", 4), ("mv", 3), ("sk", 2000), ("ex", 2), ("op", 3), ("pm", 2)):
        os.mkdir(o(L, d))
        for i in range(n): put(o(L, d, "e%04d" % i), b"%d" % i)
    os.makedirs(o(L, "n/e/s/t")); put(o(L, "n/e/s/t/file"), b"deep"); os.chmod(o(L, "n/e"), 0o2751); os.chown(o(L, "n/e/s"), 12, 34)
    os.mkdir(o(L, "empty")); os.mkdir(o(L, "acld")); os.mkdir(o(L, "sgid")); os.chown(o(L, "sgid"), 0, 777); os.chmod(o(L, "sgid"), 0o2777)
    os.mkdir(o(L, "sticky")); os.chmod(o(L, "sticky"), 0o1777); put(o(L, "sticky/rootfile")); os.mkdir(o(L, "pub")); os.chmod(o(L, "pub"), 0o777)
    p = o(L, "meta"); put(p, b"meta" * 100); os.chown(p, 123, 456); os.chmod(p, 0o640); os.setxattr(p, "user.k", b"v\0w"); sh("setfacl -m u:77:rw %s" % p)
    os.utime(p, ns=(1234567890123456789, 987654321987654321))
    sh("setfacl -d -m u:88:rwx,g::rwx,o::rwx,m::rwx %s" % o(L, "acld"))
    for n in ("suid", "suid2"): put(o(L, n), b"#!/bin/sh\n"); os.chmod(o(L, n), 0o6777)
    for n in ("cap", "cap2"): put(o(L, n), b"z"); os.chmod(o(L, n), 0o777); sh("setcap cap_net_raw+ep %s" % o(L, n))
    with open(o(L, "sparse"), "wb") as f: f.truncate(64 << 20); f.seek(32 << 20); f.write(b"mid")
    shutil.copy("/bin/true", o(L, "true")); shutil.copy("/bin/sleep", o(L, "sleep")); shutil.copy("/bin/sleep", o(L, "sleep2"))
    os.mkfifo(o(L, "fifo")); os.symlink("f", o(L, "sl")); put(o(L, "secret"), b"s"); os.chmod(o(L, "secret"), 0o600)
    s = socket.socket(socket.AF_UNIX); s.bind(o(L, "sock")); s.close()
    os.mknod(o(L, "null"), 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    put(os.fsencode(L) + b"/bad-\xff\xfe-utf8", b"bytes"); put(o(L, "new\nline"), b"nl"); put(o(L, "L" * 255), b"long")
    os.utime(o(L, "pm"), ns=(10**18, 10**18 + 5)); os.utime(o(L, "n/e"), ns=(10**18, 10**18 + 7))

def tree(root):
    out = {}
    for dp, dn, fn in os.walk(os.fsencode(root)):
        for n in dn + fn:
            p = os.path.join(dp, n); s = os.lstat(p)
            if stat.S_ISCHR(s.st_mode) and s.st_rdev == 0: continue # a whiteout to whoever reads it in an upper directory
            r = os.path.relpath(p, os.fsencode(root)); k = stat.S_IFMT(s.st_mode)
            h = hashlib.sha256(get(p)).hexdigest()[:12] if k == stat.S_IFREG and s.st_size < 4 << 20 else (os.readlink(p) if k == stat.S_IFLNK else "")
            x = () if k == stat.S_IFLNK else tuple(sorted(a for a in os.listxattr(p, follow_symlinks=False) if "overlay" not in a))
            out[r] = (s.st_mode, s.st_uid, s.st_gid, s.st_size if k == stat.S_IFREG else 0, s.st_mtime_ns if k != stat.S_IFDIR else 0, h, x)
    return out

CH = []
def check(f): CH.append(f); return f

class T:
    def __init__(s, name, cmd, base):
        s.name, s.cmd = name, cmd; s.B = os.path.join(base, "t-" + "".join(c if c.isalnum() else "_" for c in name))
        for m in ("/merged", "/k"):
            if os.path.ismount(s.B + m): sh("umount -l " + s.B + m)
        shutil.rmtree(s.B, ignore_errors=True); os.makedirs(s.B); os.chmod(s.B, 0o755)
        s.L, s.U, s.W, s.M = (s.B + "/" + d for d in ("lower", "upper", "work", "merged"))
        prep(s.L); [os.mkdir(d) for d in (s.U, s.W, s.M)]; s.pristine = tree(s.L); s.native = cmd == "native"
        if s.native: sh("cp -a %s/. %s/" % (s.L, s.M))
        s.up()
    def up(s):
        if s.native: return
        c = s.cmd
        for k, v in (("{lower}", s.L), ("{upper}", s.U), ("{work}", s.W), ("{merged}", s.M)): c = c.replace(k, v)
        with open(s.B + "/log", "ab") as lg: subprocess.run(["bash", "-c", c], stdin=subprocess.DEVNULL, stdout=lg, stderr=lg)
        for _ in range(100):
            if os.path.ismount(s.M): return
            time.sleep(.05)
        raise SystemExit(s.name + ": not mounted: " + get(s.B + "/log").decode(errors="replace")[-500:])
    def down(s):
        if not s.native:
            for _ in range(40):
                if sh("umount " + s.M).returncode == 0: break
                time.sleep(.1)
            else: sh("umount -l " + s.M)
            time.sleep(.3)
    def p(s, *a): return os.path.join(s.M, *a)

def ino(p): st = os.lstat(p); return (st.st_dev, st.st_ino)
# ---- identity
@check
def ino_stable_over_copyup_by_write(t): a = ino(t.p("f")); put(t.p("f"), b"new", "ab"); return a == ino(t.p("f"))
@check
def ino_stable_over_copyup_by_chmod(t): a = ino(t.p("g")); os.chmod(t.p("g"), 0o600); return a == ino(t.p("g"))
@check
def ino_stable_dir_copyup(t): a = ino(t.p("d")); put(t.p("d/newfile")); return a == ino(t.p("d"))
@check
def d_ino_equals_st_ino(t): return all(x.inode() == os.lstat(x.path).st_ino for d in (".", "d", "n") for x in os.scandir(t.p(d)))
@check
def st_dev_uniform(t): return len({os.lstat(t.p(x)).st_dev for x in ("f", "g", "d", "ro", "n/e/s/t/file", ".")}) == 1
@check
def lower_hardlinks_same_ino_nlink2(t): return ino(t.p("h1")) == ino(t.p("h2")) and os.stat(t.p("h1")).st_nlink == 2
@check
def hardlink_not_broken_by_copyup(t): put(t.p("h1"), b"changed"); return get(t.p("h2")) == b"changed" and ino(t.p("h1")) == ino(t.p("h2"))
@check
def hardlink_new_upper(t): put(t.p("hl"), b"1"); os.link(t.p("hl"), t.p("hl2")); put(t.p("hl2"), b"22"); return get(t.p("hl")) == b"22" and os.stat(t.p("hl")).st_nlink == 2
@check
def nlink_after_unlinking_one_name(t): os.unlink(t.p("hl2")); return os.stat(t.p("hl")).st_nlink == 1
@check
def dir_nlink(t): return os.stat(t.p("n")).st_nlink
@check
def nlink0_open_unlinked_upper(t):
    put(t.p("u0")); f = os.open(t.p("u0"), os.O_RDWR); os.unlink(t.p("u0")); n = os.fstat(f).st_nlink; os.close(f); return n == 0
@check
def nlink0_open_unlinked_lower(t):
    f = os.open(t.p("un"), os.O_RDONLY); os.unlink(t.p("un")); n = os.fstat(f).st_nlink; d = os.pread(f, 99, 0); os.close(f); return n == 0 and d == b"unlink-me"
# ---- data coherence
@check
def ro_fd_sees_later_write(t):
    f = os.open(t.p("ro"), os.O_RDONLY); os.pread(f, 9, 0); put(t.p("ro"), b"MODIFIED"); d = os.pread(f, 9, 0); os.close(f); t.rod = d; return d == b"MODIFIED"
@check
def LOWER_UNTOUCHED_by_that(t): return t.native or get(t.L + "/ro") == b"original"
@check
def write_not_lost_by_that(t): # a server may write its upper directory at unmount only
    ok = get(t.p("ro")) == b"MODIFIED"; t.down(); t.up(); return ok and (t.native or get(t.U + "/ro") == b"MODIFIED")
@check
def ro_shared_mmap_sees_later_write(t):
    f = os.open(t.p("mm"), os.O_RDONLY); m = mmap.mmap(f, 8192, mmap.MAP_SHARED, mmap.PROT_READ); a = m[0:1]
    g = os.open(t.p("mm"), os.O_RDWR); os.pwrite(g, b"B", 0); r = m[0:1]; os.close(g); m.close(); os.close(f); return (a, r) == (b"A", b"B")
@check
def rw_shared_mmap_visible_by_read(t):
    f = os.open(t.p("mm"), os.O_RDWR); m = mmap.mmap(f, 8192); m[100:103] = b"XYZ"; g = os.open(t.p("mm"), os.O_RDONLY); r = os.pread(g, 3, 100); m.flush(); m.close(); os.close(f); os.close(g); return r == b"XYZ"
@check
def open_unlinked_rw_truncate(t):
    f = os.open(t.p("ou"), os.O_RDWR | os.O_CREAT); os.write(f, b"abc"); os.unlink(t.p("ou")); os.pwrite(f, b"Z", 5); os.ftruncate(f, 4); d = os.pread(f, 9, 0); n = os.fstat(f).st_size; os.close(f); return d == b"abc\0" and n == 4
@check
def fd_survives_rename_over(t):
    f = os.open(t.p("over"), os.O_RDONLY); put(t.p("ov.new"), b"new"); os.rename(t.p("ov.new"), t.p("over")); d = os.pread(f, 9, 0); os.close(f); return d == b"old" and get(t.p("over")) == b"new"
@check
def append_two_writers(t):
    a = os.open(t.p("ap"), os.O_WRONLY | os.O_APPEND); b = os.open(t.p("ap"), os.O_WRONLY | os.O_APPEND); os.write(a, b"1"); os.write(b, b"2"); os.write(a, b"3"); os.close(a); os.close(b); return get(t.p("ap")) == b"0123"
@check
def o_tmpfile_linkat(t):
    try:
        f = os.open(t.M, os.O_TMPFILE | os.O_RDWR, 0o644); os.write(f, b"tmp"); os.link("/proc/self/fd/%d" % f, t.p("tf"), src_dir_fd=0, follow_symlinks=True) if False else None
        r = libc.linkat(AT, b"/proc/self/fd/%d" % f, AT, os.fsencode(t.p("tf")), 0x400); os.close(f); return r == 0 and get(t.p("tf")) == b"tmp"
    except OSError as x: return en(x.errno)
@check
def copy_file_range_works(t):
    a = os.open(t.p("meta"), os.O_RDONLY); b = os.open(t.p("cfr"), os.O_RDWR | os.O_CREAT)
    try: n = os.copy_file_range(a, b, 400, 0, 0); return n == 400 and os.pread(b, 4, 0) == b"meta"
    except OSError as x: return en(x.errno)
    finally: os.close(a); os.close(b)
@check
def fallocate_and_punch(t):
    f = os.open(t.p("fal"), os.O_RDWR | os.O_CREAT)
    try: os.posix_fallocate(f, 0, 65536); os.pwrite(f, b"q" * 65536, 0); r = libc.fallocate(f, 3, ctypes.c_long(4096), ctypes.c_long(4096)); return r == 0 and os.pread(f, 2, 4095) == b"q\0"
    finally: os.close(f)
@check
def seek_hole_data_lower(t):
    f = os.open(t.p("sparse"), os.O_RDONLY); d = os.lseek(f, 0, os.SEEK_DATA); os.close(f); return 0 < d <= 32 << 20
@check
def copyup_keeps_sparse(t):
    os.chmod(t.p("sparse"), 0o600); b = os.stat(t.p("sparse")).st_blocks * 512; return b < 1 << 20 or "%d MiB" % (b >> 20)
@check
def o_direct_read(t):
    try: f = os.open(t.p("mm"), os.O_RDONLY | os.O_DIRECT)
    except OSError as x: return en(x.errno)
    b = mmap.mmap(-1, 4096)
    try: return os.readv(f, [b]) == 4096
    except OSError as x: return en(x.errno)
    finally: os.close(f)
# ---- locks
def _lock(t, name, mode):
    f = os.open(t.p(name), os.O_RDONLY if mode == "flock" else os.O_RDWR)
    (fcntl.flock if mode == "flock" else fcntl.lockf)(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
    def child():
        g = os.open(t.p(name), os.O_RDWR)
        try: (fcntl.flock if mode == "flock" else fcntl.lockf)(g, fcntl.LOCK_EX | fcntl.LOCK_NB); return False
        except OSError: return True
    r = asuser(child, 0); os.close(f); return r
@check
def flock_holds_over_copyup(t): return _lock(t, "lk", "flock")
@check
def fcntl_lock_holds(t): return _lock(t, "lk2", "fcntl")
# ---- names and directories
@check
def name_255_ok(t): return e(put, t.p("n" * 255)) == 0 and ("n" * 255) in os.listdir(t.M)
@check
def name_256_enametoolong(t): return en(e(put, t.p("n" * 256))) == "ENAMETOOLONG" and en(e(os.stat, t.p("n" * 256))) == "ENAMETOOLONG"
@check
def delete_lower_name_255(t): n = t.p("L" * 255); ok = get(n) == b"long"; os.unlink(n); return ok and ("L" * 255) not in os.listdir(t.M) and not os.path.lexists(n)
@check
def non_utf8_name(t): p = os.fsencode(t.M) + b"/bad-\xff\xfe-utf8"; ok = get(p) == b"bytes"; put(p, b"up"); os.rename(p, p + b"2"); ok &= get(p + b"2") == b"up"; return ok and p.split(b"/")[-1] not in os.listdir(os.fsencode(t.M))
@check
def newline_name(t): os.unlink(t.p("new\nline")); return "new\nline" not in os.listdir(t.M)
@check
def name_with_wh_prefix(t): r = e(put, t.p(".wh.foo")); return en(r) if r else (".wh.foo" in os.listdir(t.M) and get(t.p(".wh.foo")) == b"x")
@check
def case_sensitive(t): put(t.p("CaSe"), b"1"); put(t.p("case"), b"2"); return get(t.p("CaSe")) == b"1"
@check
def unlink_while_iterating_3000(t):
    n = 0
    with os.scandir(t.p("big")) as it:
        for x in it: os.unlink(x.path); n += 1
    return n == 3000 and os.listdir(t.p("big")) == [] and e(os.rmdir, t.p("big")) == 0
@check
def telldir_seekdir_with_deletes(t):
    libc.opendir.restype = ctypes.c_void_p; libc.readdir64.restype = ctypes.c_void_p; libc.telldir.restype = ctypes.c_long
    for a in (libc.readdir64, libc.telldir, libc.closedir): a.argtypes = [ctypes.c_void_p]
    libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
    d = libc.opendir(os.fsencode(t.p("sk")))
    if not d: return "opendir " + en(ctypes.get_errno())
    def nx():
        q = libc.readdir64(d)
        return None if not q else ctypes.string_at(q + 19).decode()
    seen = [nx() for _ in range(1000)]; pos = libc.telldir(d)
    for x in seen[2:600]:
        if x not in (".", ".."): os.unlink(t.p("sk", x))
    put(t.p("sk/aaa-new")); put(t.p("sk/zzz-new")); libc.seekdir(d, pos); rest = []
    while True:
        x = nx()
        if x is None: break
        rest.append(x)
    libc.closedir(d); old = {"e%04d" % i for i in range(2000)}; got = [x for x in seen + rest if x in old]
    return set(got) == old and len(got) == len(old) or "missing %d dup %d" % (len(old - set(got)), len(got) - len(set(got)))
@check
def readdir_sees_own_changes(t): put(t.p("d/zz")); os.unlink(t.p("d/e0001")); l = os.listdir(t.p("d")); return "zz" in l and "e0001" not in l and len(l) == len(set(l)) == 6
@check
def rmdir_nonempty_lower(t): return en(e(os.rmdir, t.p("rmd"))) in ("ENOTEMPTY", "EEXIST")
@check
def rm_rf_then_mkdir_is_empty(t): shutil.rmtree(t.p("rmd")); os.mkdir(t.p("rmd")); return os.listdir(t.p("rmd")) == []
@check
def rename_lower_dir(t): return en(e(os.rename, t.p("mv"), t.p("mv2")))
@check
def mv_lower_dir_by_mv(t):
    r = sh("mv %s %s" % (t.p("op"), t.p("op2"))); return r.returncode == 0 and sorted(os.listdir(t.p("op2"))) == ["e0000", "e0001", "e0002"] and not os.path.exists(t.p("op"))
@check
def rename_upper_dir_with_content(t): os.makedirs(t.p("ud/x")); put(t.p("ud/x/y"), b"1"); os.rename(t.p("ud"), t.p("ud2")); return get(t.p("ud2/x/y")) == b"1" and not os.path.exists(t.p("ud"))
@check
def rename_upper_dir_over_emptied_lower_dir(t):
    for x in os.listdir(t.p("ex")): os.unlink(t.p("ex", x))
    os.mkdir(t.p("nd")); put(t.p("nd/q")); r = e(os.rename, t.p("nd"), t.p("ex")); return r == 0 and os.listdir(t.p("ex")) == ["q"] or en(r)
@check
def rename_exchange(t): r = ren2(t.p("x1"), t.p("x2"), 2); return en(r) if r else get(t.p("x1")) == b"2" and get(t.p("x2")) == b"1"
@check
def rename_noreplace(t): return en(ren2(t.p("x1"), t.p("x2"), 1)) == "EEXIST"
@check
def rename_whiteout_flag(t): put(t.p("rw1")); return en(ren2(t.p("rw1"), t.p("rw2"), 4))
@check
def rename_lower_file(t): os.rename(t.p("rn"), t.p("rn2")); return get(t.p("rn2")) == b"rename-me" and en(e(os.stat, t.p("rn"))) == "ENOENT"
@check
def unlink_recreate_unlink(t): os.unlink(t.p("rec")); put(t.p("rec"), b"n"); os.unlink(t.p("rec")); return not os.path.exists(t.p("rec")) and "rec" not in os.listdir(t.M)
@check
def symlink_over_whiteout(t): os.unlink(t.p("sy")); os.symlink("f", t.p("sy")); return os.readlink(t.p("sy")) == "f"
@check
def mkdir_over_whiteout(t): os.unlink(t.p("md")); os.mkdir(t.p("md")); put(t.p("md/in")); return os.listdir(t.p("md")) == ["in"]
# ---- metadata
@check
def copyup_keeps_owner_mode_times(t):
    a = os.stat(t.p("meta")); os.setxattr(t.p("meta"), "user.z", b"1"); b = os.stat(t.p("meta"))
    return all(getattr(a, k) == getattr(b, k) for k in ("st_mode", "st_uid", "st_gid", "st_size", "st_mtime_ns", "st_atime_ns"))
@check
def copyup_keeps_xattr_and_acl(t): return os.getxattr(t.p("meta"), "user.k") == b"v\0w" and "user:77:rw-" in sh("getfacl -cn %s" % t.p("meta")).stdout
@check
def copyup_keeps_capability(t): os.utime(t.p("cap2"), None); return "cap_net_raw" in sh("getcap %s" % t.p("cap2")).stdout
@check
def parent_mtime_unchanged_by_child_copyup(t): a = os.stat(t.p("pm")).st_mtime_ns; put(t.p("pm/e0000"), b"!", "ab"); return os.stat(t.p("pm")).st_mtime_ns == a
@check
def deep_copyup_keeps_dir_meta(t):
    k = lambda d: (os.stat(t.p(d)).st_mode, os.stat(t.p(d)).st_uid, os.stat(t.p(d)).st_gid, os.stat(t.p(d)).st_mtime_ns); a = [k("n/e"), k("n/e/s")]; put(t.p("n/e/s/t/file"), b"x", "ab"); return a == [k("n/e"), k("n/e/s")]
@check
def umask_applied(t):
    o = os.umask(0o027); os.close(os.open(t.p("um"), os.O_CREAT | os.O_WRONLY, 0o666)); os.mkdir(t.p("umd"), 0o777); os.umask(o); return (os.stat(t.p("um")).st_mode & 0o777, os.stat(t.p("umd")).st_mode & 0o777) == (0o640, 0o750)
@check
def default_acl_inherited_umask_ignored(t):
    o = os.umask(0o077); os.close(os.open(t.p("acld/f"), os.O_CREAT | os.O_WRONLY, 0o666)); os.mkdir(t.p("acld/d")); os.umask(o); a = sh("getfacl -cn %s" % t.p("acld/f")).stdout; b = sh("getfacl -cn %s" % t.p("acld/d")).stdout
    return "user:88:rwx" in a and os.stat(t.p("acld/f")).st_mode & 0o777 == 0o666 and "default:user:88:rwx" in b
@check
def setgid_dir_inheritance(t):
    r = asuser(lambda: (os.close(os.open(t.p("sgid/f"), os.O_CREAT | os.O_WRONLY, 0o666)), os.mkdir(t.p("sgid/d")), 1)[2]); a, b = os.stat(t.p("sgid/f")), os.stat(t.p("sgid/d"))
    return r == 1 and (a.st_uid, a.st_gid) == (65534, 777) and b.st_gid == 777 and bool(b.st_mode & 0o2000)
@check
def created_by_user_owned_by_user(t): asuser(lambda: (put(t.p("pub/u")), os.symlink("a", t.p("pub/s")), os.mkfifo(t.p("pub/p")), 1)[3]); return all((os.lstat(t.p("pub", x)).st_uid, os.lstat(t.p("pub", x)).st_gid) == (65534, 65534) for x in "usp")
@check
def suid_killed_by_user_write(t): asuser(lambda: put(t.p("suid"), b"#", "ab")); return os.stat(t.p("suid")).st_mode & 0o6000 == 0
@check
def suid_killed_by_chown(t): os.chown(t.p("suid2"), 5, 5); return os.stat(t.p("suid2")).st_mode & 0o6000 == 0
@check
def caps_killed_by_write(t): put(t.p("cap"), b"#", "ab"); return "cap_net_raw" not in sh("getcap %s" % t.p("cap")).stdout
@check
def ns_and_negative_times(t): put(t.p("tm")); os.utime(t.p("tm"), ns=(-5 * 10**9 + 7, -3 * 10**9 + 9)); s = os.stat(t.p("tm")); return (s.st_atime_ns, s.st_mtime_ns) == (-5 * 10**9 + 7, -3 * 10**9 + 9) or str(s.st_mtime_ns)
@check
def ctime_bumped_by_chmod_and_link(t):
    put(t.p("ct")); a = os.stat(t.p("ct")).st_ctime_ns; time.sleep(.02); os.chmod(t.p("ct"), 0o600); b = os.stat(t.p("ct")).st_ctime_ns; time.sleep(.02); os.link(t.p("ct"), t.p("ct2")); c = os.stat(t.p("ct")).st_ctime_ns; return a < b < c
@check
def parent_mtime_bumped_by_create_unlink(t): a = os.stat(t.p("d")).st_mtime_ns; time.sleep(.02); put(t.p("d/pq")); b = os.stat(t.p("d")).st_mtime_ns; time.sleep(.02); os.unlink(t.p("d/pq")); return a < b < os.stat(t.p("d")).st_mtime_ns
@check
def fifo_socket_chardev(t):
    s = socket.socket(socket.AF_UNIX); s.bind(t.p("s1")); s.listen(1); c = socket.socket(socket.AF_UNIX); c.connect(t.p("s1")); s.close(); c.close(); os.chmod(t.p("fifo"), 0o600); os.chmod(t.p("sock"), 0o600)
    return stat.S_ISFIFO(os.stat(t.p("fifo")).st_mode) and stat.S_ISSOCK(os.stat(t.p("sock")).st_mode) and os.stat(t.p("null")).st_rdev == os.makedev(1, 3)
@check
def open_device_node(t):
    try: os.close(os.open(t.p("null"), os.O_WRONLY)); return "ok"
    except OSError as x: return en(x.errno)
@check
def mknod_0_0_chardev(t): r = e(os.mknod, t.p("wh0"), 0o600 | stat.S_IFCHR, 0); return en(r) if r else ("visible" if os.path.lexists(t.p("wh0")) else "vanishes")
@check
def xattr_set_list_remove(t): os.setxattr(t.p("d"), "user.a", b"1"); os.setxattr(t.p("f"), "user.big", b"B" * 2000); os.removexattr(t.p("meta"), "user.k"); return "user.a" in os.listxattr(t.p("d")) and len(os.getxattr(t.p("f"), "user.big")) == 2000 and "user.k" not in os.listxattr(t.p("meta"))
@check
def no_overlay_xattr_visible(t): return not any("overlay" in x for d in ("rmd", "d", "ex", "op2", "md", "f") for x in os.listxattr(t.p(d)))
@check
def user_overlay_xattr_by_program(t): r = e(os.setxattr, t.p("f"), "user.overlay.opaque", b"y"); return en(r)
@check
def trusted_xattr(t): return en(e(os.setxattr, t.p("f"), "trusted.foo", b"1"))
@check
def chattr_getflags(t):
    f = os.open(t.p("f"), os.O_RDONLY)
    try: fcntl.ioctl(f, 0x80086601, bytearray(8)); return "ok"
    except OSError as x: return en(x.errno)
    finally: os.close(f)
@check
def statfs_sane(t): s = os.statvfs(t.M); return s.f_namemax == 255 and s.f_files > 0 and s.f_bsize >= 512 or "namemax %d files %d" % (s.f_namemax, s.f_files)
@check
def sticky_dir_protects(t): return asuser(lambda: en(e(os.unlink, t.p("sticky/rootfile")))) in ("EPERM", "EACCES")
@check
def mode_0600_denied_to_user(t): return asuser(lambda: en(e(get, t.p("secret")))) == "EACCES"
@check
def fsync_file_dir_syncfs(t):
    f = os.open(t.p("f"), os.O_RDWR); d = os.open(t.M, os.O_RDONLY); r = [e(os.fsync, f), e(os.fdatasync, f), e(os.fsync, d)]; r.append(0 if libc.syncfs(d) == 0 else ctypes.get_errno()); os.close(f); os.close(d); return r == [0] * 4 or str([en(x) for x in r])
@check
def name_to_handle_at(t): b = ctypes.create_string_buffer(struct.pack("Ii", 128, 0) + b"\0" * 128); m = ctypes.c_int(); r = libc.name_to_handle_at(AT, os.fsencode(t.p("f")), b, ctypes.byref(m), 0); return "ok" if r == 0 else en(ctypes.get_errno())
# ---- exec, notify
@check
def exec_lower(t): return sh(t.p("true")).returncode == 0
@check
def exec_after_rewrite(t):
    ok = True
    for i in range(50): shutil.copyfile("/bin/true", t.p("true")); os.chmod(t.p("true"), 0o755); ok &= sh(t.p("true")).returncode == 0
    return ok
@check
def etxtbsy_writing_running_binary(t):
    p = subprocess.Popen([t.p("sleep"), "3"]); time.sleep(.2); r = en(e(lambda: os.close(os.open(t.p("sleep"), os.O_WRONLY)))); ok = p.poll() is None; p.kill(); p.wait(); return r if ok else "process died"
@check
def replace_running_binary_by_rename(t):
    p = subprocess.Popen([t.p("sleep2"), "3"]); time.sleep(.2); shutil.copy("/bin/true", t.p("s.new")); os.rename(t.p("s.new"), t.p("sleep2")); ok = p.poll() is None and sh(t.p("sleep2")).returncode == 0; p.kill(); p.wait(); return ok
@check
def inotify_dir_events(t):
    f = libc.inotify_init1(0x800); libc.inotify_add_watch(f, os.fsencode(t.p("d")), 0xfff); put(t.p("d/ino"), b"1"); os.unlink(t.p("d/ino")); r = select.select([f], [], [], 1)[0]; m = 0
    if r:
        b = os.read(f, 65536); i = 0
        while i < len(b): _, mm, _, l = struct.unpack_from("iIII", b, i); m |= mm; i += 16 + l
    os.close(f); return m & 0x302 == 0x302
@check
def parallel_create_unlink_consistent(t):
    ps = []
    for k in range(4):
        pid = os.fork()
        if pid == 0:
            try:
                for i in range(300):
                    q = t.p("pub", "%d-%d" % (k, i)); put(q, b"%d" % i); os.rename(q, q + "r")
                    if i % 2: os.unlink(q + "r")
                os._exit(0)
            except BaseException: os._exit(1)
        ps.append(pid)
    ok = all(os.waitpid(p, 0)[1] == 0 for p in ps); return ok and len([x for x in os.listdir(t.p("pub")) if x.endswith("r")]) == 600
# ---- persistence (must stay last)
@check
def same_view_after_remount(t):
    if t.native: return True
    a = tree(t.M); t.down(); t.up(); b = tree(t.M); d = [k for k in set(a) | set(b) if a.get(k) != b.get(k)]; t.view = a; return not d or "%d differ: %s" % (len(d), d[:2])
@check
def LOWER_UNTOUCHED_after_all(t):
    b = tree(t.L); d = [k for k in set(t.pristine) | set(b) if t.pristine.get(k) != b.get(k)]; return not d or "%d CHANGED: %s" % (len(d), d[:3])
@check
def kernel_overlay_reads_same_upper(t):
    if t.native or "-t overlay" in t.cmd: return True
    a = tree(t.M); t.down(); os.makedirs(t.B + "/k", exist_ok=True); r = sh("mount -t overlay overlay -o lowerdir=%s:%s %s/k" % (t.U, t.L, t.B))
    if r.returncode: t.up(); return "mount failed"
    try: b = tree(t.B + "/k")
    except OSError as x: return "kernel lists but cannot stat: %s" % x.filename[-30:]
    finally: sh("umount %s/k" % t.B); t.up()
    d = [k for k in set(a) | set(b) if a.get(k) != b.get(k)]; return not d or "%d differ: %s" % (len(d), d[:2])

def main():
    ap = argparse.ArgumentParser(); ap.add_argument("-w", required=True); ap.add_argument("-k", default=""); ap.add_argument("t", nargs="+"); a = ap.parse_args(); os.makedirs(a.w, exist_ok=True)
    res, names = {}, []; os.umask(0o022)
    for s in a.t:
        n, c = s.split("=", 1); names.append(n); t = T(n, c, a.w)
        for f in CH:
            if a.k and a.k not in f.__name__: continue
            try: v = f(t)
            except BaseException as x: v = "EXC %s %s" % (type(x).__name__, str(x)[:50])
            if not t.native and e(os.statvfs, t.M) in (errno.ENOTCONN, errno.ECONNABORTED): v = "SERVER CRASHED"; sh("umount -l " + t.M); t.up()
            res.setdefault(f.__name__, {})[n] = "+" if v is True else "-" if v is False else str(v)
        t.down(); shutil.rmtree(t.B, ignore_errors=True)
    print("| check | " + " | ".join(names) + " |\n|---" * 1 + "|---" * len(names) + "|")
    for k, r in res.items(): print("| %s | " % k + " | ".join(r.get(n, "").replace("|", "/") for n in names) + " |")
    good = lambda r, n: r.get(n) == "+" or r.get(n) == r.get(names[0])
    print("\nas %s: " % names[0] + "; ".join("%s %d of %d" % (n, sum(good(r, n) for r in res.values()), len(res)) for n in names))
main()
