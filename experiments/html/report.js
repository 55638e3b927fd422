"use strict";
const DATA = JSON.parse(document.getElementById("data").textContent);
const CARDS = Object.keys(DATA.cards);
const root = document.documentElement;
const $ = (id) => document.getElementById(id);
const state = { card: CARDS[0], policy: null, sort: { key: "usd", up: false } };
// Okabe & Ito's palette, readable with colour-vision deficiencies
const TERM = { avoided: "#009E73", energy: "#E69F00", wear: "#CC79A7", owner: "#56B4E9", data: "#F0E442", slo: "#D55E00", capacity: "#0072B2" };
const CLASSES = { chat_8b: "#56B4E9", chat_70b: "#0072B2", batch_70b: "#999999" };
const LINES = ["#009E73", "#D55E00", "#0072B2", "#CC79A7", "#E69F00", "#56B4E9"];
const MAX_LINES = LINES.length; // policies in a profile

const css = (name) => getComputedStyle(root).getPropertyValue(name).trim();
const card = () => DATA.cards[state.card];
const rowOf = (policy) => card().rows.find((row) => row.policy === policy);
const narrow = () => window.innerWidth < 760;
const signed = (x) => (x === null || x === undefined ? "-" : (x < 0 ? "\u2212" : "+") + Math.abs(x).toFixed(2));

function axis(extra) {
  return Object.assign({ gridcolor: css("--line"), zerolinecolor: css("--soft"), linecolor: css("--line"), automargin: true }, extra);
}

function draw(id, traces, layout) {
  const base = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: css("--ink"), family: "system-ui, sans-serif", size: 12 },
    margin: { l: 48, r: 16, t: 12, b: 42 }, legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom" },
    hoverlabel: { bgcolor: css("--card"), font: { color: css("--ink") } }, showlegend: false,
  };
  Plotly.react(id, traces, Object.assign(base, layout), { responsive: true, displayModeBar: false })
    .then(() => { $(id).dataset.drawn = "true"; });
}

/* who earns what */
function scores() {
  const rows = [...card().rows].reverse();
  const bound = card().bound;
  const top = Math.max(bound ? bound.usd : 0, ...rows.map((r) => r.usd_high), 0.1);
  const low = Math.max(Math.min(0, ...rows.map((r) => r.usd_low)), -1.5 * top);
  const fits = rows.filter((r) => r.usd >= low);
  const trace = {
    type: "scatter", mode: "markers", x: fits.map((r) => r.usd), y: fits.map((r) => r.policy),
    error_x: { type: "data", symmetric: false, array: fits.map((r) => r.usd_high - r.usd), arrayminus: fits.map((r) => r.usd - r.usd_low), color: css("--soft"), thickness: 1.5, width: 3 },
    marker: { size: 9, color: fits.map((r) => (r.policy === state.policy ? css("--hot") : css("--accent"))) },
    text: fits.map((r) => (r.score === null ? "" : "score " + r.score.toFixed(2))), hovertemplate: "%{y}: %{x:.2f} USD/car-month %{text}<extra></extra>",
  };
  const shapes = bound ? [{ type: "line", x0: bound.usd, x1: bound.usd, y0: 0, y1: 1, yref: "paper", line: { dash: "dash", color: css("--soft") } }] : [];
  const notes = bound ? [{ x: bound.usd, y: 1, yref: "paper", text: "bound " + bound.usd.toFixed(2), showarrow: false, xanchor: "right", yanchor: "bottom", font: { color: css("--soft") } }] : [];
  const cut = rows.filter((r) => r.usd < low);
  cut.forEach((r) => notes.push({ x: low, y: r.policy, text: "◀ " + r.usd.toFixed(1), showarrow: false, xanchor: "left", font: { color: css("--hot"), size: 11 } }));
  draw("scores", [trace], {
    height: 90 + 21 * rows.length, shapes, annotations: notes, margin: { l: 110, r: 16, t: 24, b: 42 },
    xaxis: axis({ title: { text: "USD per car-month" }, range: [low * 1.05, top * 1.06] }),
    yaxis: axis({ type: "category", categoryorder: "array", categoryarray: rows.map((r) => r.policy) }),
  });
  $("scores").on("plotly_click", (event) => choose(event.points[0].y));
}

function table() {
  const columns = DATA.columns.filter((c) => card().rows.some((r) => r[c.key] !== null && r[c.key] !== undefined));
  const { key, up } = state.sort;
  const value = (row) => (row[key] === null || row[key] === undefined ? -Infinity : row[key]);
  const rows = [...card().rows].sort((a, b) => (key === "policy" ? a.policy.localeCompare(b.policy) : value(a) - value(b)) * (up ? 1 : -1));
  const head = document.createElement("tr");
  [{ key: "policy", head: "policy", title: "" }, ...columns].forEach((column) => {
    const th = document.createElement("th");
    th.textContent = column.head; th.title = column.title; th.tabIndex = 0; th.dataset.key = column.key;
    th.setAttribute("aria-sort", column.key === key ? (up ? "ascending" : "descending") : "none");
    const sort = () => { state.sort = { key: column.key, up: column.key === key ? !up : column.key === "policy" }; table(); };
    th.addEventListener("click", sort);
    th.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
    head.append(th);
  });
  const body = document.createElement("tbody");
  rows.forEach((row) => {
    const tr = document.createElement("tr");
    tr.className = row.policy === state.policy ? "chosen" : "";
    tr.addEventListener("click", () => choose(row.policy));
    const cells = [row.policy + (row.ties_best ? " ~" : "")];
    columns.forEach((c) => cells.push(row[c.key] === null || row[c.key] === undefined ? "-" : row[c.key].toFixed(c.digits)));
    cells.forEach((text, i) => {
      const td = document.createElement("td");
      td.textContent = text;
      if (i > 0 && text.startsWith("-") && text.length > 1) td.className = "bad";
      tr.append(td);
    });
    body.append(tr);
  });
  const thead = document.createElement("thead");
  thead.append(head);
  $("table").replaceChildren(thead, body);
}

/* the money of one policy */
function waterfall() {
  const row = rowOf(state.policy), bound = card().bound;
  const terms = DATA.terms.filter((term) => row["usd/" + term] !== 0);
  const gap = bound ? bound.usd - row.usd : null;
  const x = [...terms, "net", ...(bound ? ["gap", "bound"] : [])];
  const y = [...terms.map((term) => row["usd/" + term]), 0, ...(bound ? [gap, 0] : [])];
  const measure = [...terms.map(() => "relative"), "total", ...(bound ? ["relative", "total"] : [])];
  draw("waterfall", [{
    type: "waterfall", x, y, measure, text: [...terms.map((t) => signed(row["usd/" + t])), signed(row.usd), ...(bound ? [signed(gap), signed(bound.usd)] : [])],
    textposition: "outside", cliponaxis: false, hovertemplate: "%{x}: %{text} USD/car-month<extra></extra>",
    increasing: { marker: { color: TERM.avoided } }, decreasing: { marker: { color: TERM.slo } }, totals: { marker: { color: TERM.capacity } },
    connector: { line: { color: css("--line") } },
  }], { height: 340, yaxis: axis({ title: { text: "USD per car-month" } }), xaxis: axis({ tickangle: narrow() ? -40 : 0 }), margin: { l: 48, r: 16, t: 30, b: 42 } });
}

function gap() {
  const bound = card().bound;
  const rows = card().rows.filter((r) => r.usd > 0 || r.policy === state.policy).slice(0, 14).reverse();
  const traces = [{ type: "bar", orientation: "h", name: "earned", x: rows.map((r) => r.usd), y: rows.map((r) => r.policy), marker: { color: css("--accent") }, hovertemplate: "%{y}: %{x:.2f}<extra>earned</extra>" }];
  if (bound) traces.push({ type: "bar", orientation: "h", name: "gap to the bound", x: rows.map((r) => bound.usd - Math.max(r.usd, 0)), y: rows.map((r) => r.policy), marker: { color: css("--line") }, hovertemplate: "%{y}: %{x:.2f}<extra>gap</extra>" });
  draw("gap", traces, { height: 340, barmode: "relative", showlegend: true, xaxis: axis({ title: { text: "USD per car-month" } }), yaxis: axis({ type: "category" }), margin: { l: 110, r: 16, t: 30, b: 42 } });
}

/* one day */
function clock(first, last) { // whole hours of the local clock, also beyond midnight
  const every = narrow() ? 6 : 3, ticks = [];
  for (let hour = Math.ceil(first / every) * every; hour <= last; hour += every) ticks.push(hour);
  return axis({ title: { text: "local hour" }, tickvals: ticks, ticktext: ticks.map((hour) => String(hour % 24).padStart(2, "0") + ":00") });
}

function day() {
  const trace = card().traces[state.policy];
  ["day", "fan"].forEach((id) => { $(id).hidden = !trace; });
  $("day-note").hidden = !trace;
  if (!trace) { Plotly.purge("day"); Plotly.purge("fan"); return; }
  const step = card().step_h, x = trace.hour.map((_, i) => trace.hour[0] + i * step);
  const line = (name, y, color, extra) => Object.assign({ type: "scatter", mode: "lines", name, x, y, line: { color, width: 1.8, shape: "hv" }, hovertemplate: "%{y:.4~g}" }, extra);
  const traces = [
    line("parked", trace.parked, css("--soft"), { line: { color: css("--soft"), width: 1, dash: "dot", shape: "hv" }, visible: "legendonly" }),
    line("available", trace.available, "#56B4E9", { fill: "tozeroy", fillcolor: "rgba(86,180,233,0.15)" }),
    line("on duty", trace.duty_h.map((h) => h / step), "#009E73"),
    line("busy", trace.busy_h.map((h) => h / step), "#D55E00"),
    ...Object.entries(CLASSES).map(([name, color]) => line(name.replace("_", " "), trace["arrived_" + name].map((n) => n / step), color, { yaxis: "y2" })),
    line("overflow", trace.overflow.map((n) => n / step), "#D55E00", { yaxis: "y2", line: { color: "#D55E00", width: 1.5, dash: "dot", shape: "hv" } }),
    line("price", trace.price, "#E69F00", { yaxis: "y3" }),
    line("money so far", trace.usd, "#009E73", { yaxis: "y4" }),
  ];
  const hours = clock(x[0], x[x.length - 1]);
  draw("day", traces, {
    height: 620, showlegend: true, hovermode: "x unified", xaxis: Object.assign({}, hours, { anchor: "y4" }),
    yaxis: axis({ domain: [0.63, 1], title: { text: "cars" }, rangemode: "tozero" }), yaxis2: axis({ domain: [0.34, 0.58], title: { text: "requests / h" }, rangemode: "tozero" }),
    yaxis3: axis({ domain: [0.18, 0.29], title: { text: "USD/kWh" } }), yaxis4: axis({ domain: [0, 0.13], title: { text: "USD" } }), margin: { l: 62, r: 16, t: narrow() ? 110 : 48, b: 42 },
  });
  const band = (low, high, color) => [
    { type: "scatter", mode: "lines", x, y: trace[low], line: { width: 0 }, hoverinfo: "skip" },
    { type: "scatter", mode: "lines", x, y: trace[high], line: { width: 0 }, fill: "tonexty", fillcolor: color, hoverinfo: "skip" },
  ];
  draw("fan", [...band("soc_05", "soc_95", "rgba(0,158,115,0.16)"), ...band("soc_25", "soc_75", "rgba(0,158,115,0.30)"),
    { type: "scatter", mode: "lines", x, y: trace.soc_50, line: { color: css("--accent"), width: 2 }, hovertemplate: "%{x:.2f} h: median %{y:.1%}<extra></extra>" }],
  { height: 340, xaxis: hours, yaxis: axis({ range: [0, 1.02], tickformat: ".0%", title: { text: "state of charge" } }) });
}

function shortfalls() {
  const good = card().rows.filter((r) => r.usd > 0).slice(0, 8).map((r) => r.policy);
  const shown = good.includes(state.policy) ? good : [...good, state.policy];
  const traces = shown.reverse().map((policy) => ({
    type: "box", x: card().short[policy], name: policy, boxpoints: "all", jitter: 0.4, pointpos: 0, marker: { size: 4, color: policy === state.policy ? css("--hot") : css("--accent") },
    line: { width: 1 }, fillcolor: "rgba(0,0,0,0)", orientation: "h", hovertemplate: "%{x:.2f}<extra>" + policy + "</extra>",
  }));
  draw("short", traces, { height: 340, xaxis: axis({ title: { text: "shortfalls per 1,000 car-days" }, rangemode: "tozero" }), yaxis: axis({ type: "category" }), margin: { l: 110, r: 16, t: 12, b: 42 } });
}

/* all cards */
function many() {
  document.querySelectorAll(".many").forEach((part) => { part.hidden = CARDS.length < 2; });
  $("card-choice").hidden = CARDS.length < 2;
  if (CARDS.length < 2) return;
  const policies = (DATA.over.length ? DATA.over : DATA.cards[CARDS[0]].rows).map((r) => r.policy);
  const scored = CARDS.some((name) => DATA.cards[name].rows.some((r) => r.score !== null && r.score !== undefined));
  const value = (name, policy) => { const row = DATA.cards[name].rows.find((r) => r.policy === policy); return row ? (scored ? row.score : row.usd) : null; };
  const cards = [...CARDS].reverse();
  const z = cards.map((name) => policies.map((policy) => value(name, policy)));
  const tight = policies.length > 24; // so many scores fit side by side at full length
  const short = (v) => Math.abs(v) < 0.005 ? "0" : Math.abs(v) >= (tight ? 1 : 10) ? v.toFixed(0) : tight ? v.toFixed(2).replace("0.", ".") : v.toFixed(2);
  const text = z.map((line) => line.map((v) => (v === null || v === undefined ? "" : short(v))));
  draw("heat", [{
    type: "heatmap", z, x: policies, y: cards, zmin: -1, zmax: 1, zmid: 0, text, texttemplate: narrow() ? "" : "%{text}", textfont: { size: 10 }, xgap: 1, ygap: 1,
    colorscale: [[0, "#b2400a"], [0.25, "#eda26f"], [0.5, root.dataset.theme === "dark" ? "#2a3136" : "#f4f1ea"], [0.75, "#6fc1a4"], [1, "#00704f"]],
    hovertemplate: "%{x} on %{y}: %{z:.3f}<extra></extra>", colorbar: { thickness: 10, title: { text: scored ? "score" : "USD" } },
  }], { height: 150 + 26 * cards.length, xaxis: axis({ tickangle: -45, side: "bottom" }), yaxis: axis({}), margin: { l: 80, r: 10, t: 12, b: 110 } });
  $("heat").on("plotly_click", (event) => { state.card = event.points[0].y; state.policy = event.points[0].x; $("card").value = state.card; all(); });
  const over = [...DATA.over].filter((r) => r.score_iqm > -0.5).reverse();
  draw("over", [{
    type: "scatter", mode: "markers", x: over.map((r) => r.score_iqm), y: over.map((r) => r.policy), marker: { size: 8, color: css("--accent") },
    error_x: { type: "data", symmetric: false, array: over.map((r) => r.score_iqm_high - r.score_iqm), arrayminus: over.map((r) => r.score_iqm - r.score_iqm_low), color: css("--soft"), thickness: 1.4, width: 3 },
    hovertemplate: "%{y}: %{x:.3f}<extra></extra>",
  }], { height: 120 + 17 * over.length, xaxis: axis({ title: { text: "score, IQM" } }), yaxis: axis({ type: "category" }), margin: { l: 110, r: 16, t: 12, b: 42 } });
  const names = policies.filter((p) => DATA.profiles.policies && DATA.profiles.policies[p]).slice(0, MAX_LINES);
  const lines = names.map((policy, i) => ({ type: "scatter", mode: "lines", name: policy, x: DATA.profiles.threshold, y: DATA.profiles.policies[policy].share, line: { color: LINES[i], width: 2 } }));
  draw("profile", lines, { height: 120 + 17 * Math.max(over.length, 10), showlegend: true, margin: { l: 48, r: 16, t: 60, b: 42 }, xaxis: axis({ title: { text: "score above" } }), yaxis: axis({ range: [0, 1.02], tickformat: ".0%" }) });
}

function tiles() {
  const [best] = card().rows, bound = card().bound;
  const facts = [[best.policy, "best policy"], [signed(best.usd), "USD per car-month"], [card().cars.toLocaleString("en"), "cars"], [String(card().demand_days), "distinct demand days"]];
  if (bound) facts.splice(2, 0, [signed(bound.usd), "bound: perfect foresight"], [best.score === null ? "-" : best.score.toFixed(2), "score of the best"]);
  $("tiles").replaceChildren(...facts.map(([value, name]) => {
    const tile = document.createElement("div"), strong = document.createElement("b"), what = document.createElement("span");
    tile.className = "tile"; strong.textContent = value; what.textContent = name; tile.append(strong, what);
    return tile;
  }));
  $("sentence").textContent = card().sentence;
}

function choose(policy) { state.policy = policy; one(); }

function fill(select, names, value) {
  select.replaceChildren(...names.map((name) => new Option(name, name)));
  select.value = value;
}

function one() {
  document.querySelectorAll(".who").forEach((who) => { who.textContent = state.policy; });
  $("policy").value = state.policy;
  scores(); table(); waterfall(); gap(); day(); shortfalls();
}

function all() {
  if (!rowOf(state.policy)) state.policy = card().rows[0].policy;
  fill($("policy"), card().rows.map((r) => r.policy), state.policy);
  tiles(); many(); one();
}

function theme(name) { root.dataset.theme = name; all(); }

fill($("card"), CARDS, state.card);
$("card").addEventListener("change", (event) => { state.card = event.target.value; all(); });
$("policy").addEventListener("change", (event) => choose(event.target.value));
$("theme").addEventListener("click", () => theme(root.dataset.theme === "dark" ? "light" : "dark"));
theme(window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
