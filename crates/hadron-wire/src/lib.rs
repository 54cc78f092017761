//! Sans-io codecs for Hadoop RPC v9 and the data transfer protocol
