//! Hadoop's protocol messages, written from the wire reference, with a generated required-field check
