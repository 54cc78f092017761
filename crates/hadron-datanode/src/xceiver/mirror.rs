//! Connections from this DataNode to others: the next node of a pipeline, or the target of a copy.

use super::socket::Socket;
use crate::shared::Shared;
use hadron_proto::hdfs::DatanodeInfoProto;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;

/// `ip:xferPort`, as firstBadLink names a node.
pub(super) fn address_text(target: &DatanodeInfoProto) -> String {
    format!("{}:{}", target.id.ip_addr, target.id.xfer_port)
}

/// Connects to `target`; `further` nodes come behind it.
pub(super) fn connect(shared: &Shared, target: &DatanodeInfoProto, further: usize) -> io::Result<Arc<Socket>> {
    let host = match shared.settings.connect_by_hostname {
        true => &target.id.host_name,
        false => &target.id.ip_addr,
    };
    let port = u16::try_from(target.id.xfer_port)
        .map_err(|_| io::Error::new(ErrorKind::InvalidInput, "port is out of range"))?;
    let addresses: Vec<SocketAddr> = (host.as_str(), port).to_socket_addrs()?.collect();
    let timeout = shared.pipeline_read_timeout(further);
    let mut last = io::Error::new(ErrorKind::NotFound, format!("{host} has no address"));
    for address in addresses {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(timeout))?;
                stream.set_write_timeout(shared.pipeline_write_timeout(further))?;
                return Ok(Arc::new(Socket::Tcp(stream)));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
