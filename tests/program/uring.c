// Opens, accepts, makes sockets and pipes and closes by io_uring, one step after another, up to
// the step that its second argument names, and prints the numbers that /proc then lists.
//
// uring plain|sqpoll|async STEPS
// uring probe OP: ends with 0 if the kernel has the operation, else with 1.
//
// By raw system calls: what happens is what is written here.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/openat2.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

// Newer than some distributions' headers.
#define OP_FIXED_FD_INSTALL 54
#define OP_PIPE 62

static int ring;
static int polled;
static unsigned char request_flags;
static unsigned *sq_tail, *sq_mask, *sq_flags, *cq_head, *cq_tail, *cq_mask;
static struct io_uring_sqe *entries;
static struct io_uring_cqe *completions;
static unsigned pending;

static void fail(const char *what) {
    perror(what);
    _exit(1);
}

static void setup(const char *mode) {
    struct io_uring_params params = {0};
    polled = strcmp(mode, "sqpoll") == 0;
    if (polled) {
        params.flags = IORING_SETUP_SQPOLL;
        params.sq_thread_idle = 2000;
    }
    if (strcmp(mode, "async") == 0)
        request_flags = IOSQE_ASYNC;
    ring = (int)syscall(SYS_io_uring_setup, 16, &params);
    if (ring < 0)
        fail("io_uring_setup");
    size_t size = params.cq_off.cqes + params.cq_entries * sizeof *completions;
    size_t other = params.sq_off.array + params.sq_entries * sizeof(unsigned);
    char *rings = mmap(NULL, size > other ? size : other, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQ_RING);
    entries = mmap(NULL, params.sq_entries * sizeof *entries, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQES);
    if (rings == MAP_FAILED || entries == MAP_FAILED)
        fail("mmap");
    sq_tail = (unsigned *)(rings + params.sq_off.tail);
    sq_mask = (unsigned *)(rings + params.sq_off.ring_mask);
    sq_flags = (unsigned *)(rings + params.sq_off.flags);
    cq_head = (unsigned *)(rings + params.cq_off.head);
    cq_tail = (unsigned *)(rings + params.cq_off.tail);
    cq_mask = (unsigned *)(rings + params.cq_off.ring_mask);
    completions = (struct io_uring_cqe *)(rings + params.cq_off.cqes);
    unsigned *array = (unsigned *)(rings + params.sq_off.array);
    for (unsigned i = 0; i < params.sq_entries; i++)
        array[i] = i;
}

// Whether the kernel has an operation.
static int has(int op) {
    struct {
        struct io_uring_probe head;
        struct io_uring_probe_op ops[256];
    } probe = {0};
    if (syscall(SYS_io_uring_register, ring, IORING_REGISTER_PROBE, &probe, 256) < 0)
        fail("io_uring_register");
    return op < probe.head.ops_len && (probe.head.ops[op].flags & IO_URING_OP_SUPPORTED);
}

static struct io_uring_sqe *request(int op) {
    struct io_uring_sqe *entry = &entries[(*sq_tail + pending++) & *sq_mask];
    memset(entry, 0, sizeof *entry);
    entry->opcode = (unsigned char)op;
    entry->flags = request_flags;
    entry->fd = -1;
    entry->user_data = (unsigned long)op;
    return entry;
}

// Hands in what was asked, without waiting.
static void submit(void) {
    unsigned count = pending;
    pending = 0;
    __atomic_store_n(sq_tail, *sq_tail + count, __ATOMIC_RELEASE);
    unsigned flags = 0;
    if (polled) {
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (!(__atomic_load_n(sq_flags, __ATOMIC_RELAXED) & IORING_SQ_NEED_WAKEUP))
            return;
        flags = IORING_ENTER_SQ_WAKEUP;
    }
    if (syscall(SYS_io_uring_enter, ring, count, 0, flags, NULL, 0) < 0)
        fail("io_uring_enter");
}

// The result of the next completion.
static int result(const char *what) {
    while (__atomic_load_n(cq_tail, __ATOMIC_ACQUIRE) == *cq_head)
        if (syscall(SYS_io_uring_enter, ring, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
            fail("io_uring_enter");
    int value = completions[*cq_head & *cq_mask].res;
    __atomic_store_n(cq_head, *cq_head + 1, __ATOMIC_RELEASE);
    if (value < 0) {
        fprintf(stderr, "%s: %s\n", what, strerror(-value));
        _exit(1);
    }
    return value;
}

static struct io_uring_sqe *open_request(const char *path) {
    struct io_uring_sqe *entry = request(IORING_OP_OPENAT);
    entry->fd = AT_FDCWD;
    entry->addr = (unsigned long)path;
    entry->open_flags = O_RDONLY;
    return entry;
}

static void close_request(int fd) {
    request(IORING_OP_CLOSE)->fd = fd;
}

static int one(const char *what) {
    submit();
    return result(what);
}

static struct sockaddr_in address = {.sin_family = AF_INET};

static int connected(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        fail("connect");
    return fd;
}

static int hosts, passwd, listener, accepted;

static void listening(void) {
    struct io_uring_sqe *entry = request(IORING_OP_SOCKET);
    entry->fd = AF_INET;
    entry->off = SOCK_STREAM;
    listener = one("socket");
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t len = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, len) < 0 || listen(listener, 8) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &len) < 0)
        fail("listen");
}

static void opened(void) {
    open_request("/etc/hosts");
    hosts = one("openat");
}

static void opened2(void) {
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC};
    struct io_uring_sqe *entry = request(IORING_OP_OPENAT2);
    entry->fd = AT_FDCWD;
    entry->addr = (unsigned long)"/etc/passwd";
    entry->len = sizeof how;
    entry->off = (unsigned long)&how;
    passwd = one("openat2");
}

static void accepting(void) {
    request(IORING_OP_ACCEPT)->fd = listener;
    submit();
    connected();
    accepted = result("accept");
}

static void piped(void) {
    if (!has(OP_PIPE))
        return;
    int ends[2];
    struct io_uring_sqe *entry = request(OP_PIPE);
    entry->fd = 0;
    entry->addr = (unsigned long)ends;
    one("pipe");
}

static void direct(void) {
    int none[4] = {-1, -1, -1, -1};
    if (syscall(SYS_io_uring_register, ring, IORING_REGISTER_FILES, none, 4) < 0)
        fail("io_uring_register");
    for (unsigned slot = 1; slot <= 3; slot++) {
        open_request("/etc/hosts")->file_index = slot;
        one("openat direct");
    }
}

static void installed(void) {
    if (!has(OP_FIXED_FD_INSTALL))
        return;
    struct io_uring_sqe *entry = request(OP_FIXED_FD_INSTALL);
    entry->fd = 0;
    entry->flags |= IOSQE_FIXED_FILE;
    one("fixed_fd_install");
}

static void closed(void) {
    close_request(hosts);
    one("close");
}

// The number that a close frees is taken at once.
static void reused(void) {
    close_request(passwd);
    entries[(*sq_tail + pending - 1) & *sq_mask].flags |= IOSQE_IO_LINK;
    open_request("/etc/hosts");
    submit();
    result("close");
    result("openat");
}

static void closed_direct(void) {
    request(IORING_OP_CLOSE)->file_index = 2;
    entries[(*sq_tail + pending - 1) & *sq_mask].fd = 0;
    one("close direct");
}

static void many(void) {
    struct io_uring_sqe *entry = request(IORING_OP_ACCEPT);
    entry->fd = listener;
    entry->flags = 0;
    entry->ioprio = IORING_ACCEPT_MULTISHOT;
    submit();
    for (int i = 0; i < 2; i++) {
        connected();
        result("accept many");
    }
}

static void gone_by_call(void) {
    close(accepted);
}

static void silent(void) {
    open_request("/etc/passwd")->flags |= IOSQE_CQE_SKIP_SUCCESS;
    submit();
    usleep(50000);
}

static void (*const steps[])(void) = {
    opened, opened2, listening, accepting,     piped, direct,       installed,
    closed, reused,  many,      closed_direct, gone_by_call, silent,
};

static void list(void) {
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;
    while (dir && (entry = readdir(dir)))
        if (entry->d_name[0] != '.' && atoi(entry->d_name) != dirfd(dir))
            printf("%s\n", entry->d_name);
    closedir(dir);
    fflush(stdout);
}

int main(int argc, char **argv) {
    if (argc != 3)
        return 2;
    if (strcmp(argv[1], "probe") == 0) {
        setup("plain");
        _exit(!has(atoi(argv[2])));
    }
    setup(argv[1]);
    for (int i = 0; i < atoi(argv[2]) && i < (int)(sizeof steps / sizeof *steps); i++)
        steps[i]();
    list();
    _exit(0);
}
