//! What the programs say of themselves, through aya-log, on stderr.

use anyhow::Context as _;
use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};

/// The level up to which programs speak: aya-log's `Debug`.
pub const LEVEL: u8 = 4;

/// Writes to stderr, one line a message.
#[derive(Debug)]
struct Stderr;

impl Log for Stderr {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    #[expect(clippy::print_stderr, reason = "the sink of diagnostics")]
    fn log(&self, record: &Record<'_>) {
        eprintln!("leaktrace: kernel: {}", record.args());
    }

    fn flush(&self) {}
}

/// Messages that wait to be written.
pub struct Diagnostics(EbpfLogger<Stderr>);

impl std::fmt::Debug for Diagnostics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Diagnostics")
    }
}

impl Diagnostics {
    /// Takes the programs' messages.
    ///
    /// # Errors
    /// The object has no place for messages.
    pub fn start(ebpf: &mut Ebpf) -> anyhow::Result<Self> {
        EbpfLogger::init_with_logger(ebpf, Stderr)
            .map(Diagnostics)
            .context("read the programs' messages")
    }

    /// Writes what has come.
    pub fn write(&mut self) {
        self.0.flush();
    }
}
