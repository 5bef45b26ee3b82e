/* Takes what it does not give back, in functions whose names are to be told. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static volatile int calls;

/* What comes behind a call keeps it from becoming a jump, which leaves no frame. */
#define APART __attribute__((noinline, noipa))

APART int open_and_forget(const char *path)
{
	int fd = open(path, O_RDONLY);
	calls++;
	return fd;
}

APART FILE *stream_and_forget(const char *path)
{
	FILE *stream = fopen(path, "r");
	calls++;
	return stream;
}

APART int socket_and_forget(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	calls++;
	return fd;
}

APART int leave_a_file(void)
{
	char path[256];
	const char *directory = getenv("TMPDIR");
	snprintf(path, sizeof path, "%s/left-XXXXXX", directory ? directory : "/tmp");
	int fd = mkstemp(path);
	close(fd);
	return fd;
}

APART int start_and_forget(void)
{
	int child = fork();
	if (child == 0) {
		sleep(60);
		_exit(0);
	}
	calls++;
	return child;
}

APART int many(const char *path, int count)
{
	int last = -1;
	for (int i = 0; i < count; i++)
		last = open_and_forget(path);
	return last;
}

int main(int argc, char **argv)
{
	int sum = 0;
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "open"))
			sum += open_and_forget("/etc/hosts");
		else if (!strcmp(argv[i], "stream"))
			sum += stream_and_forget("/etc/passwd") != 0;
		else if (!strcmp(argv[i], "socket"))
			sum += socket_and_forget();
		else if (!strcmp(argv[i], "file"))
			sum += leave_a_file();
		else if (!strcmp(argv[i], "start"))
			sum += start_and_forget();
		else if (!strcmp(argv[i], "many"))
			sum += many("/etc/hosts", 40);
		else if (!strcmp(argv[i], "wait"))
			sum += getchar();
	}
	return sum < 0;
}
