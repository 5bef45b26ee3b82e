"""Halts after a mremap that a signal put off: what it shortened is gone, nothing has moved."""
import ctypes, mmap, os, signal, sys

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = libc.mremap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
libc.mremap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
MERGEABLE, ANY, FIXED, BYTES = 12, 0x22, 3, 32 << 20

signal.signal(signal.SIGALRM, lambda *_: None)
signal.siginterrupt(signal.SIGALRM, True)
signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
halves = tries = 0
while halves < 3:
    tries += 1
    if tries > 5000:
        sys.exit("no mremap was put off")
    old = libc.mmap(None, BYTES, 3, ANY | 0x8000, -1, 0)
    libc.madvise(old, BYTES, MERGEABLE)
    new = libc.mmap(None, BYTES // 2, 3, ANY, -1, 0)
    got = libc.mremap(old, BYTES, BYTES // 2, FIXED, new)
    if got == ctypes.c_void_p(-1).value:
        assert ctypes.get_errno() == 4, ctypes.get_errno()
        halves += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    libc.munmap(old, BYTES)
    libc.munmap(new, BYTES // 2)
