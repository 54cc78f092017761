//! Soft block state: DataNodes, storages, replicas, placement, replication and invalidation queues, safe mode
