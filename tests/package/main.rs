//! `ftsurgery package` as whoever runs a model elsewhere sees it.

#[path = "../training_graph/chromium.rs"]
mod chromium;
mod command;
mod embedded;
#[path = "../kinds/models.rs"]
#[allow(dead_code)]
mod models;
mod page;
mod plain;
mod scene;
mod serve;
#[path = "../training_graph/server.rs"]
mod server;
mod servers;
