//! The command line by transcript: every file in `tests/cli` holds commands, what they print, and their exit codes.
//!
//! After an intended change, `TRYCMD=overwrite cargo test cli::` rewrites the transcripts.

#[test]
fn transcripts_hold() {
    let nowhere = tempfile::tempdir().unwrap();
    let home = nowhere.path().display().to_string();
    trycmd::TestCases::new()
        .case("tests/cli/*.trycmd")
        .env("HOME", &home)
        .env("XDG_CONFIG_HOME", &home)
        .env("XDG_DATA_HOME", &home)
        .env("XDG_CACHE_HOME", &home)
        .env("HF_HOME", &home)
        .env("MICROTOME_PATH", "")
        .env("TERM", "dumb");
}
