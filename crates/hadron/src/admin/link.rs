//! Calls of administrative protocols, on the NameNode that is active or on any address.
//!
//! Of several NameNodes the first that can be reached and is not a standby answers.

use std::net::SocketAddr;

use hadron_env::config::{Configuration, HostPort, keys};
use hadron_net::{RpcClient, RpcClientOptions, RpcError};
use hadron_proto::protocol::CLIENT_PROTOCOL;
use hadron_types::{ErrorKind, HadoopError};
use prost::Message;

/// Port of a DataNode's RPC when an address names none.
const DATANODE_PORT: u16 = 9867;

/// Why a command fails.
#[derive(Debug)]
pub(super) enum Failure {
    /// Wrong words: the usage is to be shown.
    Usage,
    /// One line for the user.
    Refused(String),
}

impl Failure {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self::Refused(text.into())
    }
}

impl From<HadoopError> for Failure {
    fn from(error: HadoopError) -> Self {
        Self::Refused(error.first_line().to_owned())
    }
}

/// Why a call has no answer, and whether the server may have run it.
enum Unanswered {
    NotSent(HadoopError),
    Sent(HadoopError),
}

/// The cluster that commands are for.
pub(crate) struct Link {
    pub(super) conf: Configuration,
    user: String,
}

impl Link {
    pub(crate) fn new(conf: Configuration) -> Self {
        let user = std::env::var("HADOOP_USER_NAME").ok().filter(|name| !name.is_empty());
        let user = user.unwrap_or_else(|| conf.user_name().to_owned());
        Self { conf, user }
    }

    /// `hdfs://host:port` of the file system.
    pub(super) fn url(&self) -> String {
        self.conf.get(keys::FS_DEFAULT_FS).trim_end_matches('/').to_owned()
    }

    fn namenodes(&self) -> Result<Vec<HostPort>, HadoopError> {
        let url = self.url();
        let Some(authority) = url.strip_prefix("hdfs://").filter(|rest| !rest.is_empty()) else {
            let text = format!("FileSystem {url} is not an HDFS file system");
            return Err(HadoopError::new(ErrorKind::IllegalArgument, text));
        };
        let found = self.conf.namenode_addresses(authority);
        found.map_err(|error| HadoopError::io(error.to_string()))
    }

    /// Calls ClientProtocol on the active NameNode.
    pub(super) async fn call<Q: Message, R: Message + Default>(&self, method: &str, request: &Q) -> Result<R, Failure> {
        self.call_on(CLIENT_PROTOCOL, method, request).await
    }

    /// Calls any protocol on the active NameNode.
    pub(super) async fn call_on<Q: Message, R: Message + Default>(
        &self,
        protocol: &'static str,
        method: &str,
        request: &Q,
    ) -> Result<R, Failure> {
        Ok(self.ask_any(protocol, method, request).await?)
    }

    /// As [`Link::call`], with the server's error as it is.
    pub(crate) async fn ask_active<Q: Message, R: Message + Default>(
        &self,
        method: &str,
        request: &Q,
    ) -> Result<R, HadoopError> {
        self.ask_any(CLIENT_PROTOCOL, method, request).await
    }

    /// The user's home directory.
    pub(crate) fn home(&self) -> String {
        let prefix = self.conf.get(keys::DFS_USER_HOME_DIR_PREFIX);
        format!("{}/{}", prefix.trim_end_matches('/'), self.user)
    }

    async fn ask_any<Q: Message, R: Message + Default>(
        &self,
        protocol: &'static str,
        method: &str,
        request: &Q,
    ) -> Result<R, HadoopError> {
        let mut last = HadoopError::io("no NameNode is configured");
        for at in self.namenodes()? {
            match self.ask(&at, protocol, method, request).await {
                Ok(answer) => return Ok(answer),
                Err(Unanswered::NotSent(error)) => last = error,
                Err(Unanswered::Sent(error)) if error.kind == ErrorKind::Standby => last = error,
                Err(Unanswered::Sent(error)) => return Err(error),
            }
        }
        Err(last)
    }

    /// Calls the server at `address`, a `host:port`.
    pub(super) async fn call_at<Q: Message, R: Message + Default>(
        &self,
        address: &str,
        protocol: &'static str,
        method: &str,
        request: &Q,
    ) -> Result<R, HadoopError> {
        let at = HostPort::parse(address, DATANODE_PORT).map_err(HadoopError::io)?;
        let answer = self.ask(&at, protocol, method, request).await;
        answer.map_err(|(Unanswered::NotSent(error) | Unanswered::Sent(error))| error)
    }

    async fn ask<Q: Message, R: Message + Default>(
        &self,
        at: &HostPort,
        protocol: &'static str,
        method: &str,
        request: &Q,
    ) -> Result<R, Unanswered> {
        let name = format!("{}:{}", at.host, at.port);
        let failed = |error: String| Unanswered::NotSent(HadoopError::io(format!("Call to {name} failed: {error}")));
        let found = tokio::net::lookup_host((at.host.as_str(), at.port)).await;
        let addr: SocketAddr = found
            .map_err(|error| failed(error.to_string()))?
            .next()
            .ok_or_else(|| failed("the name has no address".to_owned()))?;
        let options = RpcClientOptions::new(self.user.as_str(), protocol);
        let rpc = RpcClient::connect(addr, options)
            .await
            .map_err(|error| failed(error.to_string()))?;
        rpc.call(method, request)
            .await
            .map_err(|error: RpcError| Unanswered::Sent(error.into()))
    }
}
