//! The client library: file system, reader, writer
