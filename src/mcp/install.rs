//! The files by which clients know this server, in the folder that they are opened in.

use std::ffi::OsString;

use serde_json::{Value, json};
use toml_edit::{Array, DocumentMut, Item, Table, value};

use crate::base::json as read_json;
use crate::common::*;

/// The name of the server among those of others.
const NAME: &str = "microtome";

/// Programs that start servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    Claude,
    Cursor,
    VsCode,
    Zed,
    Codex,
}

impl Client {
    /// Returns the file of a folder in which the client looks for servers.
    fn file(self) -> &'static str {
        match self {
            Self::Claude => ".mcp.json",
            Self::Cursor => ".cursor/mcp.json",
            Self::VsCode => ".vscode/mcp.json",
            Self::Zed => ".zed/settings.json",
            Self::Codex => ".codex/config.toml",
        }
    }

    /// Returns the key of all servers in that file.
    fn key(self) -> &'static str {
        match self {
            Self::Claude | Self::Cursor => "mcpServers",
            Self::VsCode => "servers",
            Self::Zed => "context_servers",
            Self::Codex => "mcp_servers",
        }
    }
}

/// Writes the server into the file of a client in a folder, beside what stands there: it is started as `program` with
/// these words. Returned is the file.
pub fn install(client: Client, folder: &Path, program: &Path, words: &[OsString]) -> Result<PathBuf> {
    let written = |word: &OsString| {
        let text = word.to_str().map(String::from);
        text.ok_or_else(|| err!(Argument, "{} cannot be written in a file of settings", Path::new(word).display()))
    };
    let command = written(&program.as_os_str().to_os_string())?;
    let words: Vec<String> = words.iter().map(written).collect::<Result<_>>()?;
    let place = folder.join(client.file());
    let files = Files::unrecorded(folder)?;
    let before = files.script_if_there(&place)?;
    let after = match client {
        Client::Codex => toml(before.as_deref().unwrap_or_default(), &command, &words),
        _ => json_of(client, before.as_deref().unwrap_or("{}"), &command, &words),
    };
    let after = after.map_err(|error| error.within(place.display()))?;
    files.save_whole(&place, after)
}

fn json_of(client: Client, before: &str, command: &str, words: &[String]) -> Result<String> {
    let entry = match client {
        Client::VsCode | Client::Claude => json!({ "type": "stdio", "command": command, "args": words }),
        _ => json!({ "command": command, "args": words }),
    };
    let by_hand = || format!("add this by hand, in \"{}\": \"{NAME}\": {entry}", client.key());
    let mut all: Value = read_json::read(before.as_bytes(), |e| {
        err!(Format, "expected JSON, found something else: {e}").hint(by_hand())
    })?;
    let fields = all.as_object_mut().ok_or_else(|| err!(Format, "expected an object of JSON").hint(by_hand()))?;
    let servers = fields.entry(client.key()).or_insert_with(|| json!({}));
    let servers = servers
        .as_object_mut()
        .ok_or_else(|| err!(Format, "expected an object in {:?}", client.key()).hint(by_hand()))?;
    let _before = servers.insert(NAME.into(), entry);
    let text = serde_json::to_string_pretty(&all).map_err(|e| err!(Bug, "the settings cannot be written: {e}"))?;
    Ok(text + "\n")
}

fn toml(before: &str, command: &str, words: &[String]) -> Result<String> {
    let mut all: DocumentMut = before.parse().map_err(|e| err!(Format, "expected TOML, found something else: {e}"))?;
    let mut entry = Table::new();
    let _command = entry.insert("command", value(command));
    let _words = entry.insert("args", value(words.iter().collect::<Array>()));
    let servers = all.entry(Client::Codex.key()).or_insert_with(|| {
        let mut servers = Table::new();
        servers.set_implicit(true);
        Item::Table(servers)
    });
    let servers =
        servers.as_table_like_mut().ok_or_else(|| err!(Format, "expected a table in {:?}", Client::Codex.key()))?;
    let _before = servers.insert(NAME, Item::Table(entry));
    Ok(all.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_stands_beside_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let install = |client: Client, words: &[&str]| {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            let place = install(client, folder.path(), Path::new("/bin/microtome"), &words)?;
            Ok::<String, crate::base::Error>(std::fs::read_to_string(place).unwrap())
        };
        let before = r#"{ "b": 1, "mcpServers": { "other": { "command": "x" } }, "a": [2] }"#;
        std::fs::write(folder.path().join(".mcp.json"), before).unwrap();
        let first = install(Client::Claude, &["mcp"]).unwrap();
        let found: Value = serde_json::from_str(&first).unwrap();
        assert_eq!(
            (&found["b"], &found["a"], &found["mcpServers"]["other"]["command"]),
            (&json!(1), &json!([2]), &json!("x"))
        );
        assert_eq!(found["mcpServers"]["microtome"]["args"], json!(["mcp"]));
        assert_eq!(install(Client::Claude, &["mcp"]).unwrap(), first);
        for client in [Client::Cursor, Client::VsCode, Client::Zed] {
            let found: Value = serde_json::from_str(&install(client, &["--seed", "1", "mcp"]).unwrap()).unwrap();
            assert_eq!(found[client.key()]["microtome"]["args"], json!(["--seed", "1", "mcp"]), "{client:?}");
        }
        let codex = folder.path().join(".codex");
        std::fs::create_dir(&codex).unwrap();
        std::fs::write(codex.join("config.toml"), "# mine\nmodel = \"m\"\n\n[mcp_servers.other]\ncommand = \"x\"\n")
            .unwrap();
        let toml = install(Client::Codex, &["mcp"]).unwrap();
        assert!(toml.starts_with("# mine\nmodel = \"m\"\n") && toml.contains("[mcp_servers.other]"), "{toml}");
        assert!(toml.contains("[mcp_servers.microtome]\ncommand = \"/bin/microtome\"\nargs = [\"mcp\"]"), "{toml}");
        assert_eq!(install(Client::Codex, &["mcp"]).unwrap(), toml);
    }

    #[test]
    fn what_cannot_be_read_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["// with comments\n{}", "[]", "{ \"mcpServers\": 1 }"] {
            std::fs::write(folder.path().join(".mcp.json"), text).unwrap();
            let error = install(Client::Claude, folder.path(), Path::new("/m"), &["mcp".into()]).unwrap_err();
            assert!(error.hint.unwrap().contains("add this by hand"), "{text}");
            assert_eq!(std::fs::read_to_string(folder.path().join(".mcp.json")).unwrap(), text);
        }
    }
}
