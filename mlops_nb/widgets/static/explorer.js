// The metric explorer: draws the curves that the kernel has read, and tells it what the user wants next.

const AXES = [["step", "step"], ["relative", "time since start"], ["time", "time of day"]];

function render({ model, el }) {
  const node = root(el, "mlops-nb-MetricExplorer", "Curves of runs");
  const metrics = choices("Metrics", (chosen) => put(model, { metrics: chosen }), 6);
  const runs = choices("Runs", (chosen) => put(model, { chosen: model.get("runs").map((run) => run.id).filter((id) => chosen.includes(id)) }), 50);
  const axis = select(AXES, (value) => put(model, { axis: value, zoom: [] }));
  const group = select([["", "each run"]], (value) => put(model, { group: value }));
  const strength = html("output", {}, "0");
  const send = debounced(() => put(model, { smoothing: Number(smoothing.value) }), 120);
  const smoothing = html("input", { type: "range", min: 0, max: 0.99, step: 0.01, input: () => ((strength.textContent = smoothing.value), send()) });
  const log = html("input", { type: "checkbox", change: () => put(model, { log: log.checked }) });
  const first = html("input", { type: "number", change: zoomed, "aria-label": "First step" });
  const last = html("input", { type: "number", change: zoomed, "aria-label": "Last step" });
  const reset = button("All steps", () => put(model, { zoom: [] }));
  const steps = html("span", { class: "mlops-nb-field" }, html("span", {}, "steps"), first, html("span", {}, "to"), last, reset);
  const refresh = button("Refresh", () => model.send({ do: "refresh" }));
  const live = html("span", { role: "status" });
  const message = html("div", { class: "mlops-nb-message", role: "alert" });
  const notes = html("div", { class: "mlops-nb-weak" });
  const readout = html("div", { class: "mlops-nb-readout", "aria-live": "polite" });
  const panels = html("div", { class: "mlops-nb-panels" });
  const legend = html("ul", { class: "mlops-nb-legend", "aria-label": "Lines" });
  const values = html("tbody");
  const heads = html("tr");
  node.append(
    metrics.node,
    runs.node,
    html("div", { class: "mlops-nb-bar" }, labelled("x", axis), labelled("lines", group), labelled("smoothing", smoothing), strength, labelled("log", log), steps, html("span", { class: "mlops-nb-grow" }, live), refresh),
    message,
    panels,
    readout,
    legend,
    notes,
    html("details", { class: "mlops-nb-details" }, html("summary", {}, "Last values as a table"), html("div", { class: "mlops-nb-scroll" }, html("table", { "aria-label": "Last values" }, html("thead", {}, heads), values))),
  );

  function zoomed() {
    if (first.value !== "" && last.value !== "") {
      put(model, { zoom: [Number(first.value), Number(last.value)] });
    }
  }

  function drawPanels() {
    const state = model.get("panels");
    const charts = [...panels.children];
    const focused = charts.indexOf(document.activeElement);
    const zoom = model.get("axis") === "step" ? (range) => put(model, { zoom: range }) : null;
    panels.replaceChildren(...state.map((panel) => chart(panel, (text) => (readout.textContent = text), zoom)));
    panels.children[focused]?.focus();
    const lines = new Map();
    state.forEach((panel, at) => {
      for (const line of panel.lines.filter((each) => each.mode !== "faint")) {
        const entry = lines.get(line.name) ?? { line, ends: state.map(() => null) };
        entry.ends[at] = line.y.findLast((value) => value !== null) ?? null;
        lines.set(line.name, entry);
      }
    });
    legend.hidden = lines.size < 2;
    legend.replaceChildren(
      ...[...lines.values()].map(({ line }) => {
        const sample = svg("path", { d: "M0 5H22", stroke: line.colour, "stroke-width": 2.4, "stroke-dasharray": line.dash || null });
        return html("li", {}, svg("svg", { width: 22, height: 10, "aria-hidden": "true" }, sample), html("span", {}, line.name));
      }),
    );
    heads.replaceChildren(html("th", { scope: "col" }, "run"), ...state.map((panel) => html("th", { scope: "col", class: "mlops-nb-number" }, panel.y_label)));
    values.replaceChildren(
      ...[...lines.values()].map(({ line, ends }) =>
        html("tr", {}, html("th", { scope: "row" }, line.name), ...ends.map((value) => html("td", { class: "mlops-nb-number" }, formatNumber(value)))),
      ),
    );
  }

  return bind(model, {
    "panels": drawPanels,
    "offered metrics": () => metrics.show(model.get("offered").map((key) => ({ value: key, text: key })), model.get("metrics")),
    "runs chosen": () => {
      const items = model.get("runs").map((run) => ({ value: run.id, text: run.status === "finished" ? run.name : `${run.name} (${run.status})` }));
      runs.show(items, model.get("chosen"));
    },
    "axis": () => {
      axis.value = model.get("axis");
      steps.hidden = axis.value !== "step";
    },
    "group groups": () => {
      const shown = [...new Set([...model.get("groups"), ...(model.get("group") ? [model.get("group")] : [])])];
      group.setOptions([["", "each run"], ...shown.map((key) => [key, key === "seed" ? "mean over seeds" : `mean by ${key}`])], model.get("group"));
    },
    "smoothing": () => {
      smoothing.value = String(model.get("smoothing"));
      strength.textContent = smoothing.value;
    },
    "log": () => (log.checked = model.get("log")),
    "zoom": () => {
      const [low = "", high = ""] = model.get("zoom");
      first.value = low;
      last.value = high;
      reset.disabled = low === "";
    },
    "following": () => (live.textContent = model.get("following") ? "▶ live" : ""),
    "notes": () => (notes.textContent = model.get("notes").join(" · ")),
    "message": () => (message.textContent = model.get("message")),
  });
}

export default { render };
