//! Random histories of a whole pipeline: window, relays and recovery joined by fake links, nodes dying at any moment.
//!
//! After every step: no acked byte is missing on any node of the pipeline, checksums on "disk" are those of the bytes,
//! `acked <= on disk <= received`. At the end of each block: every node of the pipeline holds exactly the bytes written.
#![allow(clippy::unwrap_used)]

use hadron_pipeline::packet::{PacketHeader, PipelineAck, Stage};
use hadron_pipeline::recovery::{Recovery, RecoveryCommand, RecoveryConfig, RecoveryRequest, ReplacePolicy};
use hadron_pipeline::relay::{ChecksumPlan, LocalOutcome, Relay, RelayCommand, RelayConfig, Ticket, WritePlan};
use hadron_pipeline::window::{
    BuiltPacket, NewPacket, PacketBuilder, PacketParams, SendWindow, Trouble, WindowCommand, WindowConfig,
};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::time::Duration;

const CHUNK: usize = 4;
const BLOCK: u64 = 48;
const NOW: Duration = Duration::from_secs(1);

type Packet = (PacketHeader, Vec<u8>);

struct Node {
    alive: bool,
    relay: Relay,
    /// Data file, and for each chunk the bytes its checksum stands for.
    disk: Vec<u8>,
    meta: Vec<Vec<u8>>,
    finalized: bool,
    inbox: VecDeque<Packet>,
    acks: VecDeque<PipelineAck>,
    storing: Vec<(Ticket, PacketHeader, Vec<u8>, Option<WritePlan>)>,
}

fn relay(initial_len: u64, has_mirror: bool) -> Relay {
    Relay::new(RelayConfig {
        bytes_per_checksum: CHUNK as u32,
        disk_checksum_size: 4,
        packet_checksum_size: 4,
        same_checksum: true,
        initial_len,
        has_mirror,
        datanode_source: false,
        is_transfer: false,
        flag_bits: 0,
    })
}

impl Node {
    fn new() -> Self {
        Self {
            alive: true,
            relay: relay(0, false),
            disk: Vec::new(),
            meta: Vec::new(),
            finalized: false,
            inbox: VecDeque::new(),
            acks: VecDeque::new(),
            storing: Vec::new(),
        }
    }

    fn restart(&mut self, has_mirror: bool) {
        self.relay = relay(self.disk.len() as u64, has_mirror);
        self.inbox.clear();
        self.acks.clear();
        self.storing.clear();
    }

    fn truncate(&mut self, len: usize) {
        self.disk.truncate(len);
        self.meta = self.disk.chunks(CHUNK).map(<[u8]>::to_vec).collect();
    }

    fn write(&mut self, packet: &[u8], plan: &WritePlan) {
        let old_len = self.disk.len();
        assert_eq!(plan.offset, old_len as u64, "writes neither skip nor repeat");
        self.disk.extend_from_slice(&packet[plan.data.clone()]);
        match plan.checksums {
            ChecksumPlan::None => unreachable!("the replica has checksums"),
            ChecksumPlan::FromPacket {
                first_packet_chunk,
                disk_index,
            } => {
                self.meta.truncate(disk_index as usize);
                self.meta
                    .extend(packet.chunks(CHUNK).skip(first_packet_chunk).map(<[u8]>::to_vec));
            }
            ChecksumPlan::Compute { carried, disk_index } => {
                let from = old_len - carried as usize;
                if carried > 0 {
                    assert_eq!(self.meta[disk_index as usize], self.disk[from..old_len]);
                }
                self.meta.truncate(disk_index as usize);
                self.meta.extend(self.disk[from..].chunks(CHUNK).map(<[u8]>::to_vec));
            }
        }
    }
}

struct World {
    nodes: Vec<Node>,
    pipeline: Vec<usize>,
    window: SendWindow<Vec<u8>>,
    builder: PacketBuilder,
    acks: VecDeque<PipelineAck>,
    /// Bytes of the blocks, the last one still being written.
    blocks: Vec<Vec<u8>>,
    /// Index of the block on the wire.
    current: usize,
    /// Whether that block's pipeline stands.
    on_wire: bool,
    next_byte: u8,
    highest_new_seqno: i64,
    closed: bool,
}

impl World {
    fn new(count: usize) -> Self {
        let params = PacketParams {
            bytes_per_checksum: CHUNK as u32,
            checksum_size: 4,
            write_packet_size: 33 + 8 * 3,
            block_size: BLOCK,
        };
        Self {
            nodes: (0..count).map(|_| Node::new()).collect(),
            pipeline: (0..count).collect(),
            window: SendWindow::new(WindowConfig {
                max_packets_in_flight: 6,
                ..WindowConfig::default()
            }),
            builder: PacketBuilder::new(params, 0),
            acks: VecDeque::new(),
            blocks: vec![Vec::new()],
            current: 0,
            on_wire: false,
            next_byte: 0,
            highest_new_seqno: -1,
            closed: false,
        }
    }

    fn enqueue(&mut self, packet: BuiltPacket) {
        if packet.ends_block {
            self.blocks.push(Vec::new());
        }
        self.window.enqueue(NewPacket {
            offset_in_block: packet.offset_in_block,
            data_len: packet.data.len() as u32,
            sync_block: packet.sync_block,
            ends_block: packet.ends_block,
            payload: packet.data,
        });
    }

    fn write(&mut self, len: usize) {
        let bytes: Vec<u8> = (0..len)
            .map(|_| {
                self.next_byte = self.next_byte.wrapping_add(1);
                self.next_byte
            })
            .collect();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (taken, packet) = self.builder.write(rest);
            self.blocks.last_mut().unwrap().extend_from_slice(&rest[..taken]);
            rest = &rest[taken..];
            packet.into_iter().for_each(|packet| self.enqueue(packet));
        }
    }

    fn close(&mut self) {
        if !std::mem::replace(&mut self.closed, true)
            && let Some(packet) = self.builder.end_block(false)
        {
            self.enqueue(packet);
        }
    }

    /// Runs what is due at the client. Returns whether anything was.
    fn step_client(&mut self) -> bool {
        if let Some(command) = self.window.poll_command() {
            match command {
                WindowCommand::OpenBlock { append } => {
                    assert!(!append);
                    self.pipeline.retain(|node| self.nodes[*node].alive);
                    for position in 0..self.pipeline.len() {
                        let has_mirror = position + 1 < self.pipeline.len();
                        let node = &mut self.nodes[self.pipeline[position]];
                        node.truncate(0);
                        node.finalized = false;
                        node.restart(has_mirror);
                    }
                    self.acks.clear();
                    self.on_wire = true;
                    self.window.block_opened(self.pipeline.len(), NOW);
                }
                WindowCommand::EndBlock { len } => {
                    let block = &self.blocks[self.current];
                    assert_eq!(len as usize, block.len());
                    for node in &self.pipeline {
                        let node = &self.nodes[*node];
                        assert!(!node.alive || (node.finalized && node.disk == *block));
                    }
                    self.current += 1;
                    self.on_wire = false;
                }
                WindowCommand::Recover { trouble, stage } => self.recover(trouble, stage),
                WindowCommand::Fail(error) => panic!("{error}"),
            }
            return true;
        }
        if let Some(ack) = self.acks.pop_front() {
            self.window.ack_received(&ack, NOW);
            return true;
        }
        let Some(transmit) = self.window.poll_send(NOW) else {
            return false;
        };
        let seqno = transmit.header.seqno;
        assert!(seqno <= self.highest_new_seqno + 1, "no seqno is skipped");
        self.highest_new_seqno = self.highest_new_seqno.max(seqno);
        let packet = (transmit.header, transmit.payload.unwrap_or_default());
        let first = &mut self.nodes[self.pipeline[0]];
        if first.alive {
            first.inbox.push_back(packet);
        } else {
            self.window.link_failed();
        }
        true
    }

    fn recover(&mut self, trouble: Option<Trouble>, stage: Stage) {
        let config = RecoveryConfig {
            policy: ReplacePolicy::Never,
            ..RecoveryConfig::default()
        };
        let request = RecoveryRequest {
            nodes: self.pipeline.clone(),
            trouble,
            stage,
            replication: 3,
            appended_or_hflushed: false,
            local: Vec::new(),
            failed: Vec::new(),
        };
        let mut recovery = Recovery::new(config, request);
        loop {
            match recovery.poll_command(NOW).expect("a recovery goes on") {
                RecoveryCommand::RaiseStamp => recovery.stamp_raised(),
                RecoveryCommand::Connect { nodes, stage } => {
                    match nodes.iter().position(|node| !self.nodes[*node].alive) {
                        Some(dead) => recovery.connect_failed(Trouble::Bad(dead)),
                        None => {
                            self.connect(&nodes, stage);
                            recovery.connected();
                        }
                    }
                }
                RecoveryCommand::UpdatePipeline { .. } => recovery.pipeline_updated(),
                RecoveryCommand::Done { nodes, .. } => {
                    self.pipeline = nodes;
                    self.acks.clear();
                    self.window.pipeline_recovered(self.pipeline.len(), NOW);
                    return;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn connect(&mut self, nodes: &[usize], stage: Stage) {
        let min = self.window.bytes_acked();
        for (position, index) in nodes.iter().enumerate() {
            let node = &mut self.nodes[*index];
            let lengths = node.relay.lengths();
            match stage {
                Stage::SetupStreamingRecovery => {
                    assert!(!node.finalized, "streaming recovery needs an open replica");
                    assert!(lengths.acked >= min && lengths.on_disk <= self.window.bytes_sent());
                    node.truncate(lengths.acked as usize);
                }
                Stage::CloseRecovery => {
                    assert_eq!(node.disk.len() as u64, min);
                    node.finalized = true;
                }
                other => panic!("{other}"),
            }
            node.restart(position + 1 < nodes.len());
        }
    }

    /// Lets one node do the `what`-th kind of step. Returns whether there was one.
    fn step_node(&mut self, position: usize, what: usize) -> bool {
        let index = self.pipeline[position];
        let next = self.pipeline.get(position + 1).copied();
        if !self.nodes[index].alive {
            return false;
        }
        match what {
            0 => self.receive(index, next),
            1 => {
                let node = &mut self.nodes[index];
                if node.storing.is_empty() {
                    return false;
                }
                let (ticket, _, data, plan) = node.storing.remove(0);
                if let Some(plan) = plan {
                    node.write(&data, &plan);
                }
                node.relay.packet_stored(ticket, LocalOutcome::Stored);
                true
            }
            2 => {
                let node = &mut self.nodes[index];
                let Some(ack) = node.acks.pop_front() else {
                    return false;
                };
                node.relay.ack_received(ack);
                true
            }
            _ => self.command(position),
        }
    }

    fn receive(&mut self, index: usize, next: Option<usize>) -> bool {
        let node = &mut self.nodes[index];
        if node.relay.is_full() || node.relay.is_closed() {
            return false;
        }
        let Some((header, data)) = node.inbox.pop_front() else {
            return false;
        };
        let steps = node
            .relay
            .packet_received(&header, data.len().div_ceil(CHUNK) * 4)
            .expect("the window keeps the protocol");
        node.storing.push((steps.ticket, header, data.clone(), steps.write));
        if steps.forward {
            let next = next.expect("a mirror");
            if self.nodes[next].alive {
                self.nodes[next].inbox.push_back((header, data));
            } else {
                self.nodes[index].relay.mirror_failed();
            }
        }
        true
    }

    fn command(&mut self, position: usize) -> bool {
        let index = self.pipeline[position];
        let Some(command) = self.nodes[index].relay.poll_command() else {
            return false;
        };
        match command {
            RelayCommand::Finalize { len } => {
                let node = &mut self.nodes[index];
                assert_eq!(node.disk.len() as u64, len);
                node.finalized = true;
                node.relay.block_finalized(true);
            }
            RelayCommand::SendAck { ack, .. } => match position.checked_sub(1) {
                None => self.acks.push_back(ack),
                Some(upstream) => self.nodes[self.pipeline[upstream]].acks.push_back(ack),
            },
            RelayCommand::Close { .. } => {}
        }
        true
    }

    fn kill(&mut self, position: usize) {
        let alive = self.nodes.iter().filter(|node| node.alive).count();
        let index = self.pipeline[position];
        if alive <= 1 || !self.nodes[index].alive {
            return;
        }
        self.nodes[index].alive = false;
        match position.checked_sub(1) {
            None => self.window.link_failed(),
            Some(upstream) => self.nodes[self.pipeline[upstream]].relay.mirror_failed(),
        }
    }

    fn check(&self) {
        let acked = self.window.bytes_acked();
        assert!(acked <= self.window.bytes_sent());
        for index in &self.pipeline {
            let node = &self.nodes[*index];
            let lengths = node.relay.lengths();
            assert!(lengths.acked <= lengths.on_disk && lengths.on_disk <= lengths.received);
            let chunks: Vec<Vec<u8>> = node.disk.chunks(CHUNK).map(<[u8]>::to_vec).collect();
            assert_eq!(node.meta, chunks, "checksums are those of the bytes");
            if self.on_wire {
                assert_eq!(node.disk[..], self.blocks[self.current][..node.disk.len()]);
            }
        }
    }

    /// Takes a step that a number chooses.
    fn act(&mut self, choice: u16) {
        let argument = usize::from(choice >> 5);
        let position = argument % self.pipeline.len();
        match choice % 32 {
            0..=3 if !self.window.is_full() && !self.closed => self.write(argument % 30),
            4 if !self.closed => {
                if let Some(packet) = self.builder.flush(argument.is_multiple_of(2)) {
                    self.enqueue(packet);
                }
            }
            5 if argument.is_multiple_of(8) => self.kill(position),
            6..=13 => {
                self.step_client();
            }
            _ => {
                self.step_node(position, argument / 7 % 4);
            }
        }
        self.check();
    }

    /// Lets everybody work until nothing is left to do.
    fn settle(&mut self) {
        loop {
            let mut worked = self.step_client();
            for position in 0..self.pipeline.len() {
                for what in 0..4 {
                    // A recovery may have shortened the pipeline meanwhile.
                    worked |= position < self.pipeline.len() && self.step_node(position, what);
                }
            }
            self.check();
            if !worked {
                return;
            }
        }
    }

    fn finish(&mut self) {
        self.close();
        self.settle();
        assert!(self.window.is_drained());
        let written = self.blocks.iter().filter(|block| !block.is_empty()).count();
        assert_eq!(self.current, written, "every block was ended");
        assert_eq!(self.window.last_acked_seqno(), self.window.last_queued_seqno());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    // covers: WP-01, WP-03, WP-05, WP-06, WP-17
    #[test]
    fn what_is_written_arrives_whatever_dies(
        nodes in 1_usize..4,
        choices in prop::collection::vec(any::<u16>(), 0..600),
    ) {
        let mut world = World::new(nodes);
        for choice in choices {
            world.act(choice);
        }
        world.finish();
    }
}

/// Kills each node after each number of steps of an undisturbed run.
#[test]
fn any_node_may_die_at_any_packet() {
    // covers: WP-17
    for victim in 0..3 {
        for moment in 0..200 {
            let mut world = World::new(3);
            world.write(100);
            world.close();
            let mut steps = 0;
            'run: loop {
                let mut worked = world.step_client();
                for position in 0..3 {
                    for what in 0..4 {
                        steps += 1;
                        if steps == moment {
                            if victim < world.pipeline.len() {
                                world.kill(victim);
                            }
                            break 'run;
                        }
                        worked |= position < world.pipeline.len() && world.step_node(position, what);
                    }
                }
                if !worked {
                    break;
                }
            }
            world.finish();
        }
    }
}
