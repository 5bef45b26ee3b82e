//! What a worker does.

use std::ptr::null_mut;

use crate::random::Random;

const PAGE: usize = 4096;
/// fds, mappings, segments and children that a worker keeps at most.
const MOST_FDS: usize = 120;
const MOST_MAPS: usize = 60;
const MOST_IPC: usize = 4;
const MOST_CHILDREN: usize = 2;

/// One worker and what it has.
pub struct Worker {
    pub random: Random,
    to: i32,
    from: i32,
    fds: Vec<i32>,
    maps: Vec<(usize, usize)>,
    segments: Vec<(i32, usize)>,
    semaphores: Vec<i32>,
    queues: Vec<i32>,
    children: Vec<i32>,
}

impl Worker {
    pub fn new(random: Random, to: i32, from: i32) -> Self {
        Self {
            random,
            to,
            from,
            fds: Vec::new(),
            maps: Vec::new(),
            segments: Vec::new(),
            semaphores: Vec::new(),
            queues: Vec::new(),
            children: Vec::new(),
        }
    }

    /// Does one thing.
    pub fn step(&mut self) {
        match self.random.below(100) {
            0..30 => self.open(),
            30..50 => self.close(),
            50..60 => self.duplicate(),
            60..64 => self.pass(),
            64..80 => self.map(),
            80..92 => self.unmap(),
            92..95 => self.ipc(),
            95..97 => self.child(),
            97..98 => self.execute(),
            98..99 => self.threads(),
            _ => self.keep_child(),
        }
    }

    /// Removes what would outlive the worker.
    pub fn tidy(&mut self) {
        unsafe {
            for (id, _) in self.segments.drain(..) {
                libc::shmctl(id, libc::IPC_RMID, null_mut());
            }
            for id in self.semaphores.drain(..) {
                libc::semctl(id, 0, libc::IPC_RMID);
            }
            for id in self.queues.drain(..) {
                libc::msgctl(id, libc::IPC_RMID, null_mut());
            }
            for pid in self.children.drain(..) {
                libc::kill(pid, libc::SIGKILL);
                libc::waitpid(pid, null_mut(), 0);
            }
        }
    }

    fn keep(&mut self, fd: i32) {
        if fd >= 0 {
            self.fds.push(fd);
        }
        while self.fds.len() > MOST_FDS {
            self.close();
        }
    }

    fn open(&mut self) {
        let cloexec = match self.random.below(2) {
            0 => libc::O_CLOEXEC,
            _ => 0,
        };
        let mut pair = [-1; 2];
        unsafe {
            let fd = match self.random.below(9) {
                0 | 1 => libc::open(c"/etc/hosts".as_ptr(), libc::O_RDONLY | cloexec),
                2 => libc::open(c"/".as_ptr(), libc::O_DIRECTORY | cloexec),
                3 => libc::eventfd(0, 0),
                4 => libc::memfd_create(c"turmoil".as_ptr(), 0),
                5 => libc::epoll_create1(0),
                6 => libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0),
                7 => {
                    libc::pipe2(pair.as_mut_ptr(), cloexec);
                    -1
                }
                _ => {
                    libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, pair.as_mut_ptr());
                    -1
                }
            };
            for fd in [fd, pair[0], pair[1]] {
                self.keep(fd);
            }
        }
    }

    fn close(&mut self) {
        let some = self.random.below(30) == 0;
        let Some(fd) = self.random.take(&mut self.fds) else {
            return;
        };
        unsafe {
            if some {
                // Every fd of ours in a range; the sockets to the neighbours are below.
                let (first, last) = (fd as u32, fd as u32 + 3);
                libc::syscall(libc::SYS_close_range, first, last, 0);
                self.fds
                    .retain(|other| !(first..=last).contains(&(*other as u32)));
            } else {
                libc::close(fd);
            }
        }
    }

    fn duplicate(&mut self) {
        let Some(fd) = self.random.pick(&self.fds) else {
            return;
        };
        unsafe {
            match self.random.below(4) {
                0 => self.keep(libc::dup(fd)),
                1 => self.keep(libc::fcntl(fd, libc::F_DUPFD, 200)),
                2 => self.keep(libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0)),
                _ => {
                    if let Some(over) = self.random.pick(&self.fds) {
                        libc::dup2(fd, over);
                    }
                }
            }
        }
    }

    /// Sends an fd to the next worker, or takes what the last one sent.
    fn pass(&mut self) {
        let mut byte = [0u8; 1];
        let mut buffer = [0u64; 8];
        unsafe {
            let mut part = libc::iovec {
                iov_base: byte.as_mut_ptr().cast(),
                iov_len: 1,
            };
            let mut message: libc::msghdr = std::mem::zeroed();
            message.msg_iov = &raw mut part;
            message.msg_iovlen = 1;
            message.msg_control = buffer.as_mut_ptr().cast();
            message.msg_controllen = libc::CMSG_SPACE(4) as _;
            let sent = match self.random.pick(&self.fds) {
                Some(fd) if self.random.below(2) == 0 => fd,
                _ => {
                    let flags = libc::MSG_DONTWAIT;
                    if libc::recvmsg(self.from, &raw mut message, flags) == 1 {
                        let control = libc::CMSG_FIRSTHDR(&raw const message);
                        if !control.is_null() {
                            let fd = libc::CMSG_DATA(control).cast::<i32>().read_unaligned();
                            self.keep(fd);
                        }
                    }
                    return;
                }
            };
            let control = libc::CMSG_FIRSTHDR(&raw const message);
            (*control).cmsg_level = libc::SOL_SOCKET;
            (*control).cmsg_type = libc::SCM_RIGHTS;
            (*control).cmsg_len = libc::CMSG_LEN(4) as _;
            libc::CMSG_DATA(control).cast::<i32>().write_unaligned(sent);
            libc::sendmsg(self.to, &raw const message, libc::MSG_DONTWAIT);
        }
    }

    fn map(&mut self) {
        let len = PAGE * (1 + self.random.below(16) as usize);
        let read = libc::PROT_READ | libc::PROT_WRITE;
        let (private, shared) = (libc::MAP_PRIVATE, libc::MAP_SHARED);
        let anonymous = libc::MAP_ANONYMOUS;
        unsafe {
            let map = |len, prot, flags, fd| libc::mmap(null_mut(), len, prot, flags, fd, 0);
            let at = match self.random.below(5) {
                0 | 1 => map(len, read, private | anonymous, -1),
                2 => map(len, read, shared | anonymous, -1),
                3 => {
                    let fd = libc::open(c"/etc/passwd".as_ptr(), libc::O_RDONLY);
                    let at = map(PAGE, libc::PROT_READ, private, fd);
                    libc::close(fd);
                    self.maps.push((at as usize, PAGE));
                    return;
                }
                _ => {
                    let fd = libc::memfd_create(c"mapped".as_ptr(), 0);
                    libc::ftruncate(fd, len as i64);
                    let at = map(len, read, shared, fd);
                    libc::close(fd);
                    at
                }
            };
            self.maps.push((at as usize, len));
        }
        while self.maps.len() > MOST_MAPS {
            self.unmap();
        }
    }

    /// Unmaps a mapping or a part of it, moves it, makes it longer or shorter, or protects some.
    fn unmap(&mut self) {
        let Some((at, len)) = self.random.take(&mut self.maps) else {
            return;
        };
        let pages = len / PAGE;
        let address = |at: usize| at as *mut libc::c_void;
        unsafe {
            match self.random.below(7) {
                0 if pages >= 3 => {
                    libc::munmap(address(at + PAGE), PAGE);
                    self.maps.push((at, PAGE));
                    self.maps.push((at + 2 * PAGE, len - 2 * PAGE));
                }
                1 if pages >= 2 => {
                    libc::munmap(address(at), PAGE);
                    self.maps.push((at + PAGE, len - PAGE));
                }
                2 => {
                    let new = PAGE * (1 + self.random.below(16) as usize);
                    let moved = libc::mremap(address(at), len, new, libc::MREMAP_MAYMOVE);
                    match moved == libc::MAP_FAILED {
                        true => self.maps.push((at, len)),
                        false => self.maps.push((moved as usize, new)),
                    }
                }
                3 if pages >= 2 => {
                    libc::mprotect(address(at), PAGE, libc::PROT_READ);
                    self.maps.push((at, len));
                }
                // A part of it, or all, is for no child, or for children again.
                4 => {
                    let len = PAGE * (1 + self.random.below(pages as u64) as usize);
                    let advice = match self.random.below(3) {
                        0 => libc::MADV_DOFORK,
                        _ => libc::MADV_DONTFORK,
                    };
                    libc::madvise(address(at), len, advice);
                    self.maps.push((at, pages * PAGE));
                }
                _ => {
                    libc::munmap(address(at), len);
                }
            }
        }
    }

    fn ipc(&mut self) {
        unsafe {
            match self.random.below(6) {
                0 if self.segments.len() < MOST_IPC => {
                    let id = libc::shmget(libc::IPC_PRIVATE, 3 * PAGE, 0o600);
                    let at = libc::shmat(id, std::ptr::null(), 0);
                    self.segments.push((id, at as usize));
                }
                1 if self.semaphores.len() < MOST_IPC => {
                    self.semaphores
                        .push(libc::semget(libc::IPC_PRIVATE, 1, 0o600));
                }
                2 if self.queues.len() < MOST_IPC => {
                    self.queues.push(libc::msgget(libc::IPC_PRIVATE, 0o600));
                }
                3 => {
                    if let Some((id, at)) = self.random.take(&mut self.segments) {
                        libc::shmdt(at as *const libc::c_void);
                        libc::shmctl(id, libc::IPC_RMID, null_mut());
                    }
                }
                4 => {
                    if let Some(id) = self.random.take(&mut self.semaphores) {
                        libc::semctl(id, 0, libc::IPC_RMID);
                    }
                }
                _ => {
                    if let Some(id) = self.random.take(&mut self.queues) {
                        libc::msgctl(id, libc::IPC_RMID, null_mut());
                    }
                }
            }
        }
    }

    /// A child that does a little with what it inherits, and ends. Some tell their parent of
    /// their end by no signal, and in some another thread than the first executes a program.
    fn child(&mut self) {
        let (silent, executes) = (self.random.below(4) == 0, self.random.below(4) == 0);
        unsafe {
            let pid = match silent {
                true => libc::syscall(libc::SYS_clone, 0, 0, 0, 0, 0) as i32,
                false => libc::fork(),
            };
            match pid {
                0 => {
                    self.children.clear();
                    if executes {
                        drop(std::thread::spawn(replace).join());
                    }
                    for _ in 0..self.random.below(10) {
                        match self.random.below(4) {
                            0 => self.open(),
                            1 => self.close(),
                            2 => self.map(),
                            _ => self.unmap(),
                        }
                    }
                    libc::_exit(0);
                }
                pid => libc::waitpid(pid, null_mut(), libc::__WALL),
            };
        }
    }

    fn execute(&mut self) {
        let mut argv = [c"true".as_ptr().cast_mut(), null_mut()];
        let mut none = [null_mut()];
        unsafe {
            let mut pid = 0;
            // vfork and exec, in glibc's words.
            let (file, attributes) = (std::ptr::null(), std::ptr::null());
            let (argv, envp) = (argv.as_mut_ptr(), none.as_mut_ptr());
            if libc::posix_spawn(
                &raw mut pid,
                c"/bin/true".as_ptr(),
                file,
                attributes,
                argv,
                envp,
            ) == 0
            {
                libc::waitpid(pid, null_mut(), 0);
            }
        }
    }

    /// Two threads that take and give back fds and memory at once, and a child that is made
    /// meanwhile.
    fn threads(&mut self) {
        let work = || unsafe {
            for _ in 0..20 {
                let fd = libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY);
                let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
                let at = libc::mmap(null_mut(), PAGE, libc::PROT_READ, flags, -1, 0);
                libc::close(libc::dup(fd));
                libc::munmap(at, PAGE);
                libc::close(fd);
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(work);
            scope.spawn(work);
            unsafe {
                match libc::fork() {
                    0 => libc::_exit(0),
                    pid => libc::waitpid(pid, null_mut(), 0),
                };
            }
        });
    }

    /// A child that stays, stopped as we are from time to time, and is killed later.
    fn keep_child(&mut self) {
        unsafe {
            if self.children.len() >= MOST_CHILDREN {
                if let Some(pid) = self.random.take(&mut self.children) {
                    libc::kill(pid, libc::SIGKILL);
                    libc::waitpid(pid, null_mut(), 0);
                }
                return;
            }
            match libc::fork() {
                0 => {
                    self.open();
                    self.map();
                    loop {
                        libc::raise(libc::SIGSTOP);
                    }
                }
                pid => {
                    self.children.push(pid);
                    // Until it has stopped it would hold up the others' stop.
                    libc::waitpid(pid, null_mut(), libc::WUNTRACED);
                }
            }
        }
    }
}

/// Becomes another program.
fn replace() {
    let argv = [c"true".as_ptr(), std::ptr::null()];
    unsafe { libc::execv(c"/bin/true".as_ptr(), argv.as_ptr()) };
}
