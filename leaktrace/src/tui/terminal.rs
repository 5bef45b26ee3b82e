//! The terminal, borrowed: raw mode and the alternate screen while a [`Guard`] lives, and given
//! back as it was when it is dropped, on a panic in any thread, and while the process is stopped.

use std::{
    io::{self, IsTerminal, Stdout},
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
};

use crossterm::{
    cursor::{Hide, Show},
    execute,
    terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
};
use ratatui::{Terminal, backend::CrosstermBackend};

use super::{state::State, view};

/// Whether the terminal is ours at the moment. Process-wide as the terminal is: the panic hook
/// must know, whichever thread panics.
static ENTERED: AtomicBool = AtomicBool::new(false);
static HOOK: Once = Once::new();

/// The terminal while it is ours.
pub struct Guard {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Guard {
    /// Takes the terminal.
    ///
    /// # Errors
    /// Standard input or output is not a terminal, or it cannot be set up; it is as before then.
    pub fn enter() -> anyhow::Result<Guard> {
        check()?;
        HOOK.call_once(restore_on_panic);
        // The guard exists before the terminal changes, so that a failure half way is undone.
        let mut guard = Guard {
            terminal: Terminal::new(CrosstermBackend::new(io::stdout()))?,
        };
        guard.resume()?;
        Ok(guard)
    }

    /// Columns and rows.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn size(&self) -> io::Result<(u16, u16)> {
        let size = self.terminal.size()?;
        Ok((size.width, size.height))
    }

    /// Draws what has changed since the last time.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn draw(&mut self, state: &State) -> io::Result<()> {
        self.terminal.draw(|frame| {
            let area = frame.area();
            let mut state_of_frame = None;
            // Between two looks at the size the terminal may have changed: draw for the frame.
            let state = if state.size == (area.width, area.height) {
                state
            } else {
                let mut changed = state.clone();
                changed.size = (area.width, area.height);
                state_of_frame.insert(changed)
            };
            view::draw(state, frame.buffer_mut());
        })?;
        Ok(())
    }

    /// Forgets what is on the screen, so that the next drawing draws everything.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn clear(&mut self) -> io::Result<()> {
        self.terminal.clear()
    }

    /// Takes the terminal again after [`leave`].
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn resume(&mut self) -> io::Result<()> {
        ENTERED.store(true, Ordering::SeqCst);
        enable_raw_mode()?;
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        self.terminal.clear()
    }
}

/// Whether there is a terminal to take.
///
/// # Errors
/// Standard input or output is none.
pub fn check() -> anyhow::Result<()> {
    if io::stdin().is_terminal() && io::stdout().is_terminal() {
        return Ok(());
    }
    anyhow::bail!("top needs a terminal on stdin and stdout; without one see run, check and hist")
}

impl Drop for Guard {
    fn drop(&mut self) {
        leave();
    }
}

/// Gives the terminal back as it was. Harmless when it is not ours. Failures are not told: the
/// terminal is gone then, and there is nobody to tell.
pub fn leave() {
    if ENTERED.swap(false, Ordering::SeqCst) {
        let _ = execute!(io::stdout(), Show, LeaveAlternateScreen);
        let _ = disable_raw_mode();
    }
}

fn restore_on_panic() {
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        leave();
        previous(panic);
    }));
}
