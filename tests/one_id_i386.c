/* Calls of 32-bit x86, without a library: ends with the number of the first one that is answered wrongly. */
typedef unsigned int u32;

static int call(int number, u32 one, u32 two, u32 three) {
    int result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(one), "c"(two), "d"(three) : "memory");
    return result;
}

/* struct stat64, in numbers of 32 bits. */
enum { MODE = 4, LINKS = 5, UID = 6, GID = 7, SIZE = 11 };

enum { EXIT = 1, CREAT = 8, CHOWN16 = 182, SETGID16 = 46, GETUID16 = 24, SETGROUPS16 = 81, GETGROUPS16 = 80, STAT64 = 195,
       GETUID32 = 199, SETUID32 = 213, GETRESUID32 = 209, CHOWN32 = 212, LCHOWN16 = 16, FSTAT64 = 197, WRITE = 4 };

#define CHECK(number, condition) if (!(condition)) call(EXIT, number, 0, 0)

void _start(void) {
    const char *path = "/tmp/of-32-bits";
    static u32 stat[24], ids[3];
    static unsigned short groups[] = {9, 4};
    int file = call(CREAT, (u32)path, 0640, 0);
    CHECK(1, file > 0 && call(WRITE, file, (u32)path, 5) == 5);
    CHECK(2, call(CHOWN32, (u32)path, 5000, 6) == 0);
    CHECK(3, call(STAT64, (u32)path, (u32)stat, 0) == 0);
    CHECK(4, stat[UID] == 5000 && stat[GID] == 6 && stat[MODE] == 0100640 && stat[LINKS] == 1 && stat[SIZE] == 5);
    CHECK(5, call(CHOWN16, (u32)path, 7, 0xffff) == 0);
    CHECK(6, call(FSTAT64, file, (u32)stat, 0) == 0 && stat[UID] == 7 && stat[GID] == 6);
    CHECK(7, call(SETGROUPS16, 2, (u32)groups, 0) == 0 && call(SETGID16, 12, 0, 0) == 0);
    CHECK(8, call(SETUID32, 5001, 0, 0) == 0);
    CHECK(9, call(GETUID32, 0, 0, 0) == 5001 && call(GETUID16, 0, 0, 0) == 5001);
    CHECK(10, call(GETRESUID32, (u32)&ids[0], (u32)&ids[1], (u32)&ids[2]) == 0 && ids[0] == 5001 && ids[2] == 5001);
    CHECK(11, call(GETGROUPS16, 2, (u32)groups, 0) == 2 && groups[0] == 4 && groups[1] == 9);
    CHECK(12, call(SETUID32, 0, 0, 0) == -1 && call(LCHOWN16, (u32)path, 0, 0) == -1);
    call(EXIT, 0, 0, 0);
}
