//! The managers: one for each class, each by the plain calls of its class.

use anyhow::{Result, ensure};

use crate::manager::{Class, Done, Manager, count};

/// A call's result, or its errno.
fn done(result: i64) -> Result<i64> {
    ensure!(result >= 0, std::io::Error::last_os_error());
    Ok(result)
}

fn fd(result: i64) -> Result<i32> {
    Ok(i32::try_from(done(result)?)?)
}

fn close_all(fds: &[i32], to: &mut Done) {
    for fd in fds.iter().rev() {
        // SAFETY: no memory is passed.
        count(to, 0, || i64::from(unsafe { libc::close(*fd) }));
    }
}

/// Length of each mapping.
const LENGTH: usize = 64 * 1024;

/// Anonymous memory.
#[derive(Default)]
pub struct Memory(Vec<usize>);

/// Shared mappings of a memfd; the first release is tried at a wrong address if `clumsy`.
#[derive(Default)]
pub struct Mapping {
    pub at: Vec<usize>,
    pub clumsy: bool,
}

fn map(flags: i32, file: i32) -> Result<usize> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: the kernel chooses a free address.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), LENGTH, protection, flags, file, 0) };
    ensure!(at != libc::MAP_FAILED, std::io::Error::last_os_error());
    Ok(at as usize)
}

fn unmap(at: usize) -> i64 {
    // SAFETY: what was mapped there is used by nobody any more.
    i64::from(unsafe { libc::munmap(at as *mut libc::c_void, LENGTH) })
}

impl Manager for Memory {
    fn class(&self) -> Class {
        Class::Memory
    }

    fn acquire(&mut self) -> Result<()> {
        for _ in 0..2 {
            self.0
                .push(map(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)?);
        }
        Ok(())
    }

    fn release(&mut self) -> Done {
        let mut to = Done::default();
        for at in self.0.iter().rev() {
            count(&mut to, LENGTH as u64, || unmap(*at));
        }
        to
    }
}

impl Manager for Mapping {
    fn class(&self) -> Class {
        Class::Mapping
    }

    fn acquire(&mut self) -> Result<()> {
        for _ in 0..2 {
            // SAFETY: a name that lives as long as the call, and a file of our own.
            let memory = unsafe { libc::memfd_create(c"worker".as_ptr(), libc::MFD_CLOEXEC) };
            let memory = fd(i64::from(memory))?;
            // SAFETY: no memory is passed.
            done(i64::from(unsafe { libc::ftruncate(memory, 65536) }))?;
            self.at.push(map(libc::MAP_SHARED, memory)?);
            // SAFETY: no memory is passed.
            done(i64::from(unsafe { libc::close(memory) }))?;
        }
        Ok(())
    }

    fn release(&mut self) -> Done {
        let mut to = Done::default();
        for (index, at) in self.at.iter().enumerate().rev() {
            if self.clumsy && index == 0 {
                count(&mut to, 0, || unmap(*at + 1));
            }
            count(&mut to, LENGTH as u64, || unmap(*at));
        }
        to
    }
}

/// A shared memory segment and a semaphore set of System V.
#[derive(Default)]
pub struct Ipc {
    segment: i32,
    semaphores: i32,
}

/// Length of the segment.
const SEGMENT: usize = 16384;

impl Manager for Ipc {
    fn class(&self) -> Class {
        Class::Ipc
    }

    fn acquire(&mut self) -> Result<()> {
        // SAFETY: no memory is passed.
        unsafe {
            self.segment = fd(libc::shmget(libc::IPC_PRIVATE, SEGMENT, 0o600).into())?;
            self.semaphores = fd(libc::semget(libc::IPC_PRIVATE, 3, 0o600).into())?;
        }
        Ok(())
    }

    fn release(&mut self) -> Done {
        let mut to = Done::default();
        // SAFETY: IPC_RMID needs no buffer.
        count(&mut to, 0, || unsafe {
            libc::semctl(self.semaphores, 0, libc::IPC_RMID).into()
        });
        // SAFETY: IPC_RMID needs no buffer.
        count(&mut to, SEGMENT as u64, || unsafe {
            libc::shmctl(self.segment, libc::IPC_RMID, std::ptr::null_mut()).into()
        });
        to
    }
}

/// Children that wait for being ended.
#[derive(Default)]
pub struct Task(Vec<i32>);

/// How long a child lives that nobody ends, so that nothing is left of a run that went wrong.
const CHILD_SECONDS: u32 = 5;

impl Manager for Task {
    fn class(&self) -> Class {
        Class::Task
    }

    fn acquire(&mut self) -> Result<()> {
        for _ in 0..2 {
            // SAFETY: the workers have one thread.
            let child = fd(i64::from(unsafe { libc::fork() }))?;
            if child == 0 {
                // SAFETY: no memory is passed; a child of a worker must not go on as one.
                unsafe {
                    libc::sleep(CHILD_SECONDS);
                    libc::_exit(0);
                }
            }
            self.0.push(child);
        }
        Ok(())
    }

    fn release(&mut self) -> Done {
        let mut to = Done::default();
        for child in self.0.iter().rev() {
            // SAFETY: a child of ours that is not reaped yet; no status is asked for.
            count(&mut to, 0, || unsafe {
                libc::kill(*child, libc::SIGKILL);
                libc::waitpid(*child, std::ptr::null_mut(), 0).into()
            });
        }
        to
    }
}

/// An `io_uring`.
#[derive(Default)]
pub struct Ring(Vec<i32>);

impl Manager for Ring {
    fn class(&self) -> Class {
        Class::Ring
    }

    fn acquire(&mut self) -> Result<()> {
        // struct io_uring_params is 120 bytes (linux/io_uring.h).
        let mut parameters = [0_u64; 15];
        // SAFETY: parameters that live as long as the call.
        let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, parameters.as_mut_ptr()) };
        self.0.push(fd(ring)?);
        Ok(())
    }

    fn release(&mut self) -> Done {
        let mut to = Done::default();
        close_all(&self.0, &mut to);
        to
    }
}

/// A POSIX timer.
#[derive(Default)]
pub struct Signal(Option<libc::timer_t>);

impl Manager for Signal {
    fn class(&self) -> Class {
        Class::Signal
    }

    fn acquire(&mut self) -> Result<()> {
        let mut timer = std::ptr::null_mut();
        // SAFETY: a place for the id; no event means SIGALRM, and it is never armed.
        let made = unsafe {
            libc::timer_create(libc::CLOCK_MONOTONIC, std::ptr::null_mut(), &raw mut timer)
        };
        done(made.into())?;
        self.0 = Some(timer);
        Ok(())
    }

    fn release(&mut self) -> Done {
        let mut to = Done::default();
        if let Some(timer) = self.0 {
            // SAFETY: a timer of ours.
            count(&mut to, 0, || unsafe { libc::timer_delete(timer).into() });
        }
        to
    }
}

/// Sockets of several families.
#[derive(Default)]
pub struct Socket(Vec<i32>);

impl Manager for Socket {
    fn class(&self) -> Class {
        Class::Socket
    }

    fn acquire(&mut self) -> Result<()> {
        for (family, kind) in [
            (libc::AF_INET, libc::SOCK_DGRAM),
            (libc::AF_INET, libc::SOCK_STREAM),
            (libc::AF_UNIX, libc::SOCK_STREAM),
        ] {
            // SAFETY: no memory is passed.
            let socket = unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, 0) };
            self.0.push(fd(socket.into())?);
        }
        Ok(())
    }

    fn release(&mut self) -> Done {
        let mut to = Done::default();
        close_all(&self.0, &mut to);
        to
    }
}

/// Plain descriptors.
#[derive(Default)]
pub struct Fd(Vec<i32>);

impl Manager for Fd {
    fn class(&self) -> Class {
        Class::Fd
    }

    fn acquire(&mut self) -> Result<()> {
        let flags = libc::O_RDONLY | libc::O_CLOEXEC;
        for path in [c"/etc/hosts", c"/etc/passwd", c"/etc/group"] {
            // SAFETY: a path that lives as long as the call.
            self.0
                .push(fd(unsafe { libc::open(path.as_ptr(), flags) }.into())?);
        }
        // SAFETY: no memory is passed.
        self.0
            .push(fd(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) }.into())?);
        Ok(())
    }

    fn release(&mut self) -> Done {
        let mut to = Done::default();
        close_all(&self.0, &mut to);
        to
    }
}
