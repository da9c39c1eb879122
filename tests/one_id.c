/* What the kernel does with ids, call by call, printed: the same with one id as with a range of them. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static void ids(const char *what) {
    uid_t r, e, s;
    gid_t rg, eg, sg, groups[32];
    getresuid(&r, &e, &s);
    getresgid(&rg, &eg, &sg);
    int count = getgroups(32, groups);
    printf("%s: %u %u %u, %u %u %u,", what, r, e, s, rg, eg, sg);
    for (int i = 0; i < count; i++) printf(" %u", groups[i]);
    printf("\n");
}

static void result(const char *what, long value) {
    printf("%s: %s\n", what, value == 0 ? "ok" : value > 0 ? "more" : strerrorname_np(errno));
}

static void owner(const char *path) {
    struct stat st;
    struct statx stx;
    if (lstat(path, &st)) return result(path, -1);
    if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &stx)) return result(path, -1);
    printf("%s: %o %u:%u, %o %u:%u, %d\n", path, st.st_mode, st.st_uid, st.st_gid, stx.stx_mode, stx.stx_uid, stx.stx_gid,
           st.st_ino == stx.stx_ino && st.st_size == (off_t)stx.stx_size && st.st_mtime == stx.stx_mtime.tv_sec &&
               st.st_dev == makedev(stx.stx_dev_major, stx.stx_dev_minor) && st.st_nlink == stx.stx_nlink &&
               st.st_blocks == (blkcnt_t)stx.stx_blocks && st.st_blksize == stx.stx_blksize);
}

static void touch(const char *path) { close(open(path, O_CREAT | O_WRONLY, 0666)); }

/* Runs a part in a process of its own. */
static void in_child(const char *name, void (*part)(void)) {
    printf("-- %s\n", name);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        part();
        fflush(stdout);
        _exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    if (status) printf("ended with %d\n", status);
}

static void dropping(void) {
    gid_t groups[] = {9, 3, 7};
    result("setgroups", setgroups(3, groups));
    result("setgid", setgid(12));
    result("setuid", setuid(6));
    ids("dropped");
    result("setuid 0", setuid(0));
    result("seteuid 0", seteuid(0));
    result("setresuid 0", setresuid(0, -1, -1));
    result("setgroups", setgroups(0, NULL));
    result("getgroups", getgroups(2, groups));
    result("setuid -1", setuid(-1));
    touch("made");
    owner("made");
    result("chown own", chown("made", 6, 7));
    result("chown other", chown("made", 6, 8));
    result("chown -1", chown("made", -1, -1));
    owner("made");
}

static void back_and_forth(void) {
    result("setegid", setegid(12));
    result("seteuid", seteuid(6));
    ids("for a while");
    mkdir("folder", 0777);
    owner("folder");
    result("chown", chown("folder", 1, 1));
    result("seteuid", seteuid(0));
    result("setegid", setegid(0));
    ids("again");
    result("setreuid", setreuid(5, 6));
    ids("two");
    result("swap", setreuid(6, 5));
    ids("swapped");
}

static void filesystem_ids(void) {
    printf("%d %d\n", setfsuid(7), setfsgid(8));
    printf("%d %d\n", setfsuid(-1), setfsgid(-1));
    touch("of-filesystem-ids");
    symlink("x", "link");
    owner("of-filesystem-ids");
    owner("link");
}

static void keeping(void) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct sets[2] = {{0}};
    unsigned wanted = 1 << CAP_SETUID | 1 << CAP_SETGID | 1 << CAP_CHOWN;
    result("keep", prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0));
    result("setresuid", setresuid(6, 6, 6));
    result("too early", setresgid(12, 12, 12));
    sets[0].effective = sets[0].permitted = wanted;
    result("raise", syscall(SYS_capset, &header, sets));
    result("setresgid", setresgid(12, 12, 12));
    result("setgroups", setgroups(0, NULL));
    ids("kept");
    fflush(stdout);
    execl("/proc/self/exe", "probe", "afterwards", NULL);
}

static void *thread(void *unused) {
    (void)unused;
    result("setuid in a thread", setuid(6));
    return NULL;
}

static void threads(void) {
    pthread_t other;
    pthread_create(&other, NULL, thread, NULL);
    pthread_join(other, NULL);
    ids("all threads");
}

static void limits(void) {
    struct rlimit64 new = {5, 5}, old = {0};
    result("setuid", setuid(6));
    result("setrlimit", setrlimit(RLIMIT_RTTIME, (struct rlimit *)&new));
    result("prlimit", prlimit64(0, RLIMIT_RTTIME, &new, &old));
    ids("still");
}

static void descriptors(void) {
    struct stat st;
    char path[64];
    int file = open("open", O_CREAT | O_RDWR, 0600), pipes[2];
    result("fchown", fchown(file, 1, 2));
    result("fchownat", fchownat(file, "", 3, -1, AT_EMPTY_PATH));
    fstat(file, &st);
    printf("%u:%u\n", st.st_uid, st.st_gid);
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    result("chown by /proc", chown(path, 4, 5));
    stat(path, &st);
    printf("%u:%u\n", st.st_uid, st.st_gid);
    symlink("open", "to-open");
    result("lchown", lchown("to-open", 6, 7));
    int link = open("to-open", O_PATH | O_NOFOLLOW);
    fstat(link, &st);
    printf("%o %u:%u\n", st.st_mode & S_IFMT, st.st_uid, st.st_gid);
    result("fstatat", fstatat(link, "", &st, AT_EMPTY_PATH));
    printf("%u:%u\n", st.st_uid, st.st_gid);
    unlink("open");
    result("fchown of a removed file", fchown(file, 8, 9));
    fstat(file, &st);
    printf("%u:%u %lu\n", st.st_uid, st.st_gid, (unsigned long)st.st_nlink);
    result("pipe", pipe(pipes));
    result("fchown of a pipe", fchown(pipes[0], 0, 0));
    result("none", fchown(99, 1, 1));
    result("empty", chown("", 1, 1));
    result("missing", chown("no/such", 1, 1));
    result("no directory", chown("link/such", 1, 1));
    result("nowhere", chown((char *)8, 1, 1));
    result("stat nowhere", stat("/", (struct stat *)8));
    result("flags", fchownat(AT_FDCWD, "link", 1, 1, 0x10));
    struct statx stx;
    chown("to-open", 6, 7);
    result("no such flags of stat", fstatat(AT_FDCWD, "to-open", &st, 0x10 | AT_SYMLINK_NOFOLLOW));
    result("no such flags of statx", statx(AT_FDCWD, "to-open", 0x10 | AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &stx));
    result("no automount", fstatat(AT_FDCWD, "to-open", &st, AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW));
    printf("%u:%u\n", st.st_uid, st.st_gid);
    mkdir("deep", 0777);
    chdir("deep");
    touch("../beside");
    result("chown ..", chown("../beside", 5, 5));
    symlink("/tmp/beside", "absolute");
    result("chown by a link", chown("absolute", -1, 6));
    owner("../beside");
    chroot(".");
    touch("/inside");
    result("chown in a chroot", chown("/inside", 5, 5));
    result("chown from outside", chown("../inside", -1, 6));
    owner("/inside");
}

static void sockets(void) {
    struct sockaddr_un address = {AF_UNIX, "socket"};
    struct ucred peer;
    socklen_t length = sizeof peer;
    int listening = socket(AF_UNIX, SOCK_STREAM, 0);
    bind(listening, (struct sockaddr *)&address, sizeof address);
    chmod("socket", 0777);
    listen(listening, 1);
    pid_t pid = fork();
    if (pid == 0) {
        setgid(12);
        setuid(6);
        int own = socket(AF_UNIX, SOCK_STREAM, 0);
        connect(own, (struct sockaddr *)&address, sizeof address);
        char byte;
        read(own, &byte, 1);
        _exit(0);
    }
    int other = accept(listening, NULL, NULL);
    result("peer", getsockopt(other, SOL_SOCKET, SO_PEERCRED, &peer, &length));
    printf("%d %u:%u %u\n", peer.pid == pid, peer.uid, peer.gid, length);
    close(other);
    waitpid(pid, NULL, 0);
    owner("socket");
}

static void lists(void) {
    /* user::rw- user:88:r-- group::r-- mask::r-- other::--- */
    static const unsigned char acl[] = {2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 88, 0, 0, 0, 4, 0, 4, 0,
                                        255, 255, 255, 255, 16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255};
    unsigned char read[64];
    touch("listed");
    result("setxattr", setxattr("listed", "system.posix_acl_access", acl, sizeof acl, 0));
    owner("listed");
    ssize_t length = getxattr("listed", "system.posix_acl_access", read, sizeof read);
    printf("%zd %d\n", length, length == sizeof acl && !memcmp(read, acl, sizeof acl));
    result("too small", getxattr("listed", "system.posix_acl_access", read, 3));
    result("none", getxattr("/tmp", "system.posix_acl_access", read, sizeof read));
    result("other", setxattr("listed", "user.note", "x", 1, 0));
    printf("%zd\n", getxattr("listed", "user.note", read, sizeof read));
    touch("plain");
    result("set", setxattr("plain", "system.posix_acl_access", acl, sizeof acl, 0));
    result("remove", removexattr("plain", "system.posix_acl_access"));
    result("gone", getxattr("plain", "system.posix_acl_access", read, sizeof read));
}

static void privileges(void) {
    struct stat st;
    touch("program");
    chmod("program", 06755);
    result("chown", chown("program", 5, 5));
    stat("program", &st);
    printf("%o\n", st.st_mode);
    chmod("program", 06755);
    result("chown to nobody", chown("program", -1, -1));
    stat("program", &st);
    printf("%o\n", st.st_mode);
    result("write", truncate("program", 10));
    owner("program");
}

static void named_socket(const char *path) {
    struct sockaddr_un address = {AF_UNIX, ""}, told = {0};
    socklen_t length = sizeof told;
    int own = socket(AF_UNIX, SOCK_STREAM, 0);
    strcpy(address.sun_path, path);
    result("bind", bind(own, (struct sockaddr *)&address, sizeof address));
    if (!getsockname(own, (struct sockaddr *)&told, &length)) printf("%s\n", told.sun_path);
    close(own);
    owner(path);
    unlink(path);
}

/* What another one than root makes, in each way. */
static void makers(void) {
    char content[8] = "";
    struct open_how { unsigned long long flags, mode, resolve; } how = {O_CREAT | O_WRONLY, 0666, 0};
    mkdir("makers", 0777);
    chmod("makers", 0777);
    chdir("makers");
    mkdir("shared", 0777);
    chown("shared", 5, 9);
    chmod("shared", 02777);
    touch("of-root");
    chmod("of-root", 0666);
    setgid(12);
    setuid(6);
    umask(027);
    close(creat("by-creat", 0666));
    owner("by-creat");
    result("openat2", syscall(SYS_openat2, AT_FDCWD, "by-openat2", &how, sizeof how));
    owner("by-openat2");
    result("exclusive", open("by-creat", O_CREAT | O_EXCL | O_RDWR, 0600));
    result("existing", open("of-root", O_CREAT | O_RDWR, 0600));
    owner("of-root");
    int file = open("read-and-write", O_CREAT | O_RDWR | O_APPEND | O_CLOEXEC, 06755);
    printf("%zd %zd %s %d %d\n", write(file, "text", 4), pread(file, content, 4, 0), content,
           fcntl(file, F_GETFD), fcntl(file, F_GETFL) & O_APPEND);
    owner("read-and-write");
    symlink("behind-a-link", "dangling");
    owner("dangling");
    close(open("dangling", O_CREAT | O_WRONLY, 0644));
    owner("behind-a-link");
    result("not behind a link", open("dangling", O_CREAT | O_NOFOLLOW | O_WRONLY, 0644));
    symlink("/tmp/makers/absolute", "dangling-too");
    close(open("dangling-too", O_CREAT | O_WRONLY, 0644));
    owner("absolute");
    symlink("round", "round");
    result("in circles", open("round", O_CREAT | O_WRONLY, 0644));
    result("slash", open("none/", O_CREAT | O_WRONLY, 0644));
    result("nowhere", open("no/such", O_CREAT | O_WRONLY, 0644));
    result("empty", open("", O_CREAT | O_WRONLY, 0644));
    result("bad address", open((char *)8, O_CREAT | O_WRONLY, 0644));
    result("mkdir", mkdir("folder//", 0777));
    owner("folder");
    result("mkdir again", mkdir("folder", 0777));
    result("mkdir .", mkdir(".", 0777));
    result("mknod", mknod("plain", S_IFREG | 0666, 0));
    owner("plain");
    result("fifo", mkfifo("fifo", 0666));
    owner("fifo");
    result("device", mknod("device", S_IFCHR | 0666, makedev(1, 3)));
    result("symlink", symlink("x", "fifo"));
    int directory = open("folder", O_DIRECTORY);
    close(openat(directory, "inside", O_CREAT | O_WRONLY, 0666));
    result("mkdirat", mkdirat(directory, "below", 0755));
    result("symlinkat", symlinkat("x", directory, "link"));
    owner("folder/inside");
    owner("folder/below");
    owner("folder/link");
    rename("folder/inside", "folder/moved");
    owner("folder/moved");
    mkdir("shared/sub", 0755);
    touch("shared/sub/file");
    owner("shared/sub");
    owner("shared/sub/file");
    named_socket("own-socket");
    named_socket("/tmp/makers/absolute-socket");
    result("bind over", mknod("taken", S_IFREG | 0600, 0));
    named_socket("taken");
    close(creat("program", 0755));
    file = open("program", O_WRONLY);
    write(file, "#!/bin/true\n", 12);
    close(file);
    char *const none[] = {NULL};
    pid_t pid = vfork();
    if (pid == 0) {
        execve("./program", none, none);
        _exit(126);
    }
    int status;
    waitpid(pid, &status, 0);
    printf("executed: %d\n", WEXITSTATUS(status));
}

int main(int count, char **arguments) {
    if (count > 1 && !strcmp(arguments[1], "afterwards")) {
        ids("another program");
        result("setgroups", setgroups(0, NULL));
        result("setuid 0", setuid(0));
        return 0;
    }
    chdir("/tmp");
    umask(022);
    in_child("dropping", dropping);
    in_child("back and forth", back_and_forth);
    in_child("filesystem ids", filesystem_ids);
    in_child("keeping", keeping);
    in_child("threads", threads);
    in_child("descriptors", descriptors);
    in_child("sockets", sockets);
    in_child("lists", lists);
    in_child("privileges", privileges);
    in_child("makers", makers);
    in_child("limits", limits);
    ids("in the end");
    return 0;
}
