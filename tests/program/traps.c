// What the kernel does to a tool that believes system calls, one trap a word.
//
// traps WORD [ARGUMENT]
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif

static void must(int good, const char *what) {
    if (!good) {
        perror(what);
        _exit(1);
    }
}

static int hosts(int flags) {
    int fd = open("/etc/hosts", O_RDONLY | flags);
    must(fd >= 0, "open");
    return fd;
}

static int created(const char *path) {
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    must(fd >= 0, "create");
    return fd;
}

// Releases that fail release nothing: an fd, a mapping and a file stay.
static void failed(const char *path) {
    int cloexec = hosts(O_CLOEXEC);
    close(created(path));
    int memory = memfd_create("traps", 0);
    char *at = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    must(at != MAP_FAILED, "mmap");
    close(memory);
    char other[4096];
    snprintf(other, sizeof other, "%s.none", path);
    must(munmap(at + 1, 8192) < 0 && errno == EINVAL, "munmap");
    must(unlink(other) < 0 && errno == ENOENT, "unlink");
    must(rename(other, path) < 0 && errno == ENOENT, "rename");
    must(rmdir(path) < 0 && errno == ENOTDIR, "rmdir");
    must(shmdt(at) < 0 && errno == EINVAL, "shmdt");
    must(dup2(-1, cloexec) < 0 && errno == EBADF, "dup2");
    must(dup3(cloexec, cloexec, 0) < 0 && errno == EINVAL, "dup3");
    must(syscall(SYS_close_range, 9u, 3u, 0) < 0 && errno == EINVAL, "close_range");
    execl(other, other, (char *)NULL);
    must(errno == ENOENT, "execve");
}

static struct sock_filter answer(int call, unsigned verdict, struct sock_filter *jump) {
    *jump = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 0, 1);
    return (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, verdict);
}

static int filter(const int *calls, int count, unsigned verdict, unsigned flags) {
    struct sock_filter program[32];
    int len = 0;
    program[len++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                                  offsetof(struct seccomp_data, nr));
    for (int i = 0; i < count; i++) {
        program[len + 1] = answer(calls[i], verdict, &program[len]);
        len += 2;
    }
    program[len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog whole = {.len = (unsigned short)len, .filter = program};
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
    long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &whole);
    must(fd >= 0, "seccomp");
    return (int)fd;
}

// Success that the kernel did not have: nothing was removed, closed or made.
static void forged(const char *path) {
    int fd = hosts(0);
    close(created(path));
    const int calls[] = {
#ifdef SYS_unlink
        SYS_unlink, SYS_dup2,
#endif
        SYS_unlinkat, SYS_close, SYS_dup, SYS_dup3, SYS_munmap};
    filter(calls, sizeof calls / sizeof *calls, SECCOMP_RET_ERRNO, 0);
    must(unlink(path) == 0, "unlink");
    must(unlinkat(AT_FDCWD, path, 0) == 0, "unlinkat");
    must(close(fd) == 0, "close");
    must(dup(fd) == 0, "dup");
    must(syscall(SYS_dup3, fd, 9, 0) == 0, "dup3");
#ifdef SYS_dup2
    must(syscall(SYS_dup2, fd, 9) == 0, "dup2");
#endif
}

// 32-bit calls have other numbers: close is lstat's, munmap is fchmod's, open is fstat's. Only
// x86 has them in a program of 64 bits.
static void compat(void) {
#ifdef __x86_64__
    hosts(0);
    char *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    must(low != MAP_FAILED, "mmap");
    strcpy(low, "/etc/passwd");
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(6), "b"(77) : "memory", "r8", "r9", "r10", "r11");
    must(result == -EBADF, "int 0x80 close");
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(91), "b"(1), "c"(4096) : "memory", "r8", "r9", "r10", "r11");
    must(result == -EINVAL, "int 0x80 munmap");
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(5), "b"(low), "c"(0) : "memory", "r8", "r9", "r10", "r11");
    must(result >= 0, "int 0x80 open");
    printf("%ld\n", result);
    fflush(stdout);
#else
    _exit(2);
#endif
}

static void *leaves(void *argument) {
    (void)argument;
    exit(0);
}

static void *executes(void *argument) {
    (void)argument;
    execl("/bin/true", "true", (char *)NULL);
    _exit(1);
}

static void segment(void) {
    must(shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600) >= 0, "shmget");
}

// A worker ends the process, or replaces its program, while others wait: the kernel kills those,
// and that is no death by signal.
static void threaded(void *(*work)(void *)) {
    hosts(work == executes ? O_CLOEXEC : 0);
    segment();
    pthread_t thread;
    must(pthread_create(&thread, NULL, work, NULL) == 0, "pthread_create");
    for (;;)
        pause();
}

static void *outlives(void *argument) {
    (void)argument;
    usleep(20000);
    hosts(0);
    exit(0);
}

// The leader goes first.
static void leaderless(void) {
    pthread_t thread;
    must(pthread_create(&thread, NULL, outlives, NULL) == 0, "pthread_create");
    pthread_exit(NULL);
}

// TERM is taken by sigwait: no delivery is seen. What was opened first is closed first.
static void waits(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int first = hosts(0), second = hosts(0);
    pid_t self = getpid();
    pid_t child = fork();
    if (child == 0) {
        kill(self, SIGTERM);
        _exit(0);
    }
    int taken;
    sigwait(&set, &taken);
    waitpid(child, NULL, 0);
    close(first);
    close(second);
}

// Children of a parent that ignores SIGCHLD are reaped by the kernel.
static void ignored(void) {
    signal(SIGCHLD, SIG_IGN);
    for (int i = 0; i < 3; i++)
        if (fork() == 0)
            _exit(0);
    must(wait(NULL) < 0 && errno == ECHILD, "wait");
    usleep(1200000);
}

static volatile int stop;

// Closes a number that others get and lose, blindly.
static void *closes(void *number) {
    while (!stop) {
        close((int)(long)number);
        // Most closes are to find something, and the ring is not to be filled with refusals.
        for (volatile int i = 0; i < 30000; i++)
            ;
    }
    return NULL;
}

static void blind(const char *seconds) {
    int spare = hosts(0);
    close(spare);
    pthread_t thread;
    must(pthread_create(&thread, NULL, closes, (void *)(long)spare) == 0, "pthread_create");
    time_t end = time(NULL) + atoi(seconds);
    unsigned long opened = 0;
    while (time(NULL) < end) {
        for (int i = 0; i < 100; i++) {
            int fd = hosts(0);
            opened++;
            if (fd != spare)
                close(fd);
        }
        // Bursts: a machine with other things to do is to lose none of this.
        usleep(4000);
    }
    stop = 1;
    pthread_join(thread, NULL);
    syscall(SYS_close_range, (unsigned)spare, ~0u, 0);
    printf("%lu\n", opened);
    fflush(stdout);
}

// Four processes make, rename and remove the same few names, each as it comes.
static void names(const char *directory) {
    must(chdir(directory) == 0, directory);
    for (unsigned child = 0; child < 4; child++) {
        if (fork() != 0)
            continue;
        unsigned draw = (child + 1) * 2654435761u ^ (unsigned)getpid() * 40503u;
        for (int i = 0; i < 400; i++) {
            draw = draw * 1103515245u + 12345u;
            const char *fresh = draw >> 16 & 1 ? "fresh-1" : "fresh-2";
            const char *whole = draw >> 17 & 1 ? "whole-1" : "whole-2";
            switch (draw >> 20 & 3) {
            case 0:
            case 1:
                close(open(fresh, O_CREAT | O_EXCL | O_WRONLY, 0600));
                break;
            case 2:
                rename(fresh, whole);
                break;
            case 3:
                unlink(draw >> 23 & 1 ? fresh : whole);
            }
        }
        _exit(0);
    }
    while (wait(NULL) > 0)
        ;
}

static void send_fds(int through, const int *fds, int count) {
    char byte = 'x', control[CMSG_SPACE(sizeof(int) * 8)] = {0};
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control};
    message.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)count);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)count);
    memcpy(CMSG_DATA(header), fds, sizeof(int) * (size_t)count);
    must(sendmsg(through, &message, 0) == 1, "sendmsg");
}

static void receive(int through) {
    char byte, control[CMSG_SPACE(sizeof(int) * 8)];
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
                             .msg_controllen = sizeof control};
    must(recvmsg(through, &message, 0) == 1, "recvmsg");
}

// A child is passed fds over a socket. The sender ends at once; the child goes on for so many
// milliseconds.
static void passed(const char *ms) {
    int ends[2], ready[2];
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0 && pipe(ready) == 0, "socketpair");
    if (fork() == 0) {
        prctl(PR_SET_NAME, "receiver");
        close(ends[0]);
        close(ready[0]);
        receive(ends[1]);
        close(ready[1]);
        usleep((unsigned)atoi(ms) * 1000);
        _exit(0);
    }
    close(ends[1]);
    close(ready[1]);
    int pipes[2];
    must(pipe(pipes) == 0, "pipe");
    int fds[] = {hosts(0), memfd_create("passed", 0), pipes[0], pipes[1]};
    send_fds(ends[0], fds, 4);
    char byte;
    must(read(ready[0], &byte, 1) == 0, "read");
}

static void terminal(void) {
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    must(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0, "posix_openpt");
    must(ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY) >= 0, "TIOCGPTPEER");
}

// A supervisor puts an fd into the table of a task whose call it answers.
static void supervised(void) {
    int shared[2];
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, shared) == 0, "socketpair");
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_NAME, "supervised");
        close(shared[0]);
        const int calls[] = {SYS_getppid};
        int listener = filter(calls, 1, SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER);
        must(write(shared[1], &listener, sizeof listener) == sizeof listener, "write");
        syscall(SYS_getppid);
        _exit(0);
    }
    close(shared[1]);
    int number;
    must(read(shared[0], &number, sizeof number) == sizeof number, "read");
    int pidfd = (int)syscall(SYS_pidfd_open, child, 0);
    int listener = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
    must(listener >= 0, "pidfd_getfd");
    struct seccomp_notif asked = {0};
    must(ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &asked) == 0, "recv");
    int source = hosts(0);
    struct seccomp_notif_addfd add = {.id = asked.id, .srcfd = (unsigned)source};
    must(ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add) >= 0, "addfd");
    struct seccomp_notif_resp reply = {.id = asked.id, .val = 1};
    must(ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &reply) == 0, "send");
    waitpid(child, NULL, 0);
}

// A ring of four, and where its entries are; `queue` is the ring's own.
static struct io_uring_sqe *ring_of_four(int *ring, char **queue, struct io_uring_params *params) {
    *ring = (int)syscall(SYS_io_uring_setup, 4, params);
    must(*ring >= 0, "io_uring_setup");
    *queue = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, *ring, IORING_OFF_SQ_RING);
    struct io_uring_sqe *entries =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, *ring, IORING_OFF_SQES);
    must(*queue != MAP_FAILED && entries != MAP_FAILED, "mmap");
    return entries;
}

static void ring_submit(int ring, char *queue, const struct io_uring_params *params, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        ((unsigned *)(queue + params->sq_off.array))[i] = i;
    __atomic_store_n((unsigned *)(queue + params->sq_off.tail), count, __ATOMIC_RELEASE);
    long done = syscall(SYS_io_uring_enter, ring, count, count, IORING_ENTER_GETEVENTS, NULL, 0);
    must(done == count, "enter");
}

// A directory is made by io_uring.
static void ring_mkdir(const char *path) {
    struct io_uring_params params = {0};
    int ring;
    char *queue;
    struct io_uring_sqe *entry = ring_of_four(&ring, &queue, &params);
    entry->opcode = IORING_OP_MKDIRAT;
    entry->fd = AT_FDCWD;
    entry->addr = (unsigned long)path;
    entry->len = 0700;
    ring_submit(ring, queue, &params, 1);
    must(access(path, F_OK) == 0, "mkdir");
}

// A file is made and closed by io_uring, within one call.
static void ring_create(const char *path) {
    struct io_uring_params params = {0};
    int ring;
    char *queue;
    struct io_uring_sqe *entries = ring_of_four(&ring, &queue, &params);
    int next = dup(ring);
    close(next);
    entries[0].opcode = IORING_OP_OPENAT;
    entries[0].flags = IOSQE_IO_LINK;
    entries[0].fd = AT_FDCWD;
    entries[0].addr = (unsigned long)path;
    entries[0].len = 0600;
    entries[0].open_flags = O_CREAT | O_EXCL | O_WRONLY;
    entries[1].opcode = IORING_OP_CLOSE;
    entries[1].fd = next;
    ring_submit(ring, queue, &params, 2);
    must(access(path, F_OK) == 0 && fcntl(next, F_GETFD) < 0, "create and close");
}

// A listener, two ends of connections, one that never had one, one that can have none.
static void sockets(void) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    must(bind(listener, (struct sockaddr *)&address, len) == 0 && listen(listener, 2) == 0 &&
             getsockname(listener, (struct sockaddr *)&address, &len) == 0,
         "listen");
    int both[2];
    for (int i = 0; i < 2; i++) {
        both[i] = socket(AF_INET, SOCK_STREAM, 0);
        must(connect(both[i], (struct sockaddr *)&address, len) == 0, "connect");
    }
    shutdown(both[1], SHUT_WR);
    socket(AF_INET, SOCK_STREAM, 0);
    socket(AF_INET, SOCK_DGRAM, 0);
}

static int in_table(void *argument) {
    (void)argument;
    prctl(PR_SET_NAME, "sharer");
    hosts(0);
    return 0;
}

// Two processes with one table: the end of one releases nothing.
static void shared(void) {
    char *stack = malloc(65536);
    pid_t child = clone(in_table, stack + 65536, CLONE_FILES | SIGCHLD, NULL);
    must(child > 0, "clone");
    waitpid(child, NULL, 0);
}

static void *ends(void *barrier) {
    pthread_barrier_wait(barrier);
    return NULL;
}

// Threads that end at the same moment, and a table of more than one part.
static void together(const char *count) {
    for (int i = 0; i < atoi(count); i++)
        hosts(0);
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, 9);
    pthread_t thread;
    for (int i = 0; i < 8; i++)
        must(pthread_create(&thread, NULL, ends, &barrier) == 0, "pthread_create");
    pthread_barrier_wait(&barrier);
    pthread_exit(NULL);
}

int main(int argc, char **argv) {
    const char *word = argc > 1 ? argv[1] : "";
    const char *argument = argc > 2 ? argv[2] : "";
    if (!strcmp(word, "failed"))
        failed(argument);
    else if (!strcmp(word, "forged"))
        forged(argument);
    else if (!strcmp(word, "compat"))
        compat();
    else if (!strcmp(word, "thread-exits"))
        threaded(leaves);
    else if (!strcmp(word, "thread-executes"))
        threaded(executes);
    else if (!strcmp(word, "leaderless"))
        leaderless();
    else if (!strcmp(word, "sigwait"))
        waits();
    else if (!strcmp(word, "sigchld-ignored"))
        ignored();
    else if (!strcmp(word, "blind"))
        blind(argument);
    else if (!strcmp(word, "names"))
        names(argument);
    else if (!strcmp(word, "passed"))
        passed(argument);
    else if (!strcmp(word, "terminal"))
        terminal();
    else if (!strcmp(word, "supervised"))
        supervised();
    else if (!strcmp(word, "ring-mkdir"))
        ring_mkdir(argument);
    else if (!strcmp(word, "ring-create"))
        ring_create(argument);
    else if (!strcmp(word, "sockets"))
        sockets();
    else if (!strcmp(word, "shared"))
        shared();
    else if (!strcmp(word, "together"))
        together(argument);
    else
        return 2;
    // Not exit: what it would close and unmap is not to be seen here.
    _exit(0);
}
