// What agents do, as it happens: the calls since the last one are asked for, and drawn behind the others.

/** Milliseconds between two questions. */
const PACE = 400;

const place = (name) => document.getElementById(name);
const sessions = place("session");
const script = place("script");

let last = 0;

/** Makes an element with a text, which is never markup. */
function element(tag, text = "", kind = "") {
    const made = document.createElement(tag);
    made.textContent = text;
    made.className = kind;
    return made;
}

async function ask(path, question) {
    const init = question && {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(question),
    };
    const answer = await fetch(path, init);
    if (!answer.ok) {
        const said = await answer.json().catch(() => null);
        throw new Error(said?.error ? [said.error.message, said.error.hint].filter(Boolean).join("; ") : `${answer.status}`);
    }
    return answer;
}

function trouble(error) {
    const line = place("trouble");
    line.textContent = error ? `The program does not answer: ${error.message}` : "";
    line.hidden = !error;
}

/** Reads a picture into an address that the page's policy allows. */
async function picture(session, number, index) {
    const answer = await ask(`picture/${encodeURIComponent(session)}/${number}/${index}`);
    const blob = await answer.blob();
    return new Promise((done, failed) => {
        const reader = new FileReader();
        reader.onload = () => done(reader.result);
        reader.onerror = () => failed(reader.error);
        reader.readAsDataURL(blob);
    });
}

/** Writes a cell; a number that is no integer has five digits. */
function short(cell) {
    return typeof cell === "number" && !Number.isInteger(cell) ? String(Number(cell.toPrecision(5))) : cell ?? "";
}

function table(about) {
    const box = element("div", "", "table");
    const made = element("table");
    const head = element("tr");
    about.columns.forEach((column) => head.append(element("th", column.name)));
    made.append(head);
    for (const row of about.rows) {
        const line = element("tr");
        row.forEach((cell) => line.append(element("td", short(cell), typeof cell === "number" ? "number" : "")));
        made.append(line);
    }
    box.append(made);
    if (about.is_cut) {
        box.append(element("p", `the first ${about.rows.length} of ${about.row_count} rows`, "cut"));
    }
    return box;
}

/** Draws what a call printed and answered. */
function said(result) {
    const box = element("div");
    box.append(element("pre", result.text, "said"));
    if (result.is_cut) {
        box.append(element("p", "the rest is cut here; `history` has it whole", "cut"));
    }
    return box;
}

function drawn(call) {
    const card = element("article", "", [call.by_person && "person", call.is_error && "wrong"].filter(Boolean).join(" "));
    card.dataset.session = call.session;
    const head = element("h2");
    head.append(element("b", call.result ? `${call.session} ${call.result.number}` : call.tool));
    head.append(document.createTextNode(call.by_person ? "typed here" : call.words));
    head.append(element("span", `${call.seconds.toFixed(call.seconds < 10 ? 2 : 0)} s`));
    card.append(head);
    const result = call.result;
    if (!result) {
        return card;
    }
    card.append(element("pre", result.code, "code"));
    // A table is drawn as one, and a picture is more than its text, which stays at hand.
    if (result.table && !call.is_error) {
        card.append(table(result.table));
    } else if (result.pictures > 0 && !call.is_error) {
        const more = element("details");
        more.append(element("summary", "as text"), said(result));
        card.append(more);
    } else if (result.text) {
        card.append(said(result));
    }
    for (let index = 0; index < result.pictures; index += 1) {
        const figure = element("figure");
        const image = element("img");
        image.alt = `Picture ${index + 1} of result ${result.number}`;
        picture(call.session, result.number, index).then((data) => { image.src = data; }, () => figure.remove());
        figure.append(image);
        card.append(figure);
    }
    return card;
}

/** Shows the calls of the session that is chosen, and of none by their session, such as help. */
function choose() {
    for (const card of place("calls").children) {
        card.hidden = card.dataset.session !== "" && card.dataset.session !== sessions.value;
    }
}

function listed(all) {
    const names = all.map((session) => session.name);
    if (names.length === 0) {
        names.push("main");
    }
    if (names.join() !== [...sessions.options].map((option) => option.value).join()) {
        const chosen = sessions.value;
        sessions.replaceChildren(...names.map((name) => new Option(name, name)));
        sessions.value = names.includes(chosen) ? chosen : names[0];
        choose();
    }
}

function status(all, memory) {
    const chosen = all.find((session) => session.name === sessions.value);
    const running = chosen?.seconds;
    place("stop").disabled = running === undefined || running === null;
    place("status").textContent = `${running ? `running for ${running.toFixed(1)} s, ` : ""}${memory}`;
}

async function look() {
    try {
        const answer = await (await ask(`calls/${last}`)).json();
        trouble(null);
        const atEnd = window.innerHeight + window.scrollY >= document.documentElement.scrollHeight - 80;
        for (const call of answer.calls) {
            last = call.id;
            place("calls").append(drawn(call));
        }
        listed(answer.sessions);
        if (answer.calls.length > 0) {
            choose();
            if (atEnd) {
                window.scrollTo(0, document.documentElement.scrollHeight);
            }
        }
        status(answer.sessions, answer.memory);
    } catch (error) {
        trouble(error);
    }
    setTimeout(look, PACE);
}

place("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    const typed = script.value;
    if (typed.trim() === "") {
        return;
    }
    script.value = "";
    ask("run", { session: sessions.value, script: typed }).catch((error) => {
        trouble(error);
        script.value ||= typed;
    });
});

script.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        place("ask").requestSubmit();
    }
});

place("stop").addEventListener("click", () => ask("stop", { session: sessions.value }).catch(trouble));
sessions.addEventListener("change", choose);
look();
