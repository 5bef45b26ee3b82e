#!/bin/busybox sh
# The first process of a guest. Everything it says goes to the console; xtask reads it.
b=/bin/busybox
# What is unpacked at boot cannot be left by pivot_root(2), which bubblewrap does: bound to itself and
# moved over it, it can (filesystems/ramfs-rootfs-initramfs in the kernel's documentation).
if [ "$1" != moved ]; then
    $b mount --bind / /run
    cd /run || exit 1
    $b mount --move . /
    exec $b chroot . $b sh /init moved
fi
$b --install -s /fallback
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/fallback
export HOME=/root TERM=linux LC_ALL=C.UTF-8
$b mount -t devtmpfs none /dev
$b mount -t proc none /proc
$b mount -t sysfs none /sys
$b mkdir -p /dev/pts /dev/shm /dev/mqueue
$b mount -t devpts none /dev/pts
$b mount -t tmpfs none /dev/shm
$b mount -t mqueue none /dev/mqueue
$b chmod 1777 /tmp
$b mount -t tmpfs none /run
$b mount -t tracefs none /sys/kernel/tracing
$b mount -t bpf none /sys/fs/bpf
$b mount -t securityfs none /sys/kernel/security
$b mount -t cgroup2 none /sys/fs/cgroup
$b ln -s /proc/self/fd /dev/fd
$b ip link set lo up
cd /root
echo VM-BEGIN
$b sh /command </dev/null 2>&1
echo "VM-END $?"
$b sync
$b poweroff -f
