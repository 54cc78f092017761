//! The state as the journal drives it: encoding of commands, applying them in order, images.
//!
//! Invariants: entries are applied under one hold of the namespace lock per batch, and soft state follows each before
//! the next; during replay soft state follows nothing, since DataNodes will report it.

use crate::State;
use crate::edit_events::Before;
use crate::effects;
use hadron_journal::{CodecError, Entry, ImageReader, StateMachine};
use hadron_namespace::image::{ImageLoader, decode_slice};
use hadron_namespace::{Command, Namespace, Outcome, OutcomeDigest, RULES_VERSION};
use prost::Message;
use std::sync::atomic::Ordering;

impl StateMachine for State {
    type Command = Command;
    type Outcome = Outcome;
    type Snapshot = Namespace;

    fn rules_version(&self) -> u32 {
        RULES_VERSION
    }

    fn order(&self, command: &mut Command) {
        let before = self.last_command_time.fetch_max(command.time_ms, Ordering::AcqRel);
        command.time_ms = command.time_ms.max(before);
    }

    fn encode(&self, command: &Command, buffer: &mut Vec<u8>) {
        // A Vec grows as needed: encoding into it cannot fail.
        let _ = command.encode(buffer);
    }

    fn decode(&self, payload: &[u8]) -> Result<Command, CodecError> {
        Command::decode(payload).map_err(|error| CodecError(error.to_string()))
    }

    fn apply(&self, entries: &mut Vec<Entry<Command>>, outcomes: &mut Vec<Outcome>) {
        let is_live = self.is_live();
        let mut ns = self.ns.write();
        let mut blocks = is_live.then(|| self.blocks.lock());
        let mut leases = is_live.then(|| self.leases.lock());
        let mut recoveries = is_live.then(|| self.recoveries.lock());
        let (mut needs_reclaim, mut cache_changed) = (false, false);
        let now = self.now();
        let mut edits = self.edits.lock();
        for entry in entries.drain(..) {
            let before = Before::look(&ns, &entry.command);
            let applied = ns.apply(&entry.command, entry.rules_version);
            self.last_command_time
                .fetch_max(entry.command.time_ms, Ordering::AcqRel);
            edits.push(entry.index, before.events(&ns, entry.command, &applied));
            if let (Some(blocks), Some(leases), Some(recoveries)) =
                (blocks.as_deref_mut(), leases.as_deref_mut(), recoveries.as_deref_mut())
            {
                effects::follow(&ns, blocks, leases, &applied.effects, now);
                effects::follow_recoveries(blocks, recoveries, &applied.effects, now);
                needs_reclaim |= applied.effects.contains(&hadron_namespace::Effect::ReclaimNeeded);
                cache_changed |= applied.effects.contains(&hadron_namespace::Effect::CacheChanged);
            }
            outcomes.push(applied.outcome);
        }
        if cache_changed {
            // Before anybody hears of it, so that who asks next waits for the scan.
            self.caching.changed();
        }
        let events = blocks.as_deref_mut().map(hadron_blockmap::BlockMap::take_events);
        drop(edits);
        drop(recoveries);
        drop(leases);
        drop(blocks);
        drop(ns);
        self.publish(events.unwrap_or_default());
        if needs_reclaim {
            self.reclaim_needed.notify_one();
        }
    }

    fn digest(&self, outcome: &Outcome, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(&OutcomeDigest::default().then(outcome).0.to_le_bytes());
    }

    fn snapshot(&self) -> Namespace {
        self.ns.read().snapshot()
    }

    fn image(snapshot: Namespace) -> Box<dyn Iterator<Item = Vec<u8>> + Send> {
        Box::new(snapshot.image_slices())
    }

    fn restore(&self, image: &ImageReader) -> Result<(), CodecError> {
        let failed = |error: hadron_namespace::image::ImageError| CodecError(error.to_string());
        let mut loader = ImageLoader::new();
        let slices = image.decode_parallel(|_, bytes| decode_slice(&bytes, 0).map_err(failed))?;
        for slice in slices {
            loader.add(slice).map_err(failed)?;
        }
        *self.ns.write() = loader.finish().map_err(failed)?;
        Ok(())
    }
}
