# The commands of a day. `.ci/run` is what has to pass; CONTRIBUTING.md says what else there is.

_list:
    @just --list --unsorted

# All tests, or those of a module: `just test suite`
test *words:
    cargo test --locked {{ words }}

# Format and lints, as CI has them
lint:
    cargo fmt --check
    cargo clippy --locked --all-targets -- -D warnings
    cargo clippy --locked --no-default-features --features avx512,terminal -- -D warnings
    cargo run --locked -- fmt --check scripts stdlib examples

# Documentation: `cargo doc` of the crates, and the site of all pages and the reference in target/site
docs:
    cargo doc --locked --no-deps
    cargo run --locked -- doc --html target/site

# Pages that compute: the engines, and the tests that need them
page:
    .ci/page

# All experiments, with every figure compared: `just experiments --seeds 0,1,2 --control true`
experiments *words:
    .ci/experiments {{ words }}

# One benchmark by its name in benches/: `just bench forward`
bench name *words:
    cargo bench --locked --bench {{ name }} {{ words }}
