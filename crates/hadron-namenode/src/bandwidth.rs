//! Balancing bandwidth that DataNodes are to be told with their next heartbeat (`dfsadmin -setBalancerBandwidth`).
//!
//! Invariant: each node known when the order was given is told once; a later order replaces one not yet told. As in
//! Hadoop a DataNode forgets it when it restarts, and 0 is an order that is never sent.

use hadron_proto::datanode::datanode_command_proto::Type;
use hadron_proto::datanode::{BalancerBandwidthCommandProto, DatanodeCommandProto};
use hadron_types::DatanodeUuid;
use parking_lot::Mutex;
use std::collections::HashMap;

/// Orders not yet told, by node; at most one per known node.
#[derive(Debug, Default)]
pub struct BandwidthOrders(Mutex<HashMap<DatanodeUuid, u64>>);

impl BandwidthOrders {
    /// Tells each of `nodes` to balance with `bandwidth` bytes per second.
    pub fn order(&self, nodes: impl IntoIterator<Item = DatanodeUuid>, bandwidth: u64) {
        let mut orders = self.0.lock();
        // What nodes that went away were not told is of no use any more.
        orders.clear();
        if bandwidth > 0 {
            orders.extend(nodes.into_iter().map(|node| (node, bandwidth)));
        }
    }

    /// The command for `node`, once.
    pub(crate) fn take(&self, node: &DatanodeUuid) -> Option<DatanodeCommandProto> {
        let mut orders = self.0.lock();
        if orders.is_empty() {
            return None;
        }
        let bandwidth = orders.remove(node)?;
        Some(DatanodeCommandProto {
            cmd_type: Type::BalancerBandwidthCommand as i32,
            balancer_cmd: Some(BalancerBandwidthCommandProto { bandwidth }),
            ..DatanodeCommandProto::default()
        })
    }
}
