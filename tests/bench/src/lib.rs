//! How fast it is, beside the bare scripts in the same run: what `make bench` measures. And what tests need that put very many jobs
//! into Redis: [`floor`].

pub mod appends;
pub mod bare;
pub mod beside;
mod cores;
mod epoll;
pub mod figure;
pub mod floor;
pub mod jobs;
pub mod memory;
pub mod monitor;
pub mod outputs;
mod receiver;
pub mod scene;
pub mod streams;
pub mod submissions;
pub mod webhooks;
pub mod worker;
