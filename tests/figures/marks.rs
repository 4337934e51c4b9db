//! Marks around figures, and what stands between them.

const BEGIN: &str = "<!-- ";
const CLOSE: &str = " -->";
const END: &str = "<!-- / -->";

/// The page with what `of` makes of each key and of what stands there. A block keeps the line breaks beside its marks.
pub fn of_page(page: &str, mut of: impl FnMut(&str, &str) -> Result<String, String>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = page;
    while let Some((before, after)) = rest.split_once(BEGIN) {
        let (key, after) = after.split_once(CLOSE).ok_or("a mark is not closed")?;
        let (inside, after) = after.split_once(END).ok_or(format!("`{key}` has no end"))?;
        if inside.contains(BEGIN) {
            return Err(format!("`{key}` has no end before the next mark"));
        }
        let shown = inside.trim_matches('\n');
        let computed = of(key, shown)?;
        let breaks = match shown {
            "" => inside.get(..1).unwrap_or_default(),
            _ => &inside[..inside.len() - inside.trim_start_matches('\n').len()],
        };
        // An empty block has one line break.
        let last = if computed.is_empty() { "" } else { breaks };
        out.extend([before, BEGIN, key, CLOSE, breaks, &computed, last, END]);
        rest = after;
    }
    Ok(out + rest)
}

/// What begins a line of figures in the header of an experiment.
pub const LINE: &str = "//=";

/// The script with what `of` makes of the lines of figures in its header; without such lines it is as it was.
pub fn of_header(script: &str, of: impl FnOnce(&str) -> Result<String, String>) -> Result<String, String> {
    let lines: Vec<&str> = script.split_inclusive('\n').collect();
    let header = lines.iter().take_while(|line| line.starts_with("//")).count();
    let is_figure = |line: &&str| line.starts_with(LINE);
    let Some(first) = lines[..header].iter().position(is_figure) else { return Ok(script.into()) };
    let count = lines[first..header].iter().take_while(|line| is_figure(line)).count();
    let shown: Vec<&str> =
        lines[first..first + count].iter().map(|line| line[LINE.len()..].trim_end().trim_start_matches(' ')).collect();
    let computed = of(&shown.join("\n"))?;
    let written: String = computed.lines().map(|line| format!("{LINE} {line}").trim_end().to_string() + "\n").collect();
    Ok([&lines[..first].concat(), written.as_str(), &lines[first + count..].concat()].concat())
}
