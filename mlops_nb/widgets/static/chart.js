// One panel of curves as SVG: axes, lines, bands, a crosshair for pointer and arrow keys, a brush to zoom.

const WIDTH = 520;
const HEIGHT = 250;
const BOX = { left: 54, right: 508, top: 26, bottom: 212 };
const EM_DASH = "–";

function formatNumber(value) {
  if (value === null || value === undefined) {
    return EM_DASH;
  }
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e9)) {
    return value.toExponential(3);
  }
  return Number(value.toPrecision(5)).toLocaleString("en", { maximumFractionDigits: 8 });
}

function formatX(panel, value) {
  return panel.x_kind === "date" ? new Date(value).toISOString().slice(0, 19).replace("T", " ") : formatNumber(value);
}

function extent(values, log) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value !== null && (!log || value > 0)) {
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  }
  if (low > high) {
    return log ? [0.1, 1] : [0, 1];
  }
  if (low === high) {
    return log ? [low / 2, high * 2] : [low - (Math.abs(low) / 10 || 1), high + (Math.abs(high) / 10 || 1)];
  }
  return [low, high];
}

function scale([low, high], start, end, log) {
  const to = log ? Math.log10 : (value) => value;
  const from = log ? (value) => 10 ** value : (value) => value;
  const [a, b] = [to(low), to(high)];
  return {
    place: (value) => start + ((to(value) - a) / (b - a)) * (end - start),
    value: (pixel) => from(a + ((pixel - start) / (end - start)) * (b - a)),
    ticks: (count) => (log && b - a > 0.8 ? logTicks(a, b) : roundTicks(low, high, count).filter((value) => !log || value > 0)),
  };
}

function roundTicks(low, high, count) {
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * ([1, 2, 2.5, 5, 10].find((each) => each * power >= raw) ?? 10);
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high && found.length < 20; k++) {
    found.push(k * step);
  }
  return found;
}

function logTicks(low, high) {
  const parts = high - low <= 2 ? [1, 2, 5] : [1];
  const found = [];
  for (let k = Math.floor(low); k <= Math.ceil(high); k++) {
    found.push(...parts.map((part) => part * 10 ** k).filter((value) => Math.log10(value) >= low && Math.log10(value) <= high));
  }
  return found.filter((_, at) => at % Math.ceil(found.length / 7) === 0);
}

function tickText(panel, value, span) {
  if (panel.x_kind !== "date") {
    return formatNumber(Number(value.toPrecision(6)));
  }
  const text = new Date(value).toISOString();
  return span > 2 * 86400e3 ? text.slice(5, 10) : span > 600e3 ? text.slice(11, 16) : text.slice(11, 19);
}

function path(xs, ys, x, y, log) {
  let text = "";
  let isOpen = false;
  for (let at = 0; at < xs.length; at++) {
    if (xs[at] === null || ys[at] === null || (log && ys[at] <= 0)) {
      isOpen = false;
    } else {
      text += `${isOpen ? "L" : "M"}${x.place(xs[at]).toFixed(1)} ${y.place(ys[at]).toFixed(1)}`;
      isOpen = true;
    }
  }
  return text;
}

function band(line, x, y, log) {
  const at = line.x.map((_, i) => i).filter((i) => line.x[i] !== null && line.low[i] !== null && line.high[i] !== null && (!log || line.low[i] > 0));
  const edge = [...at.map((i) => [line.x[i], line.high[i]]), ...at.reverse().map((i) => [line.x[i], line.low[i]])];
  return edge.length ? `M${edge.map(([a, b]) => `${x.place(a).toFixed(1)} ${y.place(b).toFixed(1)}`).join("L")}Z` : "";
}

/** Draws a panel; `say` gets what the crosshair is on, in words; `zoom` gets first and last step, or nothing for all. */
function chart(panel, say, zoom) {
  const lines = panel.lines.filter((line) => line.mode !== "faint");
  const span = extent(panel.lines.flatMap((line) => line.x), false);
  const x = scale(span, BOX.left, BOX.right, false);
  const y = scale(extent(panel.lines.flatMap((line) => [...line.y, ...(line.low ?? []), ...(line.high ?? [])]), panel.log), BOX.bottom, BOX.top, panel.log);
  const node = svg("svg", {
    class: "mlops-nb-chart",
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    tabindex: "0",
    role: "group",
    "aria-roledescription": "chart",
    "aria-label": `${panel.title}, ${lines.length} lines over ${panel.x_label}. Arrow keys read it.`,
  });
  node.append(svg("text", { x: BOX.left, y: 14, class: "mlops-nb-title" }, panel.title));
  for (const value of y.ticks(5)) {
    const at = y.place(value);
    node.append(svg("path", { class: "mlops-nb-grid", d: `M${BOX.left} ${at}H${BOX.right}` }));
    node.append(svg("text", { x: BOX.left - 5, y: at + 4, "text-anchor": "end" }, formatNumber(Number(value.toPrecision(6)))));
  }
  for (const value of x.ticks(5)) {
    node.append(svg("text", { x: x.place(value), y: BOX.bottom + 15, "text-anchor": "middle" }, tickText(panel, value, span[1] - span[0])));
  }
  node.append(svg("text", { x: (BOX.left + BOX.right) / 2, y: BOX.bottom + 31, "text-anchor": "middle" }, panel.x_label));
  for (const line of panel.lines) {
    if (line.low !== null) {
      node.append(svg("path", { d: band(line, x, y, panel.log), fill: line.colour, "fill-opacity": 0.18 }));
    }
    const isFaint = line.mode === "faint";
    node.append(
      svg("path", {
        d: path(line.x, line.y, x, y, panel.log),
        fill: "none",
        stroke: line.colour,
        "stroke-width": isFaint ? 1 : 1.7,
        "stroke-opacity": isFaint ? 0.3 : 1,
        "stroke-dasharray": isFaint || !line.dash ? null : line.dash,
        "stroke-linejoin": "round",
      }),
    );
    const drawn = line.y.map((_, at) => at).filter((at) => line.y[at] !== null && line.x[at] !== null && (!panel.log || line.y[at] > 0));
    if (!isFaint && drawn.length <= 20) {
      node.append(...drawn.map((at) => svg("circle", { cx: x.place(line.x[at]), cy: y.place(line.y[at]), r: 2.5, fill: line.colour })));
    }
  }
  const cross = svg("path", { class: "mlops-nb-cross", fill: "none" });
  const dot = svg("circle", { r: 4, visibility: "hidden" });
  const brush = svg("rect", { class: "mlops-nb-brush", y: BOX.top, height: BOX.bottom - BOX.top, visibility: "hidden" });
  node.append(cross, dot, brush);
  watch(node, { panel, lines, x, y, cross, dot, brush, say, zoom });
  return node;
}

/** The crosshair and the brush of a chart. */
function watch(node, { panel, lines, x, y, cross, dot, brush, say, zoom }) {
  let now = { line: 0, at: -1 };
  let start = null;

  const has = (line, at) => line.x[at] !== null && line.y[at] !== null && (!panel.log || line.y[at] > 0);
  const pixel = (event) => {
    const box = node.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * WIDTH, ((event.clientY - box.top) / box.height) * HEIGHT];
  };
  const show = (line, at) => {
    if (!lines[line] || !has(lines[line], at)) {
      return;
    }
    now = { line, at };
    const chosen = lines[line];
    const [px, py] = [x.place(chosen.x[at]), y.place(chosen.y[at])];
    cross.setAttribute("d", `M${px} ${BOX.top}V${BOX.bottom}`);
    dot.setAttribute("cx", px);
    dot.setAttribute("cy", py);
    dot.setAttribute("fill", chosen.colour);
    dot.setAttribute("visibility", "visible");
    const note = typeof chosen.notes === "string" ? chosen.notes : chosen.notes[at];
    const spread = chosen.low && chosen.low[at] !== null ? ` (${formatNumber(chosen.low[at])} to ${formatNumber(chosen.high[at])})` : "";
    const where = `${panel.x_kind === "date" ? "" : `${panel.x_label} `}${formatX(panel, chosen.x[at])}`;
    say([chosen.name, `${panel.y_label} ${formatNumber(chosen.y[at])}${spread}`, where, note].filter(Boolean).join(" · "));
  };
  const nearest = (px, py) => {
    let best = [Infinity, 0, -1];
    lines.forEach((line, number) => {
      line.x.forEach((value, at) => {
        if (has(line, at)) {
          const distance = Math.hypot((x.place(value) - px) * 2, y.place(line.y[at]) - py);
          best = distance < best[0] ? [distance, number, at] : best;
        }
      });
    });
    return best.slice(1);
  };

  node.addEventListener("pointermove", (event) => {
    const [px, py] = pixel(event);
    if (start === null) {
      show(...nearest(px, py));
      return;
    }
    const edge = Math.min(BOX.right, Math.max(BOX.left, px));
    brush.setAttribute("x", Math.min(start, edge));
    brush.setAttribute("width", Math.abs(edge - start));
    brush.setAttribute("visibility", "visible");
  });
  node.addEventListener("pointerdown", (event) => {
    const [px] = pixel(event);
    if (zoom && event.button === 0 && px >= BOX.left && px <= BOX.right) {
      start = px;
      node.setPointerCapture(event.pointerId);
    }
  });
  node.addEventListener("pointerup", (event) => {
    const first = start;
    start = null;
    brush.setAttribute("visibility", "hidden");
    const [px] = pixel(event);
    if (first !== null && Math.abs(px - first) > 6) {
      const [low, high] = [Math.min(first, px), Math.max(first, px)].map((each) => x.value(Math.min(BOX.right, Math.max(BOX.left, each))));
      zoom([Math.floor(low), Math.ceil(high)]);
    }
  });
  node.addEventListener("dblclick", () => zoom && zoom([]));
  node.addEventListener("keydown", (event) => {
    const count = lines[now.line]?.x.length ?? 0;
    const jump = event.shiftKey ? 10 : 1;
    const along = { ArrowRight: jump, ArrowLeft: -jump, End: count, Home: -count }[event.key];
    const across = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (along === undefined && across === undefined) {
      return;
    }
    event.preventDefault();
    if (across !== undefined) {
      const line = (now.line + across + lines.length) % lines.length;
      show(line, Math.min(Math.max(0, now.at), lines[line].x.length - 1));
      return;
    }
    let at = Math.min(count - 1, Math.max(0, now.at + along));
    while (at > 0 && at < count - 1 && !has(lines[now.line], at)) {
      at += Math.sign(along);
    }
    show(now.line, at);
  });
}
