"""eio.py DIR [N]: mounts a file system of one file on DIR whose close(2) fails with EIO, and opens
and closes that file once; N times /dev/null before and after. Needs nothing but /dev/fuse."""

import ctypes
import errno
import os
import struct
import sys

LOOKUP, FORGET, GETATTR, OPEN, RELEASE, FLUSH, INIT, DESTROY = 1, 2, 3, 14, 18, 25, 26, 38
EIO, ENOSYS = 5, 38
libc = ctypes.CDLL(None, use_errno=True)


def attributes(node):
    mode, links = (0o40755, 2) if node == 1 else (0o100666, 1)
    return struct.pack("<6Q10I", node, 0, 0, 0, 0, 0, 0, 0, 0, mode, links, 0, 0, 0, 4096, 0)


def answer(opcode, node):
    """struct fuse_*_out (include/uapi/linux/fuse.h), or an errno."""
    if opcode == INIT:
        return struct.pack("<4I2H2I2H8I", 7, 31, 1 << 16, 0, 8, 6, 1 << 16, 1, 16, 0, *[0] * 8)
    if opcode == LOOKUP:
        return struct.pack("<4Q2I", 2, 0, 60, 60, 0, 0) + attributes(2)
    if opcode == GETATTR:
        return struct.pack("<Q2I", 60, 0, 0) + attributes(node)
    if opcode == OPEN:
        return struct.pack("<Q2I", 1, 0, 0)
    if opcode in (RELEASE, DESTROY):
        return b""
    return EIO if opcode == FLUSH else ENOSYS


def serve(fuse):
    while True:
        try:
            request = os.read(fuse, 1 << 17)
        except OSError as error:
            if error.errno == errno.ENODEV:
                return
            continue
        _, opcode, unique, node = struct.unpack_from("<2I2Q", request)
        if opcode == FORGET:
            continue
        said = answer(opcode, node)
        failed, body = (said, b"") if isinstance(said, int) else (0, said)
        os.write(fuse, struct.pack("<IiQ", 16 + len(body), -failed, unique) + body)


def noise(count):
    for _ in range(count):
        os.close(os.open("/dev/null", os.O_RDONLY))


def main():
    place, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0
    fuse = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0".encode()
    if libc.mount(b"eio", place.encode(), b"fuse", 0, options) != 0:
        sys.exit(f"mount: {os.strerror(ctypes.get_errno())}")
    server = os.fork()
    if server == 0:
        serve(fuse)
        os._exit(0)
    os.close(fuse)
    noise(count)
    file = os.open(place + "/file", os.O_WRONLY)
    try:
        os.close(file)
        sys.exit("close did not fail")
    except OSError as error:
        assert error.errno == EIO, error
    noise(count)
    libc.umount2(place.encode(), 0)
    os.waitpid(server, 0)


main()
