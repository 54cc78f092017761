//! The DataNode service: one file per transfer operation
