//! Full block reports in both encodings.
#![no_main]

use hadron_blockmap::report::ReportReader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, u64, Vec<u64>, &[u8])| {
    let (cut, announced, words, bytes) = input;
    let _ = ReportReader::<&[u8]>::longs(words).validate();
    let chunks: Vec<&[u8]> = bytes.chunks(usize::from(cut).max(1)).collect();
    let _ = ReportReader::buffers(chunks, announced).validate();
});
