//! A real terminal: a tmux server of the scenario's own, with one pane.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::machine::patience;

/// A pane that runs one shell script. Ended with all in it when dropped.
#[derive(Debug)]
pub struct Terminal {
    socket: String,
}

impl Terminal {
    /// Runs `script` in a terminal of `columns` by `rows` whose working directory is `dir`.
    ///
    /// # Panics
    /// If tmux cannot be started.
    #[must_use]
    pub fn new((columns, rows): (u16, u16), dir: &Path, script: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let socket = format!("leaktrace-scenario-{}-{number}", std::process::id());
        let terminal = Self { socket };
        let status = terminal
            .tmux()
            .args(["-f", "/dev/null", "new-session", "-d"])
            .args(["-x", &columns.to_string(), "-y", &rows.to_string(), "-c"])
            .arg(dir)
            .args(["sh", "-c", script])
            .env("LC_ALL", "C.UTF-8")
            .env_remove("TMUX")
            .status()
            .expect("run tmux");
        assert!(status.success(), "tmux: {status}");
        terminal
    }

    /// What is on the screen, one line a row.
    ///
    /// # Panics
    /// If tmux has gone.
    #[must_use]
    pub fn screen(&self) -> String {
        let output = self
            .tmux()
            .args(["capture-pane", "-p"])
            .output()
            .expect("run tmux");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Types a key, by tmux's name for it.
    ///
    /// # Panics
    /// If tmux has gone.
    pub fn key(&self, key: &str) {
        let status = self
            .tmux()
            .args(["send-keys", key])
            .status()
            .expect("run tmux");
        assert!(status.success(), "tmux: {status}");
    }

    /// Makes it that large, which the program in it is told by SIGWINCH.
    ///
    /// # Panics
    /// If tmux has gone.
    pub fn resize(&self, (columns, rows): (u16, u16)) {
        let status = self
            .tmux()
            .args(["resize-window", "-x", &columns.to_string()])
            .args(["-y", &rows.to_string()])
            .status()
            .expect("run tmux");
        assert!(status.success(), "tmux: {status}");
    }

    /// Waits until the screen is as `wanted` says.
    ///
    /// # Panics
    /// If it is not within a minute, longer where the machine is emulated: machines may be busy.
    #[track_caller]
    pub fn until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let started = Instant::now();
        loop {
            let screen = self.screen();
            if wanted(&screen) {
                return screen;
            }
            assert!(
                started.elapsed() < patience(Duration::from_secs(60)),
                "never {what}:\n{screen}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn tmux(&self) -> Command {
        let mut command = Command::new("tmux");
        command.args(["-u", "-L", &self.socket]);
        command
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.tmux().arg("kill-server").status();
    }
}
