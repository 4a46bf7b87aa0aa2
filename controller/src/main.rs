//! `baseward`: keeps AWS compute at its declared security baseline.

use std::process::ExitCode;

fn main() -> ExitCode {
    controller::main(std::env::args_os())
}
