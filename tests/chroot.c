/* What a process can do to another: looks into it in every way, and says which of them worked.
 *
 *   chroot PID TEXT        TEXT is to be found in its environment; PID 0 is the rbuild that started this
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static char text[1 << 20];

static int holds(int file, const char *wanted) {
    if (file < 0) return 0;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    return length > 0 && memmem(text, length, wanted, strlen(wanted)) != NULL;
}

static void say(const char *attempt, int worked) { printf("%s: %s\n", attempt, worked ? "done" : "refused"); }

static int opens(int folder, const char *number, const char *name) {
    char path[100];
    snprintf(path, sizeof path, "%s/%s", number, name);
    return openat(folder, path, O_RDONLY);
}

static int opens_all(const char *number, const char *name) {
    char path[100];
    snprintf(path, sizeof path, "/proc/%s/%s", number, name);
    return open(path, O_RDONLY);
}

static void attempt(int folder, const char *number, const char *wanted) {
    char task[100];
    pid_t pid = atoi(number);
    say("environ by its path", holds(opens_all(number, "environ"), wanted));
    snprintf(task, sizeof task, "task/%s/environ", number);
    say("environ of its thread", holds(opens_all(number, task), wanted));
    say("environ from the folder", holds(opens(folder, number, "environ"), wanted));
    say("environ of its thread from the folder", holds(opens(folder, number, task), wanted));
    if (chdir("/proc") == 0) say("environ from here", holds(opens(AT_FDCWD, number, "environ"), wanted));
    char path[100];
    snprintf(path, sizeof path, "%s/environ", number);
    int named = openat(folder, path, O_PATH);
    snprintf(path, sizeof path, "/proc/self/fd/%d", named);
    say("environ by a descriptor that names it", holds(open(path, O_RDONLY), wanted));
    int directory = openat(folder, number, O_PATH | O_DIRECTORY);
    snprintf(path, sizeof path, "/proc/self/fd/%d/environ", directory);
    say("environ by a descriptor of its folder", holds(open(path, O_RDONLY), wanted));
    if (fchdir(directory) == 0) say("environ by the way here", holds(open("/proc/self/cwd/environ", O_RDONLY), wanted));
    int above = openat(folder, "..", O_PATH | O_DIRECTORY);
    snprintf(path, sizeof path, "/proc/self/fd/%d/proc/self/environ", above);
    say("environ of whoever answers", holds(open(path, O_RDONLY), wanted));
    say("mem", opens_all(number, "mem") >= 0 || opens(folder, number, "mem") >= 0);
    say("maps", holds(opens_all(number, "maps"), "-") || holds(opens(folder, number, "maps"), "-"));
    say("root", opens_all(number, "root/etc") >= 0 || opens(folder, number, "root/etc") >= 0);
    say("fd", opens_all(number, "fd/0") >= 0 || opens(folder, number, "fd/0") >= 0);
    int process = syscall(SYS_pidfd_open, pid, 0);
    say("pidfd_getfd", process >= 0 && syscall(SYS_pidfd_getfd, process, 0, 0) >= 0);
    struct iovec here = {text, 1}, there = {(void *)4096, 1};
    say("process_vm_readv", process_vm_readv(pid, &here, 1, &there, 1, 0) >= 0 || errno == EFAULT);
    int traced = ptrace(PTRACE_SEIZE, pid, 0, 0) == 0;
    if (traced && ptrace(PTRACE_INTERRUPT, pid, 0, 0) == 0 && waitpid(pid, NULL, __WALL) == pid)
        ptrace(PTRACE_DETACH, pid, 0, 0);
    say("ptrace", traced);
}

/* The nearest ancestor that is called rbuild. */
static int engine(int folder) {
    char name[32], *line;
    for (int pid = getppid(), parent = 0; pid > 0; pid = parent, parent = 0) {
        snprintf(name, sizeof name, "%d", pid);
        int status = opens(folder, name, "status");
        ssize_t length = status < 0 ? 0 : read(status, text, sizeof text - 1);
        close(status);
        text[length > 0 ? length : 0] = 0;
        if (strncmp(text, "Name:\trbuild\n", 13) == 0) return pid;
        if ((line = strstr(text, "\nPPid:\t"))) parent = atoi(line + 7);
    }
    return 0;
}

int main(int count, char **arguments) {
    if (count != 3) return 2;
    int folder = open("/proc", O_RDONLY | O_DIRECTORY), pid = atoi(arguments[1]);
    char number[32];
    snprintf(number, sizeof number, "%d", pid ? pid : engine(folder));
    attempt(folder, number, arguments[2]);
    return 0;
}
