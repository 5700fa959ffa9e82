//! Models side by side, as users of the command see it: `diff`, `verify`, and the page of `analyze`.

mod diff;
mod form;
mod outputs;
mod pages;
mod scene;
