"""rings.py packet|xdp keep|close: takes rings of memory from a socket, gives one of the two back by
its size, and keeps or closes the socket."""

import ctypes
import mmap
import os
import socket
import struct
import sys

SOL_PACKET, PACKET_RX_RING, PACKET_TX_RING = 263, 5, 13
AF_XDP, SOL_XDP, XDP_RX_RING, XDP_UMEM_REG, XDP_UMEM_FILL_RING = 44, 283, 2, 4, 5

which, end = sys.argv[1:]
memory = None
if which == "packet":
    taken = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    for ring in (PACKET_RX_RING, PACKET_TX_RING):
        taken.setsockopt(SOL_PACKET, ring, struct.pack("IIII", 4096, 4, 2048, 8))
    taken.setsockopt(SOL_PACKET, PACKET_TX_RING, struct.pack("IIII", 0, 0, 0, 0))
else:
    taken = socket.socket(AF_XDP, socket.SOCK_RAW, 0)
    memory = mmap.mmap(-1, 65536)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    taken.setsockopt(SOL_XDP, XDP_UMEM_REG, struct.pack("QQIIII", address, 65536, 4096, 0, 0, 0))
    taken.setsockopt(SOL_XDP, XDP_UMEM_FILL_RING, struct.pack("I", 64))
    taken.setsockopt(SOL_XDP, XDP_RX_RING, struct.pack("I", 32))
if end == "close":
    taken.close()
# Without what the interpreter does at its end.
os._exit(0)
