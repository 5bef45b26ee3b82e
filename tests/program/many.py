"""10,000 processes, 5,000 files left in one directory, and a daemon that holds 300 fds."""

import os
import sys
import tempfile
import time

for _ in range(100):
    children = []
    for _ in range(100):
        child = os.fork()
        if child == 0:
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)

directory = tempfile.mkdtemp()
for n in range(5000):
    os.close(os.open(f"{directory}/{n}", os.O_CREAT | os.O_WRONLY))

ready, signal = os.pipe()
if os.fork() == 0:
    os.setsid()
    for _ in range(300):
        os.open("/dev/null", os.O_RDONLY)
    os.write(signal, b"x")
    time.sleep(600)
    os._exit(0)
os.read(ready, 1)
with open(sys.argv[1], "w") as out:
    out.write(str(time.clock_gettime(time.CLOCK_MONOTONIC)))
