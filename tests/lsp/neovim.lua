-- Opens a script in Neovim with the server, as docs/editors.md has it, and writes what the editor then knows: its mistakes, what its
-- completion asks for, and the text after formatting. `nvim --headless -u NONE -S neovim.lua`, with the program in MICROTOME,
-- the script in SCRIPT and the answer's file in FOUND. `vim.lsp.start_client` is what versions before 0.8 have, too.
local found = {}

local function finish(problem)
  found.problem = problem
  local file = io.open(vim.env.FOUND, 'w')
  file:write(vim.json and vim.json.encode(found) or vim.fn.json_encode(found))
  file:close()
  vim.cmd('qall!')
end

local function work()
  vim.cmd('edit ' .. vim.fn.fnameescape(vim.env.SCRIPT))
  local buffer = vim.api.nvim_get_current_buf()
  local client = vim.lsp.start_client({ name = 'microtome', cmd = { vim.env.MICROTOME, 'lsp' }, root_dir = vim.fn.getcwd() })
  assert(client, 'the server does not start')
  vim.lsp.buf_attach_client(buffer, client)

  local mistakes = function() return vim.diagnostic.get(buffer) end
  assert(vim.wait(30000, function() return #mistakes() > 0 end, 20), 'no mistake is shown')
  found.mistakes = vim.tbl_map(function(one) return { one.lnum, one.col, one.message } end, mistakes())

  local ask = function(method, params)
    local answers = assert(vim.lsp.buf_request_sync(buffer, method, params, 30000), method .. ' has no answer')
    local answer = answers[client]
    assert(answer and not answer.error, method .. ' is refused')
    return answer.result
  end
  local document = { uri = vim.uri_from_bufnr(buffer) }
  local cursor = { line = 2, character = #vim.api.nvim_buf_get_lines(buffer, 2, 3, true)[1] }
  local candidates = ask('textDocument/completion', { textDocument = document, position = cursor })
  found.candidates = vim.tbl_map(function(one) return one.label end, candidates.items or candidates)

  -- The mending of the first mistake, as the editor applies it.
  local one = mistakes()[1]
  local range = { start = { line = one.lnum, character = one.col }, ['end'] = { line = one.end_lnum, character = one.end_col } }
  local actions = ask('textDocument/codeAction', { textDocument = document, range = range, context = { diagnostics = {} } })
  vim.lsp.util.apply_workspace_edit(actions[1].edit, 'utf-16')
  found.mended = vim.api.nvim_buf_get_lines(buffer, 0, -1, true)
end

local is_done, problem = pcall(work)
finish(not is_done and tostring(problem) or nil)
