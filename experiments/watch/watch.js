"use strict";
const DATA = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const root = document.documentElement;
const css = (name) => getComputedStyle(root).getPropertyValue(name).trim();
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const CARS = Object.fromEntries(Object.entries(DATA.cars).map(([key, text]) => [key, bytes(text)]));
const N = DATA.numCars, STEPS = DATA.series.hour.length, FULL = 255, AWAY = 0;
const PAD = { left: 46, right: 12, top: 10, bottom: 36 };
const LINES = [["demand", "--ink", "demand that may leave the data centre"], ["duty", "#56b4e9", "cars on duty"], ["busy", "#009e73", "work done"]];
const PRICE = "#e69f00";
const state = { time: 0, playing: false, pointed: -1, last: 0 };

function fit(canvas) { // sharp on every screen
  const box = canvas.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
  const [width, height] = [Math.round(box.width * ratio), Math.round(box.height * ratio)];
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, box.width, box.height);
  pen.font = "12px system-ui, sans-serif";
  return { pen, width: box.width, height: box.height };
}

function place(car, view) { // pixel of a car, between two steps
  const k = Math.min(Math.floor(state.time), STEPS - 1), next = Math.min(k + 1, STEPS - 1);
  const a = k * N + car, b = next * N + car, share = state.time - k;
  const moves = CARS.soc[a] > 0 && CARS.soc[b] > 0 && Math.abs(CARS.stay[a] - CARS.stay[b]) < 40;
  const mix = (values) => (moves ? values[a] * (1 - share) + values[b] * share : values[a]) / FULL;
  const wide = view.width - PAD.left - PAD.right, high = view.height - PAD.top - PAD.bottom;
  return { at: a, x: PAD.left + mix(CARS.stay) * wide, y: PAD.top + (1 - mix(CARS.soc)) * high };
}

function drawCars() {
  const view = fit($("cars")), { pen, width, height } = view;
  const wide = width - PAD.left - PAD.right, high = height - PAD.top - PAD.bottom;
  pen.strokeStyle = css("--line"); pen.fillStyle = css("--soft"); pen.lineWidth = 1;
  pen.textAlign = "right"; pen.textBaseline = "middle";
  for (let soc = 0; soc <= 100; soc += 25) {
    const y = PAD.top + (1 - soc / 100) * high;
    pen.beginPath(); pen.moveTo(PAD.left, y); pen.lineTo(width - PAD.right, y); pen.stroke();
    pen.fillText(soc + " %", PAD.left - 6, y);
  }
  pen.textAlign = "center"; pen.textBaseline = "top";
  for (let hour = 0; hour <= DATA.stayMaxH; hour += 4) pen.fillText(hour + (hour === DATA.stayMaxH ? "+ h" : " h"), PAD.left + (hour / DATA.stayMaxH) * wide - (hour ? 6 : 0), height - PAD.bottom + 6);
  pen.fillText("stated stay left", PAD.left + wide / 2, height - 15);
  const colours = DATA.status.map((status) => status.colour), counts = DATA.status.map(() => 0);
  for (let layer = 0; layer < colours.length; layer++) {
    pen.fillStyle = colours[layer];
    for (let car = 0; car < N; car++) {
      const { at, x, y } = place(car, view);
      if (CARS.status[at] !== layer) continue;
      counts[layer]++;
      if (CARS.soc[at] === 0) continue; // on the road
      const radius = layer === AWAY ? 1.8 : 2.6 + 3.2 * CARS.rate[at] / FULL;
      pen.globalAlpha = layer === AWAY ? 0.45 : 0.9;
      pen.beginPath(); pen.arc(x, y, radius, 0, 2 * Math.PI); pen.fill();
    }
  }
  pen.globalAlpha = 1;
  if (state.pointed >= 0) {
    const { x, y } = place(state.pointed, view);
    pen.strokeStyle = css("--ink"); pen.lineWidth = 2;
    pen.beginPath(); pen.arc(x, y, 9, 0, 2 * Math.PI); pen.stroke();
  }
  $("legend").replaceChildren(...DATA.status.map((status, i) => entry(status.colour, status.name + " " + counts[i])));
}

function entry(colour, text) {
  const span = document.createElement("span"), dot = document.createElement("i");
  dot.style.background = colour; span.append(dot, text);
  return span;
}

function drawStrip() {
  const { pen, width, height } = fit($("strip"));
  const wide = width - PAD.left - PAD.right - 30, high = height - PAD.top - PAD.bottom;
  const top = Math.max(...LINES.flatMap(([name]) => DATA.series[name])) * 1.05 || 1;
  const dear = Math.max(...DATA.series.price, 0.01) * 1.2;
  const x = (k) => PAD.left + (k / STEPS) * wide;
  pen.fillStyle = css("--soft"); pen.strokeStyle = css("--line"); pen.textAlign = "right"; pen.textBaseline = "middle";
  for (let i = 0; i <= 2; i++) {
    const y = PAD.top + (1 - i / 2) * high;
    pen.beginPath(); pen.moveTo(PAD.left, y); pen.lineTo(PAD.left + wide, y); pen.stroke();
    pen.fillText(((top * i) / 2).toFixed(top < 5 ? 1 : 0), PAD.left - 6, y);
  }
  pen.fillStyle = PRICE; pen.textAlign = "left";
  for (let i = 1; i <= 2; i++) pen.fillText("$" + ((dear * i) / 2).toFixed(2), PAD.left + wide + 4, PAD.top + (1 - i / 2) * high);
  const path = (values, most) => {
    pen.beginPath();
    values.forEach((value, k) => { const y = PAD.top + (1 - value / most) * high; pen.lineTo(x(k), y); pen.lineTo(x(k + 1), y); });
  };
  pen.strokeStyle = PRICE; pen.lineWidth = 1; path(DATA.series.price, dear); pen.stroke();
  LINES.forEach(([name, colour]) => { pen.strokeStyle = colour.startsWith("--") ? css(colour) : colour; pen.lineWidth = 1.7; path(DATA.series[name], top); pen.stroke(); });
  pen.fillStyle = css("--soft"); pen.textAlign = "center"; pen.textBaseline = "top";
  const every = Math.round((width < 600 ? 6 : 3) / DATA.stepH);
  for (let k = 0; k < STEPS; k += every) pen.fillText(clock(k), x(k), height - PAD.bottom + 8);
  pen.strokeStyle = css("--hot"); pen.lineWidth = 2;
  pen.beginPath(); pen.moveTo(x(state.time), PAD.top); pen.lineTo(x(state.time), PAD.top + high); pen.stroke();
}

function clock(time) {
  const hour = DATA.series.hour[0] + time * DATA.stepH, whole = Math.floor(hour + 1e-9);
  return String(whole % 24).padStart(2, "0") + ":" + String(Math.floor((hour - whole) * 60 + 1e-6)).padStart(2, "0");
}

function row(name, text) {
  const line = document.createElement("div"), what = document.createElement("span"), value = document.createElement("span");
  what.textContent = name; value.textContent = text; line.append(what, value);
  return line;
}

function money() {
  const k = Math.min(Math.floor(state.time), STEPS - 1);
  const terms = Object.entries(DATA.usd).map(([term, values]) => [term, values[k]]);
  const total = terms.reduce((sum, [, value]) => sum + value, 0);
  $("total").textContent = (total < 0 ? "\u2212" : "") + Math.abs(total).toFixed(2);
  $("total").className = total < 0 ? "bad" : "";
  $("terms").replaceChildren(...terms.map(([term, value]) => row(term, value.toFixed(2))));
}

function hover() {
  if (state.pointed < 0) return;
  const k = Math.min(Math.floor(state.time), STEPS - 1), at = k * N + state.pointed;
  const stay = (CARS.stay[at] / FULL) * DATA.stayMaxH;
  $("hover").replaceChildren(
    row("car", String(state.pointed)), row("status", DATA.status[CARS.status[at]].name), row("place", CARS.soc[at] ? DATA.places[CARS.place[at]] : "on the road"),
    row("charge", CARS.soc[at] ? Math.round((100 * CARS.soc[at]) / FULL) + " %" : "-"), row("stated stay left", stay.toFixed(1) + " h"),
    row("rate", Math.round((100 * CARS.rate[at]) / FULL) + " %"), row("pack", DATA.packKwh[state.pointed].toFixed(0) + " kWh"), row("plug", DATA.evseKw[state.pointed].toFixed(1) + " kW"));
}

function nearest(event) {
  const box = $("cars").getBoundingClientRect(), view = { width: box.width, height: box.height };
  let best = -1, least = 18 ** 2;
  for (let car = 0; car < N; car++) {
    const { at, x, y } = place(car, view);
    const far = (x - event.clientX + box.left) ** 2 + (y - event.clientY + box.top) ** 2;
    if (CARS.soc[at] > 0 && far < least) { least = far; best = car; }
  }
  return best;
}

function show() {
  drawCars(); drawStrip(); money(); hover();
  $("clock").textContent = clock(state.time);
  $("time").value = state.time;
  root.dataset.shown = state.time.toFixed(2);
}

function tick(now) {
  if (!state.playing) return;
  // a frame may bear the time of its beginning, before the click that asked for it
  const seconds = Math.min(Math.max(now - state.last, 0) / 1000, 0.1);
  state.last = now;
  state.time = Math.min(state.time + seconds * Number($("speed").value), STEPS - 1);
  show();
  if (state.time >= STEPS - 1) return pause();
  requestAnimationFrame(tick);
}

function pause() { state.playing = false; $("play").textContent = "▶"; }

function play() {
  if (state.playing) return pause();
  if (state.time >= STEPS - 1) state.time = 0;
  state.playing = true; state.last = performance.now(); $("play").textContent = "❚❚";
  requestAnimationFrame(tick);
}

$("time").max = STEPS - 1;
$("time").addEventListener("input", (event) => { state.time = Number(event.target.value); show(); });
$("play").addEventListener("click", play);
$("cars").addEventListener("pointermove", (event) => { state.pointed = nearest(event); if (!state.playing) show(); });
$("theme").addEventListener("click", () => { root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark"; show(); });
window.addEventListener("resize", show);
document.addEventListener("keydown", (event) => { if (event.key === " " && event.target === document.body) { event.preventDefault(); play(); } });
root.dataset.theme = window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
$("strip-legend").replaceChildren(...LINES.map(([, colour, text]) => entry(colour.startsWith("--") ? "var(" + colour + ")" : colour, text)), entry(PRICE, "price, USD/kWh (right)"));
show();
