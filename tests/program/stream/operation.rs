//! One pending operation: a read that waits for the peer, or for being cancelled.

use std::time::Duration;

use anyhow::Result;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long a reader that ignores being cancelled stays.
const STUBBORN: Duration = Duration::from_millis(700);

/// A reader at work.
#[derive(Debug)]
pub struct Operation {
    pub task: JoinHandle<usize>,
    /// Where the reader's data comes from.
    pub peer: TcpStream,
}

impl Operation {
    /// Starts one.
    pub async fn begin(cancelled: watch::Receiver<bool>, stubborn: bool) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let peer = TcpStream::connect(listener.local_addr()?).await?;
        let (reader, _) = listener.accept().await?;
        let task = if stubborn {
            tokio::spawn(read_on(reader))
        } else {
            tokio::spawn(read(reader, cancelled))
        };
        Ok(Self { task, peer })
    }
}

async fn read(mut from: TcpStream, mut cancelled: watch::Receiver<bool>) -> usize {
    let mut buffer = [0; 512];
    let mut total = 0;
    loop {
        tokio::select! {
            _ = cancelled.wait_for(|it| *it) => return total,
            read = from.read(&mut buffer) => match read {
                Ok(count) if count > 0 => total += count,
                _ => return total,
            }
        }
    }
}

async fn read_on(mut from: TcpStream) -> usize {
    let mut buffer = [0; 512];
    let total = from.read(&mut buffer).await.unwrap_or_default();
    tokio::time::sleep(STUBBORN).await;
    total
}
