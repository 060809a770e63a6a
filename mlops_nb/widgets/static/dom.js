// What the views share. What people wrote reaches the page only as text nodes and as values of harmless attributes.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") {
      node.addEventListener(name, value);
    } else if (value === true) {
      node.setAttribute(name, "");
    } else if (value !== false && value !== null && value !== undefined) {
      node.setAttribute(name, String(value));
    }
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/** An element of HTML; strings among the children become text. Attributes that are functions are listeners. */
function html(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** An element of SVG. */
function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function button(text, onClick, attributes = {}) {
  return html("button", { type: "button", click: onClick, ...attributes }, text);
}

/** A field with its label. */
function labelled(text, field) {
  return html("label", { class: "mlops-nb-field" }, html("span", {}, text), field);
}

function select(options, onChange, attributes = {}) {
  const field = html("select", { change: () => onChange(field.value), ...attributes });
  field.setOptions = (list, chosen) => {
    field.replaceChildren(...list.map(([value, text]) => html("option", { value, selected: value === chosen }, text)));
    field.value = chosen;
  };
  field.setOptions(options, options.length ? options[0][0] : "");
  return field;
}

/** A list of checkboxes behind a heading that opens. `onChange` gets the chosen values in their order. */
function choices(title, onChange, most) {
  const list = html("div", { class: "mlops-nb-choices", role: "group", "aria-label": title });
  const heading = html("summary", {}, title);
  const filter = html("input", { type: "search", "aria-label": `Search in ${title}`, placeholder: "search" });
  const node = html("details", { class: "mlops-nb-details" }, heading, filter, list);
  let shown = "";
  const narrow = () => {
    for (const row of list.children) {
      row.hidden = !row.textContent.toLowerCase().includes(filter.value.toLowerCase());
    }
  };
  filter.addEventListener("input", narrow);
  const show = (items, chosen) => {
    heading.textContent = `${title} (${chosen.length} of ${items.length})`;
    filter.hidden = items.length < 12;
    const state = JSON.stringify([items, chosen]);
    if (state === shown) {
      return;
    }
    shown = state;
    const focused = list.contains(document.activeElement) ? document.activeElement.value : null;
    list.replaceChildren(
      ...items.map((item) => {
        const box = html("input", {
          type: "checkbox",
          value: item.value,
          checked: chosen.includes(item.value),
          disabled: !chosen.includes(item.value) && chosen.length >= most,
          change: () => {
            const now = chosen.filter((value) => value !== item.value);
            onChange(box.checked ? [...now, item.value] : now);
          },
        });
        const swatch = item.colour ? html("i", { class: "mlops-nb-swatch", style: `background:${item.colour}` }) : null;
        return html("label", {}, box, swatch, html("span", {}, item.text));
      }),
    );
    narrow();
    if (focused !== null) {
      [...list.querySelectorAll("input")].find((box) => box.value === focused)?.focus();
    }
  };
  return { node, show };
}

/** Call after a pause in calls. */
function debounced(action, milliseconds) {
  let timer = null;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(...args), milliseconds);
  };
}

/** The root of a view: keys that are typed in it are no shortcuts of the notebook. */
function root(el, name, label) {
  const node = html("section", { class: `mlops-nb-view ${name}`, "aria-label": label, "data-lm-suppress-shortcuts": "true" });
  el.replaceChildren(node);
  return node;
}

/** Calls each listener for traits of the model, and once now; gives what takes them off again. */
function bind(model, listeners) {
  const bound = Object.entries(listeners).flatMap(([names, action]) => names.split(" ").map((name) => [`change:${name}`, action]));
  for (const [event, action] of bound) {
    model.on(event, action);
  }
  for (const action of new Set(Object.values(listeners))) {
    action();
  }
  return () => bound.forEach(([event, action]) => model.off(event, action));
}

function put(model, changes) {
  for (const [name, value] of Object.entries(changes)) {
    model.set(name, value);
  }
  model.save_changes();
}
