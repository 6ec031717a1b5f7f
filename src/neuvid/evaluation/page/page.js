"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const MEAN = "Mean of all clips";
const NOTHING = "–";
const DARK = matchMedia("(prefers-color-scheme: dark)");
const COLOURS = {
  light: ["#0072b2", "#d55e00", "#009e73", "#b0508a", "#b87900", "#7a57a8", "#5b6770"],
  dark: ["#4ea8de", "#ff8a4c", "#2fd0a0", "#e39bc6", "#f2b134", "#b79bdb", "#a8b3bd"],
};
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "star", "x"];
const at = id => document.getElementById(id);
const colour = codec => {
  const colours = DARK.matches ? COLOURS.dark : COLOURS.light;
  return colours[data.codecs.indexOf(codec) % colours.length];
};
const symbol = codec => SYMBOLS[data.codecs.indexOf(codec) % SYMBOLS.length];
const curveOf = (clip, codec) => data.curves.find(c => c.clip === clip && c.codec === codec);
const fixed = (value, digits = 2) => value.toFixed(digits).replace("-", "−");
const signed = (value, digits) => (value > 0 ? "+" : "") + fixed(value, digits);

function make(tag, text = "", className = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  element.className = className;
  return element;
}

// Columns without a single value are left out.
function fill(id, rows, head) {
  const table = at(id);
  const isEmpty = head.map((_, i) => rows.every(row => row.cells[i].textContent === NOTHING));
  table.replaceChildren();
  const top = table.createTHead().insertRow();
  head.forEach(text => top.append(make("th", text)));
  const body = table.createTBody();
  rows.forEach(row => body.append(row));
  [top, ...rows].forEach(row => [...row.cells].forEach((cell, i) => isEmpty[i] && cell.remove()));
}

function row(cells, className = "") {
  const element = make("tr", "", className);
  cells.forEach(cell => element.append(cell instanceof Node ? cell : make("td", cell)));
  return element;
}

function options(id, entries, changed) {
  at(id).replaceChildren(...entries.map(([value, text]) => {
    const option = make("option", text);
    option.value = value;
    return option;
  }));
  if (changed) at(id).onchange = changed;
}

function shownClip() {  // plots by frame and pictures show one clip
  return at("clip").value === MEAN ? data.clips[0]?.name : at("clip").value;
}

function draw(id, traces, x, y) {
  const style = getComputedStyle(document.documentElement);
  const [text, line] = ["--text", "--line"].map(name => style.getPropertyValue(name).trim());
  const axis = {gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true};
  Plotly.react(id, traces, {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: {color: text},
    margin: {l: 48, r: 8, t: 8, b: 40}, legend: {orientation: "h", y: -0.18}, showlegend: true,
    xaxis: {...axis, ...x}, yaxis: {...axis, ...y}, hovermode: "closest",
  }, {responsive: true, displaylogo: false, displayModeBar: false});
}

function sameConditions(a, b) {
  return ["delay", "intra_period", "frames", "size", "pixel_format"]
    .every(name => a.conditions[name] === b.conditions[name]);
}

// Curves of other conditions than the anchor's are never drawn beside it.
function comparableCurves(clip) {
  const anchor = at("anchor").value;
  const all = clip === MEAN ? data.means : data.curves.filter(curve => curve.clip === clip);
  const isComparable = codec => data.clips
    .filter(entry => clip === MEAN || entry.name === clip)
    .map(entry => [curveOf(entry.name, anchor), curveOf(entry.name, codec)])
    .every(([one, other]) => !one || !other || sameConditions(one, other));
  return all.filter(curve => isComparable(curve.codec));
}

function drawCurves() {
  const metric = at("metric").value, {label, unit} = data.metrics[metric];
  const curves = comparableCurves(at("clip").value);
  const apart = data.codecs.filter(codec => !curves.some(curve => curve.codec === codec));
  at("apart").textContent = apart.length
    ? "Not drawn, for other conditions than the anchor's (delay, intra period, frames, size, pixel "
      + `format) or for lack of points: ${apart.join(", ")}.` : "";
  const rates = curves.flatMap(curve => curve.points.map(point => point.bits_per_pixel));
  const traces = curves.map(curve => {
    const points = curve.points.filter(point => metric in point.metrics);
    return {
      name: curve.codec, mode: "lines+markers", line: {color: colour(curve.codec)},
      marker: {symbol: symbol(curve.codec), size: 8},
      x: points.map(point => point.bits_per_pixel), y: points.map(point => point.metrics[metric]),
      text: points.map(point => point.setting),
      hovertemplate: "%{text}<br>%{x:.4f} bits per pixel<br>%{y:.3f}<extra>%{fullData.name}</extra>",
    };
  });
  draw("curves", traces, logAxis("bits per pixel", rates), {title: {text: `${label} [${unit}]`}});
}

function logAxis(title, values) {
  const ticks = [-4, -3, -2, -1, 0, 1, 2, 3].flatMap(power => [1, 2, 5].map(n => n * 10 ** power));
  const low = Math.min(...values) / 2, high = Math.max(...values) * 2;
  const shown = ticks.filter(tick => low < tick && tick < high);
  const text = shown.map(tick => String(Number(tick.toPrecision(1))));
  return {title: {text: title}, type: "log", tickvals: shown, ticktext: text};
}

function differenceCell(delta) {
  if (!delta) return make("td", "");
  if (delta.refusal) {
    const cell = make("td", "none");
    cell.append(make("small", delta.refusal));
    return cell;
  }
  const gain = delta.gain === null ? "" : ` (${signed(delta.gain)})`;
  const cell = make("td", `${signed(delta.rate, 1)} %${gain}`, delta.rate < 0 ? "better" : "worse");
  if (delta.overlap) {
    cell.append(make("small", `${fixed(delta.overlap.low, 1)}–${fixed(delta.overlap.high, 1)}`));
  }
  return cell;
}

function meanCell({rate, gain, rate_clips}) {
  if (rate === null) return make("td", "none");
  const cell = differenceCell({rate, gain});
  cell.append(make("small", `${rate_clips} of ${data.clips.length} clips`));
  return cell;
}

function drawDifferences() {
  const byCodec = data.differences[at("metric").value]?.[at("anchor").value] ?? {};
  const codecs = Object.keys(byCodec);
  const rows = data.clips.map(({name}) =>
    row([name, ...codecs.map(codec => differenceCell(byCodec[codec].clips[name]))]));
  rows.push(row(["Mean", ...codecs.map(codec => meanCell(byCodec[codec]))], "mean"));
  fill("differences", rows, ["", ...codecs]);
}

function nearest(curve, rate) {
  const distance = point => Math.abs(Math.log(point.bits_per_pixel / rate));
  return curve.points.reduce((best, point) => distance(point) < distance(best) ? point : best);
}

function rateText(point) {
  return `${point.setting}: ${point.bits_per_pixel.toFixed(4)} bits per pixel`;
}

function offerRates() {
  const first = comparableCurves(shownClip()).find(curve => curve.points[0].key);
  const points = first ? first.points : [];
  options("rate", points.map((p, i) => [i, `${first.codec} ${rateText(p)}`]), drawFrames);
  at("rate").value = Math.floor(points.length / 2);
}

function drawFrames() {
  const metric = at("metric").value === "vmaf" ? "vmaf" : "psnr";
  const curves = comparableCurves(shownClip());
  const first = curves.find(curve => curve.points[0].key);
  const target = first?.points[at("rate").value];
  const traces = !target ? [] : curves.map(curve => [curve, nearest(curve, target.bits_per_pixel)])
    .filter(([, point]) => point.by_frame[metric])
    .map(([curve, point]) => ({
      name: `${curve.codec} ${rateText(point)}`, mode: "lines", y: point.by_frame[metric],
      line: {color: colour(curve.codec), width: 1.5},
    }));
  const {label, unit} = data.metrics[metric] ?? {label: "", unit: ""};
  draw("frames", traces, {title: {text: `frame of ${shownClip()}`}},
    {title: {text: `${label} [${unit}]`}});
}

function pictureEntry() {
  return data.pictures.find(entry => entry.clip === shownClip());
}

function offerPictures() {
  const entry = pictureEntry();
  const names = entry && entry.codecs.length ? ["Source", ...entry.codecs] : ["Source"];
  options("left", names.map(name => [name, name]), showPictures);
  options("right", names.map(name => [name, name]), showPictures);
  at("left").value = names[Math.min(2, names.length - 1)];
  at("right").value = names[Math.min(1, names.length - 1)];
  const rates = entry ? entry.rates : [];
  options("picture-rate", rates.map((points, i) => [i, rateText(points[0])]), showPictures);
  at("picture-rate").value = Math.floor(rates.length / 2);
  showPictures();
}

function showPictures() {
  const entry = pictureEntry();
  if (!entry) return;
  const texts = ["left", "right"].map(side => {
    const name = at(side).value;
    if (name === "Source") {
      at(`${side}-picture`).src = entry.source;
      return "source";
    }
    const point = entry.rates[at("picture-rate").value][entry.codecs.indexOf(name)];
    at(`${side}-picture`).src = entry.files[point.key];
    return `${name}, ${rateText(point)}, ${fixed(point.psnr)} dB over the clip`;
  });
  at("pair-text").textContent = `Left: ${texts[0]}. Right: ${texts[1]}.`;
  resizePictures();
}

function resizePictures() {
  const zoom = Number(at("zoom").value), clip = data.clips.find(c => c.name === shownClip());
  at("stage").style.width = zoom && clip ? `${zoom * clip.width / devicePixelRatio}px` : "100%";
  at("stage").classList.toggle("enlarged", zoom > 1);
  moveDivider(at("slider").value / 1000);
}

function moveDivider(share) {
  const place = `${100 * share}%`;
  at("divider").style.left = place;
  at("right-picture").style.clipPath = `inset(0 0 0 ${place})`;
}

function listenToDivider() {
  at("slider").oninput = () => moveDivider(at("slider").value / 1000);
  at("divider").onpointerdown = event => at("divider").setPointerCapture(event.pointerId);
  at("divider").onpointermove = event => {
    if (!at("divider").hasPointerCapture(event.pointerId)) return;
    const box = at("stage").getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    at("slider").value = 1000 * share;
    moveDivider(share);
  };
}

function drawFacts() {
  const metric = at("metric").value, text = (value, digits) =>
    value === null ? NOTHING : fixed(value, digits);
  const percent = share => share === null ? null : 100 * share;
  const mebibytes = bytes => bytes === null ? null : bytes / 2 ** 20;
  const rows = data.codecs.map(codec => {
    const facts = data.facts[codec], range = data.ranges[metric][codec];
    return row([codec, range ? `${fixed(range[0], 1)} to ${fixed(range[1], 1)}` : NOTHING,
      text(range && range[1] - range[0], 1), text(data.drifts[metric][codec], 2),
      text(percent(facts.container_share), 1),
      text(percent(facts.rate_error), 2), text(percent(facts.worst_rate_error), 2),
      text(facts.kmac_per_pixel, 2), text(facts.encode_speed, 2), text(facts.decode_speed, 2),
      text(mebibytes(facts.encode_peak_bytes), 0), text(mebibytes(facts.decode_peak_bytes), 0)]);
  });
  fill("facts", rows, ["", data.metrics[metric].label, "range", "drift", "container %",
    "rate error %", "at worst %", "kMAC per pixel", "encode frames/s", "decode frames/s",
    "encode MiB", "decode MiB"]);
}

function drawSpeed() {
  const byCodec = data.differences[at("metric").value]?.[at("anchor").value] ?? {};
  const traces = data.codecs.map(codec => {
    const rate = codec === at("anchor").value ? 0 : byCodec[codec]?.rate ?? null;
    const {encode_speed, decode_speed} = data.facts[codec];
    return {
      name: codec, mode: "markers", x: [encode_speed, decode_speed], y: [rate, rate],
      text: ["encode", "decode"],
      marker: {color: colour(codec), size: 11, symbol: ["circle", "circle-open"]},
      hovertemplate: "%{text}: %{x:.2f} frames/s<br>%{y:.1f} %<extra>%{fullData.name}</extra>",
    };
  }).filter(trace => trace.x.every(speed => speed !== null) && trace.y[0] !== null);
  at("speed").hidden = !traces.length;
  at("untimed").hidden = Boolean(traces.length);
  if (traces.length) {
    const title = "frames per second (full: encode, open: decode)";
    draw("speed", traces, logAxis(title, traces.flatMap(trace => trace.x)),
      {title: {text: `bits against ${at("anchor").value} [%]`}});
  }
}

function kilobits(curve, point) {
  const clip = data.clips.find(entry => entry.name === curve.clip);
  if (!clip) return NOTHING;
  return fixed(point.bits_per_pixel * clip.width * clip.height * clip.frame_rate / 1000, 1);
}

function drawPoints() {
  const metrics = Object.keys(data.metrics), clip = at("clip").value;
  const curves = clip === MEAN ? data.means : data.curves.filter(curve => curve.clip === clip);
  const text = (value, digits) => value === null || value === undefined
    ? NOTHING : fixed(value, digits);
  const rows = curves.flatMap(curve => curve.points.map(point => row([
    `${curve.codec} ${point.setting}`, point.bits_per_pixel.toFixed(4), kilobits(curve, point),
    text(point.file_bytes, 0), text(point.container_bytes, 0),
    typeof point.rate_error === "number" ? signed(100 * point.rate_error, 2) : NOTHING,
    ...metrics.map(name => text(point.metrics[name], name === "ms_ssim" ? 4 : 2)),
    text(point.encode_seconds, 2), text(point.decode_seconds, 2),
  ])));
  fill("points", rows, ["", "bits/pixel", "kbit/s", "bytes", "container bytes", "rate error %",
    ...metrics.map(name => data.metrics[name].label), "encode s", "decode s"]);
}

function listCommands() {
  const list = at("commands");
  data.codecs.forEach(codec => {
    const curve = data.curves.find(entry => entry.codec === codec), point = curve.points[0];
    const {delay, intra_period, frames, size, pixel_format} = curve.conditions;
    const threads = curve.threads === null ? "" : `, threads: ${curve.threads}`;
    list.append(make("dt", codec), make("dd", curve.version.split(" Copyright")[0]), make("dd",
      `${delay}, intra period ${intra_period}, ${frames} frames of ${size} ${pixel_format}${threads}`));
    [point.encode_command, point.decode_command].filter(Boolean).forEach(command => {
      const entry = make("dd");
      entry.append(make("code", command));
      list.append(entry);
    });
  });
}

function drawAll() {
  drawCurves();
  drawDifferences();
  offerRates();
  drawFrames();
  offerPictures();
  drawFacts();
  drawSpeed();
  drawPoints();
}

function start() {
  const clips = data.clips.map(clip => clip.name);
  const count = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;
  at("summary").textContent = `${count(clips.length, "clip")}, ${count(data.codecs.length, "codec")}. `
    + `${data.date}, ${data.machine}, ${data.ffmpeg.split(" Copyright")[0]}.`;
  at("problems").hidden = !data.failures.length;
  at("failures").replaceChildren(...data.failures.map(({clip, codec, reason}) =>
    make("li", [clip, codec, reason].filter(Boolean).join(": "))));
  if (!data.curves.length) return;
  const choices = clips.length > 1 ? [MEAN, ...clips] : clips;
  options("clip", choices.map(name => [name, name]), drawAll);
  options("metric", Object.entries(data.metrics).map(([key, {label}]) => [key, label]), drawAll);
  options("anchor", data.codecs.map(name => [name, name]), drawAll);
  at("anchor").value = data.codecs[Math.min(1, data.codecs.length - 1)];
  at("zoom").onchange = resizePictures;
  listenToDivider();
  listCommands();
  DARK.addEventListener("change", drawAll);
  drawAll();
}

start();
