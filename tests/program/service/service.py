#!/usr/bin/env python3
"""A service: threads, asyncio tasks, a subprocess group, websockets, files replaced atomically.

service.py VARIANT: `correct` stops all of it in order; each other variant makes one mistake.
"""

import asyncio
import base64
import hashlib
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

# RFC 6455, section 1.3.
MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
VARIANTS = (
    "correct",
    "subprocess-orphaned",
    "grandchild-escaped",
    "temp-file-left",
    "socket-left",
    "thread-running",
    "term-ignored",
)


class Worker(threading.Thread):
    """Takes jobs from a bounded queue until it is told to stop."""

    def __init__(self, jobs, name):
        super().__init__(name=name, daemon=True)
        self.jobs = jobs
        self.stopped = threading.Event()

    def run(self):
        while not self.stopped.is_set():
            try:
                self.jobs.get(timeout=0.02)()
            except queue.Empty:
                continue
            self.jobs.task_done()

    def stop(self):
        self.stopped.set()
        self.join(timeout=2)
        if self.is_alive():
            raise RuntimeError(f"{self.name} does not end")


def replace(path, text):
    """Writes a file so that readers see the old one or the new one, never half of it."""
    handle, name = tempfile.mkstemp(prefix="service-", suffix=".new")
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(name, path)


def half_replaced(text):
    """What a crash between writing and renaming leaves."""
    handle, name = tempfile.mkstemp(prefix="service-", suffix=".new")
    with os.fdopen(handle, "w") as file:
        file.write(text)


HELPER = {
    "plain": "import time; time.sleep(4)",
    "deaf": "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('ready', flush=True); time.sleep(4)",
    "parent": "import os, sys, time\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    print('ready', flush=True); os.close(1)\n"
    "    time.sleep(4)\n"
    "    os._exit(0)\n"
    "time.sleep(4)",
}


class Helper:
    """A subprocess in a process group of its own."""

    def __init__(self, kind):
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-c", HELPER[kind]],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        if kind != "plain":
            self.process.stdout.readline()

    def stop(self, patience):
        """TERM, and KILL for a group that does not end."""
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process.stdout.close()

    def abandon(self):
        """What a caller does who never looks back."""
        self.process.stdout.close()
        self.process.returncode = 0


def accept_key(key):
    return base64.b64encode(hashlib.sha1(key + MAGIC).digest())


async def headers(reader):
    found = {}
    await reader.readline()
    while (line := await reader.readline()).strip():
        name, _, value = line.partition(b":")
        found[name.strip().lower()] = value.strip()
    return found


async def serve(reader, writer):
    """The server's side: the handshake, then every text frame back unmasked."""
    asked = await headers(reader)
    accept = accept_key(asked[b"sec-websocket-key"])
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    try:
        while True:
            head = await reader.readexactly(2)
            length = head[1] & 0x7F
            mask = await reader.readexactly(4)
            data = await reader.readexactly(length)
            if head[0] & 0x0F == 8:
                break
            text = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))
            writer.write(bytes([0x81, len(text)]) + text)
            await writer.drain()
    except asyncio.IncompleteReadError:
        pass
    writer.close()
    await writer.wait_closed()


async def connect(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    key = base64.b64encode(os.urandom(16))
    writer.write(
        b"GET / HTTP/1.1\r\nHost: service\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + b"\r\n\r\n"
    )
    answer = await headers(reader)
    assert answer[b"sec-websocket-accept"] == accept_key(key)
    return reader, writer


async def echo(connection, text):
    reader, writer = connection
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(text))
    writer.write(bytes([0x81, 0x80 | len(text)]) + mask + masked)
    head = await reader.readexactly(2)
    assert await reader.readexactly(head[1] & 0x7F) == text


async def hang_up(connection):
    _, writer = connection
    writer.write(b"\x88\x80" + os.urandom(4))
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def websockets():
    """Three connections that say something and hang up, and a task that is cancelled."""
    ticker = asyncio.create_task(asyncio.sleep(3600))
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connections = [await connect(port) for _ in range(3)]
    await asyncio.gather(*(echo(it, b"hello %d" % i) for i, it in enumerate(connections)))
    for connection in connections:
        await hang_up(connection)
    server.close()
    await server.wait_closed()
    ticker.cancel()
    await asyncio.gather(ticker, return_exceptions=True)


def forgotten_socket():
    """A connection nobody closes: neither does the interpreter, which is told nothing of it."""
    near, far = socket.socketpair()
    far.close()
    near.detach()


def main():
    variant = sys.argv[1]
    if variant not in VARIANTS:
        sys.exit(f"no variant {variant}")
    jobs = queue.Queue(maxsize=8)
    workers = [Worker(jobs, f"worker-{i}") for i in range(2)]
    for worker in workers:
        worker.start()
    kind = {"term-ignored": "deaf", "grandchild-escaped": "parent"}.get(variant, "plain")
    helper = Helper(kind)

    asyncio.run(websockets())
    for number in range(4):
        jobs.put(lambda number=number: replace("state", f"{number}\n"))
    jobs.join()
    if variant == "temp-file-left":
        half_replaced("5\n")
    if variant == "socket-left":
        forgotten_socket()

    if variant == "subprocess-orphaned":
        helper.abandon()
    else:
        helper.stop(patience=0.3)
    if variant == "thread-running":
        # A daemon thread: the interpreter does not wait for it.
        threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
    for worker in reversed(workers):
        worker.stop()


if __name__ == "__main__":
    main()
