//! The way to the NameNodes: one actor per NameNode, which registers, beats, reports and carries out commands.

mod actor;
mod commands;
mod lifeline;
pub(crate) mod link;
mod news_queue;
mod reports;

pub(crate) use actor::run;
pub(crate) use lifeline::run as run_lifeline;
