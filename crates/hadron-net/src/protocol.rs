//! The seam between the RPC server and the protocols it serves.

use crate::CallContext;
use bytes::Bytes;
use futures::future::BoxFuture;
use hadron_types::HadoopError;
use std::fmt;
use std::future::Future;

/// The future of a [`Reply`]; its `Bytes` are the encoded response message without length prefix.
pub type ReplyFuture = BoxFuture<'static, Result<Bytes, HadoopError>>;

/// How a call is answered.
pub enum Reply {
    /// Done, inline on the connection's thread. For work of a few microseconds that never blocks.
    Ready(Result<Bytes, HadoopError>),
    /// Spawned as a task of its own; answered when it ends. For work that computes for long or in slices.
    Later(ReplyFuture),
    /// Polled on the connection's thread; answered when it ends. For futures that only wait (for the journal, a timer)
    /// and compute little: saves the hop through a task.
    Waiting(ReplyFuture),
}

impl Reply {
    /// Answers with an encoded message.
    pub fn ok(message: &impl prost::Message) -> Self {
        Self::Ready(Ok(Bytes::from(message.encode_to_vec())))
    }
    /// Answers with an exception.
    pub fn error(error: HadoopError) -> Self {
        Self::Ready(Err(error))
    }
    /// Answers with `result`'s message, encoded, or its error.
    pub fn of<M: prost::Message>(result: Result<M, HadoopError>) -> Self {
        Self::Ready(result.map(|message| Bytes::from(message.encode_to_vec())))
    }
    /// Answers later, from a task of its own.
    pub fn spawned<M: prost::Message>(future: impl Future<Output = Result<M, HadoopError>> + Send + 'static) -> Self {
        Self::Later(encoding(future))
    }
    /// Answers later, from a future that mostly waits.
    pub fn waiting<M: prost::Message>(future: impl Future<Output = Result<M, HadoopError>> + Send + 'static) -> Self {
        Self::Waiting(encoding(future))
    }
}

fn encoding<M: prost::Message>(future: impl Future<Output = Result<M, HadoopError>> + Send + 'static) -> ReplyFuture {
    Box::pin(async move { future.await.map(|message| Bytes::from(message.encode_to_vec())) })
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(result) => f.debug_tuple("Ready").field(result).finish(),
            Self::Later(_) => f.write_str("Later"),
            Self::Waiting(_) => f.write_str("Waiting"),
        }
    }
}

/// A protocol: a name, a version and methods from request bytes to response bytes.
pub trait RpcProtocol: Send + Sync + 'static {
    /// `declaringClassProtocolName`, a Java class name.
    fn name(&self) -> &'static str;
    /// Version in the request header; 1 for all of Hadoop's protobuf protocols.
    fn version(&self) -> u64 {
        1
    }
    /// The methods served, for per-method metrics. Calls of methods not listed here
    /// are still passed to [`RpcProtocol::call`].
    fn methods(&self) -> &'static [&'static str] {
        &[]
    }
    /// Runs `method` on `body`, the encoded request message without length prefix.
    ///
    /// Runs on the connection's thread: must neither block nor compute for long. `None`: no such method.
    /// A body that does not decode is answered as [`hadron_types::ErrorKind::InvalidProtocolBuffer`] by the protocol.
    fn call(&self, context: &CallContext, method: &str, body: Bytes) -> Option<Reply>;
}
