// The client: it starts `microtome lsp` for scripts, and again when it is told to.

const vscode = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

let client;

async function start() {
  const settings = vscode.workspace.getConfiguration("microtome");
  const folder = vscode.workspace.workspaceFolders?.[0]?.uri.fsPath;
  const server = {
    command: settings.get("path"),
    args: [...settings.get("options"), "lsp"],
    options: folder ? { cwd: folder } : {},
  };
  const options = {
    documentSelector: [
      { scheme: "file", language: "rhai" },
      { scheme: "untitled", language: "rhai" },
    ],
  };
  client = new LanguageClient("microtome", "microtome", server, options);
  try {
    await client.start();
  } catch (error) {
    vscode.window.showErrorMessage(
      `microtome lsp does not start: ${error.message}. The setting microtome.path names the program.`,
    );
  }
}

async function stop() {
  const running = client;
  client = undefined;
  if (running?.isRunning()) {
    await running.stop();
  }
}

exports.activate = async (context) => {
  const restart = vscode.commands.registerCommand("microtome.restart", async () => {
    await stop();
    await start();
  });
  context.subscriptions.push(restart);
  await start();
};

exports.deactivate = stop;
