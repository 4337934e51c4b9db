//! A session in memory: a script, and its result in Rust.
//!
//! `cargo run --example session`

use std::path::Path;

use microtome::script::Session;
use microtome::script::engine::drawing;
use microtome::script::engine::env::Env;
use microtome::script::engine::thread;
use microtome::script::engine::value;

fn main() -> Result<(), microtome::base::Error> {
    // Scripts want a large stack; sessions stay on the thread that made them.
    thread::with_large_stack(|| {
        let mut session = Session::new(Env::in_memory(Path::new("out"))?);
        match session.eval("sum", "tensor::arange(5).sum()") {
            Ok(sum) => println!("the sum is {}", value::repr(&sum)),
            Err(failure) => print!("{}", drawing::draw(&failure, session.sources(), false)),
        }
        // An error comes back as data, with its place, and can be drawn.
        if let Err(failure) = session.eval("typo", "tensor::aragne(5)") {
            print!("{}", drawing::draw(&failure, session.sources(), false));
        }
        Ok(())
    })?
}
