/* Ways out of a sandbox, each tried in a process of its own. Printed is what came of it: "done", or why not.

   escape PID SECRET PORT SOCKET DISK KEY FOLDER
       a process of the machine, a file that it has open as its input, a port of 127.0.0.1, an abstract socket,
       MAJOR:MINOR of a disk, a key, a folder that can be written
   escape key: adds a key that the user may read by its number, which is printed
   escape peer SOCKET: connects there, and prints who is at the other end */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int pid, port, key;
static unsigned disk_major, disk_minor;
static const char *secret, *abstract_name, *folder;
static char path[4096];

/* A result of the kernel as that of an attempt: 0 or an errno. */
static int of(long value) { return value < 0 ? errno : 0; }

static const char *in_folder(const char *name) {
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int opens(const char *name, int flags) {
    int file = open(name, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (file >= 0) close(file);
    return of(file);
}

static int is_secret(int file) {
    char text[64] = {0};
    return file >= 0 && pread(file, text, sizeof text - 1, 0) > 0 && strstr(text, "secret of the machine");
}

/* Whether the secret can be read there. */
static int reads(const char *name) {
    int file = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) return errno;
    int found = is_secret(file);
    close(file);
    return found ? 0 : ENODATA;
}

/* An attempt at every process that is shown; the last refusal if none succeeds. */
static int each_process(int (*attempt)(int, const char *)) {
    DIR *all = opendir("/proc");
    struct dirent *entry;
    int result = ESRCH;
    while (all && (entry = readdir(all))) {
        int number = atoi(entry->d_name);
        if (number <= 0 || number == getpid() || number == getppid()) continue;
        char place[64];
        snprintf(place, sizeof place, "/proc/%d", number);
        int one = attempt(number, place);
        if (!one) return 0;
        if (one != ENOENT) result = one;
    }
    return result;
}

/* Whether a process is the machine's, or has this sandbox in its hands. */
static int is_foreign(int number, const char *place) {
    char name[64], text[32] = {0};
    snprintf(name, sizeof name, "%s/comm", place);
    int file = open(name, O_RDONLY);
    if (file >= 0) {
        if (read(file, text, sizeof text - 1) < 0) text[0] = 0;
        close(file);
    }
    return number == 1 || number == pid || !strncmp(text, "rbuild", 6);
}

static int root_of(int number, const char *place) {
    char name[5000];
    (void)number;
    snprintf(name, sizeof name, "%s/root%s", place, secret);
    return reads(name);
}

static int folder_of(int number, const char *place) {
    char name[5000];
    (void)number;
    snprintf(name, sizeof name, "%s/cwd/../../../../../../../../..%s", place, secret);
    return reads(name);
}

static int descriptor_of(int number, const char *place) {
    char name[400];
    (void)number;
    for (int file = 0; file < 64; file++) {
        snprintf(name, sizeof name, "%s/fd/%d", place, file);
        int result = reads(name);
        if (result == 0 || result == EACCES) return result;
    }
    return ENOENT;
}

static int memory_of(int number, const char *place) {
    char name[400];
    if (!is_foreign(number, place)) return ENOENT;
    snprintf(name, sizeof name, "%s/mem", place);
    return opens(name, O_RDWR);
}

static int environment_of(int number, const char *place) {
    char name[400];
    if (!is_foreign(number, place)) return ENOENT;
    snprintf(name, sizeof name, "%s/environ", place);
    return opens(name, O_RDONLY);
}

static int program_of(int number, const char *place) {
    char name[400];
    if (!is_foreign(number, place) || number == pid) return ENOENT;
    snprintf(name, sizeof name, "%s/exe", place);
    return opens(name, O_WRONLY);
}

static int traced(int number, const char *place) {
    if (!is_foreign(number, place)) return ENOENT;
    return of(ptrace(PTRACE_SEIZE, number, 0, 0));
}

static int killed(void) { return of(kill(pid, 0)); }
static int killed_by_folder(void) {
    snprintf(path, sizeof path, "/proc/%d", pid);
    int process = open(path, O_RDONLY | O_DIRECTORY);
    return process < 0 ? errno : of(syscall(SYS_pidfd_send_signal, process, 0, NULL, 0));
}
static int any_killed(void) {
    for (int number = 2; number < 200000; number++)
        if (number != getpid() && number != getppid() && !kill(number, 0) && getpgid(number) != getpgrp()) return 0;
    return ESRCH;
}
static int ptraced(void) { return of(ptrace(PTRACE_SEIZE, pid, 0, 0)); }
static int any_traced(void) { return each_process(traced); }
static int read_by_call(void) {
    char byte;
    struct iovec local = {&byte, 1}, remote = {(void *)0x400000, 1};
    int result = of(process_vm_readv(pid, &local, 1, &remote, 1, 0));
    return result == EFAULT ? 0 : result; /* let in, but nothing is there */
}
static int memories(void) { return each_process(memory_of); }
static int environments(void) { return each_process(environment_of); }
static int programs(void) { return each_process(program_of); }
static int roots(void) { return each_process(root_of); }
static int folders(void) { return each_process(folder_of); }
static int descriptors(void) { return each_process(descriptor_of); }
static int by_link(void) {
    if (symlink(secret, in_folder("link"))) return errno;
    return reads(path);
}
static int by_chroot(void) {
    if (mkdir(in_folder("jail"), 0755) || chroot(path)) return errno;
    for (int i = 0; i < 40; i++)
        if (chdir("..")) return errno;
    if (chroot(".")) return errno;
    return reads(secret);
}

static int device(const char *name, mode_t kind, dev_t number, int flags) {
    unlink(name);
    if (mknod(name, kind | 0600, number)) return errno;
    char byte[512];
    int file = open(name, flags | O_CLOEXEC);
    if (file < 0) return errno;
    return kind == S_IFBLK ? of(read(file, byte, sizeof byte)) : 0;
}
static int disk(void) { return device(in_folder("disk"), S_IFBLK, makedev(disk_major, disk_minor), O_RDONLY); }
static int disk_in_memory(void) {
    return device("/dev/shm/disk", S_IFBLK, makedev(disk_major, disk_minor), O_RDONLY);
}
static int fuse(void) { return device(in_folder("fuse"), S_IFCHR, makedev(10, 229), O_RDWR); }
static int memory_device(void) { return device(in_folder("mem"), S_IFCHR, makedev(1, 1), O_RDONLY); }
static int devices(void) {
    static const char *const names[] = {"/dev/kmsg", "/dev/mem", "/dev/fuse", "/dev/vda", "/dev/sda", "/dev/loop-control"};
    int result = 0;
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (!(result = opens(names[i], O_RDONLY))) return 0;
    return result;
}

static int remounted(void) { return of(mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL)); }
static int proc_mounted(void) {
    mkdir(in_folder("proc"), 0755);
    return of(mount("proc", path, "proc", 0, NULL));
}
static int bound(void) {
    mkdir(in_folder("bound"), 0755);
    return of(mount("/", path, NULL, MS_BIND, NULL));
}
static int sysctls_bared(void) { return of(umount2("/proc/sys", MNT_DETACH)); }
static int unmounted(void) { return of(umount2("/sys", MNT_DETACH)); }
static int filesystem_opened(void) { return of(syscall(SYS_fsopen, "tmpfs", 0)); }
static int tree_cloned(void) { return of(syscall(SYS_open_tree, AT_FDCWD, "/", 1)); }
static int pivoted(void) { return of(syscall(SYS_pivot_root, ".", ".")); }

#ifdef __x86_64__
static int compatible(long number, long a, long b, long c) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory", "r8", "r9", "r10", "r11");
    return result < 0 ? (int)-result : 0;
}
static int mounted_by_32_bits(void) { return compatible(21, 0, 0, 0); }
static int key_by_32_bits(void) { return compatible(288, 11, key, 0); }
static int unshared_by_32_bits(void) { return compatible(310, CLONE_NEWUSER, 0, 0); }
#endif

static int unshared(void) { return of(unshare(CLONE_NEWUSER)); }
static int cloned(void) {
    long child = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    if (child == 0) _exit(0);
    return of(child);
}
static int cloned_by_3(void) {
    struct clone_args arguments = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};
    long child = syscall(SYS_clone3, &arguments, sizeof arguments);
    if (child == 0) _exit(0);
    return of(child);
}
static int namespace_entered(void) {
    int file = open("/proc/1/ns/mnt", O_RDONLY);
    return file < 0 ? errno : of(setns(file, 0));
}
static int namespaces_entered(void) {
    int process = (int)syscall(SYS_pidfd_open, pid, 0);
    return process < 0 ? errno : of(setns(process, CLONE_NEWNS));
}
static int handle_opened(void) {
    struct {
        struct file_handle head;
        char bytes[128];
    } handle = {{.handle_bytes = 128}, {0}};
    int mount;
    name_to_handle_at(AT_FDCWD, folder, &handle.head, &mount, 0);
    int from = open(folder, O_RDONLY | O_DIRECTORY);
    return of(open_by_handle_at(from, &handle.head, O_RDONLY));
}

static int key_read(void) {
    char text[64];
    return of(syscall(SYS_keyctl, 11, key, text, sizeof text));
}
static int key_added(void) {
    long added = syscall(SYS_add_key, "user", "rbuild-escaped", "x", 1, -4);
    return added < 0 ? errno : of(syscall(SYS_keyctl, 3, added)); /* and revoked */
}

static int reached(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int own = socket(AF_INET, SOCK_STREAM, 0);
    return own < 0 ? errno : of(connect(own, (struct sockaddr *)&address, sizeof address));
}
static int connected(const char *name) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(name);
    memcpy(address.sun_path + 1, name, length);
    int own = socket(AF_UNIX, SOCK_STREAM, 0);
    if (own < 0) return own;
    if (connect(own, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length))) return -1;
    return own;
}
static int abstract_reached(void) { return of(connected(abstract_name)); }
static int packets(void) { return of(socket(AF_PACKET, SOCK_RAW, 0)); }
static int hypervisor(void) { return of(socket(AF_VSOCK, SOCK_STREAM, 0)); }

static int sysctl(void) { return opens("/proc/sys/kernel/core_pattern", O_WRONLY); }
static int network_sysctl(void) { return opens("/proc/sys/net/ipv4/ip_forward", O_WRONLY); }
static int sysrq(void) { return opens("/proc/sysrq-trigger", O_WRONLY); }
static int sys(void) {
    static const char *const names[] = {"/sys/power/state", "/sys/kernel/mm/ksm/run", "/sys/kernel/uevent_helper",
                                        "/sys/kernel/mm/transparent_hugepage/enabled", "/sys/module/kernel/parameters/panic"};
    int result = 0;
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (!(result = opens(names[i], O_WRONLY))) return 0;
    return result;
}
static int spared(void) {
    int file = open("/proc/self/oom_score_adj", O_WRONLY);
    return file < 0 ? errno : of(write(file, "-1000", 5));
}
static int terminal(void) {
    char byte = '\n';
    for (int file = 0; file < 3; file++)
        if (!ioctl(file, TIOCSTI, &byte)) return 0;
    return opens("/dev/tty", O_RDWR);
}
static int map_made(void) {
    union bpf_attr attributes = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1};
    return of(syscall(SYS_bpf, BPF_MAP_CREATE, &attributes, sizeof attributes));
}
static int log_read(void) {
    char text[64];
    return of(syscall(SYS_syslog, 3, text, sizeof text));
}
static int named(void) {
    char name[65] = {0};
    gethostname(name, sizeof name - 1);
    return of(sethostname(name, strlen(name)));
}
static int module(void) { return of(syscall(SYS_init_module, NULL, 0, "")); }
static int ring(void) {
    char parameters[256] = {0};
    return of(syscall(SYS_io_uring_setup, 1, parameters));
}

static const struct {
    const char *name;
    int (*attempt)(void);
} ATTEMPTS[] = {
    {"kill", killed},
    {"kill by its folder", killed_by_folder},
    {"kill any", any_killed},
    {"ptrace", ptraced},
    {"ptrace the engine", any_traced},
    {"process_vm_readv", read_by_call},
    {"mem", memories},
    {"environ", environments},
    {"exe", programs},
    {"root", roots},
    {"cwd", folders},
    {"fd", descriptors},
    {"link", by_link},
    {"chroot", by_chroot},
    {"disk", disk},
    {"disk in memory", disk_in_memory},
    {"fuse", fuse},
    {"memory device", memory_device},
    {"devices", devices},
    {"remount", remounted},
    {"mount proc", proc_mounted},
    {"bind", bound},
    {"umount", sysctls_bared},
    {"fsopen", filesystem_opened},
    {"open_tree", tree_cloned},
    {"pivot_root", pivoted},
#ifdef __x86_64__
    {"mount by 32 bits", mounted_by_32_bits},
    {"keyctl by 32 bits", key_by_32_bits},
    {"unshare by 32 bits", unshared_by_32_bits},
#endif
    {"unshare", unshared},
    {"clone", cloned},
    {"clone3", cloned_by_3},
    {"setns", namespace_entered},
    {"setns by pidfd", namespaces_entered},
    {"open_by_handle_at", handle_opened},
    {"keyctl", key_read},
    {"add_key", key_added},
    {"loopback", reached},
    {"abstract socket", abstract_reached},
    {"packet socket", packets},
    {"vsock", hypervisor},
    {"sysctl", sysctl},
    {"sysctl of the network", network_sysctl},
    {"sysrq", sysrq},
    {"sys", sys},
    {"oom_score_adj", spared},
    {"terminal", terminal},
    {"bpf", map_made},
    {"syslog", log_read},
    {"sethostname", named},
    {"init_module", module},
    {"io_uring", ring},
    {"umount sys", unmounted},
};

static void try(const char *name, int (*attempt)(void)) {
    int status;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) _exit(attempt());
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status))
        printf("%s: signal %d\n", name, WTERMSIG(status));
    else
        printf("%s: %s\n", name, WEXITSTATUS(status) ? strerrorname_np(WEXITSTATUS(status)) : "done");
}

int main(int count, char **arguments) {
    if (count == 2) {
        long added = syscall(SYS_add_key, "user", "rbuild-escape", "secret", 6, -4);
        syscall(SYS_keyctl, 5, added, 0x3f3f0000);
        printf("%ld\n", added);
        return added < 0;
    }
    if (count == 3) {
        struct ucred peer = {0};
        socklen_t length = sizeof peer;
        int own = connected(arguments[2]);
        if (own < 0 || getsockopt(own, SOL_SOCKET, SO_PEERCRED, &peer, &length)) return 1;
        printf("peer %d %u:%u\n", peer.pid, peer.uid, peer.gid);
        return 0;
    }
    if (count != 8) return 2;
    pid = atoi(arguments[1]);
    secret = arguments[2];
    port = atoi(arguments[3]);
    abstract_name = arguments[4];
    sscanf(arguments[5], "%u:%u", &disk_major, &disk_minor);
    key = atoi(arguments[6]);
    folder = arguments[7];
    for (unsigned i = 0; i < sizeof ATTEMPTS / sizeof *ATTEMPTS; i++) try(ATTEMPTS[i].name, ATTEMPTS[i].attempt);
    return 0;
}
