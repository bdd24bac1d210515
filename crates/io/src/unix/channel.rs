//! What can be polled, and made readable from another thread: a pipe.

pub(crate) use std::io::{PipeReader as Reader, PipeWriter as Writer, pipe as channel};
