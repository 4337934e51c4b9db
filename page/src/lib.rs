pub use microtome_methods::base::Error;
