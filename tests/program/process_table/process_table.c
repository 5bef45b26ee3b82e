/*
 * A process table under churn: many short processes, each of which takes a socket pair, a shared
 * mapping, a shared memory segment, an io_uring, a signal handler, a timer and a temp file, and
 * gives all of them back, the last one first.
 *
 * process_table CHILDREN EVERY SEED MANIFEST
 *
 * Every EVERY-th child (0: none) forgets one of them; which one, SEED says. MANIFEST gets one line
 * "PID RULE" for each thing forgotten: the findings must be exactly these.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Children alive at once. */
#define WIDTH 8

enum kind { SOCKET, MAPPING, SEGMENT, RING, TIMER, TEMP_FILE, DESCRIPTOR, KINDS };

static const char *const RULE[KINDS] = {
	[SOCKET] = "LT202", [MAPPING] = "LT207",   [SEGMENT] = "LT103",    [RING] = "LT204",
	[TIMER] = "LT203",  [TEMP_FILE] = "LT109", [DESCRIPTOR] = "LT201",
};

static void fail(const char *what)
{
	perror(what);
	_exit(1);
}

static long must(long result, const char *what)
{
	if (result < 0)
		fail(what);
	return result;
}

/* splitmix64: the same kinds for the same seed on every machine. */
static unsigned long long mix(unsigned long long value)
{
	value += 0x9e3779b97f4a7c15ULL;
	value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ULL;
	value = (value ^ (value >> 27)) * 0x94d049bb133111ebULL;
	return value ^ (value >> 31);
}

static void on_signal(int number)
{
	(void)number;
}

/* One life. `forgets` is KINDS for a child that forgets nothing. */
static void live(enum kind forgets)
{
	/* Taken in this order ... */
	int pair[2];
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), "socketpair");

	int memory = must(memfd_create("table", MFD_CLOEXEC), "memfd_create");
	must(ftruncate(memory, 8192), "ftruncate");
	char *mapping = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
	if (mapping == MAP_FAILED)
		fail("mmap");
	close(memory);
	mapping[0] = 1;

	int segment = must(shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600), "shmget");
	char *attached = shmat(segment, NULL, 0);
	if (attached == (void *)-1)
		fail("shmat");
	attached[0] = 1;

	struct io_uring_params parameters;
	memset(&parameters, 0, sizeof parameters);
	int ring = must(syscall(SYS_io_uring_setup, 4, &parameters), "io_uring_setup");

	struct sigaction handler = { .sa_handler = on_signal }, before;
	must(sigaction(SIGUSR1, &handler, &before), "sigaction");

	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	timer_t timer;
	must(timer_create(CLOCK_MONOTONIC, &event, &timer), "timer_create");

	const char *directory = getenv("TMPDIR");
	char path[4096];
	snprintf(path, sizeof path, "%s/table-XXXXXX", directory ? directory : "/tmp");
	int file = must(mkostemp(path, O_CLOEXEC), "mkostemp");
	close(file);

	int descriptor = must(open("/dev/null", O_RDONLY | O_CLOEXEC), "open");

	/* ... and given back in the opposite one. */
	if (forgets != DESCRIPTOR)
		close(descriptor);
	if (forgets != TEMP_FILE)
		must(unlink(path), "unlink");
	if (forgets != TIMER)
		must(timer_delete(timer), "timer_delete");
	must(sigaction(SIGUSR1, &before, NULL), "sigaction back");
	if (forgets != RING)
		close(ring);
	must(shmdt(attached), "shmdt");
	if (forgets != SEGMENT)
		must(shmctl(segment, IPC_RMID, NULL), "shmctl");
	if (forgets != MAPPING)
		must(munmap(mapping, 8192), "munmap");
	if (forgets != SOCKET) {
		close(pair[1]);
		close(pair[0]);
	} else {
		close(pair[1]);
	}
	_exit(0);
}

static void reap(void)
{
	int status;
	must(wait(&status), "wait");
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		fprintf(stderr, "a child ended with status %#x\n", status);
		exit(1);
	}
}

int main(int count, char **arguments)
{
	if (count != 5) {
		fprintf(stderr, "usage: process_table CHILDREN EVERY SEED MANIFEST\n");
		return 2;
	}
	long children = atol(arguments[1]), every = atol(arguments[2]);
	unsigned long long seed = strtoull(arguments[3], NULL, 10);
	/* Made by the caller, so that it is no file of ours that is left. */
	FILE *manifest = fopen(arguments[4], "we");
	if (!manifest)
		fail(arguments[4]);
	long alive = 0;
	for (long child = 1; child <= children; child++) {
		if (alive == WIDTH) {
			reap();
			alive--;
		}
		enum kind forgets = KINDS;
		if (every && child % every == 0)
			forgets = mix(seed ^ mix(child)) % KINDS;
		pid_t pid = must(fork(), "fork");
		if (pid == 0)
			live(forgets);
		alive++;
		if (forgets != KINDS)
			fprintf(manifest, "%d %s\n", pid, RULE[forgets]);
	}
	while (alive--)
		reap();
	return fclose(manifest) ? 1 : 0;
}
