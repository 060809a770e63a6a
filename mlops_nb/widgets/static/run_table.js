// The run table: draws what the kernel has found, and tells it what the user wants next.

const GLYPHS = { running: "▶", scheduled: "◷", finished: "●", failed: "✗", killed: "■", lost: "?" };
const SIZES = [10, 25, 50, 100];

function render({ model, el }) {
  const node = root(el, "mlops-nb-RunTable", "Table of runs");
  const query = html("input", {
    type: "search",
    placeholder: "val_auc > 0.9 and params.lr = '0.1', or text",
    "aria-label": "Filter runs",
    spellcheck: "false",
    input: debounced(() => put(model, { query: query.value }), 500),
    keydown: (event) => event.key === "Enter" && put(model, { query: query.value }),
  });
  const group = select([["", "none"]], (value) => put(model, { group: value }));
  const size = select(SIZES.map((count) => [String(count), String(count)]), (value) => put(model, { page_size: Number(value) }));
  const columns = choices("Columns", (chosen) => put(model, { columns: chosen }), 30);
  const refresh = button("Refresh", () => model.send({ do: "refresh" }));
  const message = html("div", { class: "mlops-nb-message", role: "alert" });
  const head = html("tr");
  const body = html("tbody", { keydown: move });
  const table = html("table", { "aria-label": "Runs" }, html("thead", {}, head), body);
  const place = html("span", { "aria-live": "polite" });
  const previous = button("‹ Newer", () => put(model, { page: Math.max(0, model.get("page") - 1) }), { "aria-label": "Previous page" });
  const next = button("Older ›", () => put(model, { page: model.get("page") + 1 }), { "aria-label": "Next page" });
  const count = html("span", { class: "mlops-nb-grow", "aria-live": "polite" });
  const compare = button("Compare", () => model.send({ do: "compare" }));
  const clear = button("Clear", () => put(model, { selected: [] }), { "aria-label": "Choose no run" });
  const compared = html("div", { class: "mlops-nb-compared" });
  node.append(
    html("div", { class: "mlops-nb-bar" }, html("span", { class: "mlops-nb-grow mlops-nb-filter" }, query), labelled("Group by", group), refresh),
    columns.node,
    message,
    html("div", { class: "mlops-nb-scroll", tabindex: "0", role: "region", "aria-label": "Runs, scrollable" }, table),
    html("div", { class: "mlops-nb-bar" }, previous, place, next, labelled("A page", size), count, compare, clear),
    compared,
  );

  /** The arrow keys go from row to row, as j and k do. */
  function move(event) {
    const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key];
    const boxes = [...body.querySelectorAll("input[type=checkbox]")];
    const at = boxes.indexOf(document.activeElement);
    if (step && at >= 0) {
      event.preventDefault();
      boxes[Math.min(boxes.length - 1, Math.max(0, at + step))].focus();
    }
  }

  function drawHead() {
    const focused = head.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    const cells = model.get("header").map((column) => {
      const way = column.sorted;
      const arrow = { ascending: " ▲", descending: " ▼", none: "" }[way];
      const attributes = { scope: "col", class: column.number ? "mlops-nb-number" : null, "aria-sort": way, title: column.key };
      if (column.sort === null) {
        return html("th", { ...attributes, "aria-sort": null }, column.label);
      }
      return html("th", attributes, button(column.label + arrow, () => put(model, { sort: column.sort }), { "data-key": column.key }));
    });
    head.replaceChildren(html("th", { scope: "col" }, html("span", { class: "mlops-nb-hidden" }, "Chosen")), ...cells);
    [...head.querySelectorAll("button")].find((each) => each.dataset.key === focused)?.focus();
  }

  function drawRows() {
    const focused = body.contains(document.activeElement) ? document.activeElement.value : null;
    const header = model.get("header");
    const chosen = new Set(model.get("selected"));
    const drawn = [];
    let last = null;
    for (const row of model.get("rows")) {
      if (row.group !== null && row.group !== last) {
        drawn.push(html("tr", { class: "mlops-nb-group" }, html("th", { colspan: header.length + 1, scope: "rowgroup" }, row.group)));
      }
      last = row.group;
      const box = html("input", {
        type: "checkbox",
        value: row.id,
        checked: chosen.has(row.id),
        "aria-label": `Choose ${row.name}`,
        change: () => choose(row.id, box.checked),
      });
      const cells = row.cells.map((text, at) => {
        const column = header[at + 1] ?? {};
        if (column.key === "status") {
          return html("td", { class: `mlops-nb-is-${row.status}` }, html("span", { "aria-hidden": "true" }, `${GLYPHS[row.status] ?? ""} `), text);
        }
        return html("td", { class: column.number ? "mlops-nb-number" : null }, text);
      });
      const name = html("th", { scope: "row", title: row.id }, row.name);
      drawn.push(html("tr", { class: chosen.has(row.id) ? "mlops-nb-chosen" : null }, html("td", {}, box), name, ...cells));
    }
    if (drawn.length === 0) {
      const why = model.get("query") ? "No run fits this filter." : "No runs here yet. Start one: %track start";
      drawn.push(html("tr", {}, html("td", { colspan: Math.max(1, header.length + 1), class: "mlops-nb-empty" }, why)));
    }
    body.replaceChildren(...drawn);
    if (focused !== null) {
      [...body.querySelectorAll("input")].find((box) => box.value === focused)?.focus();
    }
  }

  function choose(id, isChosen) {
    const others = model.get("selected").filter((each) => each !== id);
    put(model, { selected: isChosen ? [...others, id].slice(-50) : others });
  }

  function drawPlace() {
    const { first = 0, last = 0, total = 0, more = false } = model.get("place");
    const of = total ? ` of ${total.toLocaleString("en")}` : more ? " of more" : "";
    place.textContent = last ? `${first.toLocaleString("en")}–${last.toLocaleString("en")}${of}` : "0 runs";
    previous.disabled = model.get("page") === 0;
    next.disabled = !more;
    size.setOptions([...new Set([...SIZES, model.get("page_size")])].sort((a, b) => a - b).map((n) => [String(n), String(n)]), String(model.get("page_size")));
  }

  function drawChoice() {
    const chosen = model.get("selected").length;
    count.textContent = chosen ? `${chosen} chosen` : "";
    compare.disabled = chosen < 2;
    clear.hidden = chosen === 0;
    drawRows();
  }

  function drawCompared() {
    const state = model.get("compared");
    if (!state.header) {
      compared.replaceChildren();
      return;
    }
    const heads = ["", ...state.header].map((text) => html("th", { scope: "col" }, text));
    const rows = state.rows.map((row) => html("tr", { class: `mlops-nb-${row.kind}` }, html("th", { scope: "row" }, row.key), ...row.cells.map((c) => html("td", {}, c))));
    compared.replaceChildren(
      html("div", { class: "mlops-nb-bar" }, html("b", { class: "mlops-nb-verdict", role: "status" }, state.verdict), button("Close", () => model.send({ do: "close-comparison" }))),
      html("div", { class: "mlops-nb-scroll", tabindex: "0", role: "region", "aria-label": "Comparison, scrollable" }, html("table", { "aria-label": "Comparison" }, html("thead", {}, html("tr", {}, heads)), html("tbody", {}, rows))),
    );
  }

  return bind(model, {
    "header": drawHead,
    "rows": drawRows,
    "place page page_size": drawPlace,
    "selected": drawChoice,
    "compared": drawCompared,
    "message": () => (message.textContent = model.get("message")),
    "query": () => query.value !== model.get("query") && document.activeElement !== query && (query.value = model.get("query")),
    "offered header columns": () => {
      const shown = model.get("header").map((column) => column.key).filter((key) => key !== "name");
      columns.show(model.get("offered").map((key) => ({ value: key, text: key })), shown);
      const keys = model.get("offered").filter((key) => key.startsWith("params.") || key.startsWith("tags.") || key === "status" || key === "user");
      const chosen = model.get("group");
      group.setOptions([["", "none"], ...[...new Set([...keys, ...(chosen ? [chosen] : [])])].map((key) => [key, key])], chosen);
    },
  });
}

export default { render };
