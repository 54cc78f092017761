//! Log lines of a daemon on their way to standard error.
//!
//! What it is for: the threads that serve calls put a line into memory and go on; one thread writes all that came
//! together. A reader of standard error that stops reading stops no daemon. What it does not do: filter or format.
//! Invariants: lines keep their order and are never cut; at most [`MAX_WAITING_BYTES`] wait, what comes beyond is left
//! out, counted and told; what waits is written when the [`LogLines`] is dropped.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Most bytes that wait for standard error.
const MAX_WAITING_BYTES: usize = 8 << 20;
/// A buffer larger than this is given back once it is empty.
const KEPT_BYTES: usize = 256 << 10;
/// How long lines are gathered once one has come.
const GATHER: Duration = Duration::from_millis(5);

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// Lines that found no room since the last write.
    left_out: u64,
    is_idle: bool,
    is_closing: bool,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    filled: Condvar,
}

/// The lines, and the thread that writes them. Dropping it writes what waits.
pub(crate) struct LogLines {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Takes one line at a time.
#[derive(Clone)]
pub(crate) struct LineSink(Arc<Shared>);

impl LogLines {
    /// Starts the thread, which writes to `output`.
    ///
    /// Errors: it cannot be started.
    pub(crate) fn start(output: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let working = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || working.write_all(output))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Where lines go.
    pub(crate) fn sink(&self) -> LineSink {
        LineSink(Arc::clone(&self.shared))
    }
}

impl Drop for LogLines {
    fn drop(&mut self) {
        self.shared.lock().is_closing = true;
        self.shared.filled.notify_one();
        if let Some(thread) = self.thread.take() {
            // It panics only if writing does; there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

impl Write for LineSink {
    /// Takes `line` as a whole, or leaves it out as a whole; never fails.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut waiting = self.0.lock();
        if waiting.bytes.len() + line.len() > MAX_WAITING_BYTES {
            waiting.left_out += 1;
            return Ok(line.len());
        }
        waiting.bytes.extend_from_slice(line);
        let wakes = std::mem::take(&mut waiting.is_idle);
        drop(waiting);
        if wakes {
            self.0.filled.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        // Nothing panics while it holds the lock with lines half taken.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_all(&self, mut output: impl Write) {
        let mut bytes = Vec::new();
        loop {
            let mut waiting = self.lock();
            while waiting.bytes.is_empty() && waiting.left_out == 0 && !waiting.is_closing {
                waiting.is_idle = true;
                waiting = self.filled.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
            if !waiting.is_closing {
                let gathered = self
                    .filled
                    .wait_timeout_while(waiting, GATHER, |waiting| !waiting.is_closing);
                (waiting, _) = gathered.unwrap_or_else(PoisonError::into_inner);
            }
            std::mem::swap(&mut waiting.bytes, &mut bytes);
            let left_out = std::mem::take(&mut waiting.left_out);
            let is_over = waiting.is_closing && bytes.is_empty() && left_out == 0;
            drop(waiting);
            if is_over {
                return;
            }
            // A standard error that is closed takes nothing; the daemon's work goes on.
            let _ = output.write_all(&bytes);
            if left_out > 0 {
                let _ = writeln!(
                    output,
                    "WARN hadron: {left_out} log lines were left out: standard error is not read fast enough"
                );
            }
            let _ = output.flush();
            bytes.clear();
            bytes.shrink_to(KEPT_BYTES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Hands over what is written, one message a write, and waits to be let on.
    struct Slow {
        written: mpsc::Sender<Vec<u8>>,
        go_on: mpsc::Receiver<()>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.written.send(bytes.to_vec()).map_err(io::Error::other)?;
            self.go_on.recv().map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow() -> (LogLines, mpsc::Receiver<Vec<u8>>, mpsc::Sender<()>) {
        let (written, writes) = mpsc::channel();
        let (go, go_on) = mpsc::channel();
        let lines = LogLines::start(Slow { written, go_on }).expect("start");
        (lines, writes, go)
    }

    #[test]
    fn what_comes_together_is_written_together_and_at_the_end() {
        let (lines, writes, go) = slow();
        let mut sink = lines.sink();
        sink.write_all(b"first\n").expect("taken");
        assert_eq!(writes.recv().expect("a write"), b"first\n");
        for line in [&b"second\n"[..], b"third\n"] {
            sink.write_all(line).expect("taken while the writer is stuck");
        }
        go.send(()).expect("on");
        go.send(()).expect("on");
        drop(lines);
        assert_eq!(writes.recv().expect("the rest"), b"second\nthird\n");
    }

    #[test]
    fn a_reader_that_stops_costs_lines_and_no_daemon() {
        let (lines, writes, go) = slow();
        let mut sink = lines.sink();
        sink.write_all(b"stuck\n").expect("taken");
        assert_eq!(writes.recv().expect("a write"), b"stuck\n");
        let line = vec![b'x'; 1 << 20];
        for _ in 0..MAX_WAITING_BYTES / line.len() + 3 {
            sink.write_all(&line).expect("taken or left out");
        }
        (0..16).for_each(|_| go.send(()).expect("on"));
        drop(lines);
        assert_eq!(writes.recv().expect("what waited").len(), MAX_WAITING_BYTES);
        let told: Vec<u8> = writes.iter().flatten().collect();
        let told = String::from_utf8_lossy(&told).into_owned();
        assert!(told.contains("3 log lines were left out"), "{told}");
    }
}
