//! Compiles the kernels for NVIDIA's devices (`cuda/*.cu`) to PTX, where the feature `cuda` is asked for.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=cuda");
    #[cfg(feature = "cuda")]
    {
        let made = cudaforge::KernelBuilder::new().source_dir("cuda").arg("-std=c++17").arg("-O3").build_ptx()?;
        made.write(std::path::PathBuf::from(std::env::var("OUT_DIR")?).join("ptx.rs"))?;
    }
    Ok(())
}
