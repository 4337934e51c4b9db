//! Capabilities of this server, as it tells clients when they begin, and those of a client.

use std::path::PathBuf;
use std::str::FromStr;

use lsp_server::{Request, RequestId};
use lsp_types::{
    CodeActionKind, CodeActionOptions, CodeActionProviderCapability, CompletionOptions, HoverProviderCapability,
    InitializeResult, OneOf, PositionEncodingKind, RenameOptions, ServerCapabilities, ServerInfo, SignatureHelpOptions,
    TextDocumentSyncCapability, TextDocumentSyncKind, TextDocumentSyncOptions, Uri, WorkDoneProgressOptions,
};
use serde_json::{Map, Value, json};

use super::shared_names::ChangedText;
use super::uris;

/// A client, as it says of itself when it begins.
#[derive(Default)]
pub struct Client {
    /// The folders that it works in.
    pub folders: Vec<PathBuf>,
    /// Whether changes may name the version of the text that they are for.
    takes_versions: bool,
    /// Whether it watches files that it is asked to watch, and was not asked yet.
    can_watch: bool,
}

/// The files that say what a script imports.
const WATCHED: [&str; 3] = ["**/*.rhai", "**/microtome.toml", "**/microtome.lock"];

impl Client {
    /// Reads what a client says of itself; what it does not say, or says otherwise, it cannot do.
    pub fn of(params: &Value) -> Self {
        let folders = params["workspaceFolders"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut uris: Vec<&Value> = folders.iter().map(|folder| &folder["uri"]).collect();
        if uris.is_empty() {
            uris.push(&params["rootUri"]);
        }
        let path = |uri: &Value| uris::path(&Uri::from_str(uri.as_str()?).ok()?);
        let workspace = &params["capabilities"]["workspace"];
        let takes_versions = workspace["workspaceEdit"]["documentChanges"] == true;
        let can_watch = workspace["didChangeWatchedFiles"]["dynamicRegistration"] == true;
        Self { folders: uris.into_iter().filter_map(path).collect(), takes_versions, can_watch }
    }

    /// Returns the request, once, that the client watches the files that scripts import: they may change outside of the
    /// editor. None for a client that does not do so.
    pub fn watching(&mut self) -> Option<Request> {
        let watchers: Vec<Value> = WATCHED.iter().map(|pattern| json!({ "globPattern": pattern })).collect();
        let registration = json!({
            "id": "imported files",
            "method": "workspace/didChangeWatchedFiles",
            "registerOptions": { "watchers": watchers },
        });
        std::mem::take(&mut self.can_watch).then(|| Request {
            id: RequestId::from("watching".to_string()),
            method: "client/registerCapability".into(),
            params: json!({ "registrations": [registration] }),
        })
    }

    /// Writes changes of texts as the client takes them.
    pub fn edit(&self, changed: &[ChangedText]) -> Value {
        if self.takes_versions {
            let edit = |text: &ChangedText| {
                let document = json!({ "uri": text.uri, "version": text.version });
                json!({ "textDocument": document, "edits": text.edits })
            };
            return json!({ "documentChanges": changed.iter().map(edit).collect::<Vec<_>>() });
        }
        let edits = |text: &ChangedText| (text.uri.as_str().to_string(), json!(text.edits));
        json!({ "changes": changed.iter().map(edits).collect::<Map<_, _>>() })
    }
}

/// Returns the answer to the first request of a client.
pub fn initialized() -> InitializeResult {
    let sync = TextDocumentSyncOptions {
        open_close: Some(true),
        change: Some(TextDocumentSyncKind::INCREMENTAL),
        save: Some(true.into()),
        ..TextDocumentSyncOptions::default()
    };
    let characters = |all: &[&str]| Some(all.iter().map(|one| one.to_string()).collect());
    let completion = CompletionOptions {
        trigger_characters: characters(&[".", ":", "\"", "{", "/"]),
        ..CompletionOptions::default()
    };
    let signatures =
        SignatureHelpOptions { trigger_characters: characters(&["(", ","]), ..SignatureHelpOptions::default() };
    let actions =
        CodeActionOptions { code_action_kinds: Some(vec![CodeActionKind::QUICKFIX]), ..CodeActionOptions::default() };
    let rename =
        RenameOptions { prepare_provider: Some(true), work_done_progress_options: WorkDoneProgressOptions::default() };
    let capabilities = ServerCapabilities {
        position_encoding: Some(PositionEncodingKind::UTF16),
        text_document_sync: Some(TextDocumentSyncCapability::Options(sync)),
        completion_provider: Some(completion),
        hover_provider: Some(HoverProviderCapability::Simple(true)),
        signature_help_provider: Some(signatures),
        definition_provider: Some(OneOf::Left(true)),
        references_provider: Some(OneOf::Left(true)),
        rename_provider: Some(OneOf::Right(rename)),
        document_symbol_provider: Some(OneOf::Left(true)),
        document_formatting_provider: Some(OneOf::Left(true)),
        code_action_provider: Some(CodeActionProviderCapability::Options(actions)),
        inlay_hint_provider: Some(OneOf::Left(true)),
        ..ServerCapabilities::default()
    };
    let about = ServerInfo { name: "microtome".into(), version: Some(env!("CARGO_PKG_VERSION").into()) };
    InitializeResult { capabilities, server_info: Some(about) }
}

#[cfg(test)]
mod tests {
    use lsp_types::{Range, TextEdit};

    use super::*;

    #[test]
    fn changes_are_written_as_the_client_takes_them() {
        let uri = Uri::from_str("file:///a.rhai").unwrap();
        let changed = |version| ChangedText {
            uri: uri.clone(),
            version,
            edits: vec![TextEdit::new(Range::default(), "x".into())],
        };
        let range = json!({ "start": { "line": 0, "character": 0 }, "end": { "line": 0, "character": 0 } });
        let edits = json!([{ "range": range, "newText": "x" }]);
        assert_eq!(Client::default().edit(&[changed(Some(3))]), json!({ "changes": { "file:///a.rhai": edits } }));
        let said = json!({
            "capabilities": { "workspace": { "workspaceEdit": { "documentChanges": true } } },
            "rootUri": "file:///elsewhere", "workspaceFolders": [{ "uri": "file:///a%20b", "name": "a" }, { "uri": 7 }],
        });
        let client = Client::of(&said);
        assert_eq!(client.folders, [PathBuf::from("/a b")]);
        let written = client.edit(&[changed(Some(3)), changed(None)]);
        let document = |version: Value| json!({ "uri": "file:///a.rhai", "version": version });
        assert_eq!(written["documentChanges"][0], json!({ "textDocument": document(json!(3)), "edits": edits }));
        assert_eq!(written["documentChanges"][1]["textDocument"], document(Value::Null));
        assert_eq!(Client::of(&json!({ "rootUri": "file:///b", "workspaceFolders": null })).folders.len(), 1);
        assert_eq!(Client::of(&Value::Null).folders.len(), 0);
    }

    #[test]
    fn a_client_that_can_watch_files_is_asked_once() {
        let client = |can: Value| {
            let watches = json!({ "dynamicRegistration": can });
            Client::of(&json!({ "capabilities": { "workspace": { "didChangeWatchedFiles": watches } } }))
        };
        let mut able = client(json!(true));
        let request = able.watching().unwrap();
        assert_eq!(request.method, "client/registerCapability");
        let registered = &request.params["registrations"][0]["registerOptions"]["watchers"];
        let patterns = WATCHED.map(|pattern| json!({ "globPattern": pattern }));
        assert_eq!(registered, &json!(patterns));
        assert!(able.watching().is_none() && client(json!(false)).watching().is_none());
        assert!(client(json!(1)).watching().is_none() && Client::default().watching().is_none());
    }
}
